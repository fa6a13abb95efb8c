"""An event loop in a thread of its own, and the ports that are served on it."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future

from labkit.steps import Do, nothing_to_do
from labkit.wire import sockets
from labkit.wire.tls import Link
from labkit.wire.workers import Workers

_START_SECONDS = 10.0
_GOODBYE_SECONDS = 1.0
_ROUND_SECONDS = 0.01
_ROUNDS = 3
"""Of the loop: one to learn of what has arrived, one to take it in, one to be sure."""


class EventLoop:
    """``workers`` do what must not hold it up, ``links`` are the connections that are open. ``do``
    does the tasks of a service that decides in steps.

    Whoever waits for another service of this machine needs workers that do not wait for it
    themselves: so each company has a loop of its own.
    """

    def __init__(self, name: str, do: Do = nothing_to_do) -> None:
        self._loop = asyncio.new_event_loop()
        self.workers, self.links = Workers(self._loop, do), set[Link]()
        self._servers: list[asyncio.Server] = []
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def serve(self, *bound: tuple[socket.socket, Callable[[], Link]]) -> None:
        """Accepts connections on these sockets from now on, each as the link that is made for
        it."""
        self._call(self._start(bound)).result(_START_SECONDS)

    def settle(self) -> None:
        """Returns when whatever clients on this machine have sent by now has been looked at: an
        alert with which one left is on its way when it knows already."""
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._call(_settled()).result(_START_SECONDS)

    def stop(self) -> None:
        """Closes every connection and port. Harmless when called twice."""
        if not self._thread.is_alive():
            return
        self._call(self._stop()).result(_START_SECONDS)
        self.workers.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_START_SECONDS)
        self._loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _call(self, coroutine: Coroutine[None, None, None]) -> Future[None]:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    async def _start(self, bound: tuple[tuple[socket.socket, Callable[[], Link]], ...]) -> None:
        for port, link in bound:
            server = await self._loop.create_server(link, sock=port, backlog=sockets.BACKLOG)
            self._servers.append(server)

    async def _stop(self) -> None:
        """Returns when every application knows that its connection is gone."""
        for server in self._servers:
            server.close()
        await asyncio.sleep(0)  # whoever was just let in becomes a link
        end = self._loop.time() + _GOODBYE_SECONDS
        while self.links:
            for link in list(self.links):
                link.close() if self._loop.time() < end else link.abort()
            await asyncio.sleep(_ROUND_SECONDS)
        self.workers.leave()


async def _settled() -> None:
    for _ in range(_ROUNDS):
        await asyncio.sleep(0)
