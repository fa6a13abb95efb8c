"""Looks up every node of a lab's picture: certificates, entries, hubs, identities."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from cryptography import x509

from labkit.cloud.dps.entries import Enrollment, EnrollmentGroup, SymmetricKeyAttestation
from labkit.cloud.hub.credentials import SAS, form_of
from labkit.graph import intruder
from labkit.graph.kinds import KIND_WORDS
from labkit.graph.reissued import Reissued, ca_node, reissued
from labkit.graph.removed import Removed, removed
from labkit.graph.servers import ENDPOINT, ISSUING, are_shown, node_of
from labkit.hsm.key_folder import FILE_KEYS
from labkit.pki import chain
from labkit.ui import company, registry
from labkit.ui.inspection import Inspection, certificate_facts

if TYPE_CHECKING:
    from labkit.cloud.certificates import CaCertificates
    from labkit.cloud.hub import Hub
    from labkit.cloud.hub.tables import DeviceIdentity
    from labkit.cloud.presentations import Presentation
    from labkit.device import Device
    from labkit.drill import Attacker
    from labkit.hsm import TokenKey
    from labkit.lab import Lab
    from labkit.supplychain import CertificateAuthority, Custodian

Fact = tuple[str, str]

_MOST_NAMED = 6


def inspect_all(lab: Lab, *, servers: bool = False) -> dict[str, Inspection]:
    """What there is to say about each node, by the node's ID in :mod:`labkit.graph.model`.

    A snapshot: it stays what it is when the lab goes on.
    """
    found = dict(_Inspector(lab).all())
    return found | dict(server_certificates(lab)) if servers or are_shown(lab) else found


class _Inspector:
    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._records = {record.registration_id: record for record in lab.dps.registrations}
        self._visits = [(s, v) for s in self._services() for v in lab.cloud.visits(s)]

    def all(self) -> Iterator[tuple[str, Inspection]]:
        for thing in removed(self._lab):  # first: what was made again since comes after it
            yield thing.node, _gone(thing)
        for custodian in self._lab.custodians:
            authorities = custodian.authorities()
            for ca in authorities:
                yield ca_node(ca), self._authority(ca)
            if not authorities:
                yield f"token {custodian.name}", _token(custodian)
        for again in reissued(self._lab):
            yield again.node, self._reissued(again)
        for device in self._lab.devices:
            yield f"device {device.name}", self._device(device)
        for attacker in self._lab.attackers:
            facts = tuple(_deeds(attacker, self._lab))
            yield intruder.node_of(attacker), Inspection(attacker.name, "attacker", facts)
        yield from company.inspections(self._lab)
        yield from registry.inspections(self._lab)
        yield from _uploaded(self._lab.dps.certificates, "entry ", KIND_WORDS["ca-entry"])
        yield from self._groups()
        for hub in self._lab.cloud.hubs:
            yield f"hub {hub.name}", self._hub(hub)
            yield from _uploaded(hub.certificates, f"hub ca {hub.name}/", KIND_WORDS["hub-ca"])
            yield from self._identities(hub)

    def _services(self) -> list[str]:
        return ["dps", *(hub.name for hub in self._lab.cloud.hubs)]

    def _authority(self, ca: CertificateAuthority[Device]) -> Inspection:
        facts = (
            ("private key", _kept(ca.key)),
            *certificate_facts(ca.certificate),
            *self._presented(ca.certificate),
        )
        return Inspection(ca.name, "CA certificate", facts, ca.certificate)

    def _reissued(self, again: Reissued) -> Inspection:
        facts = (
            ("issued again", "the same name as the CA on record, and another certificate"),
            *certificate_facts(again.certificate),
            *self._presented(again.certificate),
        )
        return Inspection(again.name, "CA certificate, issued again", facts, again.certificate)

    def _device(self, device: Device) -> Inspection:
        facts = (
            ("private key", _kept(device.key)),
            ("sends", chain.names(device.chain)),
            *self._assigned(device),
            ("trusts servers below", chain.names(device.trusted_roots)),
            *certificate_facts(device.certificate),
            *self._presented(device.certificate),
        )
        return Inspection(device.name, "device", facts, device.certificate)

    def _assigned(self, device: Device) -> Iterator[Fact]:
        record = self._records.get(device.name)
        if record is not None and record.assigned_hub:
            through = record.group_id or "its individual enrollment"
            yield "assigned to", f"{record.assigned_hub}, through {through}"

    def _presented(self, certificate: x509.Certificate) -> Iterator[Fact]:
        """Who sent it where, and with what outcome; of many devices, how many."""
        for service in self._services():
            where = "DPS" if service == "dps" else service
            visits = [v for s, v in self._visits if s == service and certificate in v.chain]
            if len(visits) > _MOST_NAMED:
                yield "presented", f"to {where} by {len(visits)} devices: {_outcomes(visits)}"
                continue
            for visit in visits:
                outcome = "accepted" if visit.accepted else "refused"
                yield "presented", f"to {where} by {visit.device}, which was {outcome}"

    def _groups(self) -> Iterator[tuple[str, Inspection]]:
        registrations = self._records.values()
        for group in self._lab.dps.enrollment_groups:
            count = sum(r.group_id == group.id for r in registrations)
            facts = (
                ("state", "enabled" if group.enabled else "disabled"),
                ("admits", _admitted(group)),
                ("chooses the hub by", group.allocation_policy or self._lab.dps.allocation_policy),
                ("assigned so far", f"{count} devices"),
            )
            title, kind = group.id, "enrollment group"
            yield f"group {group.id}", Inspection(title, kind, facts, group.certificate)
        for entry in self._lab.dps.enrollments:
            about = (
                ("state", "enabled" if entry.enabled else "disabled"),
                ("admits", f"{entry.id} alone, by {entry.proof}"),
                ("device ID", entry.device_id or f"{entry.id}, its registration ID"),
                *_thumbprints(entry),
            )
            found = Inspection(entry.id, "individual enrollment", about, entry.certificate)
            yield f"enrollment {entry.id}", found

    def _hub(self, hub: Hub) -> Inspection:
        facts = (
            ("host name", hub.host_name),
            ("linked to DPS", _linked(hub, self._lab)),
            ("device identities", str(len(hub.devices))),
            ("connected now", ", ".join(_here(hub)[:_MOST_NAMED]) or "nobody"),
            ("messages kept", str(hub.message_count())),
        )
        return Inspection(hub.name, "IoT hub", facts)

    def _identities(self, hub: Hub) -> Iterator[tuple[str, Inspection]]:
        here = set(_here(hub))
        for identity in hub.devices:
            facts = (
                ("device ID", identity.device_id),
                ("state", _state(identity)),
                ("connected", "yes" if identity.device_id in here else "no"),
                *_credentials(identity),
            )
            name = f"identity {hub.name}/{identity.device_id}"
            yield name, Inspection(identity.device_id, "device identity", facts)


def _outcomes(visits: Sequence[Presentation]) -> str:
    refused = sum(not visit.accepted for visit in visits)
    return f"{len(visits) - refused} accepted, {refused} refused"


def _uploaded(
    certificates: CaCertificates, place: str, kind: str
) -> Iterator[tuple[str, Inspection]]:
    """The CA certificates of DPS, or of a hub; ``place`` begins their IDs in the picture."""
    for entry in certificates:
        proof = "proven" if entry.is_verified else "not proven yet"
        facts = (("possession", proof), *certificate_facts(entry.certificate))
        yield f"{place}{entry.name}", Inspection(entry.name, kind, facts, entry.certificate)


def _here(hub: Hub) -> list[str]:
    return [presence.device_id for presence in hub.connected()]


def _state(identity: DeviceIdentity) -> str:
    if identity.enabled:
        return "enabled"
    return f"disabled: {identity.status_reason}" if identity.status_reason else "disabled"


def _credentials(identity: DeviceIdentity) -> Iterator[Fact]:
    """By what the hub knows a device. A symmetric key is not told."""
    if identity.authentication == SAS:
        yield "credential", "two symmetric keys, which the hub knows as well as the device"
        return
    held = identity.credentials
    thumbprint = held.thumbprint or held.secondary_thumbprint
    if not thumbprint:
        yield "credential", held.proof
        return
    yield "credential", f"the {form_of(thumbprint)} thumbprint of the device's certificate"
    yield "thumbprint", thumbprint
    if held.thumbprint and held.secondary_thumbprint:
        yield "or thumbprint", held.secondary_thumbprint


def _deeds(attacker: Attacker, lab: Lab) -> Iterator[Fact]:
    """What they have, how often it served them where, and how it went last."""
    for device in attacker.victims:
        key = "and its private key" if attacker.has_key_of(device) else "and no key"
        yield "has stolen", f"the certificates of {device}, {key}"
    for tally in lab.attempts.tallies(attacker.name):
        yield f"at {tally.where}", f"as {tally.device}: {tally.words}"
        last = lab.attempts.last(tally.service, tally.device)
        if last is not None and last.answer:
            yield "the last answer", last.answer


def server_certificates(lab: Lab) -> Iterator[tuple[str, Inspection]]:
    """The roots of the services, and the chain that clients are sent. The certificates live in
    real time, whatever the lab's clock says."""
    for root in lab.server.roots:
        holders = [d.name for d in lab.devices if root.certificate in d.trusted_roots]
        facts = (
            ("state", root.state),
            ("trusted by", ", ".join(holders) or "no device"),
            *certificate_facts(root.certificate),
        )
        yield node_of(root), Inspection(root.name, "root CA", facts, root.certificate)
    endpoint, issuing = lab.server.chain[:2]
    title, kind = chain.common_name(issuing), "issuing CA"
    yield ISSUING, Inspection(title, kind, tuple(certificate_facts(issuing)), issuing)
    title, facts = chain.common_name(endpoint), tuple(certificate_facts(endpoint))
    yield ENDPOINT, Inspection(title, "server certificate", facts, endpoint)


