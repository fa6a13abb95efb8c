"""Python in another process, because that is what some claims are about."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def run_python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Runs code to its end, whichever that is; labkit is importable in it."""
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=Path(__file__).parents[1],
    )
