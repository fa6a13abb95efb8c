"""What an application sees of a connection below it: a TLS link, or a WebSocket on one."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol, TypeAlias, TypeVar

from labkit.cloud.presented import Presented
from labkit.steps import Steps

T = TypeVar("T")

Errand: TypeAlias = Callable[[], T | Future[T]] | Steps[T]
"""What may take its time: a call for another thread, the result of which may be a future; or steps,
for this one, with their tasks done elsewhere."""


class Application(Protocol):
    """What speaks above. Called on the event loop's thread only."""

    def received(self, data: bytes) -> None: ...

    def resumed(self) -> None:
        """The channel was full and is no more: goes on with what was received meanwhile."""
        ...

    def closed(self) -> None: ...


class Channel(Protocol):
    """What is below. ``presented`` is what the client showed in TLS, ``peer`` its address."""

    @property
    def presented(self) -> Presented: ...

    @property
    def peer(self) -> str: ...

    @property
    def is_full(self) -> bool:
        """Whether the client should be given no more to do: so much waits for it, or work is
        being done for it."""
        ...

    @property
    def is_closing(self) -> bool: ...

    def send(self, data: bytes) -> None: ...

    def close(self) -> None:
        """Says goodbye, once what was sent is out."""
        ...

    def expect_within(self, seconds: float, what: str) -> None:
        """Closes unless it is called again within ``seconds``."""
        ...

    def work(self, job: Errand[T], then: Callable[[T], None]) -> None:
        """Does elsewhere what may take its time, and gives ``then`` its result. Until that
        nothing more is taken from the client, so that answers keep their order. A client that is
        gone by then gets no ``then``."""
        ...

    def beside(self, job: Callable[[], None]) -> None:
        """Does in another thread what nobody waits for: the client goes on meanwhile."""
        ...

    def soon(self, call: Callable[[], None]) -> None:
        """Makes a call on the event loop's thread; from any thread. None once it is closed."""
        ...


MakeApplication = Callable[[Channel], Application]
