"""Lesson 12: who has to learn of a new certificate, in which order, and the exercise."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from performing import Stage
from stories import Story, supply_chain

from labkit import Lab
from labkit.device import Device
from labkit.pki import chain
from labkit.scenarios.device_roll import (
    CARELESS,
    FIRST,
    FLEET,
    NEXT,
    STORY,
    THIEF,
    TO_MISNAME,
    TO_UPDATE,
    WRONG_NAME,
    _name_in_entry,
    without_a_gap,
)
from labkit.ui.check import Report
from labkit.ui.performance import Performance

READY, RENEWED, HUB, DPS, BESIDE, ALL, UPDATED, FOREIGN, MISNAMED, NAMED = range(1, 11)


@pytest.fixture(scope="module")
def play(stage: Stage) -> Iterator[Performance]:
    with stage.played(STORY) as performance:
        yield performance


def issued_to(play: Performance, device: str) -> list[bytes]:
    """The public keys that were certified for a device, in order."""
    made = (entry.certificate for entry in play.lab.ledger().signatures)
    return [
        c.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        for c in made
        if chain.common_name(c) == device
    ]


# ---- the story's promises


def test_the_hub_says_no_before_dps_has_learned_and_never_again(play: Performance) -> None:
    """Refused twice in its life: by the hub and by DPS. What was done in order cost nothing."""
    told = [event for event in play.frame.events if event.kind == "refused"]
    mine = [event.source for event in told if event.text.startswith(f"{FIRST} ")]
    assert mine == ["hub", "dps"]


def test_no_widget_of_the_fleet_is_ever_refused(play: Performance) -> None:
    assert [name for name in FLEET if play.lab.cloud.refusals.last(name)] == []


def test_each_renewal_has_a_key_of_its_own_and_an_update_has_the_one_before(
    play: Performance,
) -> None:
    first, updated = issued_to(play, FIRST), issued_to(play, TO_UPDATE)
    assert len(set(first)) == len(first) == 3
    assert updated[0] != updated[1] == updated[2]


def test_another_name_is_a_second_device_until_it_is_cleared_away(play: Performance) -> None:
    both = {f"identity contoso-hub/{name}" for name in (TO_MISNAME, WRONG_NAME)}
    assert both <= set(play.frames[MISNAMED].graph)
    assert f"identity contoso-hub/{WRONG_NAME}" not in play.frames[NAMED].graph
    assert play.lab.dps.registrations.find(WRONG_NAME) is None


def test_the_entry_ends_with_the_newest_as_primary(play: Performance) -> None:
    attestation = play.lab.dps.enrollments.get(FIRST).attestation
    assert attestation.primary == play.lab.device(FIRST).certificate  # type: ignore[union-attr]
    assert attestation.secondary is not None  # type: ignore[union-attr]


def test_the_thief_loses_dps_first_and_the_hub_only_when_the_widget_provisions(
    play: Performance,
) -> None:
    tried = [(one.service, one.got_in) for one in play.lab.attacker(THIEF).attempts]
    hub = play.lab.hub().name
    assert tried == [("dps", True), (hub, True), ("dps", False), (hub, True), (hub, False)]
    assert play.lab.device(CARELESS).connected


# ---- the exercise


@pytest.fixture
def story(lab: Lab) -> Story:
    """The lesson's lab as the exercise finds it."""
    found = supply_chain(lab)
    entry = lab.dps.certificates.upload("company-x", found.company.certificate)
    lab.dps.certificates.verify(entry, found.company.prove_possession(entry.verification_code))
    widget = found.factory.make_device(NEXT)
    lab.dps.enrollments.create(NEXT, certificate=widget.certificate)
    widget.provision()
    widget.connect()
    return found


def done(lab: Lab, answer: object) -> int:
    return Report("exercise", answer, without_a_gap(lab, answer)).done


def enter(story: Story, primary: int = 0) -> Device:
    """A new certificate, in the entry before the widget has it."""
    widget = story.lab.device(NEXT)
    made, old = story.factory.issue(widget.request_certificate()), widget.certificate
    _name_in_entry(story.lab, NEXT, *((old, made[0]) if primary == 0 else (made[0], old)))
    widget.accept_certificate(made)
    return widget


def come_back(widget: Device) -> None:
    widget.disconnect()
    widget.connect().send({"temperature": 20.0})


def solve(story: Story) -> Device:
    widget = enter(story)
    widget.provision()
    come_back(widget)
    return widget


def test_the_order_of_the_lesson_solves_it(story: Story) -> None:
    assert done(story.lab, solve(story)) == 7


@pytest.mark.parametrize("answer", [..., None, "x", (), object()])
def test_what_is_no_widget_counts_for_nothing_and_makes_nothing(lab: Lab, answer: object) -> None:
    assert done(lab, answer) == 0
    assert lab.custodians == []


def _not_renewed(story: Story) -> Device:
    return story.lab.device(NEXT)


def _of_another_ca(story: Story) -> Device:
    widget = story.lab.device(NEXT)
    widget.renew(story.technician)
    return widget


def _same_key(story: Story) -> Device:
    widget = story.lab.device(NEXT)
    widget.install_chain(story.factory.reissue(widget))
    return widget


def _the_wrong_way_round(story: Story) -> Device:
    return enter(story, primary=1)


def _not_provisioned(story: Story) -> Device:
    return enter(story)


def _still_the_old_connection(story: Story) -> Device:
    widget = enter(story)
    widget.provision()
    widget.send({"temperature": 20.0})
    return widget


@pytest.mark.parametrize(
    ("fault", "held"),
    [
        (_not_renewed, 1),
        (_of_another_ca, 1),
        (_same_key, 2),
        (_the_wrong_way_round, 3),
        (_not_provisioned, 4),
        (_still_the_old_connection, 5),
    ],
)
def test_each_fault_is_found_where_it_was_made(
    story: Story, fault: Callable[[Story], Device], held: int
) -> None:
    assert done(story.lab, fault(story)) == held


def test_one_refusal_is_remembered(story: Story) -> None:
    widget = story.lab.device(NEXT)
    widget.renew(story.factory)
    widget.disconnect()
    with pytest.raises(Exception, match="did not take"):
        widget.connect()
    _name_in_entry(story.lab, NEXT, story.lab.issued_chain(NEXT)[0], widget.certificate)
    widget.provision()
    come_back(widget)
    assert done(story.lab, widget) == 6
