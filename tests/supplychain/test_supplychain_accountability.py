"""Who signed whom, who holds which private key, and who could have been the device."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from complaints import refused
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from foreign_tools import openssl_verify
from pkcs11 import Attribute
from stories import enroll, open_lab, supply_chain
from supply_stories import CARRIED, PARTNERS, bought, carried, everything
from test_supplychain_acquire import CN, O, written_by_hand
from test_supplychain_custodians import csr_for

from labkit import Lab
from labkit.device import Device
from labkit.device.flash import Flash
from labkit.errors import Conflict, LabError, NotFound
from labkit.hsm import TokenKey, transport
from labkit.pki import chain, request
from labkit.pki.identity import Identity
from labkit.supplychain.authority import CertificateAuthority


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab in which everything has happened. Only to be looked at."""
    with open_lab(tmp_path_factory.mktemp("told") / "lab") as lab:
        everything(lab)
        yield lab


def held_by(lab: Lab, custodian: str, device: str) -> TokenKey:
    """A custodian's copy of a device's key."""
    return lab.custodian(custodian).token.key(f"device {device}")


# ---- signatures


def test_the_ledger_says_who_signed_whom_for_whom(told: Lab) -> None:
    found = [str(entry) for entry in told.ledger().signatures]
    assert found == [
        "Example Trust Services Root signed Example Trust Services Root CA with its own key",
        "Example Trust Services Root signed Example Trust Services Issuing CA with "
        "Example Trust Services Root CA, on a request of Example Trust Services",
        "Example Trust Services signed Company-X CA with Example Trust Services Issuing CA, "
        "on a request of Company-X",
        "Company-X signed Company-X Root CA with its own key",
        "Company-X signed Factory-Y CA with Company-X CA, on a request of Factory-Y",
        "Factory-Y signed Technician-Z CA with Factory-Y CA, on a request of Technician-Z",
        "Technician-Z signed widget-all with Technician-Z CA, on a request of widget-all",
        "Technician-Z signed widget-none with Technician-Z CA, on a request of widget-none",
        "Company-X signed widget-of-the-root with Company-X Root CA, "
        "on a request of widget-of-the-root",
        "Company-X signed carried-1 with Company-X CA, on a request of Company-X",
        "Company-X signed carried-2 with Company-X CA, on a request of Company-X",
        "Company-X signed a verification certificate with Company-X CA, to prove possession",
    ]


def test_each_entry_has_its_certificate_and_a_request_for_the_same_key(told: Lab) -> None:
    """By cryptography, and not by names: the request's signature is the asker's."""
    entries = told.ledger().signatures
    for entry in entries:
        assert entry.request is not None
        assert entry.request.is_signature_valid
        assert entry.request.public_key() == entry.certificate.public_key()
    on_record = {entry.certificate for entry in entries}
    for custodian in told.custodians:
        assert {ca.certificate for ca in custodian.authorities()} <= on_record
    assert {device.certificate for device in told.devices} <= on_record


def test_a_device_from_outside_is_told_apart(lab: Lab) -> None:
    company = lab.custodian("Company-X").create_root_ca()
    company.sign_device(csr_for("stranger"))
    last = lab.ledger().signatures[-1]
    assert str(last).endswith("on a request of somebody who says to be stranger")
    assert "stranger" not in [key.name for key in lab.ledger().keys]


def test_an_asker_is_who_has_the_key_and_not_whom_a_request_names(lab: Lab) -> None:
    """Requests in the name of a technician, and of devices that the lab makes later on."""
    story = supply_chain(lab)
    subject = ((O, "Technician-Z"), (CN, "Technician-Z CA"))
    story.factory.sign_ca(written_by_hand(subject))
    for name in ("mine", "sim"):
        story.technician.sign_device(csr_for(name))
    story.technician.make_device("mine")
    story.technician.make_devices(["sim"], keys="memory")
    assert [entry.asker for entry in lab.ledger().signatures[-5:]] == [
        "somebody who says to be Technician-Z",
        "somebody who says to be mine",
        "somebody who says to be sim",
        "mine",
        "sim",
    ]


