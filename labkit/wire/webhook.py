"""The way to the webhooks of custom allocation: a POST, by the standard library's client."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

from labkit.cloud.dps import webhook_url
from labkit.cloud.dps.allocation import WebhookAnswer

SECONDS = 5.0
"""For each step: to connect, to send, to wait for the answer."""
WHOLE_SECONDS = 15.0
"""For all of an answer. One that trickles in would keep a thread, and the lab from closing."""
LARGEST = 256 * 1024
"""Bytes of an answer that are read."""

_KINDS = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
_HEADERS = {"Content-Type": "application/json; charset=utf-8", "Accept": "application/json"}


def post(url: str, body: bytes) -> WebhookAnswer:
    """Sends JSON to a webhook and waits for what it says: at most :data:`SECONDS` a step, and
    :data:`WHOLE_SECONDS` for all of them.

    Who cannot be asked has status 0, and why as its body: without the URL's query, where a
    function's key is.
    """
    if why := webhook_url.fault(url):
        return WebhookAnswer(0, f"its URL is {why}: that is not {webhook_url.RULE}".encode())
    parts = urlsplit(url)
    connection = _KINDS[parts.scheme.lower()](parts.hostname or "", parts.port, timeout=SECONDS)
    target = parts._replace(scheme="", netloc="", fragment="").geturl() or "/"
    return _asked(connection, target, body)


def _asked(connection: http.client.HTTPConnection, target: str, body: bytes) -> WebhookAnswer:
    where, late = f"{connection.host}:{connection.port}", threading.Event()
    try:
        connection.connect()
        with _cut_off_when_late(connection.sock, late):
            connection.request("POST", target, body, _HEADERS)
            answer = connection.getresponse()
            found = WebhookAnswer(answer.status, answer.read(LARGEST))
    except (OSError, http.client.HTTPException, ValueError) as error:
        found = WebhookAnswer(0, f"{where} could not be asked: {error!r}".encode())
    finally:
        connection.close()
    if late.is_set():
        why = f"{where} was not done with its answer after {WHOLE_SECONDS:g} s"
        return WebhookAnswer(0, why.encode())
    return found


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
