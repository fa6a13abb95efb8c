"""The score of a breach: it adds up, and nothing bad ever makes it better."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labkit.drill import Act, Deed, Round, Score
from labkit.drill.score import FULL

NAMES = ("one", "two", "three")
SOME = st.lists(st.sampled_from(NAMES), unique=True, max_size=3).map(tuple)
DEEDS = st.frozensets(st.builds(Deed, st.sampled_from(list(Act)), st.sampled_from(["", *NAMES])))
ROUND = st.builds(
    Round,
    deeds=DEEDS,
    robbed=SOME,
    dps=SOME,
    hub=SOME,
    lost=SOME,
    turned_away=SOME,
)
ROUNDS = st.lists(ROUND, min_size=1, max_size=6)
PLACE = st.integers(0, 5)
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""A busy machine is no fault of the score."""


def changed(rounds: list[Round], place: int, **changes: object) -> Score:
    """The score where one round went differently."""
    other = list(rounds)
    other[place % len(rounds)] = replace(other[place % len(rounds)], **changes)  # type: ignore[arg-type]
    return Score(tuple(other))


def total(score: Score) -> int:
    return sum(cost.points for cost in score.costs)


@UNHURRIED
@given(ROUNDS)
def test_what_is_told_is_what_it_cost(rounds: list[Round]) -> None:
    """Each point that is missing has a line with its reason, and each line says its round."""
    score = Score(tuple(rounds))
    assert score.points == max(0, FULL - total(score))
    assert all(cost.points > 0 and cost.what and cost.why for cost in score.costs)
    assert all(str(cost) in str(score) for cost in score.costs)
    assert all(0 <= cost.round <= len(rounds) for cost in score.costs)


@UNHURRIED
@given(ROUNDS, PLACE, st.integers(1, 3), st.sampled_from(["dps", "hub"]))
def test_more_successes_of_an_attacker_never_score_better(
    rounds: list[Round], place: int, more: int, door: str
) -> None:
    before = Score(tuple(rounds))
    had = getattr(rounds[place % len(rounds)], door)
    after = changed(rounds, place, **{door: (*had, *("four", "five", "six")[:more])})
    assert total(after) > total(before)
    assert after.points <= before.points
    assert after.containment >= before.containment
    assert not after.contained or before.contained


@UNHURRIED
@given(ROUNDS, PLACE)
def test_another_lost_device_never_scores_better(rounds: list[Round], place: int) -> None:
    had = rounds[place % len(rounds)].lost
    after = changed(rounds, place, lost=(*had, "four"))
    assert total(after) > total(Score(tuple(rounds)))
    assert after.lost == Score(tuple(rounds)).lost + 1


@UNHURRIED
@given(ROUNDS, PLACE, DEEDS)
def test_what_was_done_changes_the_words_and_never_the_points(
    rounds: list[Round], place: int, deeds: frozenset[Deed]
) -> None:
    """Judged is what came of it: there are several right ways."""
    assert total(changed(rounds, place, deeds=deeds)) == total(Score(tuple(rounds)))


@UNHURRIED
@given(st.integers(1, 6))
def test_a_breach_that_ends_later_costs_more(late: int) -> None:
    inside, outside = Round(dps=("one",), hub=("one",)), Round()
    sooner = Score((*[inside] * (late - 1), outside, outside))
    later = Score((*[inside] * late, outside))
    assert (sooner.containment, later.containment) == (late - 1, late)
    assert total(later) > total(sooner)


def test_a_hundred_points_are_for_nobody_in_and_nobody_out() -> None:
    score = Score((Round(did(Act.ENTRY)), Round()))
    assert (score.points, score.contained, score.containment) == (100, True, 0)
    assert "no better way" in str(score)
    assert "Also right" in str(score)


def test_the_drill_that_has_not_begun_is_not_contained() -> None:
    score = Score(())
    assert (score.contained, score.costs, score.lessons) == (False, (), [])


def did(*acts: Act, to: str = "one") -> frozenset[Deed]:
    """These acts, all to one device."""
    return frozenset(Deed(act, to) for act in acts)


