"""Lesson 13: what moves with a CA and what stays, who is let in meanwhile, and the exercise."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pytest
from performing import Stage
from stories import CA, enroll, supply_chain

from labkit import Lab
from labkit.cloud.dps.entries import SIGNING, X509Attestation
from labkit.cloud.hub.credentials import Credentials
from labkit.device import Device
from labkit.pki import chain
from labkit.scenarios.ca_roll import (
    FIRST,
    NEW,
    OLD,
    REPAIRED,
    SECOND,
    SENSORS,
    STORY,
    TECHNICIAN,
    WORKSHOP,
    nobody_left_behind,
)
from labkit.scenarios.parts import start
from labkit.ui.check import Report
from labkit.ui.performance import Performance
from labkit.ui.scene import scene_of

MOVED, BY_HAND, RENEWED, TAKEN, DELETED, OTHER_WAY, STILL_IN, NAMED = 4, 6, 7, 8, 11, 12, 13, 14


@pytest.fixture(scope="module")
def play(stage: Stage) -> Iterator[Performance]:
    with stage.played(STORY) as performance:
        yield performance


def told(play: Performance, step: int, kind: str) -> list[str]:
    """What a step added to the events of one kind."""
    before = len(play.frames[step - 1].events)
    return [event.text for event in play.frames[step].events[before:] if event.kind == kind]


# ---- the story's promises


def test_what_a_ca_signs_in_its_last_winter_ends_with_it(play: Performance) -> None:
    old = play.lab.custodian(TECHNICIAN).authorities()[0]
    made = play.lab.issued_chain(FIRST)[0]
    assert made.not_valid_after_utc == old.certificate.not_valid_after_utc


def test_the_same_key_needs_no_new_certificate_and_a_new_key_does(play: Performance) -> None:
    """Before its CA was renewed and after, the widget shows the same certificate of its own."""
    visits = [v for v in play.lab.cloud.visits("dps") if v.device == FIRST]
    under = {
        ca.certificate: {v.chain[0] for v in visits if v.accepted and ca.certificate in v.chain}
        for ca in play.lab.custodian(TECHNICIAN).authorities()
        if ca.name in (OLD, NEW)
    }
    old, new, renewed = under.values()
    assert old.isdisjoint(new)
    assert new == renewed


def test_each_refusal_has_the_reason_that_is_told(play: Performance) -> None:
    reasons = {
        step: explanation.failure.why
        for step in (3, 5, RENEWED, 9, DELETED, NAMED)
        if (explanation := play.frames[step].explanation)
    }
    assert reasons.keys() == {3, 5, RENEWED, 9, DELETED, NAMED}
    assert "issued by CN=Technician-Z CA, which was not presented" in reasons[3]
    assert "it is not valid at 2032-03-04" in reasons[5]
    assert "it was issued again, and the thumbprints differ" in reasons[RENEWED]
    assert "issued by CN=Company-X Root CA G2, which was not presented" in reasons[9]
    assert "issued by CN=Company-X Root CA, which was not presented" in reasons[DELETED]
    assert reasons[NAMED] == "enrollment group 'leaked' is disabled"


def test_of_three_certificates_of_one_name_the_one_that_was_sent_is_marked(
    play: Performance,
) -> None:
    """Factory-Y's CA has an expired certificate and two renewals, and all say CN=Factory-Y CA."""
    play.go_to(DELETED)
    frame, failed = play.frame, scene_of(play, 0)["failed"]
    play.go_to(play.steps)
    assert frame.explanation is not None
    sent = frame.explanation.refusal.chain[-1]
    named = {inspected.certificate for inspected in frame.inspections.values()}
    assert len([one for one in named if one and one.subject == sent.subject]) == 3
    assert frame.inspections[failed].certificate == sent


def test_a_removed_ca_is_let_in_by_the_root_s_group_and_by_the_hub(play: Performance) -> None:
    (assigned,) = told(play, STILL_IN, "assigned")
    assert f"through enrollment group '{SENSORS}'" in assigned
    assert told(play, NAMED, "connected")


