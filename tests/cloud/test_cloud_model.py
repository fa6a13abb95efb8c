"""Random back ends and devices against a plain model: dictionaries, and the rules in a few lines.

The model knows individual enrollments and groups with their certificates and keys, whether they
are enabled, and which devices are registered through what. After each step the service must hold
just what the model holds, and each device must be admitted or refused as the model says.
"""

from __future__ import annotations

import base64
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import forge
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from provisioning import HUBS, Emulated, hmac_sha256

from labkit.cloud.dps.entries import (
    CLIENT,
    SIGNING,
    Enrollment,
    EnrollmentGroup,
    SymmetricKeyAttestation,
    X509Attestation,
)
from labkit.errors import ServiceRefusal

ROOT = forge.ca("root")
LINES = {name: forge.ca(name, ROOT) for name in ("line-a", "line-b")}
NAMES = ("w-0", "w-1", "w-2", "w-3")
DEVICES = {(name, line): forge.device(name, LINES[line]) for name in NAMES for line in LINES} | {
    (name, "self"): forge.device(name, None) for name in NAMES
}
"""Each device with a certificate of either line, and with a self-signed one."""

KEYS = {name: base64.b64encode(name.encode() * 10).decode() for name in ("key-1", "key-2")}
GROUPS = ("g-0", "g-1")
SIGNERS = {**LINES, "root": ROOT}

names = st.sampled_from(NAMES)
individuals = st.sampled_from(NAMES[:2])
"""The other devices come through groups only, or random entries of their own would hide those."""
groups = st.sampled_from(GROUPS)
certificates = st.sampled_from(["line-a", "line-b", "self"])
keys = st.sampled_from(sorted(KEYS))
spelling = st.sampled_from([str.lower, str.upper])


@dataclass(frozen=True)
class Entry:
    """What the model knows of an entry: the certificates or the key that it names."""

    certificates: frozenset[str] = frozenset()
    key: str = ""
    enabled: bool = True


