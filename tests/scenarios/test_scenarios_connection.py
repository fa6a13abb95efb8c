"""Lesson 07: who says no in a connection, what the picture marks then, and the exercise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from performing import Stage
from stories import CA, enroll

from labkit import Lab
from labkit.cloud import handshakes
from labkit.cloud.dps import attestation
from labkit.device import Device
from labkit.pki import verdict
from labkit.scenarios import first_connection as lesson
from labkit.scenarios.first_connection import NEWCOMER, STORY, both_ways
from labkit.ui.check import Report
from labkit.ui.performance import Frame, Performance
from labkit.ui.scene import scene_of

TECHNICIAN, FACTORY = "ca Technician-Z/Technician-Z CA", "ca Factory-Y/Factory-Y CA"
STRANGER = "ca Stranger-S/Stranger-S Root CA"
READY, CONNECTED, GADGET, THIEF, LEAF, SENT, VERIFIED, ROOTS, TRUSTS, SCOPE, CURED = range(1, 12)


@pytest.fixture(scope="module")
def play(stage: Stage) -> Iterator[Performance]:
    with stage.played(STORY) as performance:
        yield performance


def state(frame: Frame, node: str) -> str:
    return str(frame.graph.nodes[node]["state"])


def broken(frame: Frame) -> list[tuple[Any, Any]]:
    return [(a, b) for a, b, link in frame.graph.edges(data=True) if link.get("broken")]


def kinds(play: Performance, step: int, source: str) -> list[str]:
    """What this step added to the event log."""
    before = len(play.frames[step - 1].events)
    return [e.kind for e in play.frames[step].events[before:] if e.source == source]


# ---- who said no


def test_the_handshake_succeeds_for_a_stranger_and_the_no_comes_in_mqtt(play: Performance) -> None:
    for step in (CONNECTED, GADGET, LEAF, SCOPE):
        assert kinds(play, step, "tls") == ["handshake"]
        assert "connack" in kinds(play, step, "mqtt")


def test_a_thief_and_a_device_that_distrusts_never_come_to_mqtt(play: Performance) -> None:
    for step in (THIEF, ROOTS):
        assert kinds(play, step, "tls") == ["handshake failed", "refused"]
        assert kinds(play, step, "mqtt") == []
        assert kinds(play, step, "dps") == []


@pytest.mark.parametrize(
    ("step", "answer", "check", "about", "cure"),
    [
        (GADGET, "401 401002: CA certificate not found.", verdict.ANCHOR, "CN=Stranger-S Root CA",
         "prove possession"),
        (THIEF, "the server ended the handshake", attestation.POSSESSION,
         "the client that sent CN=smart-x-widget-001", "private key"),
        (LEAF, "401 401002: CA certificate not found.", verdict.ISSUER, "CN=smart-x-widget-002",
         "let the device send CN=Technician-Z CA too"),
        (ROOTS, "the client ended the handshake", handshakes.TRUST,
         "the trust store of smart-x-widget-001", "trust store"),
        (SCOPE, "401 401002: Unauthorized", "the ID scope is this provisioning service's",
         "smart-x-widget-001", "configure the device with the ID scope"),
    ],
)  # fmt: skip
def test_each_refusal_names_its_true_cause_and_the_cure_first(
    play: Performance, step: int, answer: str, check: str, about: str, cure: str
) -> None:
    """Beside the bare answer, which for three of the five is a 401; of two there is none."""
    told = play.frames[step].explanation
    assert told is not None
    assert told.failure is not None
    assert (told.failure.name, told.failure.about) == (check, about)
    assert cure in told.cures[0]
    assert told.answer == answer
    assert told.in_tls == ("ended the handshake" in answer)


def test_what_cures_a_lone_certificate_is_said_in_both_ways(play: Performance) -> None:
    """Pain points 1 and 2: send the chain, or verify the intermediate itself."""
    told = play.frames[LEAF].explanation
    assert told is not None
    assert len(told.cures) == 2
    assert "upload CN=Technician-Z CA itself" in told.cures[1]
    offered = [remedy.label for remedy in play.frames[LEAF].remedies]
    assert [label.split()[0] for label in offered] == ["Install", "Verify"]


# ---- what the picture marks


def test_the_picture_marks_the_link_that_is_missing_and_no_other(play: Performance) -> None:
    frame = play.frames[LEAF]
    assert state(frame, TECHNICIAN) == state(frame, FACTORY) == "not sent"
    assert broken(frame) == [(TECHNICIAN, "device smart-x-widget-002")]
    for step in (SENT, VERIFIED):
        assert broken(play.frames[step]) == []
        assert state(play.frames[step], TECHNICIAN) == "trusted"
    sent = play.frames[VERIFIED].graph.nodes(data="presented")
    assert [node for node, was in sent if was and node.startswith("ca ")] == []


def test_the_stranger_s_root_is_marked_and_nobody_else(play: Performance) -> None:
    frame = play.frames[GADGET]
    marked = [n for n, d in frame.graph.nodes(data=True) if d["state"] == "untrusted issuer"]
    assert marked == [STRANGER]
    assert frame.picture.title == "gadget-001 is refused"


@pytest.mark.parametrize(("step", "who"), [(THIEF, "The server"), (ROOTS, "The client")])
def test_what_ends_in_tls_accuses_no_certificate(play: Performance, step: int, who: str) -> None:
    frame = play.frames[step]
    assert frame.picture.title == "A connection ended in TLS"
    assert f"{who} ended the handshake" in repr(frame.picture)
    assert broken(frame) == []
    assert "untrusted issuer" not in frame.states
    assert state(frame, "device smart-x-widget-001") == "trusted"
    play.go_to(step)
    scene = scene_of(play, 0)
    assert scene["failed"] == "", "no node is marked as the one that failed"
    assert scene["explanation"]["title"] == "Why the connection ended in TLS"
    assert scene["explanation"]["says"].startswith("No service was asked")


# ---- the story's promises


def test_each_cure_changes_one_side_only(play: Performance) -> None:
    """The first nothing in the cloud, the second nothing in the device."""
    assert not {"uploaded", "verified", "created"} & set(kinds(play, SENT, "dps"))
    visits = {visit.device: visit for visit in play.lab.cloud.visits("dps")}
    assert len(visits[lesson.SECOND].chain) == 3
    assert len(visits[lesson.THIRD].chain) == 1
    assert all(visits[name].accepted for name in (lesson.FIRST, lesson.SECOND, lesson.THIRD))


@pytest.mark.parametrize("cure", [0, 1])
def test_the_story_goes_on_after_a_cure_by_the_button(
    cure: int, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has the refusal cured by the lab has made what the next steps make."""
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path))
    played = Performance(STORY)
    with played.lab:
        played.go_to(LEAF)
        assert "**is provisioned**" in played.cure(cure).narration
        played.go_to(VERIFIED)
        assert [f.failure for f in played.frames if f.step in (SENT, VERIFIED)] == ["", ""]


