"""Draws series of numbers as one SVG text: a panel for each, one below the other, one time axis.

Each series has its own scale, its name over its panel, and a colour and a dash that no other
has. Byte by byte the same on every machine; everything it needs is inside.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, TypeAlias

from labkit.graph.metrics import NAME, SMALL, TITLE, fit, width
from labkit.graph.picture import Picture
from labkit.graph.states import BLUE, GREEN, ORANGE, PURPLE, VERMILLION
from labkit.graph.style import css
from labkit.graph.svg import escape

Series: TypeAlias = Mapping[str, Sequence[float]]
Spans: TypeAlias = Sequence[tuple[float, float, str]]
"""Stretches of the time axis that are to be seen: from, to, and the word for it."""

Marks: TypeAlias = Sequence[tuple[float, str]]
"""Moments that are to be seen: when, and what happened."""

_WIDTH: Final = 720
_LINE: Final = 18
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 20, 48, 44
_PANEL, _HEAD, _GAP = 96, 24, 14
_PENS: Final = (
    (BLUE.stroke, "none"),
    (VERMILLION.stroke, "8 4"),
    (GREEN.stroke, "2 3"),
    (PURPLE.stroke, "10 3 2 3"),
    (ORANGE.stroke, "24 3"),
)
_RULES: Final = """
.lab-board .curve{fill:none;stroke:var(--pen);stroke-width:2.2;stroke-dasharray:var(--dash);\
stroke-linejoin:round}
.lab-board .mark{stroke:var(--text);stroke-width:1.2;stroke-dasharray:2 3}
.lab-board .mark-number{font-weight:600}
.lab-board .name{paint-order:stroke;stroke:var(--card);stroke-width:4px;stroke-linejoin:round}
.lab-board .rule{stroke:var(--edge);stroke-width:1}
.lab-board .span{fill:var(--lane)}
.lab-board .edge{stroke:var(--soft);stroke-width:1;stroke-dasharray:3 3}
"""


def chart(
    series: Series, title: str, *, unit: str = "minute", spans: Spans = (), marks: Marks = ()
) -> str:
    """The SVG of some series; each number, 0 or more, belongs to one ``unit`` of time, from 0 on.
    ``marks`` are numbered, and told below.

    Raises ValueError where there is nothing to draw, or more series than pens.
    """
    _check(series)
    length = max(map(len, series.values()))
    foot = _TOP + len(series) * (_HEAD + _PANEL + _GAP) + _BOTTOM
    height = foot + _LINE * len(marks)
    drawn = _svg(series, title, unit, spans, marks, length, height)
    return "\n".join([*drawn, *_told(marks, foot), "</svg>"]) + "\n"


def picture(series: Series, title: str, *, unit: str = "minute", spans: Spans = ()) -> Picture:
    """The chart as a notebook shows it: an image, and its words. Raises ValueError."""
    text = f"{title}\n{tell(series, unit=unit, spans=spans)}"
    return Picture(chart(series, title, unit=unit, spans=spans), title, text)


def tell(series: Series, *, unit: str = "minute", spans: Spans = ()) -> str:
    """The same in words, a line for each series."""
    _check(series)
    lines = [
        f"{name}: from {values[0]:g} to {values[-1]:g}, lowest {min(values):g}, "
        f"highest {max(values):g} in {unit} {values.index(max(values))}"
        for name, values in series.items()
    ]
    return "\n".join([*lines, *(f"{word}: {unit} {a:g} to {b:g}" for a, b, word in spans)])


def _check(series: Series) -> None:
    if not series or not all(series.values()):
        raise ValueError("a chart needs a series, and each series a number")
    if len(series) > len(_PENS):
        raise ValueError(f"a chart has {len(_PENS)} series at the most, and not {len(series)}")


def _svg(
    series: Series,
    title: str,
    unit: str,
    spans: Spans,
    marks: Marks,
    length: int,
    height: int,
) -> Iterator[str]:
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="lab-board" role="img"'
        f' aria-label="{escape(title)}" width="{_WIDTH}" height="{height}"'
        f' viewBox="0 0 {_WIDTH} {height}">'
    )
    yield f"<title>{escape(title)}</title>"
    yield f"<desc>{escape(tell(series, unit=unit, spans=spans))}</desc>"
    yield f"<style>{css(())}{_RULES}</style>"
    yield f'<rect class="panel" x=".5" y=".5" width="{_WIDTH - 1}" height="{height - 1}" rx="10"/>'
    yield _text("title", 16, 28, fit(title, _WIDTH - 32, TITLE, True))
    across = _Across(length)
    y = _TOP
    yield from _lines(marks, across, y + len(series) * (_HEAD + _PANEL + _GAP) - _GAP)
    for (name, values), pen in zip(series.items(), _PENS, strict=False):
        yield from _panel(name, values, pen, y, across, spans)
        y += _HEAD + _PANEL + _GAP
    yield from across.axis(y - _GAP, unit)


def _lines(marks: Marks, across: _Across, foot: int) -> Iterator[str]:
    """A line through all panels for each moment with marks, and their numbers above it."""
    for moment in dict.fromkeys(moment for moment, _ in marks):
        x = _number(across.at(moment))
        numbers = [number for number, (begin, _) in enumerate(marks, 1) if begin == moment]
        span = f"{numbers[0]}–{numbers[-1]}" if len(numbers) > 1 else str(numbers[0])
        yield f'<line class="mark" x1="{x}" y1="{_TOP}" x2="{x}" y2="{foot}"/>'
        yield _text("mark-number", x, _TOP - 2, span, "middle")


def _told(marks: Marks, foot: int) -> Iterator[str]:
    """The words of the marks, below everything else."""
    for number, (_, word) in enumerate(marks, 1):
        said = fit(f"{number}  {word}", _WIDTH - _LEFT - _RIGHT, SMALL)
        yield _text("soft", _LEFT, foot + _LINE * (number - 1), said)


class _Across:
    """Places on the time axis: ``length`` numbers share the width."""

    def __init__(self, length: int) -> None:
        self.length, self._room = length, _WIDTH - _LEFT - _RIGHT

    def at(self, moment: float) -> float:
        return _LEFT + self._room * moment / self.length

    def axis(self, y: int, unit: str) -> Iterator[str]:
        step = _step(self.length, 12)
        for moment in range(0, self.length + 1, max(1, int(step))):
            x = _number(self.at(moment))
            yield _rule(x, y, x, y + 5)
            yield _text("soft", x, y + 18, str(moment), "middle")
        yield _text("soft", _WIDTH - _RIGHT, y + 34, unit, "end")


def _panel(
    name: str, values: Sequence[float], pen: tuple[str, str], y: int, across: _Across, spans: Spans
) -> Iterator[str]:
    top, foot = y + _HEAD, y + _HEAD + _PANEL
    step = _step(max(*values, 0), 4)
    most = step * max(1, -(-max(*values, 0) // step))
    yield f'<g data-series="{escape(name)}" style="--pen:{pen[0]};--dash:{pen[1]}">'
    for begin, end, word in spans:
        yield from _span(across.at(begin), across.at(end), top, word)
    for number in range(int(most // step) + 1):
        height = _number(foot - _PANEL * number * step / most)
        yield _rule(_LEFT, height, _WIDTH - _RIGHT, height)
        yield _text("soft", _LEFT - 8, _number(float(height) + 4), f"{number * step:g}", "end")
    label = fit(name, _WIDTH - _LEFT - _RIGHT - 44, NAME, True)
    yield f'<line class="curve" x1="{_LEFT}" y1="{y + 11}" x2="{_LEFT + 36}" y2="{y + 11}"/>'
    yield _text("name", _LEFT + 44, y + 15, label)
    yield f'<polyline class="curve" points="{_points(values, across, foot, most)}"/></g>'


def _span(left: float, right: float, top: int, word: str) -> Iterator[str]:
    wide = right - left
    yield (
        f'<rect class="span" x="{_number(left)}" y="{top}" width="{_number(wide)}"'
        f' height="{_PANEL}"/>'
    )
    for x in (_number(left), _number(right)):
        yield f'<line class="edge" x1="{x}" y1="{top}" x2="{x}" y2="{top + _PANEL}"/>'
    if width(word, SMALL) <= wide - 8:
        yield _text("soft", _number(left + 4), top + 13, word)


def _points(values: Sequence[float], across: _Across, foot: int, most: float) -> str:
    """Each number holds for the whole of its unit of time: steps, and no slopes in between."""
    places = []
    for moment, value in enumerate(values):
        height = _number(foot - _PANEL * max(value, 0) / most)
        places += [f"{_number(across.at(edge))},{height}" for edge in (moment, moment + 1)]
    return " ".join(places)


def _step(most: float, ticks: int) -> float:
    """A round distance (1, 2 or 5 times a power of ten) of which ``ticks`` reach to ``most``."""
    step = 1.0
    while step * ticks < most:
        step *= 10
    rounder = (step / 10, step / 5, step / 2)
    return next((part for part in rounder if part >= 1 and part * ticks >= most), step)


def _rule(x1: float | str, y1: float | str, x2: float | str, y2: float | str) -> str:
    return f'<line class="rule" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>'


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _text(kind: str, x: float | str, y: float | str, text: str, anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>'
