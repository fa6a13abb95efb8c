"""Lesson 08: its story told to the end, and each case of its exercise failing for its mistake."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from performing import Stage

from labkit import Lab
from labkit.cloud.dps.entries import CLIENT, InitialTwin, X509Attestation
from labkit.device import Device
from labkit.scenarios.individual_enrollment import (
    DESK,
    GROUP,
    NINTH,
    PROTOTYPE,
    SECOND,
    STORY,
    WIDGET,
    two_certificates,
)
from labkit.ui.check import Report
from labkit.ui.performance import Frame, Performance
from labkit.ui.scene import scene_of

REFUSED = {
    2: ("CA certificate not found.", "it signed itself", "create an individual enrollment"),
    7: ("CA certificate not found.", "was issued by CN=Company-X Root CA", "upload CN=Company-X"),
    9: ("Unauthorized", "is disabled", "enable it"),
    11: ("Invalid certificate.", "which is a CA", "put the device's own certificate"),
    13: ("Unauthorized", f"asks as {DESK!r}", f"register as {PROTOTYPE!r}"),
}
"""The steps that are refused: Azure's text, the true cause, and the cure that comes first."""
MARKED = {
    2: (f"device {PROTOTYPE}", "untrusted issuer"),
    7: ("ca Factory-Y/Factory-Y CA", "untrusted issuer"),
    9: (f"enrollment {WIDGET}", "disabled"),
    11: (f"device {SECOND}", "not named"),
    13: (f"device {PROTOTYPE}", "other name"),
}
"""What the picture marks then."""


@pytest.fixture(scope="module")
def play(stage: Stage) -> Iterator[Performance]:
    with stage.played(STORY) as performance:
        yield performance


def frames(play: Performance) -> list[Frame]:
    return [frame for frame in play.frames if frame.step]


def test_each_refusal_names_the_true_cause_and_its_cure_first(play: Performance) -> None:
    assert {frame.step for frame in frames(play) if frame.failure} == set(REFUSED)
    for step, (answer, why, cure) in REFUSED.items():
        told = play.frames[step].explanation
        assert told is not None
        assert told.refusal.message == answer
        assert told.failure is not None
        assert why in told.failure.why
        assert told.cures[0].startswith(cure)


def test_the_picture_marks_what_is_wrong_and_where_it_ends(play: Performance) -> None:
    for step, (node, state) in MARKED.items():
        frame = play.frames[step]
        assert frame.graph.nodes[node]["state"] == state, step
        assert "stops here" in frame.picture.svg, step
        assert play.frames[step].picture.title.endswith("is refused")


def test_the_player_puts_its_mark_on_the_same_thing(play: Performance) -> None:
    """An entry and its device have one name: of a disabled entry the entry is marked."""
    at = play.position
    for step, (node, _) in MARKED.items():
        play.go_to(step)
        assert scene_of(play, 1)["failed"] == node, step
    play.go_to(at)


def test_nothing_is_marked_where_all_is_well(play: Performance) -> None:
    wrong = {state for _, state in MARKED.values()} - {"disabled"}
    for step in (4, 5, 6, 8, 10, 12, 14):
        frame = play.frames[step]
        assert not wrong & set(frame.states), step
        assert not any(broken for *_, broken in frame.graph.edges(data="broken")), step


def test_the_fault_is_healed_by_the_step_that_says_so(play: Performance) -> None:
    lab = play.lab
    assert lab.dps.registrations.get(PROTOTYPE).device_id == DESK
    assert lab.dps.registrations.get(WIDGET).group_id == GROUP, "its own entry was deleted"
    assert lab.dps.registrations.get(SECOND).group_id == ""
    assert lab.hub().twin(DESK).tags == {"room": "workshop"}


def test_the_second_certificate_is_seen_to_come(play: Performance) -> None:
    """All else in that picture is as before."""
    details = [
        play.frames[step].graph.nodes[f"enrollment {PROTOTYPE}"]["detail"] for step in (5, 6)
    ]
    assert details == ["sent the primary of two", "sent the secondary of two"]


# ---- the exercise


def done(lab: Lab, answer: Any) -> int:
    return Report("exercise", answer, two_certificates(lab, answer)).done


@pytest.mark.parametrize("answer", [..., None, "x", (), (1, 2), [b"", b""], object()])
def test_nothing_that_is_handed_in_raises_or_counts(lab: Lab, answer: Any) -> None:
    assert done(lab, answer) == 0
    assert lab.devices == [], "a check makes nothing"


def enroll(lab: Lab, **changed: Any) -> Device:
    device = lab.self_signed_device(NINTH)
    wanted = {
        "certificate": device.certificate,
        "secondary": lab.spare_certificate(device),
        "device_id": "desk-9",
        "initial_twin": InitialTwin(tags={"room": "attic"}, desired={"interval": 30}),
    }
    lab.dps.enrollments.create(NINTH, **(wanted | changed))
    return device


def change(lab: Lab, device: Device) -> None:
    device.install_chain([lab.spare_certificate(device)])
    device.connect().send({"n": 1})


def test_the_check_follows_the_work_step_by_step(lab: Lab) -> None:
    assert done(lab, lab.self_signed_device("somebody-else")) == 0
    assert done(lab, lab.self_signed_device(NINTH)) == 2
    device = enroll(lab)
    assert done(lab, device) == 3
    device.provision()
    assert done(lab, device) == 6
    device.connect().send({"n": 0})
    assert done(lab, device) == 6, "that was the first certificate"
    device.disconnect()
    change(lab, device)
    assert done(lab, device) == 7


def test_a_device_that_a_ca_has_signed_does_not_count(lab: Lab) -> None:
    assert done(lab, lab.custodian("Company-X").create_root_ca().make_device(NINTH)) == 1


def test_one_certificate_or_a_swapped_pair_does_not_count(lab: Lab) -> None:
    device = enroll(lab, secondary=None)
    assert done(lab, device) == 2
    entry = lab.dps.enrollments.get(NINTH)
    swapped = X509Attestation(CLIENT, lab.spare_certificate(device), device.certificate)
    lab.dps.enrollments.update(replace(entry, attestation=swapped))
    assert done(lab, device) == 2


@pytest.mark.parametrize(
    ("changed", "reached"),
    [
        ({"device_id": ""}, 3),
        ({"device_id": "Desk-9"}, 3),
        ({"initial_twin": None}, 4),
        ({"initial_twin": InitialTwin(tags={"room": "attic", "interval": 30})}, 4),
    ],
)
def test_the_device_id_and_the_twin_are_as_asked(
    lab: Lab, changed: dict[str, Any], reached: int
) -> None:
    device = enroll(lab, **changed)
    device.provision()
    assert done(lab, device) == reached


def test_who_asks_dps_with_the_second_one_too_can_go_back(lab: Lab) -> None:
    device = enroll(lab)
    device.install_chain([lab.spare_certificate(device)])
    device.provision()
    assert done(lab, device) == 5
    device.install_chain(lab.issued_chain(NINTH))
    device.provision()
    change(lab, device)
    assert done(lab, device) == 7
