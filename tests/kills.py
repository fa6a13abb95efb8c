"""Programs that are killed at a moment of chance, as a power switch would."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

_PATIENCE = 5.0


def killed(program: str, seconds: float, *arguments: object) -> list[str]:
    """Runs ``program`` until SIGKILL, so long after it said ``ready``; what it said after that.

    Its arguments are those given and, last, the folder of the tests. Processes that it has
    started must end by themselves.
    """
    tests = Path(__file__).parent
    command = [sys.executable, "-c", program, *map(str, arguments), str(tests)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=tests.parent, start_new_session=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        said = process.stdout.read().splitlines()
    _alone(process.pid)
    return said


def _alone(group: int) -> None:
    """Waits until nobody of the process group is left."""
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        assert time.monotonic() < end, "a process that it had started goes on without it"
        time.sleep(0.02)