# ---- the exercise


@pytest.fixture
def newcomer(lab: Lab) -> CA:
    company: CA = lab.custodian("Company-X").create_root_ca()
    enroll(lab, company)
    factory = company.sign_intermediate(lab.custodian("Factory-Y"))
    found: CA = factory.sign_intermediate(lab.custodian(NEWCOMER))
    return found


def two(newcomer: CA) -> list[Device]:
    return [newcomer.make_device(name, inject="none") for name in ("a", "b")]


def done(lab: Lab, answer: Any) -> int:
    return Report("both-ways", answer, both_ways(lab, answer)).done


def test_both_ways_are_taken(lab: Lab, newcomer: CA) -> None:
    first, second = mine = two(newcomer)
    assert done(lab, mine) == 2
    newcomer.inject(first, "all").provision()
    assert done(lab, mine) == 4
    with pytest.raises(Exception, match="did not provision"):
        second.provision()
    assert done(lab, mine) == 5
    enroll(lab, newcomer, "technician-w", "widgets-of-w")
    assert done(lab, mine) == 6
    second.provision()
    assert done(lab, mine) == done(lab, tuple(mine)) == 7


def test_one_way_for_both_does_not_count(lab: Lab, newcomer: CA) -> None:
    mine = two(newcomer)
    for device in mine:
        newcomer.inject(device, "all").provision()
    assert done(lab, mine) == 4, "the second sent more than its own"
    other = [newcomer.make_device(name, inject="none") for name in ("c", "d")]
    enroll(lab, newcomer, "technician-w", "widgets-of-w")
    for device in other:
        device.provision()
    assert done(lab, other) == 2, "the first sent its own alone"


def test_half_a_chain_does_not_count(lab: Lab, newcomer: CA) -> None:
    mine = two(newcomer)
    newcomer.inject(mine[0])
    with pytest.raises(Exception, match="did not provision"):
        mine[0].provision()
    assert done(lab, mine) == 2


def test_devices_of_another_hand_do_not_count(lab: Lab, newcomer: CA) -> None:
    company: CA = lab.custodian("Company-X").authorities()[0]
    assert done(lab, [company.make_device("c"), company.make_device("d")]) == 1
    (device, _) = two(newcomer)
    assert done(lab, [device, device]) == 0


def test_a_check_before_there_is_a_newcomer_makes_none(lab: Lab) -> None:
    company: CA = lab.custodian("Company-X").create_root_ca()
    assert done(lab, [company.make_device("c"), company.make_device("d")]) == 1
    assert [custodian.name for custodian in lab.custodians] == ["Company-X"]


@pytest.mark.parametrize("answer", [..., None, "ab", (), [1, 2], object()])
def test_nothing_that_is_handed_in_raises_or_counts(lab: Lab, answer: Any) -> None:
    assert done(lab, answer) == 0
    assert [custodian.name for custodian in lab.custodians] == [], "a check makes nothing"
