"""The ledger: nothing leaves a CA that is not in it, and no serial number is in it twice."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from complaints import refused
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from stories import CA, Story

from labkit import Lab
from labkit.errors import Conflict, LabError
from labkit.pki import chain, profiles, request
from labkit.supplychain.ledger import DeviceRow, Ledger, SerialTaken, Signed, Simulated


def ledger_of(lab: Lab) -> Ledger:
    return lab._supply_chain.ledger


def csr_for(name: str) -> x509.CertificateSigningRequest:
    key = ec.generate_private_key(ec.SECP256R1())
    return (
        x509.CertificateSigningRequestBuilder()
        .subject_name(request.name(name))
        .sign(key, hashes.SHA256())
    )


def drawing(monkeypatch: pytest.MonkeyPatch, *serials: int) -> None:
    """The next serial numbers, in place of random ones; the last for ever."""
    rest = list(serials)
    monkeypatch.setattr(x509, "random_serial_number", lambda: rest.pop(0) if rest[1:] else rest[0])


# ---- what is in it


def test_each_signature_is_in_it_with_issuer_request_and_certificate(story: Story) -> None:
    *found, proof = ledger_of(story.lab).issued()
    assert proof.issuer == "Company-X/Company-X Root CA", "its proof of possession"
    assert [(entry.number, entry.issuer, entry.subject) for entry in found] == [
        (1, "Company-X/Company-X Root CA", "CN=Company-X Root CA"),
        (2, "Company-X/Company-X Root CA", "CN=Factory-Y CA"),
        (3, "Factory-Y/Factory-Y CA", "CN=Technician-Z CA"),
        (4, "Technician-Z/Technician-Z CA", "CN=smart-x-widget-001"),
    ]
    assert found[3].certificate == story.widget.certificate
    assert found[3].serial == story.widget.certificate.serial_number
    for entry in found:
        assert entry.request is not None
        assert entry.request.is_signature_valid
        assert entry.request.public_key() == entry.certificate.public_key()
    assert found[2].at <= found[3].at <= story.lab.clock.now(), "by the lab's clock"
    assert found[3].certificate.not_valid_before_utc <= found[3].at


def test_the_request_is_kept_byte_by_byte(story: Story) -> None:
    csr = csr_for("widget-of-a-team")
    signed = story.technician.sign_device(csr)
    entry = ledger_of(story.lab).find(signed[0].serial_number)
    assert entry is not None
    assert entry.request_der == csr.public_bytes(Encoding.DER)
    assert entry.der == signed[0].public_bytes(Encoding.DER)


def test_a_proof_of_possession_is_a_signature_like_any_other(story: Story) -> None:
    proof = story.company.prove_possession("A" * 48)
    entry = ledger_of(story.lab).find(proof.serial_number)
    assert entry is not None
    assert (entry.custodian, entry.subject) == ("Company-X", f"CN={'A' * 48}")


def test_it_is_read_in_portions_and_by_issuer(story: Story) -> None:
    ledger = ledger_of(story.lab)
    assert [entry.number for entry in ledger.issued(after=1, limit=2)] == [2, 3]
    factory = "Factory-Y/Factory-Y CA"
    assert [entry.number for entry in ledger.issued(issuer=factory)] == [3]
    assert ledger.issued(issuer="Factory-Y/Nobody") == []
    assert (ledger.count(), ledger.count(issuer=factory)) == (5, 1)
    assert ledger.find(1) is None


def test_two_cas_of_one_name_are_told_apart(lab: Lab) -> None:
    root = lab.custodian("Company-X").create_root_ca()
    for custodian in ("Factory-1", "Factory-2"):
        ca = root.sign_intermediate(lab.custodian(custodian), "Issuing CA")
        ca.make_device(f"widget-of-{custodian}")
    made = ledger_of(lab).issued()
    by_device = {e.subject: e for e in made if "widget" in e.subject}
    one, two = by_device["CN=widget-of-Factory-1"], by_device["CN=widget-of-Factory-2"]
    assert (one.issuer, two.issuer) == ("Factory-1/Issuing CA", "Factory-2/Issuing CA")
    assert one.thumbprint != two.thumbprint


# ---- no serial twice


def test_a_serial_that_was_used_is_drawn_again(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By whichever CA: an issuer and a serial name one certificate, RFC 5280, 4.1.2.2."""
    used = story.company.certificate.serial_number
    drawing(monkeypatch, used, used, 12345)
    widget = story.technician.make_device("another")
    assert widget.certificate.serial_number == 12345


