"""A scenario being played, without any widget: what a cell, a test and a button all drive.

The lab only ever goes forward. Each step leaves a *frame*, everything that was shown, and Back
and Next move among the frames; only at the last one does Next act on the lab.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from labkit.errors import LabError
from labkit.events import Event
from labkit.explanation import Explanation
from labkit.graph import Picture
from labkit.graph.model import of_lab
from labkit.lab import Lab
from labkit.progress import note
from labkit.ui.inspection import Inspection
from labkit.ui.inspector import inspect_all
from labkit.ui.remedy import Remedy, remedies
from labkit.ui.scenario import Action, Decision, Prediction, Scenario, Step

if TYPE_CHECKING:
    from networkx import DiGraph

Notify = Callable[[], None]

_CURED = "✓ The device asked again and **{}**."
_REFUSED = "✗ The device asked again and was **refused again**: see why below."


@dataclass(frozen=True, slots=True)
class Feedback:
    """How a prediction turned out, shown beside the narration of the step that it was about."""

    chosen: str
    prediction: Prediction

    @property
    def right(self) -> bool:
        return self.chosen == self.prediction.answer

    def __str__(self) -> str:
        if self.right:
            return f"✓ Right: {self.chosen}. {self.prediction.why}"
        return f"✗ Not quite. You said: {self.chosen}. It is: {self.prediction.answer}. " + (
            self.prediction.why
        )


@dataclass(frozen=True, slots=True)
class Frame:
    """Everything that was shown after a step. ``step`` counts from 0, the opening;
    ``graph`` is what ``picture`` was drawn from."""

    step: int
    title: str
    narration: str
    graph: DiGraph[str]
    picture: Picture
    states: dict[str, int]
    events: tuple[Event, ...]
    inspections: dict[str, Inspection]
    look_at: tuple[str, ...] = ()
    feedback: Feedback | None = None
    explanation: Explanation | None = None
    failure: str = ""
    remedies: tuple[Remedy, ...] = ()
    told: str = ""


class Performance:
    """Plays ``scenario`` in a workspace of its own, which is emptied when the play begins.

    ``changed`` is called after whatever is shown has changed.
    """

    def __init__(self, scenario: Scenario, changed: Notify = lambda: None) -> None:
        self.scenario, self.changed = scenario, changed
        self._frames: list[Frame] = []
        self._position = 0
        self._chosen: dict[int, str] = {}
        self._begin()

    # ---- what is shown

    @property
    def frame(self) -> Frame:
        return self._frames[self._position]

    @property
    def before(self) -> Frame:
        """The frame before the one that is shown; the opening has none but itself."""
        return self._frames[max(0, self._position - 1)]

    @property
    def frames(self) -> tuple[Frame, ...]:
        """All frames so far, the opening first."""
        return tuple(self._frames)

    @property
    def position(self) -> int:
        """Which of the frames is shown, counted from 0: a cure has one of its own."""
        return self._position

    @property
    def step(self) -> int:
        """How many steps the frame that is shown has behind it."""
        return self.frame.step

    @property
    def steps(self) -> int:
        return len(self.scenario.steps)

    @property
    def asked(self) -> Prediction | Decision | None:
        """What is asked before the step that follows the frame that is shown."""
        return self.scenario.steps[self.step].asked if self.step < self.steps else None

    @property
    def chosen(self) -> str:
        """The answer given to what is :attr:`asked`; empty while there is none."""
        return self._chosen.get(self.step, "")

    @property
    def at_present(self) -> bool:
        """True where the frame that is shown is the lab's present."""
        return self._position == len(self._frames) - 1

    @property
    def can_go_back(self) -> bool:
        return self._position > 0

    @property
    def can_go_on(self) -> bool:
        """False at the end, and while a question waits for its answer."""
        if not self.at_present:
            return True
        return self.step < self.steps and (self.asked is None or bool(self.chosen))

    # ---- what moves it

    def choose(self, option: str) -> None:
        """Answers the question before the next step, with a prediction or a decision. What was
        answered for a step that has been taken stays. Raises LabError for an answer that is not
        offered."""
        asked = self.asked
        if asked is None or option not in asked.options:
            offered = ", ".join(asked.options) if asked else "no question is open"
            raise LabError(f"{option!r} is no answer here", expected=offered)
        if self.at_present:
            self._chosen[self.step] = option
        self.changed()

    def next(self) -> Frame:
        """Towards the present; at the present, takes the next step of the scenario.

        Does nothing at the end, or while a question waits.
        """
        if not self.can_go_on:
            return self.frame
        if self.at_present:
            self._own_lab()
            self._go_on()
        self._position += 1
        self.changed()
        return self.frame

    def cure(self, place: int) -> Frame:
        """Carries out a remedy of the refusal that is shown, and shows what came of it.

        Raises LabError where there is none, or where the story has gone on since.
        """
        self._own_lab()
        offered = self.frame.remedies if self.at_present else ()
        if not 0 <= place < len(offered):
            raise LabError("There is nothing to cure here", found=f"{len(offered)} remedies")
        remedy = offered[place]
        taken = self._take(Step(remedy.label, remedy.story, _done(remedy)), self.step)
        came_of_it = (
            _REFUSED if taken.explanation or taken.failure else _CURED.format(remedy.outcome)
        )
        self._frames.append(replace(taken, narration=f"{remedy.story} {came_of_it}"))
        self._position += 1
        self.changed()
        return self.frame

    def back(self) -> Frame:
        """Shows the frame before, exactly as it was. The lab stays where it is."""
        self._position = max(0, self._position - 1)
        self.changed()
        return self.frame

    def go_to(self, step: int) -> Frame:
        """Shows the frame of a step, taking the steps up to it where they have not been taken.

        A question on the way that nobody answered is passed over; of a decision the first act is
        taken.
        """
        step = max(0, step)
        if self._frames[-1].step < min(step, self.steps):
            self._own_lab()
        while self._frames[-1].step < min(step, self.steps):
            self._go_on()
        places = [place for place, frame in enumerate(self._frames) if frame.step <= step]
        self._position = places[-1]
        self.changed()
        return self.frame

    def reset(self) -> Frame:
        """Begins again, in an empty workspace. Answers are forgotten."""
        self._begin()
        self.changed()
        return self.frame

    # ---- inside

    def _own_lab(self) -> None:
        """Two plays of one story use one workspace: the later has it. Raises LabError."""
        if self.lab.closed:
            raise LabError(
                "This player's lab is closed: the story was begun anew elsewhere, or the lab was "
                "closed by a cell",
                cure="go on in the newer player; or press Reset here to begin again",
            )

    def _begin(self) -> None:
        story = self.scenario
        self.lab = Lab.open(f"{story.name}-player", fresh=True, clock=story.clock, hubs=story.hubs)
        self._chosen.clear()
        self._position = 0
        opening = self._shown(0, self.scenario.title, self.scenario.introduction)
        self._frames[:] = [opening]

    def _go_on(self) -> None:
        reached = self._frames[-1].step
        step = self.scenario.steps[reached]
        self._frames.append(self._take(step, reached + 1, self._decided(reached, step.decide)))
        note(self.lab.path, "story", self.scenario.name, reached + 1, self.steps)

    def _decided(self, number: int, decision: Decision | None) -> str:
        """What was chosen for the step after ``number`` others, or the first that is offered."""
        if decision is None:
            return ""
        return self._chosen.get(number) or decision.options[0]

    def _take(self, step: Step, number: int, decided: str = "") -> Frame:
        """Acts, and shows what came of it: a refusal explained, never a traceback."""
        before, failure = self.lab.cloud.refusals.newest(), ""
        if step.decide is not None and decided:
            failure = self._act(step.decide.acts[decided])
        failure = self._act(step.action) or failure
        self.lab.listener.settle()
        return self._shown(
            number,
            step.title,
            step.narration,
            look_at=step.look_at,
            feedback=self._feedback(number - 1, step),
            explanation=self._explained(before, step),
            failure=failure,
            told="\n".join(_told(self.lab, step, decided)),
            cures=step.decide is None,
        )

    def _act(self, action: Action) -> str:
        """Why it did not work; empty where it did."""
        try:
            action(self.lab)
        except LabError as error:
            return str(error)
        return ""

    def _explained(self, before: int, step: Step) -> Explanation | None:
        """Why the step was refused, if it was. Of a device that left in TLS it is what the lab
        knows of both sides: that comes last, and quietly. Where the trainee decides, an attacker
        who is refused is no fault."""
        meant = self.lab.timeline().theirs if step.decide else frozenset[str]()
        told = [r for r in self.lab.cloud.refusals.since(before) if r.tracking_id not in meant]
        loud = [refusal for refusal in told if refusal.service == "tls" or not refusal.quiet]
        return Explanation(loud[-1]) if loud else None

    def _feedback(self, number: int, step: Step) -> Feedback | None:
        chosen = self._chosen.get(number)
        return Feedback(chosen, step.predict) if chosen and step.predict else None

    def _shown(
        self,
        number: int,
        title: str,
        narration: str,
        *,
        look_at: tuple[str, ...] = (),
        feedback: Feedback | None = None,
        explanation: Explanation | None = None,
        failure: str = "",
        told: str = "",
        cures: bool = True,
    ) -> Frame:
        """``cures``: whether a refusal's remedies are offered; where the trainee decides what to
        do, they are not."""
        graph = of_lab(self.lab, servers=self.scenario.servers)
        states = Counter(str(data["state"]) for _, data in graph.nodes(data=True))
        return Frame(
            step=number,
            title=title,
            narration=narration,
            graph=graph,
            picture=Picture.of(graph),
            states=dict(states),
            events=tuple(self.lab.events),
            inspections=inspect_all(self.lab, servers=self.scenario.servers),
            look_at=look_at,
            feedback=feedback,
            explanation=explanation,
            failure=failure,
            remedies=tuple(remedies(self.lab, explanation)) if explanation and cures else (),
            told=told,
        )


def _told(lab: Lab, step: Step, decided: str) -> Iterator[str]:
    if decided:
        yield f"You decided: {decided}."
    if step.tells:
        yield step.tells(lab)


def _done(remedy: Remedy) -> Action:
    return lambda _: remedy.apply()
