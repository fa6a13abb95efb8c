"""Exercise checks: never raise, say one line a case, and give a hint for what is not there yet."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

_DONE, _OPEN = "✓", "○"
_GREEN, _AMBER = "#007a58", "#8a5a00"


@dataclass(frozen=True, slots=True)
class Case:
    """``what`` holds when ``test()`` is true; ``hint`` helps where it does not, or raises."""

    what: str
    test: Callable[[], object]
    hint: str


class Report:
    """The outcome of an exercise, case by case."""

    def __init__(self, name: str, cases: Iterable[Case]) -> None:
        self.name = name
        self.rows = [(_holds(case.test), case.what, case.hint) for case in cases]

    @property
    def solved(self) -> bool:
        return all(ok for ok, _, _ in self.rows)

    @property
    def done(self) -> int:
        """How many cases hold."""
        return sum(ok for ok, _, _ in self.rows)

    @property
    def headline(self) -> str:
        state = "solved" if self.solved else "not yet"
        return f"{self.name}: {self.done} of {len(self.rows)}, {state}"

    def _lines(self) -> list[str]:
        return [
            f"{_DONE if ok else _OPEN} {what}{'' if ok else f' → {hint}'}"
            for ok, what, hint in self.rows
        ]

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


def _holds(test: Callable[[], object]) -> bool:
    """Whatever a trainee hands in, it is at worst not solved yet."""
    try:
        return bool(test())
    except Exception:
        return False