def test_a_name_that_is_taken_is_not_signed_for_another_key(lab: Lab) -> None:
    """Of a device, of one of a fleet, and of one whose key is on its way; in either case."""
    company = lab.custodian("Company-X").create_root_ca()
    made = company.make_device("made")
    company.make_devices(["sim"], keys="memory")
    company.pregenerate(["w"])
    before = lab._supply_chain.ledger.count()
    for name in ("made", "MADE", "sim", "w", "W"):
        with refused(Conflict, "There is a device"):
            company.sign_device(csr_for(name))
    assert lab._supply_chain.ledger.count() == before
    again = company.sign_device(request.make(made.key, request.name("made")))
    assert again[0].public_key() == made.certificate.public_key()


def test_openssl_verifies_the_chain_that_answers_for_a_device(told: Lab, tmp_path: Path) -> None:
    """The whole of it, whatever the device holds: widget-none has one certificate less."""
    path = told.ledger().chain_of("widget-none")
    assert [chain.common_name(c) for c in path] == [
        "widget-none",
        "Technician-Z CA",
        "Factory-Y CA",
        "Company-X CA",
        "Example Trust Services Issuing CA",
        "Example Trust Services Root CA",
    ]
    assert openssl_verify(tmp_path, path[:-1], path[-1:], told.clock.now()) == ""
    assert len(told.device("widget-none").chain) == 2


# ---- private keys


def test_the_ledger_says_who_ever_held_which_private_key(told: Lab) -> None:
    holders = {key.name: key.holders for key in told.ledger().keys}
    assert holders == {
        "Example Trust Services Root CA": ("Example Trust Services Root",),
        "Example Trust Services Issuing CA": ("Example Trust Services",),
        "Company-X CA": ("Company-X",),
        "Company-X Root CA": ("Company-X",),
        "Factory-Y CA": ("Factory-Y",),
        "Technician-Z CA": ("Technician-Z",),
        "carried-1": ("Company-X", "Factory-Y", "Technician-Z", "carried-1"),
        "carried-2": ("Company-X", "Factory-Y", "Technician-Z", "carried-2"),
        "widget-all": ("widget-all",),
        "widget-none": ("widget-none",),
        "widget-of-the-root": ("widget-of-the-root",),
    }
    assert [key.copies for key in told.ledger().keys] == [0] * 6 + [3, 3, 0, 0, 0]


def test_what_is_on_record_is_what_the_tokens_hold(told: Lab) -> None:
    """Every private key in every token, counted: no copy that is not on record, and none on record
    that is not there. And each token knows whether a key was born in it."""
    tokens = [told.custodian(c.name).token for c in told.custodians]
    tokens += [device.key.token for device in told.devices]
    kept = [token.key(label) for token in tokens for label in token.key_labels]
    on_record = told.ledger().keys
    assert len(kept) == sum(len(key.holders) for key in on_record)
    born = [key for key in kept if key.attributes["LOCAL"]]
    assert len(born) == len(on_record)
    stay = [key for key in kept if key.attributes["NEVER_EXTRACTABLE"]]
    assert len(stay) == sum(key.copies == 0 for key in on_record)


def test_who_could_impersonate_a_device(told: Lab) -> None:
    ledger = told.ledger()
    assert ledger.could_impersonate("carried-1") == ("Company-X", *PARTNERS)
    assert ledger.could_impersonate(told.device("widget-all")) == ()
    with refused(NotFound, "no device 'nobody'"):
        ledger.could_impersonate("nobody")