def test_in_the_end_the_hub_knows_both_widgets_by_the_third_ca(play: Performance) -> None:
    third = play.lab.custodian(TECHNICIAN).authorities()[-1].certificate
    for name in (FIRST, SECOND):
        widget = play.lab.device(name)
        assert widget.connected
        assert chain.signed_by(widget.certificate, third)
        held = play.lab.hub().devices.get(name).credentials
        assert held == Credentials(chain.thumbprint(widget.certificate))


# ---- the exercise


class Workshop:
    """The lesson's lab as the exercise finds it, and the ways in which it can be done."""

    def __init__(self, lab: Lab) -> None:
        self.lab, story = lab, supply_chain(lab)
        enroll(lab, story.company, group=SENSORS)
        self.factory = story.factory
        self.old = story.factory.sign_intermediate(lab.custodian(WORKSHOP))
        lab.dps.enrollment_groups.create("workshop-w", signing=self.old.certificate)
        self.devices = [self.old.make_device(name) for name in REPAIRED]
        for device in self.devices:
            start(device)

    def next_ca(self) -> CA:
        return self.factory.sign_intermediate(self.lab.custodian(WORKSHOP), f"{WORKSHOP} CA 2")

    def trust(self, *cas: CA) -> None:
        groups = self.lab.dps.enrollment_groups
        named = X509Attestation(SIGNING, *(ca.certificate for ca in cas))
        groups.update(replace(groups.get("workshop-w"), attestation=named))

    def move(self, ca: CA, devices: Sequence[Device]) -> None:
        for device in devices:
            device.renew(ca)
            start(device)
            device.send({"temperature": 20.0})

    @property
    def done(self) -> int:
        return Report("exercise", 0, nobody_left_behind(self.lab, self.devices)).done


@pytest.fixture
def workshop(lab: Lab) -> Workshop:
    return Workshop(lab)


def _solve(workshop: Workshop) -> None:
    new = workshop.next_ca()
    workshop.trust(workshop.old, new)
    workshop.move(new, workshop.devices)
    workshop.trust(new)


def _nothing(workshop: Workshop) -> None:
    """As it was found."""


def _same_key(workshop: Workshop) -> None:
    new = workshop.old.renew()
    workshop.trust(workshop.old, new)
    workshop.move(new, workshop.devices)
    workshop.trust(new)


def _one_left_behind(workshop: Workshop) -> None:
    new = workshop.next_ca()
    workshop.trust(workshop.old, new)
    workshop.move(new, workshop.devices[:1])


def _hub_not_visited(workshop: Workshop) -> None:
    new = workshop.next_ca()
    workshop.trust(workshop.old, new)
    for device in workshop.devices:
        device.renew(new)
        device.provision()


def _through_the_root(workshop: Workshop) -> None:
    new = workshop.next_ca()
    workshop.move(new, workshop.devices)
    workshop.trust(new)


def _old_one_kept(workshop: Workshop) -> None:
    new = workshop.next_ca()
    workshop.trust(new, workshop.old)
    workshop.move(new, workshop.devices)


def _refused_once(workshop: Workshop) -> None:
    workshop.lab.dps.enrollment_groups.disable("workshop-w")
    with pytest.raises(Exception, match="did not provision"):
        workshop.devices[0].provision()
    workshop.lab.dps.enrollment_groups.enable("workshop-w")
    _solve(workshop)


@pytest.mark.parametrize(
    ("way", "held"),
    [
        (_nothing, 1),
        (_same_key, 1),
        (_one_left_behind, 2),
        (_hub_not_visited, 3),
        (_through_the_root, 4),
        (_old_one_kept, 5),
        (_refused_once, 6),
        (_solve, 7),
    ],
)
def test_each_fault_is_found_where_it_was_made(
    workshop: Workshop, way: Callable[[Workshop], None], held: int
) -> None:
    way(workshop)
    assert workshop.done == held


@pytest.mark.parametrize("answer", [..., None, "x", (), [object()]])
def test_what_is_no_device_counts_for_nothing_and_makes_nothing(lab: Lab, answer: object) -> None:
    assert Report("exercise", answer, nobody_left_behind(lab, answer)).done == 0
    assert lab.custodians == []