def told(*rounds: Round) -> str:
    return "\n".join(Score(rounds).lessons)


IN = {"dps": ("one",), "hub": ("one",)}


def test_each_wrong_idea_is_told_with_what_it_cost() -> None:
    waited = told(Round(**IN), Round())
    assert "You waited in round 1: an attacker got in 2 times" in waited
    revoked = told(Round(did(Act.REVOKED, to=""), **IN), Round())
    assert "revocation list of round 1 kept nobody out" in revoked
    hole = told(Round(did(Act.ENTRY), hub=("one",)), Round(hub=("one",)), Round())
    assert "does not reach the hub: it cost 2 connections" in hole
    first_aid = told(Round(did(Act.DISABLED), lost=("one",)), Round(lost=("one",)))
    assert "keeps the true device out, too, here 2 times" in first_aid
    hasty = told(Round(did(Act.DELETED), **IN))
    assert "identity went before the entry did" in hasty


@pytest.mark.parametrize("undone", [Act.ENABLED, Act.DELETED])
def test_an_idea_that_was_not_had_is_not_told(undone: Act) -> None:
    assert "revocation" not in told(Round(**IN))
    assert "reach the hub" not in told(Round(**IN), Round())
    on_again = (Round(did(Act.DISABLED)), Round(did(undone), lost=("one",)))
    assert "first aid" not in told(*on_again)


# ---- several devices


def why(one: Round, *before: Round) -> list[tuple[str, str]]:
    """What each cost of the last round was for, and why."""
    rounds = (*before, one)
    costs = Score(rounds).costs
    return [(cost.what, cost.why) for cost in costs if cost.round == len(rounds)]


def test_each_device_has_a_reason_of_its_own() -> None:
    """Of two that are lost, one was switched off; of two that are played, one was named anew."""
    off = did(Act.DISABLED, to="one")
    (first, second) = why(Round(off, robbed=("one", "two"), lost=("one", "two")))
    assert ("one could not send" in first[0], "disabled identity" in first[1]) == (True, True)
    assert ("two could not send" in second[0], "was stolen" in second[1]) == (True, True)
    (one, two) = why(Round(did(Act.ENTRY, to="one"), hub=("one", "two")))
    assert ("for one," in one[0], "DPS knows better" in one[1]) == (True, True)
    assert ("for two," in two[0], "DPS knows better" in two[1]) == (True, False)
    (renewed, other) = why(Round(did(Act.RENEWED, to="one"), dps=("one", "two")))
    assert ("for one," in renewed[0], "has another certificate" in renewed[1]) == (True, True)
    assert ("for two," in other[0], "has another certificate" in other[1]) == (True, False)


def test_the_same_reason_is_told_once() -> None:
    (only,) = why(Round(did(Act.ENTRY, to=""), hub=("one", "two")))
    assert "for one, two, 2 x 10" in only[0]


def test_who_was_not_robbed_has_not_lost_a_stolen_certificate() -> None:
    (only,) = why(Round(did(Act.ENTRY, to=""), robbed=("one",), lost=("two",)))
    assert "Nobody has robbed it" in only[1]


def test_what_was_done_to_one_is_no_idea_about_another() -> None:
    """The one was named anew, and the other got into the hub; the one was switched off or deleted,
    and the other was lost, or played at DPS."""
    entry, off, gone = (did(act, to="one") for act in (Act.ENTRY, Act.DISABLED, Act.DELETED))
    assert "reach the hub" not in told(Round(entry, hub=("two",)))
    assert "first aid" not in told(Round(off, lost=("two",)))
    assert "identity went before" not in told(Round(gone, dps=("two",), hub=("two",)))


def test_a_change_of_the_identity_does_not_switch_it_on() -> None:
    """DPS may put another thumbprint into it: it stays disabled."""
    lost = Round(did(Act.CHANGED), lost=("one",))
    ((_, reason),) = why(lost, Round(did(Act.DISABLED)))
    assert "disabled identity" in reason