@pytest.mark.parametrize("custodian", ["Company-X", *PARTNERS])
def test_a_custodians_copy_signs_as_the_device(told: Lab, custodian: str) -> None:
    """What the device's certificate verifies, a partner can sign."""
    key, certificate = held_by(told, custodian, "carried-1"), told.device("carried-1").certificate
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    public = certificate.public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    public.verify(key.sign(b"I am", ec.ECDSA(hashes.SHA256())), b"I am", ec.ECDSA(hashes.SHA256()))


def test_the_factorys_copy_provisions_as_the_device_and_dps_cannot_tell(
    lab: Lab, tmp_path: Path
) -> None:
    """Over real TLS: the device that DPS admits is in the factory's hands, the true one at home."""
    company = lab.custodian("Company-X").create_root_ca()
    enroll(lab, company)
    carried(company, lab)
    true = lab.device("carried-1")
    copy = Identity(held_by(lab, "Factory-Y", "carried-1"), tuple(true.chain))
    false = Device(copy, Flash(tmp_path, "carried-1"), lambda: lab.network, lab.events)
    assert false.provision().device_id == "carried-1"
    assert true.assignment is None
    assert [r.registration_id for r in lab.dps.registrations] == ["carried-1"]
    assert true.provision().device_id == "carried-1"


# ---- carried


def test_a_consignment_twice_is_harmless_and_survives_reopening(tmp_path: Path) -> None:
    with open_lab(tmp_path / "lab") as lab:
        company = lab.custodian("Company-X").create_root_ca()
        company.pregenerate(CARRIED).carry(lab.custodian("Factory-Y"))
        before = lab._supply_chain.ledger.count()
    with open_lab(tmp_path / "lab") as lab:
        again = lab.custodian("Company-X").authorities()[0].pregenerate(CARRIED)
        again.carry(lab.custodian("Company-X")).carry(lab.custodian("Factory-Y"))
        assert again.holders == ("Company-X", "Factory-Y")
        assert lab._supply_chain.ledger.count() == before
        assert len(lab.custodian("Factory-Y").token.key_labels) == 2
        first, second = again.install(), again.install()
        assert [device.name for device in first] == list(CARRIED)
        assert first == second
        assert [str(i) for i in lab.ledger().injections("carried-1")] == [
            "Factory-Y put in CN=carried-1"
        ]
        assert len(lab.events.about(kind="again")) == 3


def test_a_carry_that_was_cut_off_goes_on(lab: Lab) -> None:
    """On record before the copy is made: a crash in between leaves too many on record, not too
    few, and the next try makes the copy."""
    consignment = lab.custodian("Company-X").create_root_ca().pregenerate(CARRIED)
    factory, technician = (lab.custodian(name) for name in PARTNERS)
    lab._supply_chain.records.add_holder("carried-1", "Factory-Y")
    assert factory.token.key_labels == []
    consignment.carry(factory).carry(technician)
    for custodian in (factory, technician):
        assert custodian.token.key_labels == [f"device {name}" for name in CARRIED]


@pytest.mark.parametrize("next_is", ["carried on", "installed"])
def test_who_is_on_record_and_got_no_copy_is_passed_over(lab: Lab, next_is: str) -> None:
    """The crash came before the copy: it is taken from the last one who has the key."""
    consignment = lab.custodian("Company-X").create_root_ca().pregenerate(CARRIED)
    lab.custodian("Factory-Y")
    lab._supply_chain.records.add_holder("carried-1", "Factory-Y")
    if next_is == "carried on":
        technician = lab.custodian("Technician-Z")
        consignment.carry(technician)
        assert technician.token.key_labels == [f"device {name}" for name in CARRIED]
    device = consignment.install()[0]
    assert device.key.public_key() == device.certificate.public_key()
    last = "Technician-Z" if next_is == "carried on" else "Company-X"
    assert str(lab.ledger().injections("carried-1")[0]) == f"{last} put in CN=carried-1"


