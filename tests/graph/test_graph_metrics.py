"""Texts get the room that the widest usual font takes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from labkit.graph.metrics import NAME, SMALL, fit, width


def test_widths_are_those_of_dejavu_sans() -> None:
    assert width("M", 1000) == 87
    assert width("smart-x-widget-001", NAME, bold=True) == 140
    assert width("", SMALL) == 0


def test_a_name_keeps_its_end() -> None:
    short = fit("smart-x-widget-with-a-long-name-001", 130, NAME, True)
    assert short.startswith("smart-x")
    assert short.endswith("001")
    assert "…" in short


def test_what_fits_stays_whole() -> None:
    assert fit("company-x", 130, NAME) == "company-x"


@given(st.text(max_size=60), st.integers(20, 200), st.sampled_from((NAME, SMALL)), st.booleans())
def test_no_text_is_wider_than_its_room(text: str, room: int, size: int, bold: bool) -> None:
    assert width(fit(text, room, size, bold), size, bold=bold) <= room
