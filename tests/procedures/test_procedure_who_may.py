"""Random operators, devices and thieves: whoever may provision or connect is whom the model says.

The model is ``who_may_model``. Certificates are rolled, taken out, disabled and deleted, at DPS and
at the hub; CAs come and go, and so do days. Devices come with any certificate that they ever had,
which is just what a thief does. The services are asked by plain calls, and in a shorter run over
MQTT and TLS.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import ClassVar, Protocol

import forge
import pytest
from cryptography import x509
from dps_model import profile
from hub_world import Line
from hypothesis import event
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from provisioning import Emulated
from stories import eventually, write_device
from who_may_model import Certificate, Entry, WhoMay
from wire_clients import MqttClient, at_dps, hub_user, register, tls

from labkit import Lab
from labkit.clock import Clock
from labkit.cloud import Presented
from labkit.cloud.dps import ProvisioningService
from labkit.cloud.dps.book import EntryBook
from labkit.cloud.dps.entries import CLIENT, SIGNING, Enrollment, EnrollmentGroup, X509Attestation
from labkit.cloud.hub import Hub
from labkit.errors import ServiceRefusal
from labkit.pki import chain

ROOT = Certificate("root", None, -900, 250)
NEXT_ROOT = Certificate("next root", None, -900, 900)
EARLY = Certificate("early CA", ROOT, -900, 120)
LATER = Certificate("later CA", ROOT, -900, 400)
NEXT = Certificate("next CA", NEXT_ROOT, -900, 900)
CAS = (ROOT, NEXT_ROOT, EARLY, LATER, NEXT)

NAMES = ("w-0", "w-1", "w-2", "w-3")
LIFETIMES = {EARLY: (-1, 200), LATER: (30, 300), NEXT: (-1, 500), None: (-1, 365)}
DEVICES = tuple(Certificate(name, ca, *days) for name in NAMES for ca, days in LIFETIMES.items())
"""Each device's certificates, one after the other: below three CAs, and one that it signed."""

GROUPS = ("fleet", "old-fleet")

names = st.sampled_from(NAMES)
individuals = st.sampled_from(NAMES[:2])
"""The other devices come through groups only."""
groups = st.sampled_from(GROUPS)
cas, certificates = st.sampled_from(CAS), st.sampled_from(DEVICES)
slots = st.lists(st.sampled_from(tuple(LIFETIMES)), min_size=1, max_size=2, unique=True)
ca_slots = st.lists(cas, min_size=1, max_size=2, unique=True)
days = st.sampled_from((0, 0, 20, 45, 80, 100, 150, 270, 320))
choices = st.integers(0, 99)


@cache
def real(certificate: Certificate) -> forge.Forged:
    """The certificate itself, with its key."""
    make = forge.ca if certificate in CAS else forge.device
    issuer = real(certificate.issuer) if certificate.issuer else None
    return make(certificate.name, issuer, days=(certificate.begin, certificate.end))


def sent_with(certificate: Certificate) -> tuple[forge.Forged, ...]:
    """What a device sends in TLS: the root is left out."""
    issuer = certificate.issuer
    return (real(certificate), *([real(issuer)] if issuer else []))


class Services(Protocol):
    """A DPS, the hub behind it, and one way for devices to come to them."""

    dps: ProvisioningService
    hub: Hub
    clock: Clock

    def provision(self, certificate: Certificate) -> bool: ...
    def connect(self, certificate: Certificate) -> bool: ...
    def leave(self, name: str) -> None: ...
    def close(self) -> None: ...