def test_a_key_that_nobody_has_any_more_is_told_and_nobody_is_its_holder(lab: Lab) -> None:
    company = lab.custodian("Company-X").create_root_ca()
    consignment, token = company.pregenerate(["w"]), company.custodian.token
    for half in list(token.session.get_objects({Attribute.LABEL: "device w"})):
        half.destroy()
    token._keys.clear()
    with refused(NotFound, "the private key of w any more", "Lab.open(..., fresh=True)"):
        consignment.carry(lab.custodian("Factory-Y"))
    assert lab.ledger().could_impersonate("w") == ("Company-X",)


@pytest.mark.parametrize(
    ("where", "step"), [(transport, "generate"), (CertificateAuthority, "_sign")]
)
def test_a_key_is_on_record_whenever_its_making_is_cut_off(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, where: object, step: str
) -> None:
    """With the key born, or signed too: its name is taken, its holder known, and it goes on."""
    company, real = lab.custodian("Company-X").create_root_ca(), getattr(where, step)

    def cut_off(*given: Any) -> None:
        real(*given)
        raise KeyboardInterrupt

    with monkeypatch.context() as crash:
        crash.setattr(where, step, cut_off)
        with pytest.raises(KeyboardInterrupt):
            company.pregenerate(["w"])
    born = held_by(lab, "Company-X", "w").public_key()
    assert lab.ledger().could_impersonate("w") == ("Company-X",)
    with refused(Conflict, "made beforehand"):
        company.make_device("w")
    with refused(NotFound, "has no copy"):
        lab.impersonate("w", by="Company-X")
    (device,) = company.pregenerate(["w"]).install()
    assert device.certificate.public_key() == device.key.public_key() == born


