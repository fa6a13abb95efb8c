"""`labkit serve` in a process of its own, which may be killed at any moment."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

READY_SECONDS = 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Served:
    """A running server; ``said`` is the line that it announced itself with.

    It has to announce itself by itself: nobody looks at the workspace before. ``log`` is where its
    stderr goes.
    """

    def __init__(self, workspace: Path, log: Path, *options: str) -> None:
        command = [sys.executable, "-m", "labkit", "serve", "--workspace", str(workspace)]
        command += ["--host", "127.0.0.1", "--mqtt-port", str(free_port())]
        command += ["--https-port", str(free_port()), *options]
        with log.open("ab") as stderr:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr)
        try:
            self.said = self._announced(log)
        except BaseException:
            self.kill()
            raise

    def _announced(self, log: Path) -> dict[str, Any]:
        assert self.process.stdout is not None
        impatient = threading.Timer(READY_SECONDS, self.process.kill)
        impatient.start()
        try:
            line = self.process.stdout.readline()
        finally:
            impatient.cancel()
        assert line, f"it did not come up:\n{log.read_text()[-3000:]}"
        found: dict[str, Any] = json.loads(line)
        assert found["ready"] is True
        return found

    def __enter__(self) -> Served:
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """As people stop it; it has to end, and well. Nothing is left to do after a kill."""
        if self.process.poll() is None:
            self.process.terminate()
            assert self.process.wait(30) == 0
        self._let_go()

    def kill(self) -> None:
        """As a power switch would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)
        self._let_go()

    def _let_go(self) -> None:
        assert self.process.stdout is not None
        self.process.stdout.close()