class ByCalls:
    """In a folder of their own, without sockets."""

    def __init__(self) -> None:
        self._path = Path(tempfile.mkdtemp())
        self._emulated = Emulated(self._path, ("contoso-hub",))
        self.dps, self.clock = self._emulated.dps, self._emulated.clock
        self.hub = self._emulated.cloud.hubs.get("contoso-hub")
        self._lines: dict[str, Line] = {}

    def provision(self, certificate: Certificate) -> bool:
        try:
            self._emulated.register(certificate.name, *sent_with(certificate))
        except ServiceRefusal:
            return False
        return True

    def connect(self, certificate: Certificate) -> bool:
        name, line = certificate.name, Line()
        shown = Presented(tuple(forged.certificate for forged in sent_with(certificate)))
        try:
            self.hub.connect(name, name, shown, outlet=line)
        except ServiceRefusal:
            return False
        self._lines[name] = line
        return True

    def leave(self, name: str) -> None:
        self.hub.disconnected(name, self._lines[name])

    def close(self) -> None:
        self._emulated.cloud.close()
        shutil.rmtree(self._path)


class OverTheWire:
    """Those of a lab, over MQTT and TLS. What an earlier story left in them is taken away."""

    def __init__(self, lab: Lab, place: Path) -> None:
        self._lab, self._place = lab, place
        self.dps, self.hub, self.clock = lab.dps, lab.hub(), lab.clock
        self._clients: dict[str, MqttClient] = {}
        for book in (self.dps.enrollments, self.dps.enrollment_groups):
            for entry in list(book):
                book.delete(entry.id)
        for ca in list(self.dps.certificates):
            self.dps.certificates.delete(ca)
        for record in list(self.dps.registrations):
            self.dps.registrations.delete(record.registration_id)
        for identity in list(self.hub.devices):
            self.hub.devices.delete(identity.device_id)

    def provision(self, certificate: Certificate) -> bool:
        with self._dialled(certificate) as client:
            at_dps(client, self._lab, certificate.name)
            answer = register(client)
            assert "/res/200/" in answer.topic or "/res/401/" in answer.topic
            return "/res/200/" in answer.topic

    def connect(self, certificate: Certificate) -> bool:
        name, client = certificate.name, self._dialled(certificate)
        if client.enter(name, hub_user(self._lab, name)):
            client.socket.close()
            return False
        self._close(name)
        self._clients[name] = client
        return True

    def leave(self, name: str) -> None:
        self._close(name)
        eventually(lambda: name not in {one.device_id for one in self.hub.connected()})

    def close(self) -> None:
        for name in list(self._clients):
            self.leave(name)

    def _close(self, name: str) -> None:
        if client := self._clients.pop(name, None):
            client.socket.close()

    def _dialled(self, certificate: Certificate) -> MqttClient:
        shown = tuple(forged.certificate for forged in sent_with(certificate))
        files = write_device(self._place, real(certificate).key, shown)
        return MqttClient(self._lab, tls(self._lab, files.chain_file, files.key_file))