def _token(custodian: Custodian[Device]) -> Inspection:
    """Of a custodian who is no CA yet."""
    facts = (
        ("owner", custodian.name),
        ("opens with", "a PIN that only the owner knows (the lab keeps it: you play all parts)"),
        *(
            (f"key {label}", _kept(custodian.token.key(label)))
            for label in custodian.token.key_labels
        ),
    )
    return Inspection(custodian.name, "token", facts)


def _thumbprints(entry: Enrollment) -> Iterator[Fact]:
    """Two certificates may have the same name: what tells them apart is the thumbprint."""
    if isinstance(entry.attestation, SymmetricKeyAttestation):
        return
    slots = {"primary": entry.attestation.primary, "secondary": entry.attestation.secondary}
    for role, slot in slots.items():
        if isinstance(slot, x509.Certificate):
            yield f"{role} certificate", f"SHA-256 thumbprint {chain.thumbprint(slot)}"


def _linked(hub: Hub, lab: Lab) -> str:
    weights = {linked.name: linked.weight for linked in lab.dps.linked_hubs}
    if hub.name not in weights:
        return "no: nobody is assigned to it"
    return f"yes, with weight {weights[hub.name]}"


def _admitted(group: EnrollmentGroup) -> str:
    if isinstance(group.attestation, SymmetricKeyAttestation):
        return "devices with a key derived from the group's"
    return f"devices below {group.proof}"


def _kept(key: TokenKey) -> str:
    """Where a private key is, and whether it was ever elsewhere: the token itself knows."""
    if isinstance(key, FILE_KEYS):
        return "in a file of its flash: whoever reads that has a copy, and nobody misses it"
    said = key.attributes
    born = "where it was born" if said["LOCAL"] else "carried there from another token"
    stays = "it cannot leave" if said["NEVER_EXTRACTABLE"] else "copies of it can be made"
    return f"in token {key.token.label!r}, {born}; {stays}"


def _gone(thing: Removed) -> Inspection:
    when = f"{thing.event.at:%Y-%m-%d %H:%M:%S} by the lab's clock"
    return Inspection(thing.name, KIND_WORDS[thing.kind], (("deleted", when),))
