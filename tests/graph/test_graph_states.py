"""Every state can be told apart without colour, and read on any ground that it stands on."""

from __future__ import annotations

from itertools import combinations
from typing import get_args

import pytest

from labkit.graph import STATES, State, StateKey
from labkit.graph.style import BOARD

WHITE, JUPYTER_DARK, JUPYTER_DARK_CELL = "#ffffff", "#111111", "#212121"
SOFT = "#4d5661"


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2.1 defines it."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def each_state() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("state", STATES.values(), ids=list(STATES))


def test_the_contrast_formula_is_that_of_wcag() -> None:
    assert contrast("#000000", WHITE) == pytest.approx(21)
    assert contrast("#777777", WHITE) == pytest.approx(4.48, abs=0.01)


def test_the_states_are_there_in_their_order() -> None:
    assert tuple(STATES) == get_args(StateKey)
    assert len(STATES) == 26


@pytest.mark.parametrize("sign", ["icon", "word", "dash", "meaning"])
def test_no_two_states_share_a_sign(sign: str) -> None:
    for one, other in combinations(STATES.values(), 2):
        assert getattr(one, sign) != getattr(other, sign)


@each_state()
def test_outlines_and_icons_stand_out_from_light_and_dark(state: State) -> None:
    for ground in (WHITE, JUPYTER_DARK, JUPYTER_DARK_CELL):
        assert contrast(state.hue.stroke, ground) >= 3


@each_state()
def test_text_on_a_node_is_legible(state: State) -> None:
    for text in (state.hue.ink, SOFT):
        assert contrast(text, state.hue.fill) >= 4.5


def test_text_on_the_board_and_on_the_marks_is_legible() -> None:
    assert f"--soft:{SOFT}" in BOARD
    for text, ground in (
        (SOFT, WHITE),
        (SOFT, "#f3f5f8"),
        ("#ffffff", STATES["verified"].hue.stroke),  # "sent" is written in white on blue
        ("#ffffff", STATES["not sent"].hue.ink),  # "missing" in white on dark vermillion
    ):
        assert contrast(text, ground) >= 4.5
