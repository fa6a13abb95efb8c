"""Lesson 09's story: after each step, who is where, through which group, and what the picture says.

The figures are what the lesson tells: they follow from names, weights and policies alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from performing import Stage

from labkit.scenarios.enrollment_groups import ASIA, EUROPE, HUBS, LAST, STORY, US
from labkit.ui.performance import Frame, Performance
from labkit.ui.scene import scene_of

GROUP, REISSUED = "group technician-z", "ca again 1/Technician-Z CA"


@pytest.fixture(scope="module")
def play(stage: Stage) -> Iterator[Performance]:
    with stage.played(STORY) as performance:
        yield performance


def where(frame: Frame) -> dict[str, int]:
    """The devices by their hubs, as the picture has them."""
    nodes = (data for _, data in frame.graph.nodes(data=True) if data["kind"] == "device")
    return Counter(data["hub"].removeprefix("hub ") for data in nodes if "hub" in data)


def hub_of(frame: Frame, device: str) -> str:
    return str(frame.graph.nodes[f"device {device}"]["hub"]).removeprefix("hub ")


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (3, {}),
        (4, {ASIA: 35, EUROPE: 33, US: 32}),
        (5, {ASIA: 59, US: 41}),
        (6, {ASIA: 30, EUROPE: 35, US: 35}),
        (7, {ASIA: 5, EUROPE: 60, US: 35}),
        (8, {ASIA: 15, EUROPE: 25, US: 60}),
        (12, {ASIA: 15, EUROPE: 25, US: 60}),
    ],
)
def test_each_policy_spreads_the_fleet_in_its_own_way(
    play: Performance, step: int, expected: dict[str, int]
) -> None:
    assert where(play.frames[step]) == expected


def test_only_those_move_whose_hub_was_taken_away(play: Performance) -> None:
    names = [device.name for device in play.lab.devices]
    before, after = play.frames[4], play.frames[5]
    moved = {name for name in names if hub_of(before, name) != hub_of(after, name)}
    assert moved == {name for name in names if hub_of(before, name) == EUROPE}
    assert after.graph.nodes[f"hub {EUROPE}"]["state"] == "not linked"


def test_the_deeper_group_decides_for_technician_z_alone(play: Performance) -> None:
    group_of = {r.registration_id: r.group_id for r in play.lab.dps.registrations}
    assert Counter(group_of.values()) == {"all-widgets": 75, "technician-z": 25}
    europe = [n for n in group_of if hub_of(play.frames[8], n) == EUROPE]
    assert {group_of[name] for name in europe} == {"technician-z"}


def test_the_disabled_group_is_the_node_that_is_marked(play: Performance) -> None:
    """Pain point 10: refused by DPS, and the hub has two messages of it, one sent afterwards."""
    frame = play.frames[9]
    assert frame.explanation is not None
    assert frame.explanation.failure is not None
    assert frame.explanation.failure.about == "technician-z"
    assert frame.graph.nodes[GROUP]["state"] == "disabled"
    assert "2 messages" in frame.graph.nodes[f"identity {EUROPE}/{LAST}"]["detail"]


def test_issued_again_the_widget_falls_through_to_the_wider_group(play: Performance) -> None:
    before, after = play.frames[9], play.frames[10]
    assert (hub_of(before, LAST), hub_of(after, LAST)) == (EUROPE, ASIA)
    assert not after.failure


def test_the_mismatch_is_told_and_drawn_between_group_and_certificate(play: Performance) -> None:
    """Pain point 7, in words and on the chain."""
    frame = play.frames[11]
    assert frame.explanation is not None
    assert frame.explanation.answer.endswith(
        "401002: Signing certificate info did not match chain elements."
    )
    assert "issued again" in str(frame.explanation)
    assert frame.graph.edges[GROUP, REISSUED]["broken"]
    assert not play.frames[12].graph.edges[GROUP, REISSUED]["broken"]


def test_where_the_player_says_that_a_check_failed(play: Performance) -> None:
    failed = {}
    for step in (9, 11):
        play.go_to(step)
        failed[step] = scene_of(play, 0)["failed"]
    play.go_to(play.steps)
    assert failed == {9: GROUP, 11: GROUP}


def test_every_chip_to_look_at_is_drawn_by_itself(play: Performance) -> None:
    """What is inside a stack cannot be pointed at."""
    for frame in play.frames[1:]:
        for node in frame.look_at:
            assert f'data-id="{node}"' in frame.picture.svg, (frame.title, node)


def test_the_exercise_s_lab_has_the_story_s_hubs(play: Performance) -> None:
    assert tuple(hub.name for hub in play.lab.cloud.hubs) == HUBS


def test_the_inspector_counts_a_fleet_and_does_not_list_it(play: Performance) -> None:
    found = play.frames[9].inspections["ca Factory-Y/Factory-Y CA"]
    presented = [value for name, value in found.facts if name == "presented"]
    assert presented[0] == "to DPS by 100 devices: 99 accepted, 1 refused"
    assert len(presented) == 2, "and to a hub by widget 100 alone"


def test_the_inspector_says_to_which_hub_a_widget_was_assigned(play: Performance) -> None:
    facts = dict(play.frames[8].inspections[f"device {LAST}"].facts)
    assert facts["assigned to"] == f"{EUROPE}.azure-devices.net, through technician-z"