def test_a_serial_that_is_twice_in_one_lot_is_drawn_again(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawing(monkeypatch, 7, 7, 8, 9)
    signed = story.technician._issuing.on_requests([csr_for("a"), csr_for("b")], profiles.DEVICE)
    assert [c.serial_number for c in signed] == [8, 9]
    assert [chain.common_name(c) for c in signed] == ["a", "b"]


def test_a_root_draws_again_as_well(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    drawing(monkeypatch, story.widget.certificate.serial_number, 4242)
    root = story.lab.custodian("Company-X").create_root_ca("Company-X Root CA 2")
    assert root.certificate.serial_number == 4242


def test_the_ledger_remembers_serials_across_a_crash(story: Story) -> None:
    """Another ledger over the same file, as another process would have it."""
    place = story.lab.path / "supply-chain.db"
    used = story.widget.certificate.serial_number
    ledger = Ledger(place)
    with refused(SerialTaken, f"{used:x}"):
        ledger.record(
            "Z", "Other CA", story.factory.certificate, story.lab.clock.now(), [Signed(used, b"")]
        )
    ledger.close()


def test_random_numbers_that_repeat_themselves_are_an_error_and_nothing_is_issued(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawing(monkeypatch, story.company.certificate.serial_number)
    before = ledger_of(story.lab).count()
    with refused(LabError, "random numbers repeat themselves"):
        story.technician.make_device("another")
    assert ledger_of(story.lab).count() == before
    assert ledger_of(story.lab).device("another") is None


def test_serials_have_twenty_octets_of_which_all_but_one_bit_are_random(story: Story) -> None:
    asked = request.make(story.widget.key, request.name("w")).public_bytes(Encoding.DER)
    made = story.technician._issuing.on_checked([asked] * 400, profiles.DEVICE)
    serials = [certificate.serial_number for certificate in made]
    seen_set, seen_clear = 0, 0
    for serial in serials:
        assert 0 < serial < 2**159
        seen_set, seen_clear = seen_set | serial, seen_clear | ~serial
    assert seen_set == 2**159 - 1
    assert seen_clear & (2**159 - 1) == 2**159 - 1


# ---- all or nothing


def record(ca: CA, lab: Lab, serials: list[int], *devices: DeviceRow | Simulated) -> None:
    entries = [Signed(serial, b"certificate", b"request") for serial in serials]
    own, now = ca.certificate, lab.clock.now()
    ledger_of(lab).record("Technician-Z", ca.name, own, now, entries, devices)


def test_many_signatures_are_recorded_or_none(story: Story) -> None:
    ledger = ledger_of(story.lab)
    before = ledger.count()
    record(story.technician, story.lab, [])
    record(story.technician, story.lab, [1, 2])
    assert ledger.count() == before + 2
    with refused(SerialTaken) as caught:
        record(story.technician, story.lab, [3, 2, 4, 4])
    assert caught.error.serials == {2, 4}
    assert ledger.count() == before + 2


def test_a_device_and_its_signature_are_recorded_together_or_not_at_all(story: Story) -> None:
    ledger = ledger_of(story.lab)
    before = ledger.count()
    for device in (
        DeviceRow("smart-x-widget-001", "Technician-Z/Technician-Z CA", ""),
        Simulated("one", "x"),
    ):
        with refused(Conflict, "made meanwhile"):
            record(story.technician, story.lab, [5], device, Simulated("ONE", "y"))
    assert ledger.count() == before
    assert ledger.device_like("one") == ""


def test_what_fails_while_it_is_written_is_taken_back(story: Story) -> None:
    """And the connection goes on: the next transaction is a new one."""
    ledger = ledger_of(story.lab)
    before = ledger.count()
    with pytest.raises(sqlite3.Error):
        record(story.technician, story.lab, [6], Simulated("one", object()))  # type: ignore[arg-type]
    record(story.technician, story.lab, [6])
    assert ledger.count() == before + 1


def test_a_signature_that_cannot_be_recorded_does_not_leave(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(ledger_of(story.lab)._database, "insert", full)
    with pytest.raises(sqlite3.OperationalError):
        story.technician.sign_device(csr_for("widget-of-a-team"))
    with pytest.raises(sqlite3.OperationalError):
        story.technician.make_device("another")
    assert "another" not in story.lab._supply_chain.device_names()


def test_the_file_is_for_its_owner_only(lab: Lab) -> None:
    place: Path = lab.path / "supply-chain.db"
    assert place.stat().st_mode & 0o077 == 0
