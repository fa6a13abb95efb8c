"""Lesson 11: whom a change of the service's root shuts out, and the exercise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from performing import Stage
from stories import Story

from labkit import Lab
from labkit.cloud import handshakes
from labkit.device import Device
from labkit.pki import chain, verdict
from labkit.scenarios.server_root import (
    FIRST,
    NEW,
    NEXT,
    OLD,
    PREPARED,
    SECOND,
    STORED,
    STORY,
    next_root,
)
from labkit.ui.check import Report
from labkit.ui.performance import Frame, Performance

READY, RENEWED, ANNOUNCED, SENT, CHANGED, AGAIN, STORE, OTHER, CROSSED, END = range(1, 11)


@pytest.fixture(scope="module")
def play(stage: Stage) -> Iterator[Performance]:
    with stage.played(STORY) as performance:
        yield performance


def node(frame: Frame, name: str) -> dict[str, Any]:
    found: dict[str, Any] = frame.graph.nodes[name]
    return found


def states(frame: Frame) -> dict[str, str]:
    """Of each root of the service."""
    return {
        name.removeprefix("service root "): data["state"]
        for name, data in frame.graph.nodes(data=True)
        if data["kind"] == "service-root"
    }


def added(play: Performance, step: int, source: str) -> list[str]:
    """The kinds of the events that a step added."""
    before = len(play.frames[step - 1].events)
    return [e.kind for e in play.frames[step].events[before:] if e.source == source]


# ---- the story's promises


def test_the_roots_go_through_their_states(play: Performance) -> None:
    assert [states(play.frames[step]) for step in (READY, ANNOUNCED, CHANGED, CROSSED, END)] == [
        {OLD: "in use"},
        {OLD: "in use", NEW: "announced"},
        {OLD: "retired", NEW: "in use"},
        {OLD: "in use", NEW: "in use"},
        {OLD: "retired", NEW: "in use"},
    ]


def test_the_picture_says_who_trusts_which_root(play: Performance) -> None:
    sent = play.frames[SENT]
    assert node(sent, f"service root {OLD}")["detail"] == "trusted by 3 of 3 devices"
    assert node(sent, f"service root {NEW}")["detail"] == "trusted by 2 of 3 devices"
    assert node(sent, f"device {STORED}")["detail"] == f"trusts {OLD}"
    assert node(sent, f"device {FIRST}")["detail"] == f"trusts {OLD} and G2"
    assert node(play.frames[END], f"device {STORED}")["detail"] == f"trusts {NEW}"


def test_a_renewal_below_the_root_shuts_nobody_out(play: Performance) -> None:
    before, after = (node(play.frames[step], "issuing CA")["label"] for step in (READY, RENEWED))
    assert before != after
    assert added(play, RENEWED, "dps") == ["assigned"]


def test_the_open_connection_stays_at_the_change(play: Performance) -> None:
    """One handshake before it, none after it, and a message that arrives."""
    kinds = added(play, CHANGED, "tls") + added(play, CHANGED, "server")
    assert kinds == ["handshake", "switched"]
    assert "telemetry" in added(play, CHANGED, "hub")


def test_the_two_directions_are_told_apart(play: Performance) -> None:
    """Pain point 14: no 401 for an old store, and no alert for a chain that was cut."""
    old = play.frames[STORE].explanation
    assert old is not None
    assert old.failure is not None
    assert old.in_tls
    assert (old.failure.name, old.refusal.device) == (handshakes.TRUST, STORED)
    assert "handshake failed" in added(play, STORE, "tls")
    assert added(play, STORE, "mqtt") == added(play, STORE, "dps") == []
    cut = play.frames[OTHER].explanation
    assert cut is not None
    assert cut.failure is not None
    assert (cut.refusal.status, cut.failure.name) == (401, verdict.ISSUER)
    assert added(play, OTHER, "tls") == ["handshake"]


def test_the_cross_signature_lets_in_who_was_not_touched(play: Performance) -> None:
    assert node(play.frames[CROSSED], f"device {STORED}")["detail"] == f"trusts {OLD}"
    assert node(play.frames[CROSSED], f"device {STORED}")["state"] == "trusted"
    assert play.lab.server.cross_signer is None, "and it is dropped at the end"
    assert all(play.lab.device(name).assignment for name in (FIRST, SECOND, STORED))


def test_the_story_goes_on_after_a_cure_by_the_button(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has the lab put the roots in has done what the end of the story does."""
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path))
    played = Performance(STORY)
    with played.lab:
        played.go_to(STORE)
        (remedy,) = played.frame.remedies
        assert remedy.label == "Install the roots of the services and try again"
        assert "**is provisioned**" in played.cure(0).narration
        assert chain.common_name(played.lab.device(STORED).trusted_roots[0]) == NEW
        played.go_to(END)
        assert [f.step for f in played.frames if f.failure] == [STORE, OTHER]


# ---- the exercise


def done(lab: Lab, answer: Any) -> int:
    return Report("next-root", answer, next_root(lab, answer)).done


@pytest.fixture
def widget(story: Story) -> Device:
    """As the lesson leaves it: the second root is in use, and a widget of that day."""
    story.lab.server.switch_root(story.lab.server.new_root(NEW))
    return story.technician.make_device(PREPARED)


def test_a_change_with_an_overlap_is_taken(story: Story, widget: Device) -> None:
    lab = story.lab
    assert done(lab, widget) == 1
    lab.server.new_root(NEXT)
    assert done(lab, widget) == 2
    widget.install_roots(lab.server.trust_bundle)
    assert done(lab, widget) == 4
    widget.provision()
    lab.server.switch_root(NEXT)
    assert done(lab, widget) == 5
    widget.provision()
    assert done(lab, widget) == 7


def test_a_change_without_an_overlap_does_not_count(story: Story, widget: Device) -> None:
    lab = story.lab
    widget.provision()
    lab.server.switch_root(lab.server.new_root(NEXT))
    with pytest.raises(Exception, match="did not trust"):
        widget.provision()
    widget.install_roots([root.certificate for root in lab.server.roots])
    widget.provision()
    assert done(lab, widget) == 6, "it was shut out once"


def test_the_new_root_alone_is_half_a_bundle(story: Story, widget: Device) -> None:
    widget.install_roots(story.lab.server.new_root(NEXT).certificate)
    assert done(story.lab, widget) == 3


def test_a_cross_signature_is_no_change_yet(story: Story, widget: Device) -> None:
    lab = story.lab
    lab.server.new_root(NEXT)
    widget.install_roots(lab.server.trust_bundle)
    lab.server.switch_root(NEXT, cross_signed=True)
    assert done(lab, widget) == 4


def test_another_widget_is_not_the_one(story: Story, widget: Device) -> None:
    assert done(story.lab, story.widget) == 0


@pytest.mark.parametrize("answer", [..., None, "ab", (), [1, 2], object()])
def test_nothing_that_is_handed_in_raises_or_counts(lab: Lab, answer: Any) -> None:
    before = lab.server.roots
    assert done(lab, answer) == 0
    assert lab.server.roots == before, "a check makes nothing"
