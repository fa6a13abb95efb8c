"""A scenario is data: steps with words for the trainee and an action on the lab.

Nothing here draws anything; :mod:`labkit.ui.performance` plays it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from labkit.lab import Lab

Action = Callable[[Lab], object]
"""What a step does. It may raise LabError: then the refusal is what the step shows."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """Asked before a step is taken. ``answer`` is one of ``options``, ``why`` says the reason."""

    question: str
    options: tuple[str, ...]
    answer: str
    why: str

    def __post_init__(self) -> None:
        if self.answer not in self.options:
            raise ValueError(f"the answer {self.answer!r} is none of {self.options}")


@dataclass(frozen=True, slots=True)
class Step:
    """One step. ``narration`` is a few sentences, with ``**bold**`` and `` `code` ``; ``look_at``
    names the nodes of the picture that matter now; ``predict`` is asked before the action."""

    title: str
    narration: str
    action: Action
    predict: Prediction | None = None
    look_at: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Scenario:
    """``name`` is also the workspace's; ``clock`` (ISO 8601) is where the lab's time starts, and
    ``hubs`` are the hubs that it has: without any, the lab's usual one. ``servers``: the picture
    has the servers' certificates from the beginning."""

    name: str
    title: str
    introduction: str
    steps: tuple[Step, ...]
    clock: str = "2027-03-01T09:00:00Z"
    hubs: tuple[str, ...] = ()
    servers: bool = False