class Story(RuleBasedStateMachine):
    """The services beside their model."""

    open: ClassVar[Callable[[], Services]]

    @initialize(own=slots, ca=st.sampled_from((EARLY, LATER)))
    def begin(self, own: list[Certificate | None], ca: Certificate) -> None:
        """Two of the CAs are verified, entries of each kind are there, a group within another one
        among them, and some devices are at work: or nearly all would be strangers."""
        self.services, self.model = type(self).open(), WhoMay()
        self.time_passes(0)
        for root in (ROOT, NEXT_ROOT):
            self.verify(root)
        self.roll("w-0", own)
        self.roll_group("fleet", [ca])
        self.roll_group("old-fleet", [ROOT])
        for choice in range(0, 100, 30):
            self.somebody_comes_to_work(choice)

    def teardown(self) -> None:
        if hasattr(self, "services"):
            self.services.close()

    # ---- the operator, at DPS

    @rule(name=individuals, issuers=slots)
    def roll(self, name: str, issuers: list[Certificate | None]) -> None:
        """The device's own entry names these certificates from now on; it is made where it is not
        there."""
        named = tuple(Certificate(name, ca, *LIFETIMES[ca]) for ca in issuers)
        enabled = self._enabled(self.model.individuals, name)
        attestation = X509Attestation(CLIENT, *(real(slot).certificate for slot in named))
        entry = Enrollment(name, attestation, provisioning_status=_status(enabled))
        self._keep(self.services.dps.enrollments, entry)
        self.model.individuals[name] = Entry(named, enabled)

    @rule(group=groups, named=ca_slots)
    def roll_group(self, group: str, named: list[Certificate]) -> None:
        """The same for a group; a CA that another group names stays there."""
        others = (entry for name, entry in self.model.groups.items() if name != group)
        if any(set(named) & set(other.certificates) for other in others):
            return
        enabled = self._enabled(self.model.groups, group)
        attestation = X509Attestation(SIGNING, *(real(ca).certificate for ca in named))
        entry = EnrollmentGroup(group, attestation, provisioning_status=_status(enabled))
        self._keep(self.services.dps.enrollment_groups, entry)
        self.model.groups[group] = Entry(tuple(named), enabled)

    def _enabled(self, book: dict[str, Entry], name: str) -> bool:
        return book[name].enabled if name in book else True

    def _keep(self, book: EntryBook, entry: Enrollment | EnrollmentGroup) -> None:  # type: ignore[type-arg]
        book.put(entry, "*" if book.find(entry.id) else "")

    @rule(name=individuals, on=st.booleans(), choice=choices)
    def switch(self, name: str, on: bool, choice: int) -> None:
        if entry := self.model.individuals.get(name):
            book = self.services.dps.enrollments
            (book.enable if on else book.disable)(name)
            entry.enabled = on
            self._somebody_comes_below(entry.certificates, choice)

    @rule(group=groups, on=st.booleans(), choice=choices)
    def switch_group(self, group: str, on: bool, choice: int) -> None:
        if entry := self.model.groups.get(group):
            book = self.services.dps.enrollment_groups
            (book.enable if on else book.disable)(group)
            entry.enabled = on
            self._somebody_comes_below(entry.certificates, choice)

    @rule(name=individuals)
    def delete(self, name: str) -> None:
        if self.model.individuals.pop(name, None):
            self.services.dps.enrollments.delete(name)

    @rule(group=groups)
    def delete_group(self, group: str) -> None:
        if self.model.groups.pop(group, None):
            self.services.dps.enrollment_groups.delete(group)

    @rule(ca=cas)
    def verify(self, ca: Certificate) -> None:
        uploaded = self.services.dps.certificates.upload(
            _label(ca), real(ca).certificate, verified=True
        )
        assert uploaded.is_verified
        self.model.verified.add(ca)

    @rule(ca=cas, choice=choices)
    def remove(self, ca: Certificate, choice: int) -> None:
        if ca in self.model.verified:
            self.services.dps.certificates.delete(_label(ca))
            self.model.verified.remove(ca)
            self._somebody_comes_below([ca], choice)

    @rule(name=names)
    def forget(self, name: str) -> None:
        """A registration record that is deleted changes nothing for anybody."""
        if self.services.dps.registrations.find(name):
            self.services.dps.registrations.delete(name)

    # ---- the operator, at the hub

    @rule(name=names)
    def disable_identity(self, name: str) -> None:
        if name in self.model.identities:
            self.services.hub.devices.disable(name)
            self.model.disable_identity(name)

    @rule(name=names)
    def enable_identity(self, name: str) -> None:
        if name in self.model.identities:
            self.services.hub.devices.enable(name)
            self.model.identities[name].enabled = True

    @rule(name=names)
    def delete_identity(self, name: str) -> None:
        if name in self.model.identities:
            self.services.hub.devices.delete(name)
            self.model.delete_identity(name)

    # ---- time, devices and thieves

    @rule(day=days, choice=choices)
    def a_day_comes(self, day: int, choice: int) -> None:
        self.time_passes(day)
        self.somebody_named_comes(choice)

    def time_passes(self, day: int) -> None:
        """Noon of that day: nothing begins or ends then."""
        self.services.clock.set(forge.NOW + timedelta(days=day, hours=12))
        self.model.day = day

    @rule(certificate=certificates)
    def provision(self, certificate: Certificate) -> None:
        admitted = self.model.provision(certificate)
        assert self.services.provision(certificate) == admitted
        event(f"DPS {'admits' if admitted else 'refuses'}")

    @rule(choice=choices)
    def somebody_comes_to_work(self, choice: int) -> None:
        """A device that may provision does so, and goes to its hub. Who comes at random is mostly
        a stranger."""
        if fitting := [c for c in DEVICES if self.model.may_provision(c)]:
            self.provision(fitting[choice % len(fitting)])
            self.connect(fitting[choice % len(fitting)])

    @rule(choice=choices)
    def somebody_named_comes(self, choice: int) -> None:
        """Somebody whom an entry names, enabled or not."""
        entries = (*self.model.individuals.values(), *self.model.groups.values())
        named = [certificate for entry in entries for certificate in entry.certificates]
        self._somebody_comes_below(named, choice)

    def _somebody_comes_below(self, named: Iterable[Certificate], choice: int) -> None:
        """One of these, or a device below one, with a certificate that is valid."""
        wanted, day = set(named), self.model.day
        fitting = [c for c in DEVICES if wanted & {c, *c.issuers} and c.is_valid(day)]
        if fitting:
            self.provision(fitting[choice % len(fitting)])

    @rule(certificate=certificates)
    def connect(self, certificate: Certificate) -> None:
        admitted = self.model.connect(certificate)
        assert self.services.connect(certificate) == admitted
        hole = admitted and not self.model.may_provision(certificate)
        event(f"the hub {'admits' if admitted else 'refuses'}{' whom DPS would not' * hole}")

    @rule(choice=choices)
    def connect_somebody_known(self, choice: int) -> None:
        """With a certificate that an identity holds, whatever has become of that."""
        if held := [c for one in self.model.identities.values() for c in one.holds]:
            self.connect(held[choice % len(held)])

    @rule(name=names)
    def leave(self, name: str) -> None:
        if name in self.model.connected:
            self.services.leave(name)
            self.model.connected.remove(name)

    # ---- what must hold

    @invariant()
    def whoever_is_connected_stays_so_until_the_hub_says_otherwise(self) -> None:
        """Nothing that happens at DPS ends a connection, nor does a certificate that expires."""
        assert {one.device_id for one in self.services.hub.connected()} == self.model.connected

    @invariant()
    def the_hub_holds_what_the_model_holds(self) -> None:
        found = {one.device_id: (one.enabled, _held(one)) for one in self.services.hub.devices}
        assert found == {
            name: (identity.enabled, {chain.thumbprint(_x509(c)) for c in identity.holds})
            for name, identity in self.model.identities.items()
        }


def _x509(certificate: Certificate) -> x509.Certificate:
    return real(certificate).certificate


def _held(identity) -> set[str]:  # type: ignore[no-untyped-def]
    return {identity.thumbprint, identity.secondary_thumbprint} - {""}


def _status(enabled: bool) -> str:
    return "enabled" if enabled else "disabled"


def _label(ca: Certificate) -> str:
    return ca.name.replace(" ", "-")


class StoryByCalls(Story):
    open = ByCalls


StoryByCalls.TestCase.settings = profile(examples=6, steps=50)
TestWhoMay = StoryByCalls.TestCase


@pytest.mark.hypothesis
def test_over_the_wire_whoever_may_is_whom_the_model_says(lab: Lab, tmp_path: Path) -> None:
    class StoryOverTheWire(Story):
        @staticmethod
        def open() -> Services:  # type: ignore[override]
            return OverTheWire(lab, tmp_path / "devices")

    run_state_machine_as_test(
        StoryOverTheWire, settings=profile(examples=3, steps=40, shrink=False)
    )
