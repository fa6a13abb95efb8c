"""A scenario on the screen: the whole player is one widget, and every button one method.

from labkit.ui.player import Player
from labkit.scenarios.first_device import STORY

player = Player(STORY)
player                    # Back, Next and Reset, or player.next() in a cell: the same thing
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from html import escape
from typing import TYPE_CHECKING, Any

import traitlets

from labkit.graph.states import STATES
from labkit.ui.answering import Json
from labkit.ui.assets import module, style_sheet
from labkit.ui.inspection import Inspection
from labkit.ui.living import Living
from labkit.ui.performance import Frame, Performance
from labkit.ui.scene import log_of, scene_of
from labkit.work import Stage

if TYPE_CHECKING:
    from labkit.lab import Lab
    from labkit.ui.scenario import Scenario


class Player(Living):
    """Plays ``scenario`` in a workspace of its own, which is emptied when the play begins."""

    _esm = module("player")
    _css = style_sheet()

    stage = traitlets.Dict().tag(sync=True)
    """How far long work is: ``doing``, ``done`` of ``whole``; empty while there is none."""

    def __init__(self, scenario: Scenario) -> None:
        super().__init__()
        self._run = 1
        self._play = Performance(scenario)
        self._shows()

    # ---- what a cell, a test and a button all use

    @property
    def lab(self) -> Lab:
        """The lab that the steps act on."""
        return self._play.lab

    @property
    def frame(self) -> Frame:
        """What is shown now."""
        return self._play.frame

    def next(self) -> None:
        """Towards the present; at the present, takes the next step. Waits for an answer."""
        with self._acting():
            self._play.next()

    def back(self) -> None:
        """Shows the step before, exactly as it was. The lab stays where it is."""
        with self._acting():
            self._play.back()

    def reset(self) -> None:
        """Begins again, in an empty workspace."""
        with self._acting():
            self._run += 1
            self._play.reset()

    def predict(self, option: str) -> None:
        """Answers the question before the next step. Raises LabError for no such answer."""
        with self._acting():
            self._play.choose(option)

    def decide(self, option: str) -> None:
        """Decides what the next step begins with; nothing is done before. Raises LabError for what
        is not offered."""
        self.predict(option)

    def cure(self, place: int) -> None:
        """Carries out one of the remedies beside the refusal that is shown. Raises LabError."""
        with self._acting():
            self._play.cure(place)

    def go_to(self, step: int) -> None:
        """Shows the frame of a step, taking the steps up to it where they have not been taken."""
        with self._acting():
            self._play.go_to(step)

    # ---- the browser

    def graph(self) -> Any:
        return self.frame.graph

    def inspections(self) -> Mapping[str, Inspection]:
        return self.frame.inspections

    def answer(self, message: Json) -> Json:
        moves: dict[object, Callable[[], None]] = {
            "next": self.next,
            "back": self.back,
            "reset": self.reset,
            "predict": lambda: self.predict(message["option"]),
            "decide": lambda: self.decide(message["option"]),
            "cure": lambda: self.cure(message["place"]),
            "go_to": lambda: self.go_to(message["step"]),
        }
        asked = message.get("do")
        if asked in moves:
            moves[asked]()
            return {}
        if asked == "events":
            return {"run": self._run, "events": log_of(self.frame.events, message["since"])}
        return super().answer(message)

    @contextmanager
    def _acting(self) -> Iterator[None]:
        """The browser is told before the work begins, for a step may take seconds."""
        self.busy = True
        try:
            with self.lab.work.heard(self._far):
                yield
        finally:
            with self.hold_sync():
                self.busy, self.stage = False, {}
                self._shows()

    def _far(self, stage: Stage) -> None:
        self.stage = asdict(stage)

    def _shows(self) -> None:
        self.show(self.frame.picture.svg, scene_of(self._play, self._run))

    # ---- without a browser

    def __repr__(self) -> str:
        frame = self.frame
        counts = [f"{frame.states[key]} {key}" for key in STATES if frame.states.get(key)]
        place = f"step {frame.step} of {self._play.steps}: {frame.title}"
        return f"{place}\n{', '.join(counts)}"

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The live player, and beside it what stays when there is no kernel."""
        live, metadata = self.live_bundle(**options)
        return {**live, "text/plain": repr(self), "text/html": self._still()}, metadata

    def _still(self) -> str:
        frame = self.frame
        place = f"Step {frame.step} of {self._play.steps}"
        return (
            f"<div><p><b>{place}: {escape(frame.title)}</b></p>"
            f"<p>{rich(frame.narration)}</p>{frame.picture.html}</div>"
        )


def rich(text: str) -> str:
    """Narration as HTML: ``**bold**`` and `` `code` ``, and everything else as it is written."""
    bold = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", escape(text))
    return re.sub(r"`(.+?)`", r"<code>\1</code>", bold)
