"""Devices with symmetric keys: their own, or derived from a group's. Signed by a foreign hand."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import forge
import pytest
from complaints import refused
from provisioning import Emulated, assigned, emulated, hmac_sha256, token

from labkit.cloud import codes, sas
from labkit.cloud.dps import attestation, symmetric_keys
from labkit.cloud.dps.entries import SymmetricKeyAttestation
from labkit.errors import LabError, ServiceRefusal

NAME = "widget-1"
KEY, OTHER = (base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2))


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Emulated]:
    with emulated(tmp_path / "cloud") as opened:
        yield opened


@pytest.mark.parametrize("key", [KEY, OTHER])
def test_either_key_of_an_individual_enrollment_admits(service: Emulated, key: str) -> None:
    service.dps.enrollments.create(NAME, keys=SymmetricKeyAttestation(KEY, OTHER))
    signed = token(f"{service.dps.id_scope}/registrations/{NAME}", key)
    record = assigned(service.dps.register(service.caller(NAME, token=signed)))
    assert (record.group_id, record.attestation) == ("", "symmetricKey")
    identity = service.cloud.hubs.get(record.assigned_hub).devices.get(NAME)
    assert (identity.authentication, identity.primary_key) == ("sas", KEY)
    assert KEY not in repr(identity), "a key is never shown"


@pytest.mark.parametrize("group_key", [KEY, OTHER])
def test_a_key_derived_from_the_groups_admits(service: Emulated, group_key: str) -> None:
    service.dps.enrollment_groups.create("fleet", keys=SymmetricKeyAttestation(KEY, OTHER))
    derived = hmac_sha256(group_key, NAME)
    signed = token(f"{service.dps.id_scope}/registrations/{NAME}", derived)
    record = assigned(service.dps.register(service.caller(NAME, token=signed)))
    assert record.group_id == "fleet"
    hub = service.cloud.hubs.get(record.assigned_hub)
    assert hub.devices.get(NAME).primary_key == hmac_sha256(KEY, NAME)


def test_the_device_connects_to_its_hub_with_the_same_key(service: Emulated) -> None:
    service.dps.enrollments.create(NAME, keys=SymmetricKeyAttestation(KEY, OTHER))
    record = assigned(service.dps.register(service.signing(NAME, KEY)))
    hub = service.cloud.hubs.get(record.assigned_hub)
    resource = f"{hub.host_name}/devices/{NAME}"
    nobody = service.caller(NAME).presented
    hub.connect(NAME, NAME, nobody, token(resource, OTHER))
    with refused(ServiceRefusal, "401003"):
        hub.connect(NAME, NAME, nobody, token(resource, hmac_sha256(KEY, "x")))
    with refused(ServiceRefusal, "401003"):
        hub.connect(NAME, NAME, nobody)


def test_several_groups_are_told_apart_by_the_key(service: Emulated) -> None:
    service.dps.enrollment_groups.create("one", keys=SymmetricKeyAttestation(KEY, KEY))
    service.dps.enrollment_groups.create("two", keys=SymmetricKeyAttestation(OTHER, OTHER))
    derived = hmac_sha256(OTHER, NAME)
    assert assigned(service.dps.register(service.signing(NAME, derived))).group_id == "two"


def test_the_group_key_itself_is_nobodys_key(service: Emulated) -> None:
    service.dps.enrollment_groups.create("fleet", keys=SymmetricKeyAttestation(KEY, OTHER))
    answer = service.refused(service.signing(NAME, KEY))
    assert answer == (codes.UNAUTHORIZED, sas.SIGNED)


def test_without_an_enrollment_the_token_admits_nobody(service: Emulated) -> None:
    answer = service.refused(service.signing(NAME, KEY))
    assert answer == (codes.UNAUTHORIZED, symmetric_keys.KEY_ENTRY)


def test_another_key_and_another_name_are_refused(service: Emulated) -> None:
    service.dps.enrollments.create(NAME, keys=SymmetricKeyAttestation(KEY, OTHER))
    wrong = base64.b64encode(bytes(32)).decode()
    assert service.refused(service.signing(NAME, wrong))[1] == sas.SIGNED
    elsewhere = f"{service.dps.id_scope}/registrations/somebody"
    assert service.refused(service.signing(NAME, KEY, resource=elsewhere))[1] == sas.SIGNED


def test_an_expired_token_is_refused_by_real_time(service: Emulated) -> None:
    """The lab's clock says 2027: a token is judged by the machine's."""
    service.dps.enrollments.create(NAME, keys=SymmetricKeyAttestation(KEY, OTHER))
    assert service.refused(service.signing(NAME, KEY, seconds=-5))[1] == sas.SIGNED
    assert "expired" in service.why()
    service.clock.advance(days=10_000)
    assert assigned(service.dps.register(service.signing(NAME, KEY))).device_id == NAME


@pytest.mark.parametrize("kind", ["enrollments", "enrollment_groups"])
def test_a_disabled_entry_refuses_the_right_key(service: Emulated, kind: str) -> None:
    book, name = getattr(service.dps, kind), NAME if kind == "enrollments" else "fleet"
    book.create(name, keys=SymmetricKeyAttestation(KEY, OTHER))
    book.disable(name)
    key = KEY if kind == "enrollments" else hmac_sha256(KEY, NAME)
    answer = service.refused(service.signing(NAME, key))
    assert answer == (codes.UNAUTHORIZED, attestation.ENABLED)
    book.enable(name)
    assert assigned(service.dps.register(service.signing(NAME, key))).device_id == NAME


def test_a_token_for_an_enrollment_with_a_certificate_is_explained(service: Emulated) -> None:

    certificate = forge.device(NAME, None).certificate
    service.dps.enrollments.create(NAME, certificate=certificate)
    answer = service.refused(service.signing(NAME, KEY))
    assert answer == (codes.UNAUTHORIZED, symmetric_keys.KEY_ENTRY)


def test_a_bad_token_is_refused_when_it_connects(service: Emulated) -> None:
    """MQTT has a password for it: CONNACK 5 (azure-docs #69882)."""
    service.dps.enrollments.create(NAME, keys=SymmetricKeyAttestation(KEY, OTHER))
    service.dps.connect(service.signing(NAME, KEY), NAME)
    with refused(ServiceRefusal, "401002"):
        service.dps.connect(service.signing(NAME, hmac_sha256(KEY, "x")), NAME)


def test_keys_that_are_left_out_are_made_and_kept(service: Emulated) -> None:
    entry = service.dps.enrollments.create(NAME, keys=SymmetricKeyAttestation())
    assert isinstance(entry.attestation, SymmetricKeyAttestation)
    assert len(base64.b64decode(entry.attestation.primary_key)) == 32
    assert entry.attestation.primary_key != entry.attestation.secondary_key
    again = service.dps.enrollments.create(NAME, keys=SymmetricKeyAttestation())
    assert again == entry, "twice is harmless"
    assert entry.attestation.primary_key not in repr(entry)


@pytest.mark.parametrize("key", ["short", "bm9wZQ==", "%%%", "A" * 200])
def test_what_is_no_key_is_refused(service: Emulated, key: str) -> None:
    with refused(ServiceRefusal, "400004", "16 to 64 bytes in base64"):
        service.dps.enrollments.create(NAME, keys=SymmetricKeyAttestation(key, OTHER))


def test_an_entry_says_how_it_knows_the_device(service: Emulated) -> None:
    with refused(LabError, "one way to know"):
        service.dps.enrollments.create(NAME)
    with refused(LabError, "one way to know"):
        service.dps.enrollment_groups.create("fleet", ca="x", keys=SymmetricKeyAttestation())
