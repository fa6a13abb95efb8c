"""Charts: series that nobody needs colour to tell apart, in a picture that needs nothing else."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.graph.chart import chart, picture, tell

QUEUE, OUTPUT = (0, 30, 60, 10), (30, 0, 0, 40)
SERIES = {"waiting": QUEUE, "signed": OUTPUT}
numbers = st.lists(st.floats(0, 1e6) | st.integers(0, 10_000), min_size=1, max_size=120)


def read(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


def groups(svg: str) -> dict[str, ElementTree.Element]:
    found = {g.get("data-series"): g for g in read(svg).iter() if g.tag.endswith("}g")}
    return {name: g for name, g in found.items() if name}


def points(group: ElementTree.Element) -> list[tuple[float, float]]:
    (line,) = [part for part in group if part.tag.endswith("polyline")]
    places = [place.split(",") for place in line.get("points", "").split()]
    return [(float(x), float(y)) for x, y in places]


def test_each_series_has_a_panel_a_name_and_a_dash_of_its_own() -> None:
    svg = chart(dict.fromkeys("abcde", QUEUE), "Five")
    styles = [group.get("style", "") for group in groups(svg).values()]
    assert len({re.sub(".*--dash:", "", style) for style in styles}) == 5
    assert len({re.sub("--dash.*", "", style) for style in styles}) == 5
    names = ["".join(group.itertext()) for group in groups(svg).values()]
    assert all(name in said for name, said in zip("abcde", names, strict=True))


@given(st.dictionaries(st.text(min_size=1), numbers, min_size=1, max_size=5), st.text())
def test_any_series_is_a_picture_whose_curves_stay_in_it(
    series: dict[str, list[float]], title: str
) -> None:
    """Whatever the names hold, the SVG can be read, and no curve leaves its place."""
    svg = chart(series, title)
    height = float(read(svg).get("height", "0"))
    for group in groups(svg).values():
        for x, y in points(group):
            assert 0 < x < 720
            assert 0 < y < height


def test_higher_numbers_are_drawn_higher() -> None:
    steps = points(groups(chart(SERIES, "Line"))["waiting"])
    heights = [y for _, y in steps[::2]]
    assert sorted(range(4), key=lambda n: -heights[n]) == sorted(range(4), key=lambda n: QUEUE[n])


def test_equal_numbers_are_drawn_byte_by_byte_the_same() -> None:
    assert chart(SERIES, "Line") == chart(
        {k: [float(n) for n in v] for k, v in SERIES.items()}, "Line"
    )


def test_a_stretch_of_time_is_shown_and_named() -> None:
    svg = chart(SERIES, "Line", spans=[(1, 3, "no CA")])
    assert svg.count("no CA</text>") == len(SERIES)
    assert "no CA: minute 1 to 3" in tell(SERIES, spans=[(1, 3, "no CA")])


def test_the_words_say_what_the_curves_show() -> None:
    assert tell({"waiting": QUEUE}) == ("waiting: from 0 to 10, lowest 0, highest 60 in minute 2")
    shown = picture(SERIES, "Line")
    assert shown.text.splitlines()[0] == "Line"
    assert "<desc>" in shown.svg
    assert "data:image/svg+xml;base64," in shown.html


def test_what_is_in_a_name_is_never_markup() -> None:
    svg = chart({'<b>"&': QUEUE}, "<script>")
    assert "<script>" not in svg
    assert list(groups(svg)) == ['<b>"&']


@pytest.mark.parametrize("series", [{}, {"a": ()}, dict.fromkeys("abcdef", QUEUE)])
def test_what_is_no_chart_is_a_value_error(series: dict[str, Sequence[float]]) -> None:
    with pytest.raises(ValueError, match="chart"):
        chart(series, "None")
