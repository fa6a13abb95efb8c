"""CAs that are renewed: the same name, its own key or a new one, below the old root or another."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from complaints import refused
from foreign_tools import openssl_verify
from stories import CA, Story, enroll, open_lab, supply_chain

from labkit import Lab
from labkit.device import Device
from labkit.errors import BadRequest, Conflict, NotFound, ProvisioningFailed
from labkit.pki import chain

NAME = "smart-x-widget-001"


def labels(ca: CA) -> list[str]:
    return ca.custodian.token.key_labels


# ---- one CA


@pytest.mark.parametrize("new_key", [False, True])
def test_an_intermediate_is_renewed_by_who_signed_it(story: Story, new_key: bool) -> None:
    old = story.factory
    story.lab.clock.advance(days=100)
    new = old.renew(new_key=new_key)
    assert (new.name, new.generation) == (old.name, 2)
    assert (new.key.public_key() != old.key.public_key()) is new_key
    assert new.certificate.not_valid_after_utc > old.certificate.not_valid_after_utc
    assert new.chain[1:] == old.chain[1:]
    assert labels(new) == ["Factory-Y CA", "Factory-Y CA, key 2"][: 1 + new_key]
    assert all(new.custodian.token.key(one).attributes["NEVER_EXTRACTABLE"] for one in labels(new))


@pytest.mark.parametrize("new_key", [False, True])
def test_a_root_renews_itself_for_as_long_as_it_was_made_for(lab: Lab, new_key: bool) -> None:
    old = lab.custodian("Company-X").create_root_ca(lifetime=timedelta(days=1000))
    lab.clock.advance(days=900)
    new = old.renew(new_key=new_key)
    assert chain.is_self_signed(new.certificate)
    lifetime = new.certificate.not_valid_after_utc - new.certificate.not_valid_before_utc
    assert 1000 <= lifetime.days <= 1001
    assert new.certificate.subject == old.certificate.subject
    assert (new.key.public_key() != old.key.public_key()) is new_key


def test_with_the_same_key_what_was_signed_before_is_below_the_new_one_too(
    story: Story, tmp_path: Path
) -> None:
    new = story.company.renew()
    now, widget = story.lab.clock.now(), story.widget.chain
    assert openssl_verify(tmp_path, widget, [new.certificate], now) == ""


def test_with_a_new_key_it_is_not(story: Story, tmp_path: Path) -> None:
    new = story.company.renew(new_key=True)
    now, widget = story.lab.clock.now(), story.widget.chain
    assert openssl_verify(tmp_path, widget, [new.certificate], now) != ""


def test_twice_is_harmless_and_says_so(story: Story) -> None:
    first = story.factory.renew()
    assert story.factory.renew().certificate == first.certificate
    assert len(story.factory.custodian.authorities()) == 2
    assert story.lab.events.about(kind="again")[-1].text == "Factory-Y CA was renewed already"


def test_on_other_terms_it_is_another_one(story: Story) -> None:
    same, other = story.factory.renew(), story.factory.renew(new_key=True)
    assert [ca.generation for ca in (same, other)] == [2, 3]
    assert story.factory.renew().certificate == same.certificate
    assert story.factory.renew(new_key=True).certificate == other.certificate


def test_the_steps_of_the_story_still_find_what_they_made(story: Story) -> None:
    """Trainees run the first cells again, also after a renewal."""
    story.factory.renew()
    again = supply_chain(story.lab)
    assert again.factory.certificate == story.factory.certificate
    assert again.technician.certificate == story.technician.certificate


def test_a_renewed_ca_is_there_when_the_lab_is_opened_again(story: Story) -> None:
    path, new = story.lab.path, story.factory.renew(new_key=True)
    story.lab.close()
    with open_lab(path) as lab:
        found = lab.custodian("Factory-Y").authorities()
        assert [ca.generation for ca in found] == [1, 2]
        assert found[1].certificate == new.certificate
        assert found[1].make_device("w").chain[1] == new.certificate


def test_on_foot_another_certificate_for_the_same_request_is_the_next_generation(
    story: Story,
) -> None:
    """It used to be dropped without a word: the old one came back."""
    factory = story.factory.custodian
    csr = factory.request_ca("Factory-Y CA")
    sent = story.company.sign_ca(csr)
    new = factory.accept_ca(csr, sent)
    assert new.certificate == sent[0] != story.factory.certificate
    assert factory.accept_ca(csr, sent).generation == 2, "the same again is harmless"


def test_a_renewal_keeps_the_path_length(lab: Lab) -> None:
    company = lab.custodian("Company-X").create_root_ca()
    factory = company.sign_intermediate(lab.custodian("Factory-Y"), path_length=0)
    new = factory.renew()
    with refused(BadRequest, "may sign no further CA"):
        new.sign_intermediate(lab.custodian("Technician-Z"))


def test_who_has_expired_renews_nobody(story: Story) -> None:
    story.lab.clock.advance(days=3651)
    with refused(BadRequest, "cannot sign", "renew the CA"):
        story.factory.renew()
    root = story.company.renew()
    assert story.factory.renew(root).generation == 2


def test_a_ca_of_that_name_by_another_issuer_is_still_a_conflict_unless_it_is_renewed(
    story: Story,
) -> None:
    second = story.company.custodian.create_root_ca("Company-X Root CA 2")
    with refused(Conflict, "'Factory-Y CA' already", "ca.renew(issuer)"):
        second.sign_intermediate(story.factory.custodian)
    assert story.factory.renew(second).chain[1] == second.certificate


# ---- the ledger


def test_the_ledger_tells_generations_apart_and_counts_their_keys_once(story: Story) -> None:
    story.factory.renew()
    story.factory.renew(new_key=True)
    ledger = story.lab.ledger()
    signed = [entry for entry in ledger.signatures if entry.subject == "Factory-Y CA"]
    assert [entry.asker for entry in signed] == ["Factory-Y"] * 3
    named = [key.name for key in ledger.keys if key.owner == "Factory-Y"]
    assert named == ["Factory-Y CA", "Factory-Y CA, key 2"]


def test_a_device_is_reissued_on_its_retained_request_and_does_not_have_it_yet(
    story: Story,
) -> None:
    before = story.widget.chain
    issued = story.technician.reissue(NAME)
    assert story.widget.chain == before
    assert issued[0] != before[0]
    assert issued[0].public_key() == before[0].public_key()
    assert story.lab.ledger().chain_of(NAME)[0] == issued[0]
    assert story.lab.ledger().chain_of(story.widget)[0] == before[0]
    with refused(NotFound, "no device 'nobody'"):
        story.technician.reissue("nobody")


# ---- a whole supply chain moves below a new root


def test_a_new_root_new_intermediates_and_every_device_below_it(story: Story) -> None:
    """Lesson 13: the new root is verified before anybody needs it, and nobody is left out."""
    lab, old, fleet = story.lab, story.company, [story.widget]
    fleet += [story.technician.make_device(f"widget-{number}") for number in (2, 3)]
    for widget in fleet:
        widget.provision()
    new = old.custodian.create_root_ca("Company-X Root CA 2")
    factory = story.factory.renew(new, new_key=True)
    technician = story.technician.renew(factory, new_key=True)
    fleet[0].renew(technician)
    with pytest.raises(ProvisioningFailed):
        fleet[0].provision()
    enroll(lab, new, "company-x-2", "second")
    for widget in fleet:
        if widget is not fleet[0]:
            widget.renew(technician)
        assert widget.provision().status == "assigned"
        assert roots(lab, widget) == ["Company-X Root CA 2"]


def roots(lab: Lab, widget: Device) -> list[str]:
    return [chain.common_name(lab.ledger().chain_of(widget)[-1])]
