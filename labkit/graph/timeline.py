"""A fleet's timeline, drawn: a panel for each thing that was counted, and the operator's marks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

from labkit.drill.timeline import Timeline, accepted_in
from labkit.graph import chart
from labkit.graph.picture import Picture

TITLE = "A fleet, step by step"


class DrawnTimeline(Timeline):
    """A timeline that shows itself in a notebook: an image, and the same in words."""

    def __repr__(self) -> str:
        return self.text

    @cached_property
    def picture(self) -> Picture:
        """The chart: equal steps give equal bytes, whatever the clocks say."""
        text = "\n".join([TITLE, self.numbers, chart.tell(self._series, unit="step"), *self._acts])
        svg = chart.chart(self._series, TITLE, unit="step", marks=self.marks)
        return Picture(svg, TITLE, text)

    @property
    def svg(self) -> str:
        """The file's text."""
        return self.picture.svg

    @property
    def text(self) -> str:
        """The picture in words."""
        return self.picture.text

    def save(self, path: str | PathLike[str]) -> Path:
        """Writes the SVG; returns the path."""
        return self.picture.save(path)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Mapping[str, str]:
        return self.picture._repr_mimebundle_()

    @property
    def numbers(self) -> str:
        """What was measured, in one line; of attackers only where there were any."""
        told = f"devices: {self.accepted} accepted, {self.refused} refused; "
        told += f"messages: {self.sent} sent, {self.lost} lost"
        if self.got_in or self.kept_out:
            told += f"; attackers: got in {self.got_in}, kept out {self.kept_out}"
        return told

    @property
    def _series(self) -> dict[str, Sequence[float]]:
        series: dict[str, Sequence[float]] = {
            "devices that DPS accepted": [max(0, accepted_in(step)) for step in self.steps],
            "devices that were refused": [self.refused_in(step) for step in self.steps],
            "identities with a connection": [step.connected for step in self.steps],
        }
        if self.got_in or self.kept_out:
            series["attackers got in"] = [step.got_in for step in self.steps]
            series["attackers were kept out"] = [step.kept_out for step in self.steps]
        return series

    @property
    def _acts(self) -> list[str]:
        return [f"step {place}: {mark}" for place, mark in self.marks]
