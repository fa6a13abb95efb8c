"""Exercise checks: one hint at a time, and never an exception, whatever is handed in."""

from __future__ import annotations

import pytest

from labkit.ui.check import Case, Report


def cases(*held: object) -> list[Case]:
    """Case n holds when held[n] is true, and raises when it is an exception."""

    def test(outcome: object) -> object:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return [
        Case(f"case {n}", lambda outcome=outcome: test(outcome), f"hint {n}")
        for n, outcome in enumerate(held)
    ]


def test_all_cases_hold() -> None:
    report = Report("name", "answer", cases(True, 1, "yes"))
    assert report.solved
    assert str(report) == "name: 3 of 3, solved\n✓ case 0\n✓ case 1\n✓ case 2"


def test_only_the_first_open_case_shows_its_hint() -> None:
    text = str(Report("name", "answer", cases(True, False, True, False)))
    assert text.splitlines() == [
        "name: 1 of 4, not yet",
        "✓ case 0",
        "○ not yet: case 1",
        "   You handed in 'answer'.",
        "   Hint: hint 1",
        "· later: case 2",
        "· later: case 3",
    ]


def test_a_case_that_raises_is_not_solved_yet() -> None:
    report = Report("name", "answer", cases(AttributeError("no such thing")))
    assert (report.done, report.solved) == (0, False)


class Unshowable:
    def __repr__(self) -> str:
        raise RuntimeError("broken repr")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (..., "nothing yet"),
        (None, "None"),
        (Unshowable(), "a value of type Unshowable"),
        ("x" * 500, "xx…"),
        ("two\nlines", "two\\nlines"),
    ],
)
def test_it_says_what_was_handed_in(answer: object, said: str) -> None:
    assert said in str(Report("name", answer, cases(False)))


def test_an_answer_is_not_taken_for_markup() -> None:
    shown = Report("name", "<script>", cases(False))._repr_mimebundle_()
    assert "<script>" not in shown["text/html"]
