"""DPS over HTTPS, from a device: two requests."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from labkit.device.answer import PATIENCE, Answer, read_object, seconds
from labkit.device.network import Network

_LARGEST = 1024 * 1024


class HttpsConnection:
    """One connection, kept for all requests. ``where`` is ``{idScope}/registrations/{id}``."""

    def __init__(
        self, connection: http.client.HTTPSConnection, where: str, version: str, token: str
    ) -> None:
        self._connection, self._where, self._version = connection, where, version
        self._headers = {"Content-Type": "application/json"}
        if token:
            self._headers["Authorization"] = token

    def register(self, body: bytes) -> Answer:
        """The answer to a registration."""
        return self._ask("PUT", "register", body)

    def poll(self, operation_id: str) -> Answer:
        """How an earlier one stands."""
        return self._ask("GET", f"operations/{operation_id}", None)

    def _ask(self, method: str, what: str, body: bytes | None) -> Answer:
        path = f"/{self._where}/{what}?api-version={self._version}"
        self._connection.request(method, path, body, self._headers)
        response = self._connection.getresponse()
        found, wait = read_object(response.read(_LARGEST)), response.headers.get("Retry-After", "")
        return Answer(response.status, found, seconds(wait))


@contextmanager
def connect(
    network: Network, where: str, version: str, token: str, context: ssl.SSLContext
) -> Iterator[HttpsConnection]:
    """A connection to DPS, until the block ends. Raises OSError, ssl.SSLError."""
    opened = http.client.HTTPSConnection(
        network.address, network.https_port, timeout=PATIENCE, context=context
    )
    try:
        yield HttpsConnection(opened, where, version, token)
    finally:
        opened.close()
