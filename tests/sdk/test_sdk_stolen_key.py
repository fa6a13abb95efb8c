"""The hole and its two cures: a certificate that left its enrollment still opens the hub, until the
hub's own identity is deleted or gets another credential. Microsoft's client on both sides.

    before    the attacker is admitted by DPS, and by the hub
    the hole  the certificate leaves the enrollment: DPS refuses it, the hub still takes it
    cure one  the identity is deleted, the device provisions anew
    cure two  the device reprovisions to the same hub: the identity's credential is replaced
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from rolls import group_names, renewed_by
from stories import Story, eventually, failed_check

from labkit import Lab
from labkit.cloud.dps.entries import (
    CLIENT,
    MIGRATE,
    RESET,
    ReprovisionPolicy,
    X509Attestation,
)
from labkit.cloud.hub import authentication
from labkit.device import Device
from labkit.drill import Attacker
from labkit.errors import ConnectionFailed
from labkit.pki import chain

NAME = "smart-x-widget-002"
HUB = "contoso-hub"


class Breach:
    """A device with an individual enrollment, or below a group's intermediate CA; its key stolen,
    and ``contain`` what the operator does at DPS, for the device to go on with a new key."""

    def __init__(self, story: Story) -> None:
        self.lab: Lab = story.lab
        self.widget = story.technician.make_device(NAME, key_in_file=True)
        self.story, self.mallory = story, story.lab.attacker()
        self.policy = MIGRATE

    def begin(self) -> Attacker:
        self.widget.provision()
        self.mallory.steal(self.widget)
        assert self.mallory.try_dps().got_in, "before: DPS takes the attacker for the device"
        assert self.mallory.try_hub().got_in, "before: so does the hub"
        return self.mallory

    def contain(self) -> None:
        raise NotImplementedError


class Individual(Breach):
    def begin(self) -> Attacker:
        self.lab.dps.enrollments.create(NAME, certificate=self.widget.certificate)
        return super().begin()

    def contain(self) -> None:
        renewed_by(self.story.technician)(self.widget)
        entry = self.lab.dps.enrollments.get(NAME)
        only_the_new = X509Attestation(CLIENT, self.widget.certificate)
        self.lab.dps.enrollments.update(
            replace(entry, attestation=only_the_new, reprovision_policy=self.policy)
        )


class Group(Breach):
    """The compromised intermediate leaves the group, and another one takes its place."""

    def begin(self) -> Attacker:
        self.lab.dps.enrollment_groups.delete("smart-x-widgets")
        self.lab.dps.enrollment_groups.create(
            "technician-z", signing=self.story.technician.certificate
        )
        return super().begin()

    def contain(self) -> None:
        another = self.story.factory.sign_intermediate(self.lab.custodian("Technician-W"))
        renewed_by(another)(self.widget)
        group_names(self.story, "technician-z", another, policy=self.policy)


@pytest.fixture(params=[Individual, Group], ids=["individual", "group"])
def breach(request: pytest.FixtureRequest, story: Story) -> Breach:
    kind: Callable[[Story], Breach] = request.param
    return kind(story)


def assert_is_out(mallory: Attacker) -> None:
    assert [mallory.try_dps().outcome, mallory.try_hub().outcome] == ["refused", "refused"]


def assert_is_in(widget: Device) -> None:
    widget.connect().send({"is": "back"})
    assert widget.connected


def test_a_certificate_that_left_its_enrollment_still_opens_the_hub(breach: Breach) -> None:
    """The hole: DPS refuses it from now on, the hub was never told."""
    mallory = breach.begin()
    breach.contain()
    assert mallory.try_dps().outcome == "refused"
    assert mallory.try_hub().got_in
    with pytest.raises(ConnectionFailed):
        breach.widget.connect()
    assert failed_check(breach.lab, NAME) == authentication.THUMBPRINT, "the device itself is out"


def test_cure_one_the_identity_is_deleted_and_the_device_provisions_anew(breach: Breach) -> None:
    mallory = breach.begin()
    mallory.try_hub(stay=True)
    breach.contain()
    breach.lab.hub(HUB).devices.delete(NAME)
    eventually(lambda: not mallory.as_device().connected)
    assert_is_out(mallory)
    assert failed_check(breach.lab, NAME) == authentication.KNOWN
    assert breach.widget.provision().hub.startswith(HUB)
    assert_is_in(breach.widget)
    assert_is_out(mallory)
    assert failed_check(breach.lab, NAME) == authentication.THUMBPRINT


@pytest.mark.parametrize("policy", [MIGRATE, RESET], ids=["twin stays", "twin begins anew"])
def test_cure_two_the_device_reprovisions_to_the_same_hub(
    breach: Breach, policy: ReprovisionPolicy
) -> None:
    """The identity stays, with its twin where that migrates; its credential is another."""
    breach.policy = policy
    mallory = breach.begin()
    mallory.try_hub(stay=True)
    breach.contain()
    before = breach.lab.hub(HUB).devices.get(NAME)
    assert breach.widget.provision().hub.startswith(HUB)
    assert_is_in(breach.widget)
    eventually(lambda: not mallory.as_device().connected)
    after = breach.lab.hub(HUB).devices.get(NAME)
    assert after.generation_id == before.generation_id, "it is the same identity"
    assert after.thumbprint == chain.thumbprint(breach.widget.certificate)
    assert_is_out(mallory)
    assert_is_in(breach.widget)


def test_an_attacker_whom_dps_still_admits_takes_the_identity_back(story: Story) -> None:
    """Why containment begins at DPS: as long as the stolen certificate is in the group, whoever
    has it reprovisions to the same hub too, and it is the device that is out."""
    breach = Group(story)
    mallory = breach.begin()
    renewed_by(story.technician)(breach.widget)
    breach.widget.provision()
    assert_is_in(breach.widget)
    breach.widget.disconnect()
    assert mallory.try_hub().outcome == "refused"
    assert mallory.try_dps().got_in
    assert mallory.try_hub().got_in
    with pytest.raises(ConnectionFailed):
        breach.widget.connect()
