"""CA certificates that were issued again under the same name. A CA that was renewed has several on
record; of others devices hold one, and the supply chain's records have another. The name does not
show the difference, so the picture shows each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from cryptography import x509

from labkit.cloud.dps.entries import X509Attestation
from labkit.pki import chain

if TYPE_CHECKING:
    from networkx import DiGraph

    from labkit.device import Device
    from labkit.lab import Lab
    from labkit.supplychain import CertificateAuthority


def ca_node(ca: CertificateAuthority[Device]) -> str:
    """The ID of a CA's certificate in the picture: ``ca Factory-Y/Factory-Y CA``, and ``ca
    Factory-Y/Factory-Y CA · renewal 1`` of the next one."""
    renewal = f" · renewal {ca.generation - 1}" if ca.generation > 1 else ""
    return f"ca {ca.custodian.name}/{ca.name}{renewal}"


def said_of(ca: CertificateAuthority[Device]) -> str:
    """Which certificate of a CA this is, in a few words; empty for the first."""
    if ca.generation == 1:
        return ""
    key = "first key" if ca.key.label == ca.name else "new key"
    return f"renewal {ca.generation - 1} · {key}"


@dataclass(frozen=True, slots=True)
class Reissued:
    """Another certificate of a recorded CA's name; ``node`` is its ID in the picture."""

    node: str
    certificate: x509.Certificate

    @property
    def name(self) -> str:
        """The CN of the CA."""
        return chain.common_name(self.certificate)


def reissued(lab: Lab) -> list[Reissued]:
    """Those that devices of the lab hold, in the order in which the devices were made."""
    recorded = [ca.certificate for party in lab.custodians for ca in party.authorities()]
    names = {certificate.subject for certificate in recorded}
    held = (ca for device in lab.devices for ca in device.chain[1:])
    others = (ca for ca in held if ca.subject in names and ca not in recorded)
    found: list[Reissued] = []
    for certificate in dict.fromkeys(others):
        same = sum(other.certificate.subject == certificate.subject for other in found)
        name = f"ca again {same + 1}/{chain.common_name(certificate)}"
        found.append(Reissued(name, certificate))
    return found


def vouching(
    recorded: Mapping[x509.Certificate, x509.Certificate | None],
    sent: Iterable[Sequence[x509.Certificate]],
) -> dict[x509.Certificate, x509.Certificate]:
    """What each CA's certificate hangs below: its issuer on record, or another certificate of the
    issuer's name and key where that was ``sent`` behind it. What was sent last decides. Roots hang
    below nothing."""
    found = {below: above for below, above in recorded.items() if above is not None}
    for path in sent:
        for below, above in pairwise(path):
            if below in found and above in recorded and chain.signed_by(below, above):
                found[below] = above
    return found


def ways_up(
    certificate: x509.Certificate, above: Mapping[x509.Certificate, x509.Certificate]
) -> Iterator[x509.Certificate]:
    """The certificates that it hangs below, in order. Two that vouch for one another end it."""
    seen = {certificate}
    while (certificate := above.get(certificate, certificate)) not in seen:
        seen.add(certificate)
        yield certificate


def mark_mismatch(
    graph: DiGraph[str], lab: Lab, group_id: str, sent: Sequence[x509.Certificate]
) -> None:
    """A visitor was refused because the group names another certificate of a name than was
    ``sent``: draws the link that is missing, from the group to the one that was sent."""
    group = lab.dps.enrollment_groups.find(group_id)
    if group is None or not isinstance(group.attestation, X509Attestation):
        return
    named = group.attestation.certificates
    for node, certificate in _all(lab):
        same_name = any(certificate.subject == other.subject for other in named)
        if certificate in sent and certificate not in named and same_name and node in graph:
            words = {"kind": "names", "broken": True, "label": "names another"}
            graph.add_edge(f"group {group.id}", node, **words)


def _all(lab: Lab) -> Iterator[tuple[str, x509.Certificate]]:
    """Every CA certificate in the picture."""
    for custodian in lab.custodians:
        yield from ((ca_node(ca), ca.certificate) for ca in custodian.authorities())
    yield from ((again.node, again.certificate) for again in reissued(lab))
