"""Lesson 17: three doors, and the exercise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from performing import Stage
from stories import Story

from labkit.pki import chain
from labkit.scenarios.first_boot import (
    AUTHORITY,
    FIRST,
    OWN,
    SECOND,
    SHORT,
    STORY,
    THIRD,
    VENDOR,
    boot,
    own_profile,
)
from labkit.ui.check import Report
from labkit.ui.performance import Frame, Performance

READY, _, _, _, NAMED, BOOTED, CONNECTED, REVOKED, _, DOWN, AGAIN, REFUSED, END = range(1, 14)


@pytest.fixture(scope="module")
def play(stage: Stage) -> Iterator[Performance]:
    with stage.played(STORY) as performance:
        yield performance


def state(frame: Frame, node: str) -> str:
    return str(frame.graph.nodes[node]["state"])


def test_the_client_certificate_comes_with_the_first_boot(play: Performance) -> None:
    assert f"client {FIRST}" not in play.frames[NAMED].graph
    assert state(play.frames[BOOTED], f"client {FIRST}") == "on record"
    assert state(play.frames[CONNECTED], f"identity contoso-hub/{FIRST}") == "connected"


def test_the_trust_bundle_brings_the_next_root(play: Performance) -> None:
    node = "service root Lab Service Root CA G2"
    assert play.frames[NAMED].graph.nodes[node]["detail"] == "trusted by 0 of 1 devices"
    assert play.frames[BOOTED].graph.nodes[node]["detail"] == "trusted by 1 of 1 devices"


def test_who_failed_was_admitted_and_is_not_at_fault(play: Performance) -> None:
    for step, device in ((REVOKED, SECOND), (DOWN, THIRD), (REFUSED, "gadget-001")):
        assert f"client {device}" not in play.frames[step].graph
        assert state(play.frames[step], f"device {device}") == "trusted"


def test_while_the_authority_is_down_the_first_widget_works(play: Performance) -> None:
    issuing = f"company {VENDOR}/issuing"
    assert state(play.frames[DOWN], issuing) == "disabled"
    assert state(play.frames[DOWN], f"identity contoso-hub/{FIRST}") == "connected"
    assert state(play.frames[AGAIN], issuing) == "enabled"


def test_at_the_end_everybody_has_a_certificate_of_that_company(play: Performance) -> None:
    issuing = play.lab.third_party_ca(VENDOR).certificate
    for device in play.lab.devices:
        assert chain.signed_by(device.operational.chain[0], issuing)


# ---- the exercise


def done(story: Story, answer: Any) -> int:
    return Report("own-profile", answer, own_profile(story.lab, answer)).done


def test_the_exercise_goes_step_by_step(story: Story) -> None:
    lab = story.lab
    visitor = story.technician.make_device(OWN)
    assert done(story, ...) == 0
    assert done(story, visitor) == 1
    account = lab.third_party_ca(VENDOR).account("Company-X")
    account.profile("fair", days=SHORT)
    assert done(story, visitor) == 2
    key = account.new_api_key()
    lab.dps.certificate_authorities.create("fair", profile="fair", api_key=key)
    assert done(story, visitor) == 3
    lab.dps.enrollments.create(OWN, certificate=visitor.certificate, certificate_authority="fair")
    assert done(story, visitor) == 4
    boot(visitor)
    assert done(story, visitor) == 6
    visitor.connect().send({"visitors": 1})
    assert done(story, visitor) == 7


def test_another_authority_does_not_count(story: Story) -> None:
    lab, visitor = story.lab, story.technician.make_device(OWN)
    account = lab.third_party_ca(VENDOR).account("Company-X")
    account.profile("fair", days=SHORT)
    account.profile("long", days=30)
    for name in ("fair", "long"):
        key = account.new_api_key()
        lab.dps.certificate_authorities.create(name, profile=name, api_key=key)
    lab.dps.enrollments.create(OWN, certificate=visitor.certificate, certificate_authority="long")
    assert AUTHORITY not in [a.id for a in lab.dps.certificate_authorities]
    assert done(story, visitor) == 3
