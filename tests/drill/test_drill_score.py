"""The score of a breach: it adds up, and nothing bad ever makes it better."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labkit.drill import Act, Round, Score
from labkit.drill.score import FULL

NAMES = ("one", "two", "three")
SOME = st.lists(st.sampled_from(NAMES), unique=True, max_size=3).map(tuple)
ROUND = st.builds(
    Round,
    acts=st.frozensets(st.sampled_from(list(Act))),
    dps=st.integers(0, 3),
    hub=st.integers(0, 3),
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
    after = changed(rounds, place, **{door: had + more})
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
@given(ROUNDS, PLACE, st.frozensets(st.sampled_from(list(Act))))
def test_what_was_done_changes_the_words_and_never_the_points(
    rounds: list[Round], place: int, acts: frozenset[Act]
) -> None:
    """Judged is what came of it: there are several right ways."""
    assert total(changed(rounds, place, acts=acts)) == total(Score(tuple(rounds)))


@UNHURRIED
@given(st.integers(1, 6))
def test_a_breach_that_ends_later_costs_more(late: int) -> None:
    inside, outside = Round(dps=1, hub=1), Round()
    sooner = Score((*[inside] * (late - 1), outside, outside))
    later = Score((*[inside] * late, outside))
    assert (sooner.containment, later.containment) == (late - 1, late)
    assert total(later) > total(sooner)


def test_a_hundred_points_are_for_nobody_in_and_nobody_out() -> None:
    score = Score((Round(frozenset({Act.ENTRY})), Round()))
    assert (score.points, score.contained, score.containment) == (100, True, 0)
    assert "no better way" in str(score)
    assert "Also right" in str(score)


def test_the_drill_that_has_not_begun_is_not_contained() -> None:
    score = Score(())
    assert (score.contained, score.costs, score.lessons) == (False, (), [])


def told(*rounds: Round) -> str:
    return "\n".join(Score(rounds).lessons)


def test_each_wrong_idea_is_told_with_what_it_cost() -> None:
    entry, switched = frozenset({Act.ENTRY}), frozenset({Act.DISABLED})
    waited = told(Round(dps=1, hub=1), Round())
    assert "You waited in round 1: an attacker got in 2 times" in waited
    revoked = told(Round(frozenset({Act.REVOKED}), dps=1, hub=1), Round())
    assert "revocation list of round 1 kept nobody out" in revoked
    hole = told(Round(entry, hub=1), Round(hub=1), Round())
    assert "does not reach the hub: it cost 2 connections" in hole
    first_aid = told(Round(switched, lost=("one",)), Round(lost=("one",)))
    assert "keeps the true device out, too, here 2 times" in first_aid
    hasty = told(Round(frozenset({Act.DELETED}), dps=1, hub=1))
    assert "identity went before the entry did" in hasty


def test_an_idea_that_was_not_had_is_not_told() -> None:
    assert "revocation" not in told(Round(dps=1, hub=1))
    assert "reach the hub" not in told(Round(dps=1, hub=1), Round())
    on_again = (Round(frozenset({Act.DISABLED})), Round(frozenset({Act.CHANGED}), lost=("one",)))
    assert "first aid" not in told(*on_again)