def test_a_copy_is_on_record_before_it_is_made(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever looks while it is copied finds the holder: no crash leaves one who is unknown."""
    consignment, seen = lab.custodian("Company-X").create_root_ca().pregenerate(["w"]), []
    real = transport.carry

    def watched(*given: Any, **more: Any) -> TokenKey:
        seen.append(lab.ledger().could_impersonate("w"))
        return real(*given, **more)

    monkeypatch.setattr(transport, "carry", watched)
    consignment.carry(lab.custodian("Factory-Y"))
    assert seen == [("Company-X", "Factory-Y")]


def test_a_carried_key_goes_no_further_than_its_device(told: Lab) -> None:
    """The device's token says so; in a partner's it may be carried on."""
    for name in CARRIED:
        assert told.device(name).key.attributes["SENSITIVE"]
        assert not told.device(name).key.attributes["EXTRACTABLE"]
        assert held_by(told, "Technician-Z", name).attributes["EXTRACTABLE"]


def test_nobody_becomes_a_custodian_of_a_name_that_waits_for_its_key(lab: Lab) -> None:
    """Their token would be the device's, and the key could never be put in."""
    consignment = lab.custodian("Company-X").create_root_ca().pregenerate(["w"])
    with refused(Conflict, "'w' is a device", "another name"):
        lab.custodian("w")
    assert [device.name for device in consignment.install()] == ["w"]


def test_names_that_are_taken_are_conflicts_on_either_side(lab: Lab) -> None:
    company = lab.custodian("Company-X").create_root_ca()
    other = lab.custodian("Other").create_root_ca()
    company.make_device("made")
    company.pregenerate(["carried-1"])
    with refused(Conflict, "'made' already", "Company-X/Company-X Root CA"):
        company.pregenerate(["free", "MADE"])
    with refused(Conflict, "a key for it", "'carried-1' of Company-X"):
        other.pregenerate(["carried-1"])
    for name in ("carried-1", "Carried-1"):
        with refused(Conflict, "made beforehand, in the token of Company-X"):
            company.make_device(name)
    with refused(LabError, "'one' is one name", "['one']"):
        company.pregenerate("one")
    with refused(LabError, "'Factory-Y' is no custodian", "carry(lab.custodian('Factory-Y'))"):
        company.pregenerate(["carried-1"]).carry("Factory-Y")  # type: ignore[arg-type]
    with refused(LabError, "cannot be a registration ID"):
        company.pregenerate(["no name"])
    assert company.custodian.token.key_labels == ["Company-X Root CA", "device carried-1"]
    assert "free" not in [key.name for key in lab.ledger().keys], "all or none"


# ---- registrations


def test_one_ca_against_n_thumbprints(lab: Lab) -> None:
    """The document's sum: what is to be registered, by CA and by device."""
    company = lab.custodian("Company-X").create_root_ca()
    for number in range(3):
        company.make_device(f"w-{number}")
    assert str(lab.ledger().registrations()) == "1 by CA, or 3 by thumbprint"
    other = lab.custodian("Other").create_root_ca()
    other.make_device("o")
    assert str(lab.ledger().registrations()) == "2 by CA, or 4 by thumbprint"
    assert lab.ledger().registrations(["w-0", lab.device("w-1")]).by_thumbprint == 2
    with refused(NotFound, "no device 'nobody'"):
        lab.ledger().registrations(["w-0", "nobody"])


def test_a_simulated_fleet_counts_too(lab: Lab) -> None:
    """It has certificates, and its keys were in no token: there is no custodian to hold one."""
    company = lab.custodian("Company-X").create_root_ca()
    company.make_devices([f"sim-{number}" for number in range(20)], keys="memory")
    assert str(lab.ledger().registrations()) == "1 by CA, or 20 by thumbprint"
    assert str(lab.ledger().signatures[-1]).endswith("on a request of sim-19")
    assert [key.name for key in lab.ledger().keys] == ["Company-X Root CA"]


def test_of_a_bought_ca_it_is_the_bought_one_that_is_registered(lab: Lab) -> None:
    """Two companies with one vendor are two registrations."""
    bought(lab).make_device("w")
    company, vendor = lab.custodian("Company-2"), lab.public_ca()
    csr = company.request_ca("Company-2 CA")
    issued = vendor.issue(vendor.vet(vendor.order(csr, organization="Company-2")))
    company.accept_ca(csr, issued).make_device("v")
    assert lab.ledger().registrations().by_ca == 2


# ---- what is shown


def test_what_is_shown_is_the_same_in_every_lab(told: Lab, tmp_path: Path) -> None:
    """Neither serial nor time nor key is in it: a lesson's output can be compared."""
    with open_lab(tmp_path / "lab", clock="2031-01-01") as lab:
        everything(lab)
        assert lab.ledger()._repr_mimebundle_() == told.ledger()._repr_mimebundle_()


def test_the_text_tells_the_copies(told: Lab) -> None:
    shown = repr(told.ledger())
    assert (
        "  carried-1: born in the token of Company-X, copied to Factory-Y, Technician-Z, carried-1"
        in shown.splitlines()
    )
    assert "  widget-all: born in the token of widget-all, and never elsewhere" in shown
    assert shown.endswith("  2 by CA, or 5 by thumbprint")


def test_the_table_escapes_what_people_called_things(lab: Lab) -> None:
    lab.custodian("<b>Evil & Co</b>").create_root_ca()
    shown = lab.ledger()._repr_mimebundle_()["text/html"]
    assert "<b>Evil" not in shown
    assert "&lt;b&gt;Evil &amp; Co&lt;/b&gt;" in shown


def test_an_empty_ledger_is_shown_too(lab: Lab) -> None:
    assert repr(lab.ledger()).endswith("0 by CA, or 0 by thumbprint")
    assert lab.ledger().signatures == ()


def test_a_long_ledger_is_cut_where_it_is_shown_only(lab: Lab) -> None:
    story = supply_chain(lab)
    for number in range(50):
        story.technician.sign_device(csr_for(f"w-{number}"))
    shown = repr(lab.ledger())
    assert "  … and 14 more" in shown.splitlines()
    assert len(lab.ledger().signatures) == 54
