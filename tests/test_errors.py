"""One family of errors: what was expected, what was found, what would cure it."""

from __future__ import annotations

import pytest
from subprocesses import run_python

from labkit import errors
from labkit.errors import LabError

FAMILY = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, LabError)
]


def test_an_error_says_all_that_it_knows() -> None:
    error = LabError("It went wrong", expected="this", found="that", cure="the other")
    assert str(error) == "It went wrong\n  Expected: this\n  Found: that\n  Cure: the other"


def test_what_is_not_known_is_not_said() -> None:
    assert str(LabError("It went wrong", found="that")) == "It went wrong\n  Found: that"


@pytest.mark.parametrize("kind", FAMILY)
def test_every_error_says_what_it_is_for(kind: type[LabError]) -> None:
    assert kind.__doc__


def test_a_notebook_shows_the_words_and_none_of_our_frames() -> None:
    """IPython asks for ``_render_traceback_`` before it draws a traceback."""
    shown = LabError("It went wrong", cure="mend it")._render_traceback_()
    assert shown == ["LabError: It went wrong\n  Cure: mend it"]


def test_ipython_does_as_that_says() -> None:
    pytest.importorskip("IPython")
    cell = "from labkit.errors import NotFound\nraise NotFound('gone', cure='look again')"
    start = "import sys\nfrom IPython import start_ipython\n"
    start += (
        "start_ipython(['--HistoryManager.enabled=False', '--colors=NoColor', '-c', sys.argv[1]])"
    )
    result = run_python(start, cell)
    shown = result.stdout + result.stderr
    assert "NotFound: gone" in shown
    assert "look again" in shown
    assert "Traceback" not in shown
