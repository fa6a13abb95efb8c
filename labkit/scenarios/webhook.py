"""A webhook on this machine, for lessons on custom allocation: a function behind a real POST."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from labkit.cloud.dps.entries import CustomAllocation

API_VERSION = "2021-10-01"
_LARGEST = 256 * 1024
_SECONDS = 5.0

Chooser = Callable[[dict[str, Any]], str]
"""Gets what DPS posts (``deviceRuntimeContext``, ``linkedHubs`` and the entry), and names a hub."""


class Webhook:
    """Answers DPS as long as its ``with`` block lasts; afterwards nobody does.

    ``choose`` is called in a thread of its own, for one device at a time. What it raises becomes
    a 400, which ends the registration at once (DPS asks again after a 500). ``asked`` counts the
    requests.
    """

    def __init__(self, choose: Chooser) -> None:
        self._choose, self._one_at_a_time = choose, threading.Lock()
        self.asked = 0

    def __enter__(self) -> Webhook:
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.answer = self._answer
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def definition(self) -> CustomAllocation:
        """What an enrollment says of it: ``custom_allocation=webhook.definition``."""
        host, port = self._server.server_address[:2]
        return CustomAllocation(f"http://{host!s}:{port}/choose", API_VERSION)

    def _answer(self, body: bytes) -> tuple[int, bytes]:
        with self._one_at_a_time:
            self.asked += 1
            try:
                return 200, json.dumps({"iotHubHostName": self._choose(json.loads(body))}).encode()
            except Exception as error:  # the trainee's own function: whatever it raises
                return 400, f"{type(error).__name__}: {error}".encode()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    answer: Callable[[bytes], tuple[int, bytes]]


class _Handler(BaseHTTPRequestHandler):
    timeout = _SECONDS

    def do_POST(self) -> None:
        said_length = self.headers.get("Content-Length") or ""
        length = int(said_length) if said_length.isdecimal() else 0
        assert isinstance(self.server, _Server)
        status, said = self.server.answer(self.rfile.read(min(length, _LARGEST)))
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: a cell's output is no server's log."""
