"""One port, several services: the Host header says which is meant."""

from __future__ import annotations

from collections.abc import Mapping

from labkit.wire.host_names import without_port
from labkit.wire.http.messages import Answerer, Reply, Request


class Hosts:
    """``named`` are the services by host name; whoever asks by another name, or by address, gets
    the ``usual`` one of the port."""

    def __init__(self, usual: Answerer, named: Mapping[str, Answerer]) -> None:
        self._usual = usual
        self._named = {name.lower(): answerer for name, answerer in named.items()}

    def answer(self, request: Request) -> Reply:
        """What the service that was asked for answers."""
        return self._named.get(without_port(request.host).lower(), self._usual).answer(request)
