"""Exercise checks: never raise, say one line a case, and give a hint for what is not there yet."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

_DONE, _OPEN, _WAITS = "✓", "○ not yet:", "· later:"
_LONGEST_ANSWER = 80
_GREEN, _AMBER = "#007a58", "#8a5a00"


@dataclass(frozen=True, slots=True)
class Case:
    """``what`` holds when ``test()`` is true; ``hint`` helps where it does not, or raises."""

    what: str
    test: Callable[[], object]
    hint: str


class Report:
    """The outcome of an exercise, case by case.

    Cases build on one another: after the first that does not hold the rest wait, and only that
    one shows its hint.
    """

    def __init__(self, name: str, answer: object, cases: Iterable[Case]) -> None:
        self.name, self._answer = name, answer
        self.cases = list(cases)
        held = takewhile(lambda case: _holds(case.test), self.cases)
        self.done = sum(1 for _ in held)
        """How many cases hold, before the first that does not."""

    @property
    def solved(self) -> bool:
        return self.done == len(self.cases)

    @property
    def headline(self) -> str:
        state = "solved" if self.solved else "not yet"
        return f"{self.name}: {self.done} of {len(self.cases)}, {state}"

    def _lines(self) -> Iterator[str]:
        for place, case in enumerate(self.cases):
            if place < self.done:
                yield f"{_DONE} {case.what}"
            elif place == self.done:
                yield f"{_OPEN} {case.what}"
                yield f"   You handed in {_in_words(self._answer)}."
                yield f"   Hint: {case.hint}"
            else:
                yield f"{_WAITS} {case.what}"

    def __str__(self) -> str:
        return "\n".join([self.headline, *self._lines()])

    __repr__ = __str__

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        colour = _GREEN if self.solved else _AMBER
        lines = "<br>".join(html.escape(line) for line in self._lines())
        return {
            "text/plain": str(self),
            "text/html": f'<div role="status" style="border-left:4px solid {colour};'
            f'padding:4px 10px"><b>{html.escape(self.headline)}</b><br>{lines}</div>',
        }


def _in_words(answer: object) -> str:
    if answer is ...:
        return "nothing yet"
    try:
        shown = repr(answer)
    except Exception:
        shown = ""
    if isinstance(answer, bytes):
        return f"{len(answer)} bytes"
    if not shown or "\n" in shown:
        return f"a value of type {type(answer).__name__}"
    return shown if len(shown) <= _LONGEST_ANSWER else f"{shown[:_LONGEST_ANSWER]}…"


def _holds(test: Callable[[], object]) -> bool:
    """Whatever a trainee hands in, it is at worst not solved yet."""
    try:
        return bool(test())
    except Exception:
        return False
