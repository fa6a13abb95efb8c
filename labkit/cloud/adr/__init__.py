"""Azure Device Registry, as far as its certificate management goes: namespaces, each with a PKI of
two tiers, which signs what devices ask for when they are provisioned.

    credential (root CA)  one a namespace
      └─ policy           an issuing CA, and for how many days it signs
           └─ leaf        for a device that DPS assigned to a hub

A hub accepts a leaf once the namespace was synchronised with it. There is no list of revoked
certificates: who is to stay away is disabled in the hub.
"""
