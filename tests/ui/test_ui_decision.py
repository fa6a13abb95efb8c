"""Steps that ask what to do: the decision is done, and no earlier than Next; Back, Next and Reset
are what they are elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from labkit.errors import LabError
from labkit.lab import Lab
from labkit.ui.player import Player
from labkit.ui.scenario import Decision, Scenario, Step


def makes(name: str) -> Any:
    """An act that leaves a trace: a custodian."""
    return lambda lab: lab.custodian(name).create_root_ca()


def fails(_: Lab) -> None:
    raise LabError("That was no good idea")


ASKED = Decision("Whom?", {"nobody": lambda _: None, "one": makes("One"), "bad": fails})
STORY = Scenario(
    name="decisions",
    title="Decisions",
    introduction="Twice.",
    steps=tuple(
        Step(title, "It goes on.", makes(title), decide=ASKED, tells=lambda lab: named(lab))
        for title in ("First", "Second")
    ),
)


def named(lab: Lab) -> str:
    """Whom the lab has."""
    return ", ".join(custodian.name for custodian in lab.custodians)


@pytest.fixture
def player(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Player]:
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path))
    player = Player(STORY)
    yield player
    player.lab.close()


def test_next_waits_for_the_decision_and_does_it(player: Player) -> None:
    player.next()
    assert (player.frame.step, player.scene["can_next"]) == (0, False)
    asked = player.scene["prediction"]
    assert (asked["decides"], asked["options"]) == (True, ["nobody", "one", "bad"])
    player.decide("one")
    assert named(player.lab) == "", "nothing is done before Next"
    player.next()
    assert sorted(named(player.lab).split(", ")) == ["First", "One"]
    assert player.scene["told"].startswith("You decided: one.\n")
    assert player.scene["feedback"] is None, "no decision is right or wrong"


def test_until_next_a_decision_may_be_changed(player: Player) -> None:
    player.decide("one")
    player.decide("nobody")
    player.next()
    assert named(player.lab) == "First"


def test_what_fails_is_shown_and_the_step_goes_on(player: Player) -> None:
    """A wrong command costs its time like any other."""
    player.decide("bad")
    player.next()
    assert "no good idea" in player.scene["failure"]
    assert named(player.lab) == "First"


def test_back_shows_what_was_decided_and_reset_forgets_it(player: Player) -> None:
    player.decide("one")
    player.next()
    player.back()
    asked = player.scene["prediction"]
    assert (asked["chosen"], asked["open"]) == ("one", False)
    player.decide("nobody")
    assert player.scene["prediction"]["chosen"] == "one", "what was done stays"
    player.next()
    assert player.scene["told"].startswith("You decided: one.\n")
    player.reset()
    assert player.scene["prediction"]["chosen"] == ""
    assert named(player.lab) == ""


def test_who_passes_over_it_has_decided_for_the_first(player: Player) -> None:
    player.go_to(2)
    assert sorted(named(player.lab).split(", ")) == ["First", "Second"]
    assert player.scene["told"].startswith("You decided: nobody.\n")


def test_what_is_not_offered_cannot_be_decided(player: Player) -> None:
    with pytest.raises(LabError):
        player.decide("everything")
    assert player.scene["prediction"]["chosen"] == ""
