"""Python in another process, because that is what some claims are about."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

LABKIT = (sys.executable, "-m", "labkit")


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


def labkit(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [*LABKIT, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


@contextmanager
def serving(workspace: Path, *options: str) -> Iterator[tuple[dict[str, Any], Any]]:
    """A running server and what it announced; it is stopped with SIGTERM at the end. Where the
    options name no ports, it has free ones."""
    if "--mqtt-port" not in options:
        options = ("--mqtt-port", free_port(), "--https-port", free_port(), *options)
    command = [*LABKIT, "serve", "--workspace", str(workspace), *options]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline()), process
        finally:
            process.terminate()
            process.wait(10)


def children(process: int | str = "self") -> set[int]:
    """The processes that a process has started, and that it has not waited for."""
    tasks = Path(f"/proc/{process}/task")
    if not tasks.exists():
        pytest.skip("this system does not tell which processes a process has started")
    return {int(pid) for task in tasks.iterdir() for pid in (task / "children").read_text().split()}


def have_softhsm(processes: set[int]) -> bool:
    """Whether each of them has loaded it."""
    return all("softhsm" in Path(f"/proc/{pid}/maps").read_text() for pid in processes)
