"""The picture's style sheet.

All colours are custom properties of the root element: the static picture brings its own light
card, because an image cannot know the page's theme, and a live one can set other values.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from labkit.graph.metrics import NAME, SMALL, TITLE
from labkit.graph.states import BLUE, STATES, VERMILLION

FONTS: Final = (
    "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,'Liberation Sans',"
    "'DejaVu Sans',sans-serif"
)


def css(states: Iterable[str]) -> str:
    """The rules of the board and of those states that it shows."""
    used = set(states)
    return BOARD + "".join(_state_rule(key) for key in STATES if key in used)


def _state_rule(key: str) -> str:
    state = STATES[key]
    tones = f"--stroke:{state.hue.stroke};--fill:{state.hue.fill};--ink:{state.hue.ink}"
    return f".lab-board .s-{state.slug}{{{tones};--dash:{state.dash or 'none'}}}\n"


BOARD: Final = f"""
.lab-board{{--card:#fff;--edge:#d5dae0;--lane:#f3f5f8;--text:#1b1f24;--soft:#4d5661;--line:#5c6670;
--sent:{BLUE.stroke};--on-sent:#fff;--bad:{VERMILLION.stroke};--bad-ink:{VERMILLION.ink};--on-bad:#fff;
font-family:{FONTS};font-size:{SMALL / 10}px}}
.lab-board text{{fill:var(--text)}}
.lab-board .panel{{fill:var(--card);stroke:var(--edge)}}
.lab-board .lane{{fill:var(--lane)}}
.lab-board .title{{font-size:{TITLE / 10}px;font-weight:600}}
.lab-board .name{{font-size:{NAME / 10}px;font-weight:600}}
.lab-board .soft,.lab-board .word{{fill:var(--soft)}}
.lab-board .box{{fill:var(--fill);stroke:var(--stroke);stroke-width:2;stroke-dasharray:var(--dash)}}
.lab-board .ground{{fill:var(--fill)}}
.lab-board .state{{fill:var(--ink);font-weight:600}}
.lab-board .icon{{fill:none;stroke:var(--ink);stroke-width:1.7}}
.lab-board .icon,.lab-board .tag-icon{{stroke-linecap:round;stroke-linejoin:round}}
.lab-board .thin{{stroke:var(--soft);stroke-width:1.3}}
.lab-board .fold{{fill:var(--card);stroke:var(--edge);stroke-width:1.5}}
.lab-board .line{{fill:none;stroke:var(--line);stroke-width:2;stroke-linejoin:round}}
.lab-board .head{{fill:var(--line);stroke:none}}
.lab-board .word{{paint-order:stroke;stroke:var(--card);stroke-width:4px;stroke-linejoin:round}}
.lab-board .in-lane .word{{stroke:var(--lane)}}
.lab-board .shown .line{{stroke:var(--sent);stroke-width:3.2}}
.lab-board .shown .head{{fill:var(--sent)}}
.lab-board .broken .line{{stroke:var(--bad);stroke-width:2.6;stroke-dasharray:5 4}}
.lab-board .broken .head{{fill:var(--bad)}}
.lab-board .broken .word{{fill:var(--bad-ink);font-weight:600}}
.lab-board .cross{{fill:var(--card);stroke:var(--bad);stroke-width:2.4;stroke-linecap:round}}
.lab-board .tag{{fill:none}}
.lab-board .t-sent .tag{{fill:var(--sent)}}
.lab-board .t-missing .tag{{fill:var(--bad-ink)}}
.lab-board .tag-icon{{fill:none;stroke-width:2.2}}
.lab-board .t-sent text{{fill:var(--on-sent);font-weight:600}}
.lab-board .t-sent .tag-icon{{stroke:var(--on-sent)}}
.lab-board .t-missing text{{fill:var(--on-bad);font-weight:600}}
.lab-board .t-missing .tag-icon{{stroke:var(--on-bad)}}
.lab-board .t-quiet text{{fill:var(--soft)}}
.lab-board .envelope{{fill:var(--card);stroke:var(--sent);stroke-width:2}}
.lab-board .flap{{fill:none;stroke:var(--sent);stroke-width:1.5}}
.lab-board .lost{{fill:var(--bad-ink)}}
.lab-board .torn .envelope{{stroke:var(--bad);stroke-width:2.6;stroke-dasharray:5 4}}
.lab-board .torn .flap{{stroke:var(--bad)}}
"""
