"""The Device Registry in the picture: beside the supply chain's tree another one, of two tiers, and
below each policy's CA the devices that have something of it.

    credential ──signed──> policy's CA ──signed──> operational certificate of a device
                                └──synchronised──> CA certificate in the hub
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from labkit.cloud.adr.namespaces import Namespace
from labkit.cloud.adr.policies import Policy
from labkit.graph.kinds import add_edge, add_node
from labkit.graph.states import StateKey
from labkit.pki import chain

if TYPE_CHECKING:
    from cryptography import x509
    from networkx import DiGraph

    from labkit.device import Device
    from labkit.lab import Lab

SYNCHRONISED = "synchronised"


def draw(graph: DiGraph[str], lab: Lab) -> None:
    """Adds the CAs of each namespace that has any, and what devices hold of theirs. The hubs are
    drawn already."""
    for namespace in lab.registry.namespaces:
        if namespace.root is not None:
            _draw(graph, lab, namespace)


def credential_node(namespace: Namespace) -> str:
    """The ID of a namespace's root in the picture."""
    return f"credential {namespace.name}"


def policy_node(policy: Policy) -> str:
    """The ID of a policy's CA in the picture."""
    return f"policy {policy.namespace}/{policy.name}"


def operational_node(device: str) -> str:
    """The ID of a device's operational certificate in the picture."""
    return f"operational {device}"


def signed_by(lab: Lab, policy: Policy) -> Iterator[tuple[Device, x509.Certificate]]:
    """The devices whose operational certificate is of this policy's present CA."""
    for device in lab.devices:
        held = device.operational.chain
        if len(held) > 1 and held[1] == policy.certificate:
            yield device, held[0]


def _draw(graph: DiGraph[str], lab: Lab, namespace: Namespace) -> None:
    root, node = namespace.credential.certificate, credential_node(namespace)
    synchronised = {policy.name: list(_in_hubs(lab, policy)) for policy in namespace.policies}
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
        for hub_ca in synchronised[policy.name]:
            if hub_ca in graph:
                graph.nodes[hub_ca]["detail"] = SYNCHRONISED  # nobody had to prove anything
                add_edge(graph, below, hub_ca, kind="uploaded", label=SYNCHRONISED)
        _draw_leaves(graph, lab, policy, state)


def _draw_leaves(graph: DiGraph[str], lab: Lab, policy: Policy, state: StateKey) -> None:
    """What is not over is taken as its CA is."""
    for device, certificate in signed_by(lab, policy):
        node, end = operational_node(device.name), certificate.not_valid_after_utc
        add_node(
            graph,
            node,
            kind="device",
            label=device.name,
            detail=f"valid to {end:%Y-%m-%d}",
            state="expired" if lab.clock.now() > end else state,
        )
        add_edge(graph, policy_node(policy), node, kind="signed")


def _in_hubs(lab: Lab, policy: Policy) -> Iterator[str]:
    """The nodes of this CA in the hubs that were synchronised."""
    for hub in lab.cloud.hubs:
        for entry in hub.certificates:
            if entry.certificate == policy.certificate:
                yield f"hub ca {hub.name}/{entry.name}"


def _ca_state(lab: Lab, certificate: x509.Certificate, is_known: bool) -> StateKey:
    if lab.clock.now() > certificate.not_valid_after_utc:
        return "expired"
    return "trusted" if is_known else "unknown"
