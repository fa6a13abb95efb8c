"""Labs to test in. Each is a real one: SoftHSM tokens, SQLite files, listening sockets."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from stories import Story, enrolled, found_again, open_lab

from labkit import Lab

# Sixty examples of each property. No limits of time: a machine that runs five lanes of tests at
# once would break them.
UNHURRIED = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("default", max_examples=60, **UNHURRIED)
settings.register_profile("soak", max_examples=1000, **UNHURRIED)  # ./lab soak
settings.load_profile("default")


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace that was opened once, closed. To copy: that takes no time."""
    place = tmp_path_factory.mktemp("empty") / "lab"
    open_lab(place).close()
    return place


@pytest.fixture
def lab(empty: Path, tmp_path: Path) -> Iterator[Lab]:
    """An empty lab, for this test alone."""
    shutil.copytree(empty, tmp_path / "lab")
    with open_lab(tmp_path / "lab") as opened:
        yield opened


@pytest.fixture(scope="session")
def told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which the first lesson was told, closed. To copy."""
    place = tmp_path_factory.mktemp("told") / "lab"
    with open_lab(place) as opened:
        enrolled(opened)
    return place


@pytest.fixture
def story(told: Path, tmp_path: Path) -> Iterator[Story]:
    """The first lesson in a lab of this test's own, up to the moment before provisioning."""
    shutil.copytree(told, tmp_path / "lab")
    with open_lab(tmp_path / "lab") as opened:
        yield found_again(opened)


@pytest.fixture(scope="module")
def shared(told: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """The same, shared by a module's tests: each makes devices with names of its own."""
    place = tmp_path_factory.mktemp("shared") / "lab"
    shutil.copytree(told, place)
    with open_lab(place) as opened:
        yield found_again(opened)
