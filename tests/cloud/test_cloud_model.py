"""Random back ends and devices against a plain model (``dps_model``): by calls, without sockets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import forge
from dps_model import (
    ENROLLMENTS,
    GROUPS,
    KEYS,
    ROOT,
    Books,
    Came,
    Entry,
    Kind,
    profile,
)
from hypothesis.stateful import invariant
from provisioning import HUBS, Emulated

from labkit.cloud.dps.caller import Caller
from labkit.cloud.dps.entries import (
    CLIENT,
    SIGNING,
    Attestation,
    Enrollment,
    EnrollmentGroup,
    SymmetricKeyAttestation,
    X509Attestation,
)
from labkit.errors import ServiceRefusal


class Calls:
    """The service by plain calls."""

    def __init__(self, path: Path) -> None:
        is_new = not (path / "cloud.db").exists()
        self.emulated = Emulated(path, HUBS)
        self.dps = self.emulated.dps
        self.book = {ENROLLMENTS: self.dps.enrollments, GROUPS: self.dps.enrollment_groups}
        if is_new:
            self.emulated.trust(ROOT)

    def put(self, kind: Kind, name: str, entry: Entry, if_match: str) -> int:
        return code_of(self.book[kind].put, made(kind, name, entry), if_match)

    def switch(self, kind: Kind, name: str, on: bool) -> int:
        return code_of(self.book[kind].enable if on else self.book[kind].disable, name)

    def delete(self, kind: Kind, name: str, if_match: str) -> int:
        return code_of(self.book[kind].delete, name, if_match)

    def bulk(self, kind: Kind, mode: str, said: dict[str, tuple[Entry, str]]) -> dict[str, int]:
        entries = [replace(made(kind, n, entry), etag=etag) for n, (entry, etag) in said.items()]
        errors = {error.id: error.code for error in self.book[kind].bulk(mode, entries).errors}
        return {name: errors.get(name, 0) for name in said}

    def etag(self, kind: Kind, name: str) -> str:
        return str(self.book[kind].get(name).etag)

    def entries(self, kind: Kind) -> dict[str, bool]:
        return {entry.id: entry.enabled for entry in self.book[kind]}

    def records(self) -> dict[str, str]:
        return {r.registration_id.lower(): r.group_id for r in self.dps.registrations}

    def record_etag(self, name: str) -> str:
        found = self.dps.registrations.find(name)
        return found.etag if found else ""

    def delete_record(self, name: str, if_match: str) -> int:
        return code_of(self.dps.registrations.delete, name, if_match)

    def come(self, name: str, sent: tuple[forge.Forged, ...], key: str) -> Came:
        caller = self._caller(name, sent, key)
        try:
            operation = self.dps.register(caller)
        except ServiceRefusal as refusal:
            return Came(refusal.error.status)
        assert operation.status == "assigned"
        assert self.dps.operation(caller, operation.operation_id) == operation
        assert operation.registration is not None
        return Came(200, operation.registration.group_id, operation.registration.assigned_hub)

    def look_up(self, name: str, sent: tuple[forge.Forged, ...]) -> int:
        try:
            self.dps.lookup(self._caller(name, sent, ""))
        except ServiceRefusal as refusal:
            return refusal.error.status
        return 200

    def close(self) -> None:
        self.emulated.cloud.close()

    def _caller(self, name: str, sent: tuple[forge.Forged, ...], key: str) -> Caller:
        return self.emulated.signing(name, key) if key else self.emulated.caller(name, *sent)


def code_of(act, *arguments) -> int:  # type: ignore[no-untyped-def]
    """Azure's code where it is refused, else 0."""
    try:
        act(*arguments)
    except ServiceRefusal as refusal:
        return int(refusal.error.code)
    return 0


def made(kind: Kind, name: str, entry: Entry) -> Enrollment | EnrollmentGroup:
    """The entry as the service has it."""
    make, role = (Enrollment, CLIENT) if kind == ENROLLMENTS else (EnrollmentGroup, SIGNING)
    slots = [forged.certificate for forged in entry.slots(kind, name)]
    attestation: Attestation = X509Attestation(role, *slots)
    if entry.key:
        attestation = SymmetricKeyAttestation(KEYS[entry.key], KEYS[entry.key])
    return make(name, attestation, provisioning_status=entry.status)


class BooksByCalls(Books):
    """Also looked at from inside: each device is in one hub, and only there."""

    def face(self, path: Path) -> Calls:
        return Calls(path)

    @invariant()
    def the_hubs_agree(self) -> None:
        emulated = self.service.emulated  # type: ignore[attr-defined]
        for record in emulated.dps.registrations:
            identities = [
                hub.host_name
                for hub in emulated.cloud.hubs
                for device in hub.devices
                if device.device_id == record.device_id
            ]
            assert identities == [record.assigned_hub], "in one hub, and only there"


BooksByCalls.TestCase.settings = profile(examples=12, steps=40)
TestBooks = BooksByCalls.TestCase
