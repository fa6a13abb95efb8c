"""Lesson 15: at which door who is let in, and the exercise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from cryptography import x509
from performing import Stage
from stories import CA

from labkit import Lab
from labkit.cloud.dps.entries import DISABLED, SymmetricKeyAttestation
from labkit.errors import ProvisioningFailed
from labkit.pki import chain
from labkit.scenarios.disallow import (
    ALONE,
    DELIVERY,
    GROUP,
    IN_A_HURRY,
    LEFT,
    RIGHT,
    STORY,
    TAKEN,
    THIEF,
    TO_DELETE,
    TO_RENEW,
    one_stolen,
)
from labkit.scenarios.papers import Papers
from labkit.ui.check import Report
from labkit.ui.performance import Performance


@pytest.fixture(scope="module")
def play(stage: Stage) -> Iterator[Performance]:
    with stage.played(STORY) as performance:
        yield performance


# ---- the story's promises


def test_the_thief_loses_dps_with_the_entry_and_the_hub_only_by_a_cure(play: Performance) -> None:
    hub, thief = play.lab.hub().name, play.lab.attacker(THIEF)
    stolen, hole = [("dps", True), (hub, True)], [("dps", False), (hub, True)]
    kept_out, despite_the_list = [("dps", False), (hub, False)], [("dps", True)]
    expected = {
        TO_DELETE: [*stolen, *despite_the_list, *hole, *kept_out, *kept_out],
        TO_RENEW: [*stolen, *hole, *kept_out],
    }
    for widget in IN_A_HURRY:
        tried = [(one.service, one.got_in) for one in thief.attempts if one.device == widget]
        assert tried == expected[widget]


def test_the_list_of_the_revoked_is_a_good_one(play: Performance) -> None:
    """DPS would have every reason to obey it."""
    revoked = x509.load_pem_x509_crl((Papers(play.lab) / "revoked.crl").read_bytes())
    signer = play.lab.custodian("Technician-Z").authorities()[0].certificate
    assert revoked.is_signature_valid(signer.public_key())  # type: ignore[arg-type]
    for name in IN_A_HURRY:
        number = play.lab.issued_chain(name)[0].serial_number
        assert revoked.get_revoked_certificate_by_serial_number(number) is not None


def test_in_the_end_every_widget_is_in_and_nobody_else(play: Performance) -> None:
    connected = {live.device_id for live in play.lab.hub().connected()}
    assert connected == {ALONE, *IN_A_HURRY}
    assert all(play.lab.device(name).connected for name in connected)


def test_the_stolen_certificates_are_in_no_entry_and_in_no_identity(play: Performance) -> None:
    for name in IN_A_HURRY:
        stolen = play.lab.issued_chain(name)[0]
        entry, identity = play.lab.dps.enrollments.get(name), play.lab.hub().devices.get(name)
        assert entry.enabled
        assert entry.certificate == play.lab.device(name).certificate != stolen
        assert identity.thumbprint == chain.thumbprint(play.lab.device(name).certificate)


def test_the_widget_of_its_own_entry_was_refused_twice_and_never_later(play: Performance) -> None:
    told = [event for event in play.frame.events if event.kind == "refused"]
    mine = [event.source for event in told if event.text.startswith(f"{ALONE} ")]
    assert mine == ["dps", "hub"]


# ---- the exercise


@dataclass(frozen=True)
class Delivered:
    """The exercise's lab as the trainee finds it: the thief is connected."""

    lab: Lab
    technician: CA

    def done(self, answer: object) -> int:
        return Report("exercise", answer, one_stolen(self.lab, answer)).done

    def block(self) -> None:
        own = self.lab.issued_chain(TAKEN)[0]
        self.lab.dps.enrollments.create(TAKEN, certificate=own, status=DISABLED)

    def let_the_thief_try(self) -> None:
        self.lab.attacker(THIEF).try_dps(TAKEN)
        self.lab.attacker(THIEF).try_hub(device=TAKEN)


@pytest.fixture
def delivered(lab: Lab) -> Delivered:
    company = lab.custodian("Company-X").create_root_ca()
    technician = company.sign_intermediate(lab.custodian("Technician-Z"))
    entry = lab.dps.certificates.upload("company-x", company.certificate)
    lab.dps.certificates.verify(entry, company.prove_possession(entry.verification_code))
    lab.dps.enrollment_groups.create(GROUP, ca="company-x")
    for name in DELIVERY:
        technician.make_device(name, key_in_file=name == TAKEN).provision()
    thief = lab.attacker(THIEF)
    thief.steal(lab.device(TAKEN))
    assert thief.try_hub(device=TAKEN, stay=True).got_in
    for name in (LEFT, RIGHT):
        lab.device(name).connect()
    return Delivered(lab, technician)


def test_the_wrong_widget_is_not_the_stolen_one(delivered: Delivered) -> None:
    assert delivered.done(...) == 0
    assert delivered.done(delivered.lab.device(LEFT)) == 0


def test_one_door_is_not_enough(delivered: Delivered) -> None:
    taken = delivered.lab.device(TAKEN)
    assert delivered.done(taken) == 1
    delivered.block()
    assert delivered.done(taken) == 2
    delivered.lab.hub().devices.disable(TAKEN)
    assert delivered.done(taken) == 4, "the thief has not tried since"


@pytest.mark.parametrize("way", ["disabled", "deleted, and by its ID"])
def test_both_doors_in_either_way_are_the_solution(delivered: Delivered, way: str) -> None:
    lab = delivered.lab
    if way == "disabled":
        delivered.block()
        lab.hub().devices.disable(TAKEN, "stolen")
    else:
        lab.dps.enrollments.create(TAKEN, keys=SymmetricKeyAttestation(), status=DISABLED)
        lab.hub().devices.delete(TAKEN)
    delivered.let_the_thief_try()
    assert delivered.done(lab.device(TAKEN)) == 7


def test_to_disable_the_group_harms_the_others(delivered: Delivered) -> None:
    """Their refusal is remembered, though all is as it should be afterwards."""
    lab, left = delivered.lab, delivered.lab.device(LEFT)
    delivered.block()
    lab.hub().devices.disable(TAKEN)
    lab.dps.enrollment_groups.disable(GROUP)
    with pytest.raises(ProvisioningFailed):
        left.provision()
    lab.dps.enrollment_groups.enable(GROUP)
    left.provision()
    delivered.let_the_thief_try()
    assert delivered.done(lab.device(TAKEN)) == 6
