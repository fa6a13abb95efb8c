"""Who was turned away at the door of a hub, where that is the last that happened in the lab.

Of an ordinary day the picture shows what was sent to DPS. When a hub says no, it is about that:
who came, which certificates it sent, and which of them the hub did not like.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography import x509

from labkit.cloud.codes import HUB_UNAUTHORIZED
from labkit.cloud.hub import authentication
from labkit.graph.reissued import reissued
from labkit.graph.states import StateKey
from labkit.pki import chain, verdict
from labkit.trace import first_failure

if TYPE_CHECKING:
    from networkx import DiGraph

    from labkit.cloud.refusals import Refusal
    from labkit.lab import Lab
    from labkit.trace import Check

_FAULTS: Final[Mapping[str, StateKey]] = {
    authentication.THUMBPRINT: "not named",
    authentication.COMMON_NAME: "other name",
    verdict.ISSUER: "untrusted issuer",
}


@dataclass(frozen=True, slots=True)
class TurnedAway:
    """``hub`` is the hub's name, ``device_id`` what the visitor called itself, ``sent`` the
    chain that it sent, leaf first, and ``failure`` the check that decided."""

    hub: str
    device_id: str
    sent: tuple[x509.Certificate, ...]
    failure: Check

    @property
    def identity(self) -> str:
        """The node of the identity that it asked for."""
        return f"identity {self.hub}/{self.device_id}"


def turned_away(lab: Lab) -> TurnedAway | None:
    """The last visitor of the lab, where it was a hub that refused it."""
    services = ["dps", *(hub.name for hub in lab.cloud.hubs)]
    newest = [visit for service in services for visit in lab.cloud.visits(service)[:1]]
    last = max(newest, key=lambda visit: visit.seen, default=None)
    if last is None or last.accepted or last.service == "dps":
        return None
    refusal = _refusal(lab, last.device)
    failure = first_failure(refusal.checks) if refusal else None
    return TurnedAway(last.service, last.device, last.chain, failure) if failure else None


def _refusal(lab: Lab, device_id: str) -> Refusal | None:
    """What it was refused with at a hub's door; None where a connection ended in TLS since."""
    code, latest = str(HUB_UNAUTHORIZED.code), lab.cloud.refusals.last()
    told = lab.cloud.refusals.recent(device_id, service="hub")
    found = next((refusal for refusal in told if refusal.code == code), None)
    if found and latest and latest.service == "tls" and latest.number > found.number:
        return None
    return found


def draw(graph: DiGraph[str], lab: Lab, away: TurnedAway) -> None:
    """Makes the picture one of this visit: its headline, what was sent, and what is wrong."""
    why = f"{away.failure.about}: {away.failure.why}."
    graph.graph.update(title=f"{away.device_id} is refused by {away.hub}", caption=why)
    certificates = dict(ca_nodes(lab))
    device = _visitor(lab, away)
    _mark_sent(graph, certificates, away.sent)
    if device in graph:
        graph.graph["connection"] = device
        graph.nodes[device]["presented"] = bool(away.sent)
        graph.nodes[device]["state"] = _FAULTS.get(away.failure.name, graph.nodes[device]["state"])
    if away.failure.name == verdict.ISSUER:
        _mark_gap(graph, certificates, away.sent[-1], device)


def _visitor(lab: Lab, away: TurnedAway) -> str:
    """The node of the device that sent this chain, else of the one of that name."""
    leaf = away.sent[0] if away.sent else None
    named = (device.name for device in lab.devices if device.certificate == leaf)
    return f"device {next(named, away.device_id)}"


def ca_nodes(lab: Lab) -> Iterator[tuple[str, x509.Certificate]]:
    """The CA certificates of the supply chain, each with its node in the picture."""
    for custodian in lab.custodians:
        for ca in custodian.authorities():
            yield f"ca {custodian.name}/{ca.name}", ca.certificate
    yield from ((again.node, again.certificate) for again in reissued(lab))


def _mark_sent(
    graph: DiGraph[str],
    certificates: Mapping[str, x509.Certificate],
    sent: tuple[x509.Certificate, ...],
) -> None:
    """Which CAs were sent, and which on the way up from there were not."""
    way_up = chain.climb(sent[0], [*sent, *certificates.values()]) if sent else []
    for node, certificate in certificates.items():
        on_the_way = certificate in sent or certificate in way_up
        graph.nodes[node]["presented"] = certificate in sent if on_the_way else None


def _mark_gap(
    graph: DiGraph[str],
    certificates: Mapping[str, x509.Certificate],
    last: x509.Certificate,
    device: str,
) -> None:
    """The certificate at which the chain broke off, and the signature that led on from it."""
    below = next((node for node, found in certificates.items() if found == last), device)
    for node, certificate in certificates.items():
        if chain.signed_by(last, certificate) and graph.has_edge(node, below):
            graph.edges[node, below]["broken"] = True
            graph.nodes[node]["state"] = "not sent"
