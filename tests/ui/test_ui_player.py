"""The player without a browser: what it sends, what it answers, and what stays without a kernel."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from labkit.errors import LabError
from labkit.lab import Lab
from labkit.scenarios.first_device import STORY
from labkit.ui.performance import Performance
from labkit.ui.player import Player, rich
from labkit.ui.scenario import Prediction, Scenario, Step
from labkit.ui.scene import plain

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
ROOT = "ca Company-X/Company-X Root CA"
TECHNICIAN = "ca Technician-Z/Technician-Z CA"


def a_ca(lab: Lab) -> None:
    lab.custodian("Company-X").create_root_ca()


def a_mistake(lab: Lab) -> None:
    lab.device("nobody")


def a_bug(_: Lab) -> None:
    raise ZeroDivisionError("as it happens")


SMALL = Scenario(
    name="small",
    title="A small story",
    introduction="It begins.",
    steps=(
        Step("A CA", "**Company-X** makes `one`.", a_ca, look_at=(ROOT,)),
        Step(
            "A mistake", "Nobody is asked.", a_mistake, Prediction("Well?", ("a", "b"), "b", "So.")
        ),
        Step("A bug", "In the lesson itself.", a_bug),
    ),
)


@pytest.fixture
def player(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Player]:
    yield from played(SMALL, tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Player]:
    """The first lesson up to its refusal."""
    with pytest.MonkeyPatch.context() as patched:
        for player in played(STORY, tmp_path_factory.mktemp("home"), patched):
            player.go_to(9)
            yield player


def played(scenario: Scenario, home: Any, patched: pytest.MonkeyPatch) -> Iterator[Player]:
    patched.setenv("LABKIT_HOME", str(home))
    player = Player(scenario)
    yield player
    player.lab.close()


def asked(player: Player, **message: Any) -> dict[str, Any]:
    """What the browser gets back for a message; all that it gets is JSON."""
    answers: list[dict[str, Any]] = []
    sent, player.send = player.send, answers.append
    try:
        player._handle_custom_msg({"id": "q-1", **message}, [])
    finally:
        player.send = sent
    (answer,) = answers
    assert answer.pop("re") == "q-1"
    json.dumps(answer)
    return answer


def test_a_button_and_a_cell_do_the_same(player: Player) -> None:
    assert asked(player, do="next") == {}
    by_button = player.scene
    player.reset()
    player.next()
    differs = {"log", "revision"}
    assert {k: v for k, v in player.scene.items() if k not in differs} == {
        k: v for k, v in by_button.items() if k not in differs
    }


def test_the_scene_tells_everything_beside_the_picture(player: Player) -> None:
    player.next()
    scene = player.scene
    assert json.loads(json.dumps(scene)) == scene
    assert (scene["step"], scene["steps"], scene["title"]) == (1, 3, "A CA")
    root = {"id": ROOT, "label": "Company-X Root CA", "kind": "CA certificate"}
    assert scene["look"] == [root]
    assert {state["word"]: state["count"] for state in scene["states"]} == player.frame.states
    assert scene["prediction"] == {
        "question": "Well?",
        "options": ["a", "b"],
        "chosen": "",
        "open": True,
        "decides": False,
    }
    assert (scene["can_back"], scene["can_next"]) == (True, False)
    assert player.svg == player.frame.picture.svg


def test_next_waits_for_the_prediction_and_its_outcome_is_told(player: Player) -> None:
    player.next()
    player.next()
    assert player.frame.step == 1
    asked(player, do="predict", option="a")
    assert player.scene["can_next"]
    player.next()
    assert player.scene["feedback"] == {
        "right": False,
        "question": "Well?",
        "chosen": "a",
        "answer": "b",
        "why": "So.",
    }
    player.back()
    assert player.scene["prediction"]["open"] is False


def test_an_answer_that_is_not_offered_is_said_and_changes_nothing(player: Player) -> None:
    player.next()
    assert "is no answer here" in asked(player, do="predict", option="c")["error"]
    with pytest.raises(LabError):
        player.predict("c")
    assert player.scene["prediction"]["chosen"] == ""


def test_a_mistake_in_the_lab_is_what_the_step_shows(player: Player) -> None:
    player.go_to(2)
    assert "nobody" in player.scene["failure"]
    assert player.scene["explanation"] is None


def test_a_bug_is_told_and_the_player_stays_where_it_was(player: Player) -> None:
    player.go_to(2)
    assert asked(player, do="next") == {"error": "ZeroDivisionError: as it happens"}
    assert (player.frame.step, player.busy) == (2, False)
    assert asked(player, do="back") == {}


def test_busy_is_said_before_the_work_begins(player: Player) -> None:
    seen: list[bool] = []
    player.observe(lambda change: seen.append(change["new"]), "busy")
    player.next()
    assert seen == [True, False]


def test_what_nobody_knows_is_an_error_and_no_silence(player: Player) -> None:
    assert "no answer to 'dance'" in asked(player, do="dance")["error"]
    assert "KeyError" in asked(player, do="bytes", node="nothing", form="pem")["error"]


def test_only_new_events_are_sent(story: Player) -> None:
    whole = asked(story, do="events", since=0)["events"]
    assert [event["number"] for event in whole] == list(range(1, len(whole) + 1))
    assert asked(story, do="events", since=whole[-1]["number"])["events"] == []
    assert story.scene["log"]["upto"] == whole[-1]["number"]
    assert 0 < story.scene["log"]["since"] < whole[-1]["number"]


def test_a_refusal_marks_the_certificate_that_it_is_about(story: Player) -> None:
    scene = story.scene
    assert scene["explanation"]["answer"] == "401 401002: CA certificate not found."
    assert scene["failed"] == "device smart-x-widget-001"
    (failed,) = [check for check in scene["explanation"]["checks"] if check["outcome"] == "failed"]
    assert failed["node"] == scene["failed"]
    assert scene["failure"] == ""


def test_the_inspector_answers_for_every_node(story: Player) -> None:
    for node in story.frame.graph:
        found = asked(story, do="inspect", node=node)["inspection"]
        assert found["title"]
        assert found["state"]["icon"]
    assert asked(story, do="inspect", node="nothing") == {"inspection": None}
    pem = asked(story, do="bytes", node=TECHNICIAN, form="pem")["bytes"]
    assert pem.startswith("-----BEGIN CERTIFICATE-----")
    assert "Subject:" in asked(story, do="bytes", node=TECHNICIAN, form="openssl")["bytes"]


def test_what_stays_without_a_kernel_is_the_same_in_every_run(story: Player) -> None:
    live, _ = story._repr_mimebundle_()
    assert WIDGET_VIEW in live
    first, *rest = live["text/plain"].splitlines()
    assert first == "step 9 of 10: Refused"
    assert "verified" in rest[0]
    assert '<img alt="smart-x-widget-001 is refused.' in live["text/html"]
    assert "The SDK hands on <code>401</code> and no more." in live["text/html"]
    for text in (live["text/plain"], re.sub(r'src="[^"]*"', "", live["text/html"])):
        assert not re.search(r"\b[0-9A-Fa-f]{16,}\b|\d\d:\d\d:\d\d", text)


def test_narration_is_text_whatever_stands_in_it() -> None:
    assert rich("<b>no</b> **yes** `a<b`") == "&lt;b&gt;no&lt;/b&gt; <b>yes</b> <code>a&lt;b</code>"


def test_whatever_an_event_holds_becomes_json() -> None:
    at = datetime(2027, 3, 1, tzinfo=UTC)
    held = {
        "raw": b"\xff\x00",
        "text": b"abc",
        "at": at,
        "many": ("a", {1}),
        "odd": ValueError("x"),
    }
    assert plain(held) == {
        "raw": "2 bytes, in Base64: /wA=",
        "text": "abc",
        "at": "2027-03-01T00:00:00+00:00",
        "many": ["a", [1]],
        "odd": "x",
    }


# ---- remedies


@pytest.fixture
def play(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Performance]:
    """The first lesson without a widget, at its beginning."""
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path))
    play = Performance(STORY)
    yield play
    play.lab.close()


@pytest.mark.parametrize(
    ("place", "label"),
    [(0, "Install the factory's chain"), (1, "Verify Technician-Z CA in DPS")],
)
def test_a_remedy_cures_what_it_stands_beside(play: Performance, place: int, label: str) -> None:
    """Both cures of the leaf-only refusal, as buttons: each ends with the device provisioned."""
    play.go_to(9)
    assert play.frame.remedies[place].label.startswith(label)
    play.cure(place)
    assert play.frame.explanation is None
    assert play.frame.picture.title == "smart-x-widget-001 is provisioned"
    assert "**is provisioned**" in play.frame.narration
    assert play.step == 9, "the story goes on where it was"
    play.next()
    assert play.step == 10


def test_a_remedy_is_offered_only_at_the_present(play: Performance) -> None:
    play.go_to(10)
    play.back()
    with pytest.raises(LabError, match="nothing to cure"):
        play.cure(0)


def test_a_step_before_the_first_is_the_first(play: Performance) -> None:
    play.go_to(2)
    assert play.go_to(-1).step == 0


def test_long_work_shows_how_far_it_is(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that works through many things tells the browser while it does, and clears it."""

    def many(lab: Lab) -> None:
        work = lab.work.each(range(40), "making devices")
        seen.extend(dict(player.stage) for _ in work)

    seen: list[dict[str, Any]] = []
    story = Scenario("long", "Long", "It begins.", (Step("Many", "All of them.", many),))
    for player in played(story, tmp_path, monkeypatch):
        player.next()
        assert seen[0] == {"doing": "making devices", "done": 0, "whole": 40}
        assert player.stage == {}


def test_an_older_player_of_the_same_story_says_that_it_is(player: Player) -> None:
    """Two plays share a workspace: the later has it, and the older can take it back."""
    newer = Player(SMALL)
    newer.next()
    with pytest.raises(LabError, match="begun anew elsewhere"):
        player.next()
    assert player.frame.step == 0
    with pytest.raises(LabError, match="begun anew elsewhere"):
        player.go_to(2)
    player.reset()
    player.next()
    assert player.frame.step == 1
