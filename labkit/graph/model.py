"""The lab's state as a graph: who signed whom, what the cloud knows, what was presented last."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from cryptography import x509

from labkit import ids
from labkit.cloud.dps import allocation, attestation, ca_client
from labkit.cloud.dps.entries import Attestation, Enrollment, X509Attestation
from labkit.graph import company, intruder, registry
from labkit.graph import servers as server_side
from labkit.graph.hub_lane import draw_hubs
from labkit.graph.kinds import add_edge, add_node, new_graph
from labkit.graph.reissued import ca_node, mark_mismatch, reissued, said_of, vouching, ways_up
from labkit.graph.removed import removed
from labkit.graph.states import StateKey
from labkit.graph.visits import Visits
from labkit.pki import chain, checks, verdict
from labkit.pki.request import describe_key
from labkit.trace import first_failure

if TYPE_CHECKING:
    from networkx import DiGraph

    from labkit.cloud.presentations import Presentation
    from labkit.cloud.refusals import Refusal
    from labkit.device import Device
    from labkit.lab import Lab


_UNFIT: Final = (
    *(checks.PURPOSE, checks.USAGE, checks.LEAF, checks.IS_CA, checks.PATH_LENGTH),
    *(checks.CRITICAL, checks.READABLE, checks.VERSION, checks.STRENGTH),
)
_FAULTS: Final[Mapping[str, StateKey]] = {
    **dict.fromkeys(_UNFIT, "unfit"),
    verdict.ISSUER: "untrusted issuer",
    verdict.SIGNATURE: "tampered",
    verdict.ANCHOR: "untrusted issuer",
    attestation.OWN_ENTRY: "not named",
    attestation.REGISTRATION_ID: "other name",
}
_NO_FAULT_OF_THE_DEVICE: Final = (
    *(allocation.HUB, allocation.CANDIDATE, allocation.WEBHOOK),
    *(ca_client.REACHED, ca_client.API_KEY, ca_client.PROFILE, ca_client.GRANTED),
)
"""It was admitted, and there was no hub for it, or nobody who signed."""


def of_lab(lab: Lab, *, servers: bool = False) -> DiGraph[str]:
    """The whole board of a lab, as :mod:`labkit.graph.kinds` describes it; with the ``servers``'
    certificates where that is asked for, or where they have had more than one root."""
    return _Board(lab, servers or server_side.are_shown(lab)).graph


class _Board:
    """Draws the nodes in the order of the supply chain, then the cloud's, then the links."""

    def __init__(self, lab: Lab, servers: bool) -> None:
        self._lab, self._now, self._servers = lab, lab.clock.now(), servers
        self._verified = lab.dps.certificates.verified()
        self._came = came = Visits(lab)
        self._last, self._stop = came.last, came.stop
        self._authorities = [ca for custodian in lab.custodians for ca in custodian.authorities()]
        self._certificates = [ca.certificate for ca in self._authorities]
        self._again = reissued(lab)
        self._certificates += [again.certificate for again in self._again]
        self._by_name: dict[x509.Name, list[x509.Certificate]] = {}
        for certificate in self._certificates:
            self._by_name.setdefault(certificate.subject, []).append(certificate)
        self._ids = {chain.thumbprint(ca.certificate): ca_node(ca) for ca in self._authorities}
        self._ids |= {chain.thumbprint(again.certificate): again.node for again in self._again}
        recorded = {ca.certificate: ca.issuer_certificate for ca in self._authorities}
        recorded |= {again.certificate: self._issuer(again.certificate) for again in self._again}
        self._above = vouching(recorded, self._chains_sent())
        self._faults = dict(self._faulty())
        connection = f"device {came.visitor(self._last)}" if self._last else ""
        self.graph = new_graph(*self._headline(), connection=connection)
        self._draw_authorities()
        self._draw_devices()
        self._draw_tokens()
        self._draw_dps()
        self._draw_hubs()
        registry.draw(self.graph, lab)
        self._draw_removed()
        company.draw(self.graph, lab)
        intruder.draw(self.graph, lab)
        if servers:
            server_side.draw(self.graph, lab)
        if self._last and self._stop and self._stop.name == attestation.ENTRY:
            mark_mismatch(self.graph, lab, self._stop.about, self._last.chain)

    def _headline(self) -> tuple[str, str]:
        if not self._lab.custodians and not self._lab.devices:
            return "An empty lab", "Nothing has been made yet."
        if not self._authorities and not self._lab.devices:
            return "No certificate yet", "There are tokens, and nobody has signed anything."
        if self._came.ended is not None:
            return "A connection ended in TLS", _end(self._came.ended)
        visit = self._last
        if visit is None:
            return "The supply chain", "No device has asked DPS for a hub yet."
        thief = intruder.behind(self._lab, visit)
        if visit.accepted and thief:
            return f"{thief} is taken for {visit.device}", "DPS cannot tell the two apart."
        if visit.accepted:
            return f"{visit.device} is provisioned", f"It sent {chain.names(visit.chain)}."
        failure = self._stop
        refused = f"{thief} is refused as {visit.device}" if thief else f"{visit.device} is refused"
        return refused, f"{failure.about}: {failure.why}." if failure else ""

    def _faulty(self) -> Iterator[tuple[str, StateKey]]:
        """The certificate that the last visitor was refused for, and what is wrong with it."""
        visit = self._last
        failure = self._stop
        if visit is None or failure is None or failure.name not in _FAULTS:
            return
        for certificate in visit.chain:
            if chain.subject(certificate) == failure.about:
                yield chain.thumbprint(certificate), _FAULTS[failure.name]

    def _draw_tokens(self) -> None:
        """A token whose owner is no CA yet; that of a CA is told of beside its certificate."""
        owners = {ca.custodian.name for ca in self._authorities}
        for custodian in self._lab.custodians:
            if custodian.name not in owners:
                add_node(
                    self.graph,
                    f"token {custodian.name}",
                    kind="token",
                    label=custodian.name,
                    detail=_held(custodian.token.key_labels),
                    state="locked",
                )

    def _draw_authorities(self) -> None:
        for ca in self._authorities:
            root = chain.is_self_signed(ca.certificate)
            kind = "root CA" if root else "intermediate CA"
            add_node(
                self.graph,
                self._id(ca.certificate),
                kind="root-ca" if root else "intermediate-ca",
                label=ca.name,
                detail=said_of(ca) or f"{kind} · token {ca.custodian.name}",
                state=self._ca_state(ca.certificate),
                presented=self._sent(ca.certificate),
            )
        for again in self._again:
            add_node(
                self.graph,
                again.node,
                kind="intermediate-ca",
                label=again.name,
                detail="intermediate CA · issued again",
                state=self._ca_state(again.certificate),
                presented=self._sent(again.certificate),
            )
        for below, issuer in self._above.items():
            self._link(issuer, self._id(below), below)

    def _draw_devices(self) -> None:
        for device in self._lab.devices:
            certificate, name = device.certificate, f"device {device.name}"
            add_node(
                self.graph,
                name,
                kind="device",
                label=device.name,
                detail=self._about(device),
                state=self._device_state(device.name, certificate),
                presented=True if device.name in self._came.latest else None,
            )
            issuer = self._issuer(certificate, device.chain)
            if issuer is not None:
                self._link(issuer, name, certificate)

    def _about(self, device: Device) -> str:
        """Its key and its chain; where servers are shown, which of them it trusts."""
        if self._servers:
            return server_side.trust_of(device)
        if device.registration_id != device.name:
            return f"goes by {device.registration_id}"
        key = describe_key(device.certificate.public_key())
        return f"{key} · {self._holding(device.chain)}"

    def _holding(self, held: Sequence[x509.Certificate]) -> str:
        """What a device lacks of its chain, the root aside; or how long its certificate lasts."""
        way_up = chain.climb(held[0], [*held, *self._certificates])
        whole = [ca for ca in way_up if not chain.is_self_signed(ca)]
        there = sum(ca in held for ca in whole)
        if there < len(whole):
            return f"holds {there} of {len(whole)} certificates"
        return f"valid to {held[0].not_valid_after_utc:%Y-%m-%d}"

    def _draw_dps(self) -> None:
        for entry in self._lab.dps.certificates:
            verified = entry.is_verified
            add_node(
                self.graph,
                f"entry {entry.name}",
                kind="ca-entry",
                label=entry.name,
                detail="possession proven" if verified else "waits for proof of possession",
                state="verified" if verified else "unverified",
            )
            if (known := self._known(entry.certificate)) is not None:
                add_edge(self.graph, known, f"entry {entry.name}", kind="uploaded")
        for group in self._lab.dps.enrollment_groups:
            add_node(
                self.graph,
                f"group {group.id}",
                kind="enrollment-group",
                label=group.id,
                detail="enrollment group",
                state="enabled" if group.enabled else "disabled",
            )
            for named in self._named(group.attestation):
                add_edge(self.graph, f"group {group.id}", named, kind="names")
        for enrollment in self._lab.dps.enrollments:
            self._draw_enrollment(enrollment)

    def _draw_enrollment(self, entry: Enrollment) -> None:
        """The entry, the device that it is for, and what it names in place of that device's
        certificate."""
        name, device = f"enrollment {entry.id}", self._came.known.get(ids.key(entry.id), "")
        add_node(
            self.graph,
            name,
            kind="enrollment",
            label=entry.id,
            detail=_proof(entry, self._came.latest.get(device)),
            state="enabled" if entry.enabled else "disabled",
        )
        for named in self._named(entry.attestation):
            add_edge(self.graph, name, named, kind="names", label="names")
        if device:
            self._link_entry(entry, name, device)

    def _link_entry(self, entry: Enrollment, name: str, device: str) -> None:
        """Whether the entry admits its device: a disabled one keeps it out, and one that names
        another certificate does not know it."""
        named, sent = _certificates(entry), self._lab.device(device).certificate
        label = "admits" if not named or sent in named else "not named"
        label = label if entry.enabled else "keeps out"
        broken = label != "admits"
        add_edge(self.graph, name, f"device {device}", kind="names", label=label, broken=broken)

    def _draw_hubs(self) -> None:
        away = {name for name, visit in self._came.latest.items() if not visit.accepted}
        arrived = {device.name for device in self._lab.devices} - away
        draw_hubs(self.graph, self._lab, self._came.registered, arrived, self._stop)

    def _draw_removed(self) -> None:
        """What is no longer there, in its lane: a deletion must not go unseen."""
        for thing in removed(self._lab):
            if thing.node not in self.graph:  # it may have been made again since
                add_node(
                    self.graph,
                    thing.node,
                    kind=thing.kind,
                    label=thing.name,
                    detail="deleted",
                    state="removed",
                )

    def _link(self, issuer: x509.Certificate, below: str, certificate: x509.Certificate) -> None:
        """A signature; broken where the last visitor left its issuer out and DPS lacks it."""
        if (known := self._known(issuer)) is None:
            return
        broken = bool(self._sent(certificate)) and self._sent(issuer) is False
        broken = broken and issuer not in self._verified and not self._last_was_accepted()
        # A root need not be sent: what is missing is that DPS knows it.
        label = "unknown" if broken and chain.is_self_signed(issuer) else ""
        add_edge(self.graph, known, below, kind="signed", broken=broken, label=label)

    def _issuer(
        self, certificate: x509.Certificate, held: Sequence[x509.Certificate] = ()
    ) -> x509.Certificate | None:
        """Of several with one name and key, the one that the device holds."""
        named = sorted(self._by_name.get(certificate.issuer, []), key=lambda ca: ca not in held)
        return next((ca for ca in named if chain.signed_by(certificate, ca)), None)

    def _chains_sent(self) -> Iterator[Sequence[x509.Certificate]]:
        """What the devices send, and at last what the last visitor sent. Where no name has two
        certificates, nobody could send another one, and nobody is asked."""
        if all(len(same) == 1 for same in self._by_name.values()):
            return
        yield from (device.chain for device in self._lab.devices)
        if self._last is not None:
            yield self._last.chain

    def _last_was_accepted(self) -> bool:
        return self._last is not None and self._last.accepted

    def _sent(self, certificate: x509.Certificate) -> bool | None:
        """Whether the last visitor sent it; None for what is not on that visitor's way up."""
        if self._last is None or not self._last.chain:
            return None
        if certificate in self._last.chain:
            return True
        return False if certificate in self._way_up(self._last.chain) else None

    def _way_up(self, sent: Sequence[x509.Certificate]) -> list[x509.Certificate]:
        return chain.climb(sent[0], [*sent, *self._certificates])

    def _ca_state(self, certificate: x509.Certificate) -> StateKey:
        if (ailing := self._ailing(certificate)) is not None:
            return ailing
        left_out = self._sent(certificate) is False and not self._last_was_accepted()
        if left_out and certificate not in self._verified and not chain.is_self_signed(certificate):
            return "not sent"
        way_up = (certificate, *ways_up(certificate, self._above))
        return "trusted" if any(ca in self._verified for ca in way_up) else "unknown"

    def _device_state(self, name: str, certificate: x509.Certificate) -> StateKey:
        if (ailing := self._ailing(certificate)) is not None:
            return ailing
        visit = self._came.latest.get(name)
        if visit is None:
            return "unknown"
        failure = self._came.failure(visit)
        well = visit.accepted or (failure and failure.name in _NO_FAULT_OF_THE_DEVICE)
        if not well:
            return "unknown"
        return "enrolled" if chain.is_self_signed(certificate) else "trusted"

    def _ailing(self, certificate: x509.Certificate) -> StateKey | None:
        """What is wrong with a certificate by itself, whoever sends it."""
        if (fault := self._faults.get(chain.thumbprint(certificate))) is not None:
            return fault
        if self._now > certificate.not_valid_after_utc:
            return "expired"
        return "not yet valid" if self._now < certificate.not_valid_before_utc else None

    def _id(self, certificate: x509.Certificate) -> str:
        return self._ids[chain.thumbprint(certificate)]

    def _known(self, certificate: x509.Certificate) -> str | None:
        return self._ids.get(chain.thumbprint(certificate))

    def _named(self, attestation: Attestation) -> Iterator[str]:
        """The CAs that an entry names, as DPS has them, else as the supply chain has them."""
        if not isinstance(attestation, X509Attestation):
            return
        wanted = {ids.key(reference) for reference in attestation.references}
        for uploaded in self._lab.dps.certificates:  # one that was deleted is in no picture
            if ids.key(uploaded.name) in wanted:
                yield f"entry {uploaded.name}"
        for signing in attestation.certificates:
            entries = (e for e in self._lab.dps.certificates if e.certificate == signing)
            entry = next(entries, None)
            known = f"entry {entry.name}" if entry else self._known(signing)
            if known is not None:
                yield known


def _end(refusal: Refusal) -> str:
    failure = first_failure(refusal.checks)
    why = f": {failure.why}" if failure else ""
    return f"{refusal.message[:1].upper()}{refusal.message[1:]}{why}. No service ever heard of it."


def _certificates(entry: Enrollment) -> tuple[x509.Certificate, ...]:
    found = entry.attestation
    return found.certificates if isinstance(found, X509Attestation) else ()


def _proof(entry: Enrollment, visit: Presentation | None) -> str:
    """What the one device has to show; of two certificates, which it has sent last."""
    named = _certificates(entry)
    if len(named) < 2:
        return f"one device · {'1 certificate' if named else 'symmetric key'}"
    sent = visit.chain[0] if visit and visit.chain else None
    if sent not in named:
        return "one device · 2 certificates"
    return f"sent the {'primary' if sent == named[0] else 'secondary'} of two"


def _held(keys: Sequence[str]) -> str:
    if len(keys) == 1:
        return f"token · key {keys[0]}"
    return f"token · {len(keys) or 'no'} keys"