class Books(RuleBasedStateMachine):
    """One service and its model."""

    @initialize()
    def open(self) -> None:
        self.path = Path(tempfile.mkdtemp())
        self.service = Emulated(self.path, HUBS)
        self.service.trust(ROOT)
        self.enrollments: dict[str, Entry] = {}
        self.groups: dict[str, Entry] = {}
        self.registered: dict[str, str] = {}

    def teardown(self) -> None:
        self.service.cloud.close()
        shutil.rmtree(self.path)

    # ---- back ends

    @rule(name=individuals, of=certificates, second=st.none() | certificates, enabled=st.booleans())
    def put_enrollment(self, name: str, of: str, second: str | None, enabled: bool) -> None:
        named = frozenset({of, second} - {None})
        slots = [DEVICES[name, which].certificate if which else None for which in (of, second)]
        self._put(name, X509Attestation(CLIENT, *slots), Entry(named, "", enabled))  # type: ignore[arg-type]

    @rule(name=individuals, key=keys, enabled=st.booleans())
    def put_enrollment_with_keys(self, name: str, key: str, enabled: bool) -> None:
        attestation = SymmetricKeyAttestation(KEYS[key], KEYS[key])
        self._put(name, attestation, Entry(key=key, enabled=enabled))

    def _put(
        self, name: str, attestation: X509Attestation | SymmetricKeyAttestation, wanted: Entry
    ) -> None:
        status = "enabled" if wanted.enabled else "disabled"
        entry = Enrollment(name, attestation, provisioning_status=status)
        if name in self.enrollments:
            with pytest.raises(ServiceRefusal, match="409"):
                self.service.dps.enrollments.put(entry)
            etag = self.service.dps.enrollments.get(name).etag
            self.service.dps.enrollments.put(entry, etag)
        else:
            self.service.dps.enrollments.put(entry)
        self.enrollments[name] = wanted

    @rule(group=groups, signer=st.sampled_from(sorted(SIGNERS)), enabled=st.booleans())
    def put_group(self, group: str, signer: str, enabled: bool) -> None:
        status = "enabled" if enabled else "disabled"
        attestation = X509Attestation(SIGNING, SIGNERS[signer].certificate)
        entry = EnrollmentGroup(group, attestation, provisioning_status=status)
        etag = "*" if group in self.groups else ""
        taken = any(signer in e.certificates for g, e in self.groups.items() if g != group)
        if taken:
            with pytest.raises(ServiceRefusal, match="409"):
                self.service.dps.enrollment_groups.put(entry, etag)
            return
        self.service.dps.enrollment_groups.put(entry, etag)
        self.groups[group] = Entry(frozenset({signer}), "", enabled)

    @rule(group=groups, key=keys, enabled=st.booleans())
    def put_group_with_keys(self, group: str, key: str, enabled: bool) -> None:
        status = "enabled" if enabled else "disabled"
        attestation = SymmetricKeyAttestation(KEYS[key], KEYS[key])
        entry = EnrollmentGroup(group, attestation, provisioning_status=status)
        self.service.dps.enrollment_groups.put(entry, "*" if group in self.groups else "")
        self.groups[group] = Entry(key=key, enabled=enabled)

    @rule(name=individuals, spelled=spelling, which=st.booleans())
    def switch_enrollment(self, name: str, spelled: type[str], which: bool) -> None:
        book = self.service.dps.enrollments
        self._switch(book.enable if which else book.disable, self.enrollments, name, spelled, which)

    @rule(group=groups, spelled=spelling, which=st.booleans())
    def switch_group(self, group: str, spelled: type[str], which: bool) -> None:
        book = self.service.dps.enrollment_groups
        self._switch(book.enable if which else book.disable, self.groups, group, spelled, which)

    def _switch(self, act, model, name, spelled, which) -> None:  # type: ignore[no-untyped-def]
        if name not in model:
            with pytest.raises(ServiceRefusal, match="404"):
                act(spelled(name))
            return
        act(spelled(name))
        model[name] = replace(model[name], enabled=which)

    @rule(name=individuals, stale=st.booleans())
    def delete_enrollment(self, name: str, stale: bool) -> None:
        self._delete(self.service.dps.enrollments, self.enrollments, name, stale)

    @rule(group=groups, stale=st.booleans())
    def delete_group(self, group: str, stale: bool) -> None:
        self._delete(self.service.dps.enrollment_groups, self.groups, group, stale)

    def _delete(self, book, model, name, stale) -> None:  # type: ignore[no-untyped-def]
        if name not in model or stale:
            with pytest.raises(ServiceRefusal, match="412" if name in model else "404"):
                book.delete(name, '"an older one"' if stale else "")
            return
        book.delete(name, book.get(name).etag)
        del model[name]

    @rule(name=names)
    def delete_record(self, name: str) -> None:
        if name in self.registered:
            self.service.dps.registrations.delete(name)
            del self.registered[name]

    @rule()
    def restart(self) -> None:
        """What was acknowledged is there after the process is gone."""
        self.service.cloud.close()
        self.service = Emulated(self.path, HUBS)

    # ---- devices

    @rule(name=names, which=certificates, whole=st.booleans(), spelled=spelling)
    def come_with_certificate(self, name: str, which: str, whole: bool, spelled: type[str]) -> None:
        sent = [DEVICES[name, which], *([LINES[which]] if whole and which in LINES else [])]
        caller = self.service.caller(spelled(name), *sent)
        self._come(name, caller, self._through(name, which, whole))

    @rule(line=st.sampled_from(sorted(LINES)))
    def the_fleet_comes(self, line: str) -> None:
        """Devices without entries of their own, with all that they should send."""
        for name in NAMES[2:]:
            caller = self.service.caller(name, DEVICES[name, line], LINES[line])
            self._come(name, caller, self._through(name, line, whole=True))

    def _through(self, name: str, which: str, whole: bool) -> str | None:
        """The group that admits the device, empty for its own entry, None for nobody."""
        reaches = which == "self" or whole
        if name in self.enrollments:
            own = self.enrollments[name]
            return "" if own.enabled and which in own.certificates and reaches else None
        if which == "self" or not whole:
            return None
        for signer in (which, "root"):
            for group, entry in self.groups.items():
                if signer in entry.certificates:
                    return group if entry.enabled else None
        return None

    @rule(name=names, key=keys)
    def come_with_own_key(self, name: str, key: str) -> None:
        own = self.enrollments.get(name)
        fits = own is not None and own.enabled and own.key == key
        self._come(name, self.service.signing(name, KEYS[key]), "" if fits else None)

    @rule(name=names, key=keys)
    def come_with_derived_key(self, name: str, key: str) -> None:
        caller = self.service.signing(name, hmac_sha256(KEYS[key], name))
        fitting = [g for g, e in sorted(self.groups.items()) if e.key == key and e.enabled]
        through = fitting[0] if fitting and name not in self.enrollments else None
        self._come(name, caller, through)

    def _come(self, name, caller, through) -> None:  # type: ignore[no-untyped-def]
        if through is None:
            with pytest.raises(ServiceRefusal, match="401"):
                self.service.dps.register(caller)
            return
        operation = self.service.dps.register(caller)
        assert operation.status == "assigned"
        assert operation.registration is not None
        assert operation.registration.group_id == through
        assert self.service.dps.operation(caller, operation.operation_id) == operation
        self.registered[name] = through

    # ---- what must hold

    @invariant()
    def the_books_agree(self) -> None:
        dps = self.service.dps
        assert [entry.id for entry in dps.enrollments] == sorted(self.enrollments)
        assert [entry.id for entry in dps.enrollment_groups] == sorted(self.groups)
        for book, model in (
            (dps.enrollments, self.enrollments),
            (dps.enrollment_groups, self.groups),
        ):
            for entry in book:  # type: ignore[attr-defined]
                assert entry.enabled == model[entry.id].enabled

    @invariant()
    def the_records_agree(self) -> None:
        found = {r.registration_id.lower(): r for r in self.service.dps.registrations}
        assert {name: r.group_id for name, r in found.items()} == self.registered
        for record in found.values():
            identities = [
                hub.host_name
                for hub in self.service.cloud.hubs
                for device in hub.devices
                if device.device_id == record.device_id
            ]
            assert identities == [record.assigned_hub], "in one hub, and only there"


Books.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestBooks = Books.TestCase
