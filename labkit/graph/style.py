"""The picture's style sheet.

All colours are custom properties of the root element: the static picture brings its own light
card, because an image cannot know the page's theme, and a live one can set other values.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from labkit.graph.hub_signs import SIGNS, HubSign
from labkit.graph.metrics import NAME, SMALL, TITLE
from labkit.graph.states import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    STATES,
    VERMILLION,
    Hue,
)

FONTS: Final = (
    "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,'Liberation Sans',"
    "'DejaVu Sans',sans-serif"
)

DARK: Final = {
    GREEN: Hue("#2fbf93", "#12372c", "#8fe3c6"),
    BLUE: Hue("#4aa8e0", "#12324a", "#a5d8f7"),
    ORANGE: Hue("#d9a33a", "#3a2c0c", "#f3cf86"),
    VERMILLION: Hue("#ef7b2e", "#442312", "#ffb98c"),
    PURPLE: Hue("#d18bb3", "#40253a", "#eeb9d6"),
    GREY: Hue("#9a9a9a", "#333638", "#d4d4d4"),
    SKY: Hue("#6bb3dc", "#1b3342", "#b0dcf4"),
}
"""Each colour on a dark page: the same hue, with the roles of light and dark exchanged."""

ON_DARK: Final = ':is(body[data-jp-theme-light="false"],body.vscode-dark) .labkit'
"""What a live board stands in when the page around it is dark."""


def css(states: Iterable[str], hubs: Iterable[HubSign] = ()) -> str:
    """The rules of the board, of those states that it shows, and of its hubs' signs."""
    used, rules = set(states), "".join(f"{_sign_rule('.lab-board', sign)}\n" for sign in hubs)
    return BOARD + "".join(_state_rule(key) for key in STATES if key in used) + rules


def living_css() -> str:
    """The rules of boards that live in a page: every state, and the page's theme."""
    dark = (_sign_rule(ON_DARK, replace(sign, hue=DARK[sign.hue])) for sign in SIGNS)
    return css((), SIGNS) + DARK_BOARD + "".join(map(_living_rules, STATES)) + "\n".join(dark)


def _state_rule(key: str) -> str:
    state = STATES[key]
    return f".lab-board .s-{state.slug}{{{_tones(state.hue)};--dash:{state.dash or 'none'}}}\n"


def _living_rules(key: str) -> str:
    """A state in both themes, for the board and for whatever else tells of states."""
    state = STATES[key]
    light = f".labkit .s-{state.slug}{{{_tones(state.hue)};--dash:{state.dash or 'none'}}}\n"
    return light + f"{ON_DARK} .s-{state.slug}{{{_tones(DARK[state.hue])}}}\n"


def _sign_rule(inside: str, sign: HubSign) -> str:
    return f"{inside} .sign.{sign.slug}{{fill:{sign.hue.stroke}}}"


def _tones(hue: Hue) -> str:
    return f"--stroke:{hue.stroke};--fill:{hue.fill};--ink:{hue.ink}"


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
.lab-board .attack .line{{stroke:var(--bad);stroke-width:2.6;stroke-dasharray:9 3 2 3}}
.lab-board .attack .head{{fill:var(--bad)}}
.lab-board .attack .word{{fill:var(--bad-ink);font-weight:600}}
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

DARK_BOARD: Final = f"""{ON_DARK} .lab-board{{--card:#1b1e22;--edge:#3d444c;--lane:#262a2f;
--text:#eceff2;--soft:#b6bec8;--line:#98a2ad;--sent:#56b4e9;--on-sent:#06202f;
--bad:{DARK[VERMILLION].stroke};--bad-ink:{DARK[VERMILLION].ink};--on-bad:#2b1000}}
"""
