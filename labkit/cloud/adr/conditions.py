"""What has to hold before anybody signs for a device, beside the request itself: who belongs to
which namespace, whose CA may sign, and that the device is not shut out.
"""

from __future__ import annotations

from datetime import datetime

from cryptography import x509

from labkit.cloud.adr.lookups import Place
from labkit.cloud.adr.tables import Signer
from labkit.cloud.dps.issuance import Order
from labkit.pki import request
from labkit.trace import Check, failed, passed

LINKED = "the provisioning service is linked to a namespace"
POLICY = "the namespace has the credential policy that the enrollment names"
STILL = "the namespace still has the credential policy that signed the last certificate"
VALID = "the policy's CA may sign now"
FITS = "the device ID fits into a certificate"
HUB_LINKED = "the hub that the device is assigned to is linked to the namespace"
ENABLED = "the hub has not disabled the device's identity"
MANAGED = "the registry has issued a certificate to the device before"

_SOURCE = "Azure documentation, IoT Hub: deploy IoT Hub with ADR integration"
_DISABLING = "Azure documentation, IoT Hub: what is certificate management (disable a device)"
_RENEWING = "Azure documentation, IoT Hub: certificate renewal"


def linked(order: Order, namespace: str) -> Check:
    """Whether the provisioning service belongs to a namespace."""
    if namespace:
        return passed(LINKED, order.registration_id, f"to {namespace}")
    return failed(
        LINKED,
        order.registration_id,
        "it is linked to none, so nobody signs for its devices",
        "link it: lab.registry.namespaces.get(...).link_dps()",
        source=_SOURCE,
    )


def has_policy(order: Order, namespace: str, policy: Signer | None) -> Check:
    """Whether the policy that the enrollment names is there."""
    cures = f"create it: {_creating(order, namespace)}", "let the enrollment name another one"
    why = f"the enrollment names {order.issuer!r}, and {namespace} has no such policy"
    return _found(POLICY, order, policy, why, *cures, source=_SOURCE)


def still_has_policy(order: Order, namespace: str, policy: Signer | None) -> Check:
    """Whether the policy that signed the last certificate is there; a hub asks no enrollment."""
    cures = (
        f"create one of that name, and synchronise: {_creating(order, namespace)}, "
        f"lab.registry.namespaces.get({namespace!r}).synchronize()",
        "let the enrollment name another policy, and the device ask DPS once: "
        'widget.renew_operational("dps")',
    )
    why = f"{order.issuer!r} has signed it, and {namespace} has no such policy any more"
    return _found(STILL, order, policy, why, *cures, source=_RENEWING)


def _creating(order: Order, namespace: str) -> str:
    return f"lab.registry.namespaces.get({namespace!r}).policies.create({order.issuer!r})"


def _found(
    name: str, order: Order, policy: Signer | None, why: str, *cures: str, source: str
) -> Check:
    about = order.registration_id
    if policy is None:
        return failed(name, about, why, *cures, source=source)
    return passed(name, about, f"{order.issuer!r} signs for {policy.days} days")


def may_sign(order: Order, ca: x509.Certificate, now: datetime) -> Check:
    """Whether the policy's CA is valid at that moment."""
    begin, end = ca.not_valid_before_utc, ca.not_valid_after_utc
    if begin <= now <= end:
        return passed(VALID, order.registration_id, f"it is valid until {end:%Y-%m-%d}")
    return failed(
        VALID,
        order.registration_id,
        f"it is valid from {begin:%Y-%m-%d} to {end:%Y-%m-%d}; the lab's clock says {now:%Y-%m-%d}",
        "create another policy, let the enrollment name it, and synchronise the namespace",
        "move the lab's clock",
    )


def fits(order: Order) -> Check:
    """Whether the name that the hub has for the device fits into a certificate."""
    name = order.device_id or order.registration_id
    if len(name) <= request.LONGEST_CN:
        return passed(FITS, order.registration_id, f"it has {len(name)} characters")
    return failed(
        FITS,
        order.registration_id,
        f"{name!r} has {len(name)} characters; there is room for {request.LONGEST_CN}",
        "give the device a shorter ID in the hub: deviceId of its individual enrollment",
        source="RFC 5280, appendix A.1 (ub-common-name)",
    )


def hub_linked(order: Order, hub: str, place: Place, namespace: str) -> Check:
    """Whether a hub belongs to the namespace that signs."""
    if place.namespace == namespace:
        return passed(HUB_LINKED, order.registration_id, f"{hub} belongs to {namespace}")
    return failed(
        HUB_LINKED,
        order.registration_id,
        f"{hub} belongs to {place.namespace or 'no namespace'}, the policy {order.issuer!r} "
        f"to {namespace}",
        f"link it: lab.registry.namespaces.get({namespace!r}).link_hub({hub!r})",
        "let the enrollment name hubs of that namespace",
        source=_SOURCE,
    )


def enabled(order: Order, hub: str, place: Place, device_id: str) -> Check:
    """Whether the hub has anything against the device. There are no lists of revoked certificates:
    this takes their place. An identity that is not there yet is no fault."""
    if place.enabled is not False:
        return passed(ENABLED, order.registration_id, f"{hub} has nothing against it")
    reason = f", because: {place.reason}" if place.reason else ""
    return failed(
        ENABLED,
        order.registration_id,
        f"{device_id!r} is disabled in {hub}{reason}: it gets no other certificate, and "
        "the one that it has opens nothing",
        f"enable it, if it may come again: lab.hub({hub!r}).devices.enable({device_id!r})",
        source=_DISABLING,
    )


def managed(device_id: str, hub: str, last: tuple[str, str, str] | None) -> Check:
    """Whether there is a certificate to be renewed; ``last`` is how it was issued."""
    if last is not None:
        return passed(MANAGED, device_id, f"policy {last[2]!r} of {last[1]} has")
    return failed(
        MANAGED,
        device_id,
        f"there is none for {device_id!r} at {hub}",
        "let it register with DPS and a request first: widget.provision(csr=...)",
        source=_RENEWING,
    )
