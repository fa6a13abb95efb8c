"""What a trainee waits for before the first cell answers."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator

from benchmarks.result import Result, median

_ROUNDS = 5
_IMPORT = """\
from time import perf_counter
start = perf_counter()
from labkit import Lab
print(perf_counter() - start)
"""
_OPEN = """\
import sys
from time import perf_counter
from labkit import Lab
start = perf_counter()
lab = Lab.open(sys.argv[1])
print(perf_counter() - start)
lab.close()
"""


def measure() -> Iterator[Result]:
    """In a process of its own each time, as in a notebook's kernel; the first round warms up."""
    yield Result("import_seconds", _seconds(_IMPORT), "s", "<= 0.6")
    yield Result("open_seconds", _seconds(_OPEN), "s", "<= 1.5")


def _seconds(program: str) -> float:
    return median([_once(program) for _ in range(_ROUNDS + 1)][1:])


def _once(program: str) -> float:
    # Byte code is written, as it is on a trainee's machine, whatever this one's settings are.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-c", program, f"{directory}/lab"]
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return float(done.stdout)
