"""The pictures in docs/img are what the lab draws today."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from labkit.scenarios.first_device import STORY
from labkit.ui.performance import Performance

IMAGES = Path(__file__).parents[1] / "docs" / "img"
STEPS = {"first-device.svg": 7, "refused.svg": 9}
"""Each picture, and the step of lesson 01's story that it shows."""


@pytest.fixture(scope="module")
def play() -> Iterator[Performance]:
    play = Performance(STORY)
    yield play
    play.lab.close()


def test_every_picture_is_kept_fresh() -> None:
    assert {path.name for path in IMAGES.iterdir()} == set(STEPS)


@pytest.mark.parametrize("name", STEPS)
def test_a_picture_is_what_the_lab_draws(play: Performance, name: str, tmp_path: Path) -> None:
    """Two ways out when it is not: a mistake in the drawing, or a copy of the file that the
    failure names."""
    drawn = play.go_to(STEPS[name]).picture.save(tmp_path / name)
    if drawn.read_text() != (IMAGES / name).read_text():
        pytest.fail(f"docs/img/{name} is stale; the fresh one is {drawn}")
