"""Devices that no CA signs: each signs its own certificates, with the key in its own token."""

from __future__ import annotations

from pathlib import Path

import pytest
from complaints import refused
from foreign_tools import openssl, openssl_verify
from stories import supply_chain

from labkit import Lab
from labkit.cloud.dps.entries import InitialTwin
from labkit.errors import BadRequest, Conflict, LabError, NotFound
from labkit.pki import chain

NAME = "prototype-1"


def test_openssl_takes_it_as_its_own_root_and_as_a_client(lab: Lab, tmp_path: Path) -> None:
    """An outsider's verdict on what the token signed: good for itself, and for nothing else."""
    own, other = (lab.self_signed_device(name).certificate for name in (NAME, "prototype-2"))
    assert openssl_verify(tmp_path, [own], [own], lab.clock.now()) == ""
    assert openssl_verify(tmp_path, [own], [other], lab.clock.now()) != ""


def test_openssl_sees_a_client_that_is_no_ca(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "own.pem").write_text(chain.to_pem(lab.self_signed_device(NAME).chain))
    said = openssl("x509", "-in", tmp_path / "own.pem", "-noout", "-text")
    assert "CA:FALSE" in said
    assert "TLS Web Client Authentication" in said
    assert said.count(f"CN = {NAME}") == 2, "subject and issuer are one"


def test_its_key_was_born_in_its_own_token_and_stays(lab: Lab) -> None:
    key = lab.self_signed_device(NAME).key
    assert key.token.label == NAME
    assert key.attributes["NEVER_EXTRACTABLE"]
    assert lab.ledger().could_impersonate(NAME) == ()


def test_asking_again_returns_it_and_says_so(lab: Lab) -> None:
    first = lab.self_signed_device(NAME)
    assert lab.self_signed_device(NAME).certificate == first.certificate
    assert lab.events.about(kind="again")[-1].text == f"{NAME} was there already"
    assert len(lab.ledger().signatures) == 1


def test_another_kind_of_key_is_a_conflict_and_so_is_another_spelling(lab: Lab) -> None:
    lab.self_signed_device(NAME)
    with refused(Conflict, "RSA-2048", "P-256"):
        lab.self_signed_device(NAME, algorithm="RSA-2048")
    with refused(Conflict, "upper and lower case"):
        lab.self_signed_device(NAME.upper())


def test_a_device_of_a_ca_is_not_one_that_signs_for_itself(lab: Lab) -> None:
    technician = supply_chain(lab, "widget-1").technician
    with refused(Conflict, "Technician-Z"):
        lab.self_signed_device("widget-1")
    lab.self_signed_device(NAME)
    with refused(Conflict, f"signed by {NAME}"):
        technician.make_device(NAME)


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "ends."])
def test_what_is_no_registration_id_makes_no_token(lab: Lab, name: str) -> None:
    before = lab._supply_chain.tokens.labels
    with pytest.raises((LabError, BadRequest)):
        lab.self_signed_device(name)
    assert lab._supply_chain.tokens.labels == before
    assert lab.devices == []


# ---- the spare


def test_the_spare_is_another_certificate_of_the_same_key(lab: Lab) -> None:
    """Made once, and not installed: the device sends its first until it is told otherwise."""
    device = lab.self_signed_device(NAME)
    spare = lab.spare_certificate(device)
    assert spare != device.certificate
    assert spare.public_key() == device.key.public_key()
    assert chain.is_self_signed(spare)
    assert lab.spare_certificate(NAME) == spare
    assert len(lab.ledger().signatures) == 2


def test_a_device_of_a_ca_has_no_spare(lab: Lab) -> None:
    widget = supply_chain(lab).widget
    with refused(LabError, "CN=Technician-Z CA", "sign_device"):
        lab.spare_certificate(widget)
    with pytest.raises(NotFound):
        lab.spare_certificate("nobody")


def test_device_and_spare_outlive_the_lab(lab: Lab) -> None:
    path = lab.path
    before = lab.self_signed_device(NAME).certificate, lab.spare_certificate(NAME)
    lab.close()
    with Lab.open(path) as again:
        assert (again.device(NAME).certificate, again.spare_certificate(NAME)) == before
        assert again.self_signed_device(NAME).key.attributes["SENSITIVE"]


def test_the_ledger_tells_who_signed_it(lab: Lab) -> None:
    lab.self_signed_device(NAME)
    (entry,) = lab.ledger().signatures
    assert str(entry) == f"{NAME} signed {NAME} with its own key"
    assert entry.cells["why"] == "its own"
    assert [str(put) for put in lab.ledger().injections(NAME)] == [f"{NAME} put in CN={NAME}"]


# ---- with the real SDK


def test_its_entry_is_all_that_it_needs_and_either_certificate_will_do(lab: Lab) -> None:
    """Microsoft's SDK, over TLS: no CA is uploaded; the hub takes both certificates, under the
    device ID of the entry, and the twin begins as the entry says."""
    device = lab.self_signed_device(NAME)
    spare = lab.spare_certificate(NAME)
    lab.dps.enrollments.create(
        NAME,
        certificate=device.certificate,
        secondary=spare,
        device_id="Desk-3",
        initial_twin=InitialTwin(tags={"room": "attic"}, desired={"interval": 60}),
    )
    assert device.provision().device_id == "Desk-3"
    device.install_chain([spare])
    device.connect().send({"n": 1})
    assert device.twin()["desired"] == {"interval": 60, "$version": 1}
    device.disconnect()
    assert device.provision().substatus == "reprovisionedToInitialAssignment"
    assert lab.hub().twin("Desk-3").tags == {"room": "attic"}
