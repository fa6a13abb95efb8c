"""How long a trainee waits between a click on a node and the words about it, in a real browser.

Needs what ./lab test installs: playwright and a Chromium. Without them the figure is left out,
and the reason said.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.result import Result, median

_TEST = "tests/browser/test_player.py::test_from_a_click_to_its_text"
_SECONDS = 300


def measure() -> Iterator[Result]:
    """Runs the browser test that clicks on every node, and reads what it measured."""
    with tempfile.TemporaryDirectory() as directory:
        figures = Path(directory) / "milliseconds"
        environment = {**os.environ, "LAB_CLICK_FIGURES": str(figures)}
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", _TEST],
            env=environment,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
        )
        if not figures.exists():
            reason = done.stdout.strip().splitlines()[-1:] or [done.stderr.strip()[-200:]]
            print(f"  click_to_text_ms was not measured: {reason[0]}", file=sys.stderr)
            return
        times = [float(line) for line in figures.read_text().split()]
    yield Result("click_to_text_ms", median(times), "ms", "<= 300")
