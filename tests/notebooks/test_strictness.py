"""The test of the test: a strict run notices the smallest change of what a lesson shows."""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
from pathlib import Path

LESSON = Path(__file__).parents[2] / "notebooks" / "01-first-device.ipynb"
PICTURE = re.compile(r"data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)")
GREEN, OTHER = "#009e73", "#009e74"


def with_one_colour_changed(text: str) -> str:
    """In the last picture of the notebook that uses the colour, one digit of it."""
    for found in reversed(list(PICTURE.finditer(text))):
        svg = base64.b64decode(found[1]).decode()
        if GREEN in svg:
            changed = base64.b64encode(svg.replace(GREEN, OTHER, 1).encode()).decode()
            return text[: found.start(1)] + changed + text[found.end(1) :]
    raise AssertionError("no picture uses the colour")


def test_one_changed_colour_in_a_picture_fails(tmp_path: Path) -> None:
    copy = tmp_path / LESSON.name
    copy.write_text(with_one_colour_changed(LESSON.read_text()))
    command = [sys.executable, "-m", "pytest", "-q", "--nbval", "--nbval-cell-timeout=60", copy]
    home = {**os.environ, "LABKIT_HOME": str(tmp_path / "labs")}  # the lesson's lab is new there
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, cwd=tmp_path, env=home
    )
    assert done.returncode == 1, done.stdout
    assert "1 failed" in done.stdout
