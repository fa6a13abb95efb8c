"""Labs to test in. Each is a real one: SoftHSM tokens, SQLite files, listening sockets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from stories import Story, enrolled, open_lab

from labkit import Lab


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """An empty lab, for this test alone."""
    with open_lab(tmp_path / "lab") as opened:
        yield opened


@pytest.fixture
def story(lab: Lab) -> Story:
    """The first lesson in a lab of this test's own, up to the moment before provisioning."""
    return enrolled(lab)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """The same, shared by a module's tests: each makes devices with names of its own."""
    with open_lab(tmp_path_factory.mktemp("shared") / "lab") as opened:
        yield enrolled(opened)
