"""What there is to say about the certificate authority of another company."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from labkit.graph import company as drawn
from labkit.graph.kinds import KIND_WORDS
from labkit.pki import chain
from labkit.ui.inspection import Inspection, certificate_facts

if TYPE_CHECKING:
    from labkit.lab import Lab
    from labkit.wire.certificate_service import ThirdPartyCa


def inspections(lab: Lab) -> Iterator[tuple[str, Inspection]]:
    """For each node of :mod:`labkit.graph.company`."""
    for company in lab.third_parties:
        yield from _cas(company)
        for device, certificate in drawn.clients(lab, company):
            facts = (
                ("private key", "in the device's token, beside the one that it was made with"),
                ("sends", chain.names(device.operational.chain)),
                *certificate_facts(certificate),
            )
            kind = KIND_WORDS["client-certificate"]
            yield drawn.client_node(device), Inspection(device.name, kind, facts, certificate)
    for authority in lab.dps.certificate_authorities:
        facts = (
            ("kind", authority.kind),
            ("profile", authority.profile),
            ("API key", "kept in DPS, and never shown"),
        )
        kind = KIND_WORDS["ca-link"]
        yield drawn.link_node(authority.id), Inspection(authority.id, kind, facts)


def _cas(company: ThirdPartyCa) -> Iterator[tuple[str, Inspection]]:
    for node, certificate in (
        (drawn.root_node(company), company.root),
        (drawn.ca_node(company), company.certificate),
    ):
        facts = (
            ("private key", f"in a token of {company.name}"),
            *certificate_facts(certificate),
        )
        name = chain.common_name(certificate)
        yield node, Inspection(name, "another company's CA certificate", facts, certificate)
