"""How far a trainee has come: which stories were played to which step, which exercises solved.

Kept in each workspace, and not thrown away when a lesson is started over.
"""

from __future__ import annotations

import html
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labkit.files import write_whole

FILE = "progress.json"


@dataclass(frozen=True, slots=True)
class Mark:
    """``done`` of ``whole`` steps or cases, the best so far."""

    kind: str
    name: str
    done: int
    whole: int

    @property
    def complete(self) -> bool:
        return self.done >= self.whole

    def __str__(self) -> str:
        sign = "✓" if self.complete else "○"
        unit = "steps" if self.kind == "story" else "cases"
        return f"{sign} {self.kind} {self.name}: {self.done} of {self.whole} {unit}"


class Progress:
    """The marks of some workspaces together; of two for one thing the better counts."""

    def __init__(self, marks: list[Mark]) -> None:
        best: dict[tuple[str, str], Mark] = {}
        for mark in sorted(marks, key=lambda mark: mark.done):
            best[mark.kind, mark.name] = mark
        self.marks = [best[key] for key in sorted(best)]

    def __str__(self) -> str:
        return "\n".join(map(str, self.marks)) or "Nothing yet: play a story or try an exercise."

    __repr__ = __str__

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        lines = "<br>".join(html.escape(line) for line in str(self).splitlines())
        return {"text/plain": str(self), "text/html": f"<p>{lines}</p>"}


def note(workspace: Path, kind: str, name: str, done: int, whole: int) -> None:
    """Remembers a mark, unless a better one is there already."""
    marks = {(m.kind, m.name): m for m in read(workspace)}
    before = marks.get((kind, name))
    if before is not None and before.done >= done and before.whole == whole:
        return
    marks[kind, name] = Mark(kind, name, done, whole)
    rows = [[m.kind, m.name, m.done, m.whole] for m in marks.values()]
    write_whole(workspace / FILE, json.dumps(rows))


def read(workspace: Path) -> list[Mark]:
    """The marks of one workspace; none where the file is missing or damaged."""
    try:
        return [Mark(*row) for row in json.loads((workspace / FILE).read_text())]
    except (OSError, ValueError, TypeError):
        return []


def of_home(home: Path) -> Progress:
    """Of all workspaces below ``home``."""
    return Progress([mark for path in sorted(home.glob(f"*/{FILE}")) for mark in read(path.parent)])
