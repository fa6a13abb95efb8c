"""Stories that were played to their end. What a frame shows stays when its lab is closed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from labkit.ui.performance import Performance
from labkit.ui.scenario import Scenario


class Stage:
    """Plays each story once, for whoever looks at it; once more only for who wants its lab when
    that is closed. ``place`` gives a new folder for a lab."""

    def __init__(self, place: Callable[[str], Path]) -> None:
        self._place = place
        self._told: dict[str, Performance] = {}

    @contextmanager
    def played(self, story: Scenario) -> Iterator[Performance]:
        """The story's end, with the lab open as long as the ``with`` block lasts."""
        with pytest.MonkeyPatch.context() as patched:
            patched.setenv("LABKIT_HOME", str(self._place(story.name)))
            performance = Performance(story)
            performance.go_to(performance.steps)
            self._told[story.name] = performance
            yield performance
            performance.lab.close()

    @contextmanager
    def told(self, story: Scenario) -> Iterator[Performance]:
        """What each step of the story showed; its lab may be closed."""
        if story.name in self._told:
            yield self._told[story.name]
            return
        with self.played(story) as performance:
            yield performance
