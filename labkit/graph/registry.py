"""The Device Registry in the picture: beside the supply chain's tree another one, of two tiers, and
below each policy's CA the devices that have something of it.

    credential ──signed──> policy's CA ──signed──> operational certificate of a device
                                └──synchronised──> CA certificate in the hub

The CA of a policy that was deleted stays as long as a device has something of it, for that is
valid still.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from labkit.cloud.adr.namespaces import Namespace
from labkit.cloud.adr.policies import Policy
from labkit.cloud.adr.retired import RetiredCa
from labkit.graph.kinds import add_edge, add_node
from labkit.graph.states import StateKey
from labkit.pki import chain

if TYPE_CHECKING:
    from cryptography import x509
    from networkx import DiGraph

    from labkit.device import Device
    from labkit.lab import Lab

    Holdings = Mapping[x509.Certificate, Sequence[tuple[Device, x509.Certificate]]]

SYNCHRONISED = "synchronised"


def draw(graph: DiGraph[str], lab: Lab) -> None:
    """Adds the CAs of each namespace that has any, and what devices hold of theirs. The hubs are
    drawn already."""
    held = holdings(lab)
    for namespace in lab.registry.namespaces:
        if namespace.root is not None:
            _draw(graph, lab, namespace, held)
    for ca in retired(lab, held):
        _draw_retired(graph, lab, ca, held)


def credential_node(namespace: Namespace) -> str:
    """The ID of a namespace's root in the picture."""
    return f"credential {namespace.name}"


def policy_node(policy: Policy) -> str:
    """The ID of a policy's CA in the picture."""
    return f"policy {policy.namespace}/{policy.name}"


def retired_node(ca: RetiredCa) -> str:
    """The ID of the CA of a deleted policy: another one may have the name by now."""
    return f"policy {ca.namespace}/{ca.policy}/{ca.number}"


def retired_root_node(ca: RetiredCa) -> str:
    """The ID of the root above it: that of its namespace, or one that was deleted as well."""
    deleted = "" if ca.root_at is None else f"/{ca.root_number}"
    return f"credential {ca.namespace}{deleted}"


def operational_node(device: str) -> str:
    """The ID of a device's operational certificate in the picture."""
    return f"operational {device}"


def holdings(lab: Lab) -> Holdings:
    """The devices that have an operational certificate, and that, by the CA that signed it."""
    found: dict[x509.Certificate, list[tuple[Device, x509.Certificate]]] = {}
    for device in lab.devices:
        held = device.operational.chain
        if len(held) > 1:
            found.setdefault(held[1], []).append((device, held[0]))
    return found


def retired(lab: Lab, held: Holdings) -> Iterator[RetiredCa]:
    """The CAs of deleted policies of which a device still has something."""
    return (ca for ca in lab.registry.namespaces.retired() if ca.certificate in held)


def _draw(graph: DiGraph[str], lab: Lab, namespace: Namespace, held: Holdings) -> None:
    root, node = namespace.credential.certificate, credential_node(namespace)
    synchronised = {policy.name: _in_hubs(lab, policy.certificate) for policy in namespace.policies}
    add_node(
        graph,
        node,
        kind="root-ca",
        label=chain.common_name(root),
        detail="credential · root",
        state=_ca_state(lab, root, any(synchronised.values())),
    )
    for policy in namespace.policies:
        certificate, below = policy.certificate, policy_node(policy)
        state = _ca_state(lab, certificate, bool(synchronised[policy.name]))
        add_node(
            graph,
            below,
            kind="intermediate-ca",
            label=chain.common_name(certificate),
            detail=f"policy · {policy.validity_days} days",
            state=state,
        )
        add_edge(graph, node, below, kind="signed")
        _draw_hub_cas(graph, below, synchronised[policy.name])
        _draw_leaves(graph, lab, below, held.get(certificate, ()), state)


def _draw_retired(graph: DiGraph[str], lab: Lab, ca: RetiredCa, held: Holdings) -> None:
    """The CA signs no more; a hub that knows it takes what it has signed as before."""
    root, node = retired_root_node(ca), retired_node(ca)
    hub_cas = _in_hubs(lab, ca.certificate)
    if root not in graph:
        label, said = chain.common_name(ca.root), "credential deleted"
        add_node(graph, root, kind="root-ca", label=label, detail=said, state="removed")
    elif hub_cas and graph.nodes[root]["state"] == "unknown":
        graph.nodes[root]["state"] = "trusted"
    label, said = chain.common_name(ca.certificate), "policy deleted"
    add_node(graph, node, kind="intermediate-ca", label=label, detail=said, state="removed")
    add_edge(graph, root, node, kind="signed")
    _draw_hub_cas(graph, node, hub_cas)
    state = _ca_state(lab, ca.certificate, bool(hub_cas))
    taken: StateKey = "untrusted issuer" if state == "unknown" else state  # no hub will learn of it
    _draw_leaves(graph, lab, node, held[ca.certificate], taken)


def _draw_hub_cas(graph: DiGraph[str], ca: str, hub_cas: Sequence[str]) -> None:
    for hub_ca in hub_cas:
        if hub_ca in graph:
            graph.nodes[hub_ca]["detail"] = SYNCHRONISED  # nobody had to prove anything
            add_edge(graph, ca, hub_ca, kind="uploaded", label=SYNCHRONISED)


def _draw_leaves(
    graph: DiGraph[str],
    lab: Lab,
    ca: str,
    leaves: Sequence[tuple[Device, x509.Certificate]],
    state: StateKey,
) -> None:
    """What is not over is in the ``state`` that its CA gives it."""
    for device, certificate in leaves:
        node, end = operational_node(device.name), certificate.not_valid_after_utc
        add_node(
            graph,
            node,
            kind="device",
            label=device.name,
            detail=f"valid to {end:%Y-%m-%d}",
            state="expired" if lab.clock.now() > end else state,
        )
        add_edge(graph, ca, node, kind="signed")


def _in_hubs(lab: Lab, ca: x509.Certificate) -> list[str]:
    """The nodes of this CA in the hubs that were synchronised."""
    return [
        f"hub ca {hub.name}/{entry.name}"
        for hub in lab.cloud.hubs
        for entry in hub.certificates
        if entry.certificate == ca
    ]


def _ca_state(lab: Lab, certificate: x509.Certificate, is_known: bool) -> StateKey:
    if lab.clock.now() > certificate.not_valid_after_utc:
        return "expired"
    return "trusted" if is_known else "unknown"
