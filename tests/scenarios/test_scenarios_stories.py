"""Every story, played to its end: what is refused is refused, and each chip leads somewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from performing import Stage

from labkit.scenarios import (
    acquire,
    breach_drill,
    ca_roll,
    certificate_management,
    device_roll,
    disallow,
    enrollment_groups,
    first_boot,
    first_connection,
    individual_enrollment,
    keys,
    manufacturing_line,
    possession,
    reprovision,
    server_root,
    supply_chain,
    talking_to_the_hub,
)
from labkit.ui.performance import Frame, Performance

REFUSED = {
    "keys": {4: "CKR_KEY_UNEXTRACTABLE", 5: "CKR_PIN_INCORRECT"},
    "acquire": {3: "RSA-1024", 4: "the applicant is Contoso", 7: "may sign no further CA"},
    "possession": {
        4: "its issuer is CN=Eavesdropper-E Root CA",
        7: "its issuer is CN=Factory-Y CA, the uploaded CA is CN=Technician-Z CA",
        8: "not the one that was handed out last",
    },
    "supply-chain": {6: "401"},
    "individual-enrollment": dict.fromkeys((2, 7, 9, 11, 13), "401"),
    "manufacturing-line": {7: "cannot sign: it is not valid now"},
    "first-connection": {
        3: "401",
        4: "did not provision smart-x-widget-001",
        5: "401",
        8: "did not trust the server",
        10: "401",
    },
    "enrollment-groups": {9: "401", 11: "401"},
    "talking-to-the-hub": {4: "404103", 8: "not authorised", 12: "not authorised"},
    "server-root": {7: "did not trust the server", 8: "401"},
    "ca-roll": {**dict.fromkeys((3, 7, 9, 11, 14), "401"), 5: "not authorised"},
    "device-roll": {3: "not authorised", 4: "401", 8: "it is for smart-x-widget-013"},
    "reprovision": {},
    "disallow": {2: "401", 4: "not authorised", 6: "401", 8: "401", 9: "401"},
    "breach-drill": {},
    "first-boot": dict.fromkeys((8, 10, 12), "No certificate can be issued"),
    "certificate-management": {4: "not authorised", 10: "400"},
}
"""The steps that fail, and why; every other succeeds."""
STORIES = [
    keys.STORY,
    acquire.STORY,
    possession.STORY,
    supply_chain.STORY,
    manufacturing_line.STORY,
    first_connection.STORY,
    individual_enrollment.STORY,
    enrollment_groups.STORY,
    talking_to_the_hub.STORY,
    server_root.STORY,
    device_roll.STORY,
    ca_roll.STORY,
    reprovision.STORY,
    disallow.STORY,
    breach_drill.STORY,
    first_boot.STORY,
    certificate_management.STORY,
]


@pytest.fixture(scope="module", params=STORIES, ids=lambda story: story.name)
def play(request: Any, stage: Stage) -> Iterator[Performance]:
    with stage.told(request.param) as performance:
        yield performance


def shown(play: Performance) -> list[Frame]:
    """The frames of its steps."""
    return list(play.frames[1:])


def test_the_steps_that_fail_are_those_that_are_told_as_failures(play: Performance) -> None:
    expected = REFUSED[play.scenario.name]
    assert {frame.step for frame in shown(play) if frame.failure} == set(expected)
    for step, words in expected.items():
        assert words in play.frames[step].failure


def test_each_thing_to_look_at_is_on_the_board(play: Performance) -> None:
    for frame in shown(play):
        assert frame.look_at
        assert [node for node in frame.look_at if node not in frame.inspections] == []
        assert [node for node in frame.look_at if node not in frame.graph] == []


def test_the_story_s_words_use_no_sign_that_the_player_does_not_know(play: Performance) -> None:
    """It knows ``**bold**`` and code; a single asterisk would be shown as it is."""
    for step in play.scenario.steps:
        assert "*" not in re.sub(r"\*\*[^*]+\*\*", "", step.narration), step.title


def test_every_node_of_the_board_can_be_looked_into(play: Performance) -> None:
    for frame in shown(play):
        assert set(frame.graph) == set(frame.inspections)


def test_a_step_that_is_no_refusal_changes_something(play: Performance) -> None:
    """Next must never look as if it did nothing: the picture moves, or an event is told."""
    for before, after in zip(play.frames, play.frames[1:], strict=False):
        moved = before.picture.svg != after.picture.svg
        assert moved or after.failure or len(after.events) > len(before.events)


def test_a_refusal_of_the_cloud_is_explained_with_a_cure(play: Performance) -> None:
    if play.scenario.name != "possession":
        return
    for step in REFUSED["possession"]:
        told = play.frames[step].explanation
        assert told is not None
        assert told.refusal.code == "IH400053"
        assert told.cures
        assert told.about.startswith("the proof for ")


def test_the_end_of_each_story(play: Performance) -> None:
    """What the narration promises is so."""
    lab = play.lab
    if play.scenario.name == "keys":
        assert lab.ledger().could_impersonate(keys.CARRIED) == (keys.COMPANY, keys.FACTORY)
        assert lab.dps.registrations.get(keys.WIDGET).status == "assigned"
    elif play.scenario.name == "acquire":
        bought, own = lab.custodian(acquire.COMPANY).authorities()
        assert (len(bought.chain), len(own.chain)) == (3, 1)
    elif play.scenario.name == "possession":
        verified = {entry.name for entry in lab.dps.certificates if entry.is_verified}
        assert verified == {"company-x", "hospital-h", "technician-z"}
