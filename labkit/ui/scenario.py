"""A scenario is data: steps with words for the trainee and an action on the lab.

Nothing here draws anything; :mod:`labkit.ui.performance` plays it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
class Decision:
    """Asked before a step is taken, and no answer is the right one: each of ``acts``, by its name,
    does something else to the lab before the step goes on. The first is for whoever does not
    decide."""

    question: str
    acts: Mapping[str, Action]

    @property
    def options(self) -> tuple[str, ...]:
        """What can be decided."""
        return tuple(self.acts)


@dataclass(frozen=True, slots=True)
class Step:
    """One step. ``narration`` is a few sentences, with ``**bold**`` and `` `code` ``; ``look_at``
    names the nodes of the picture that matter now. What is ``asked`` before the action is a
    prediction or a decision. ``tells`` says what came of it, in lines, after the action."""

    title: str
    narration: str
    action: Action
    predict: Prediction | None = None
    look_at: tuple[str, ...] = ()
    decide: Decision | None = None
    tells: Callable[[Lab], str] | None = None

    @property
    def asked(self) -> Prediction | Decision | None:
        """What Next waits for."""
        return self.predict or self.decide


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
