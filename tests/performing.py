"""Stories that were played to their end. What a frame shows stays when its lab is closed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from labkit.ui.performance import Performance
from labkit.ui.scenario import Scenario


class Stage:
    """Plays each story once, for whoever looks at it; ``place`` gives a new folder for its lab."""

    def __init__(self, place: Callable[[str], Path]) -> None:
        self._place = place
        self._told: dict[str, tuple[Path, Performance]] = {}

    @contextmanager
    def played(self, story: Scenario) -> Iterator[Performance]:
        """The story's end. The lab is open within the first ``with`` block only."""
        home, performance = self._told.get(story.name) or (self._place(story.name), None)
        with pytest.MonkeyPatch.context() as patched:
            patched.setenv("LABKIT_HOME", str(home))
            if performance is None:
                performance = Performance(story)
                performance.go_to(performance.steps)
                self._told[story.name] = home, performance
            yield performance
            performance.lab.close()
