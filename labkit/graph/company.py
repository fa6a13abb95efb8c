"""The certificate authority of another company on the board: a tree of its own.

    enrollment group ──asks──> authority in DPS ──asks──> issuing CA ──signed──> client certificate
                                                 root CA ──signed──┘

A client certificate is what a device has got at its first boot, beside the one that it was made
with. The hub holds its thumbprint, and compares that alone: nobody has to trust these CAs, and no
entry of DPS names it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from cryptography import x509

from labkit.graph.kinds import add_edge, add_node
from labkit.pki import chain

if TYPE_CHECKING:
    from networkx import DiGraph

    from labkit.device import Device
    from labkit.graph.states import StateKey
    from labkit.lab import Lab
    from labkit.wire.certificate_service import ThirdPartyCa

ASKS = "asks"


def root_node(company: ThirdPartyCa) -> str:
    """The ID of its root in the picture."""
    return f"company {company.name}/root"


def ca_node(company: ThirdPartyCa) -> str:
    """The ID of the CA that signs for customers."""
    return f"company {company.name}/issuing"


def link_node(authority: str) -> str:
    """The ID of the authority as DPS has it."""
    return f"authority {authority}"


def client_node(device: Device) -> str:
    """The ID of a device's client certificate."""
    return f"client {device.name}"


def draw(graph: DiGraph[str], lab: Lab) -> None:
    """Adds the company, and what it has signed for devices; nothing where there is none."""
    for company in lab.third_parties:
        _draw_company(graph, company)
        for device, certificate in clients(lab, company):
            add_node(
                graph,
                client_node(device),
                kind="client-certificate",
                label=device.name,
                detail=f"client · to {certificate.not_valid_after_utc:%Y-%m-%d}",
                state=_state(lab, device, certificate),
            )
            add_edge(graph, ca_node(company), client_node(device), kind="signed")
        _draw_links(graph, lab, company)


def clients(lab: Lab, company: ThirdPartyCa) -> Iterator[tuple[Device, x509.Certificate]]:
    """The devices that have a client certificate of this company."""
    for device in lab.devices:
        found = device.operational.certificate
        if found is not None and found.issuer == company.certificate.subject:
            yield device, found


def _draw_company(graph: DiGraph[str], company: ThirdPartyCa) -> None:
    root, issuing = chain.common_name(company.root), chain.common_name(company.certificate)
    state: StateKey = "enabled" if company.running else "disabled"
    said = "its web service listens" if company.running else "its web service is down"
    whose = "another company's root CA"
    add_node(graph, root_node(company), kind="root-ca", label=root, detail=whose, state="unknown")
    add_node(
        graph, ca_node(company), kind="intermediate-ca", label=issuing, detail=said, state=state
    )
    add_edge(graph, root_node(company), ca_node(company), kind="signed")


def _draw_links(graph: DiGraph[str], lab: Lab, company: ThirdPartyCa) -> None:
    for authority in lab.dps.certificate_authorities:
        node, profile = link_node(authority.id), f"profile {authority.profile}"
        add_node(graph, node, kind="ca-link", label=authority.id, detail=profile, state="enabled")
        add_edge(graph, node, ca_node(company), kind="names", label=ASKS)
    for entry in (*lab.dps.enrollment_groups, *lab.dps.enrollments):
        for node in (f"group {entry.id}", f"enrollment {entry.id}"):
            if node in graph and entry.certificate_authority:
                graph.nodes[node]["detail"] = f"{ASKS} {entry.certificate_authority}"


def _state(lab: Lab, device: Device, certificate: x509.Certificate) -> StateKey:
    """By what the hub that has the device compares it with; an individual enrollment may have
    given it another name there."""
    now = lab.clock.now()
    if now > certificate.not_valid_after_utc:
        return "expired"
    if now < certificate.not_valid_before_utc:
        return "not yet valid"
    shown = {chain.thumbprint(certificate), chain.thumbprint_sha1(certificate)}
    name = device.assignment.device_id if device.assignment else chain.common_name(certificate)
    found = [hub.devices.find(name) for hub in lab.cloud.hubs]
    known = {
        thumbprint
        for each in found
        if each is not None
        for thumbprint in (each.credentials.thumbprint, each.credentials.secondary_thumbprint)
    }
    return "on record" if shown & known else "not on record"
