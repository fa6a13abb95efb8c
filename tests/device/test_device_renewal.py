"""A device's next certificate: new key, request, chain, and the old pair until that one works."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from complaints import refused
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from foreign_tools import openssl_verify
from pkcs11.exceptions import PKCS11Error
from stories import Story, authority_of, found_again, open_lab

from labkit.device import Device, Issuer
from labkit.errors import BadCertificate, BadRequest, LabError, TokenError
from labkit.pki import chain, profiles
from labkit.pki.renewal import Renewal

NAME = "smart-x-widget-001"


def labels(device: Device) -> list[str]:
    return device.key.token.key_labels


def test_a_renewal_is_for_a_new_key_that_was_born_in_the_token_and_stays_there(
    story: Story, tmp_path: Path
) -> None:
    widget, old = story.widget, story.widget.certificate
    new = widget.renew(story.technician)
    assert new == widget.certificate
    assert new.public_key() != old.public_key()
    assert new.public_key() == widget.key.public_key()
    assert new.subject == old.subject
    attributes = widget.key.attributes
    assert attributes["SENSITIVE"]
    assert attributes["NEVER_EXTRACTABLE"]
    assert attributes["LOCAL"]
    now, root = story.lab.clock.now(), story.company.certificate
    assert openssl_verify(tmp_path, widget.chain, [root], now) == ""


def test_the_old_pair_stays_until_it_is_retired_and_then_nobody_signs_with_it(
    story: Story,
) -> None:
    widget, old, old_key = story.widget, story.widget.chain, story.widget.key
    widget.renew(story.technician)
    assert widget.reserve == old
    assert labels(widget) == ["identity", "identity 2"]
    widget.retire_reserve()
    widget.retire_reserve()
    assert widget.reserve == []
    assert labels(widget) == ["identity 2"]
    with pytest.raises(PKCS11Error):  # the handle leads nowhere
        old_key.sign(b"", ec.ECDSA(hashes.SHA256()))  # type: ignore[union-attr, arg-type]


def test_back_to_the_old_one_and_on_to_the_new_one_again(story: Story) -> None:
    widget, old = story.widget, story.widget.certificate
    new = widget.renew(story.technician)
    widget.use_reserve()
    assert (widget.certificate, widget.key.public_key()) == (old, old.public_key())
    widget.use_reserve()
    assert (widget.certificate, widget.key.public_key()) == (new, new.public_key())


def test_without_a_reserve_there_is_nothing_to_go_back_to(story: Story) -> None:
    with refused(LabError, "nothing in reserve", "renew first"):
        story.widget.use_reserve()


def test_a_renewed_device_is_the_same_in_a_lab_that_is_opened_again(story: Story) -> None:
    widget, path = story.widget, story.lab.path
    new = widget.renew(story.technician)
    story.lab.close()
    with open_lab(path) as lab:
        again = found_again(lab)
        assert again.widget.certificate == new
        assert again.widget.provision().status == "assigned"
        again.widget.retire_reserve()
    with open_lab(path) as lab:
        assert lab.device(NAME).key.label == "identity 2", "found without the first one"
        assert lab.device(NAME).provision().status == "assigned"


def test_what_one_ca_does_on_foot_can_be_done_in_two_steps(story: Story) -> None:
    asked = story.widget.request_certificate()
    assert asked.request.is_signature_valid
    issued = story.technician.issue(asked)
    story.widget.accept_certificate(issued)
    before = story.widget.reserve
    story.widget.accept_certificate(issued)
    assert story.widget.reserve == before, "twice is harmless"


def test_a_request_that_was_never_answered_leaves_no_key_behind(story: Story) -> None:
    first = story.widget.request_certificate().request.public_key()
    assert story.widget.request_certificate().request.public_key() == first
    other = story.widget.request_certificate(algorithm="P-384").request
    assert isinstance(other.public_key().curve, ec.SECP384R1)  # type: ignore[union-attr]
    story.widget.renew(story.technician)
    assert labels(story.widget) == ["identity", "identity 2"]


class Nobody:
    """An issuer that says no."""

    def issue(self, asked: Renewal, /) -> Sequence[x509.Certificate]:
        raise LabError("Not today", cure="ask tomorrow")


def test_where_the_issuer_says_no_the_device_is_as_it_was(story: Story) -> None:
    widget, before = story.widget, story.widget.chain
    nobody: Issuer = Nobody()
    with refused(LabError, "Not today"):
        widget.renew(nobody)
    assert (widget.chain, widget.reserve) == (before, [])


def test_a_chain_for_somebody_elses_key_is_not_taken(story: Story) -> None:
    other = story.technician.make_device("other")
    for wrong in (other.chain, story.technician.chain, []):
        with refused(BadCertificate, "no key of the device"):
            story.widget.accept_certificate(wrong)


def test_a_token_that_is_closed_renews_nothing(story: Story) -> None:
    widget = story.widget
    story.lab.close()
    with pytest.raises(LabError):
        widget.renew(story.technician)
    with pytest.raises(TokenError):
        widget.key.sign(b"", ec.ECDSA(hashes.SHA256()))  # type: ignore[union-attr, arg-type]


# ---- who may ask


def test_the_key_of_the_certificate_in_use_vouches_for_the_request(story: Story) -> None:
    """Anybody can make a CSR with a device's name. Only the device has its key."""
    thief = story.technician.make_device("thief")
    stolen_name = thief.request_certificate(NAME)
    with refused(BadRequest, "is not renewed", "by another key"):
        forged = Renewal(stolen_name.request, story.widget.certificate, stolen_name.proof)
        story.technician.issue(forged)


