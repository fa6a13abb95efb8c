"""One request to somebody else's service, over HTTP: bounded in time and in size."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

SECONDS = 5.0
"""For each step: to connect, to send, to wait for the answer."""
WHOLE_SECONDS = 15.0
"""For all of an answer. One that trickles in would keep a thread, and the lab from closing."""
LARGEST = 256 * 1024
"""Bytes of an answer that are read."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked; ``headers`` may hold a secret, and are shown nowhere."""

    method: str
    target: str
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


def ask(connection: http.client.HTTPConnection, question: Question) -> tuple[int, bytes]:
    """Status and body of the answer; status 0 where nobody could be asked, and why as the body:
    what is true of whoever was asked, without their name.

    The connection was made with a timeout of :data:`SECONDS`, and is closed when this returns.
    """
    late = threading.Event()
    try:
        connection.connect()
        with _cut_off_when_late(connection.sock, late):
            connection.request(
                question.method, question.target, question.body, dict(question.headers)
            )
            answer = connection.getresponse()
            found = answer.status, answer.read(LARGEST)
    except (OSError, http.client.HTTPException, ValueError) as error:
        found = 0, f"could not be asked: {_why(error)}".encode()
    finally:
        connection.close()
    if late.is_set():
        return 0, f"was not done with its answer after {WHOLE_SECONDS:g} s".encode()
    return found


def _why(error: Exception) -> str:
    """The commonest of all in words; systems number it differently."""
    return "nobody listens there" if isinstance(error, ConnectionRefusedError) else repr(error)


@contextmanager
def _cut_off_when_late(plain: socket.socket, late: threading.Event) -> Iterator[None]:
    """Ends the connection, below TLS, when its time is up, and says so."""

    def cut_off() -> None:
        late.set()
        with suppress(OSError):  # it has ended by itself
            socket.socket.shutdown(plain, socket.SHUT_RDWR)

    timer = threading.Timer(WHOLE_SECONDS, cut_off)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