def test_a_proof_is_for_one_request_only(story: Story) -> None:
    first = story.widget.request_certificate()
    second = story.widget.request_certificate(algorithm="P-384")
    with refused(BadRequest, "is not renewed", "over another request"):
        story.technician.issue(Renewal(second.request, second.current, first.proof))


def test_a_device_does_not_get_the_name_of_another(story: Story) -> None:
    other = story.technician.make_device("other")
    with refused(LabError, "There is a device 'smart-x-widget-001' already"):
        other.renew(story.technician, common_name=NAME)


def test_an_expired_device_is_not_renewed_and_told_what_is_left_to_do(story: Story) -> None:
    story.lab.clock.advance(days=366)
    with refused(BadRequest, "is not renewed", "the request that was retained"):
        story.widget.renew(story.technician)


def test_a_stranger_is_not_renewed(story: Story) -> None:
    """A certificate of the right name, by the right CA, that is not in the ledger."""
    asked = story.widget.request_certificate()
    signer = authority_of(story.technician)
    unrecorded = signer.sign_request(asked.request, profiles.DEVICE)
    with refused(BadRequest, "No CA of this supply chain knows", "sign_device"):
        story.technician.issue(Renewal(asked.request, unrecorded, asked.proof))


def test_another_ca_may_renew_so_devices_move_below_it(story: Story) -> None:
    story.widget.renew(story.factory)
    assert [chain.common_name(one) for one in story.widget.chain] == [NAME, "Factory-Y CA"]
    assert story.widget.provision().status == "assigned"


def test_the_ledger_knows_the_second_certificate_its_issuer_and_its_asker(story: Story) -> None:
    new = story.widget.renew(story.technician)
    (entry,) = [one for one in story.lab.ledger().signatures if one.certificate == new]
    assert (entry.custodian, entry.ca, entry.asker) == ("Technician-Z", "Technician-Z CA", NAME)
    assert entry.request is not None
    assert entry.request.public_key() == new.public_key()
    found = story.lab._supply_chain.ledger.find(new.serial_number)
    assert found is not None
    assert abs((found.at - story.lab.clock.now()).total_seconds()) < 60


# ---- under another name: the mistake


def test_another_cn_makes_a_second_registration_record_and_leaves_the_first_behind(
    story: Story,
) -> None:
    widget, lab = story.widget, story.lab
    widget.provision()
    widget.renew(story.technician, common_name="smart-x-widget-1")
    assert widget.provision().device_id == "smart-x-widget-1"
    records = {record.registration_id for record in lab.dps.registrations}
    assert records == {NAME, "smart-x-widget-1"}
    assert {device.device_id for device in lab.hub().devices} == records


def test_and_the_same_cn_makes_none(story: Story) -> None:
    widget, lab = story.widget, story.lab
    widget.provision()
    widget.renew(story.technician)
    widget.provision()
    assert [record.registration_id for record in lab.dps.registrations] == [NAME]


def test_the_way_back_to_the_right_name_is_a_renewal_too(story: Story) -> None:
    widget = story.widget
    widget.renew(story.technician, common_name="smart-x-widget-1")
    assert widget.registration_id == "smart-x-widget-1"
    widget.renew(story.technician, common_name=NAME)
    assert widget.registration_id == NAME


def test_whoever_carries_a_copy_of_the_key_makes_no_request_in_its_name(story: Story) -> None:
    consignment = story.technician.pregenerate(["carried"])
    consignment.install()
    impostor = story.lab.impersonate("carried", "Technician-Z")
    with refused(LabError, "makes no request"):
        impostor.renew(story.technician)
