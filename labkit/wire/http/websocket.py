"""MQTT in a WebSocket (RFC 6455), as IoT Hub and DPS offer it on their HTTPS ports.

    Link ── HTTP, until the client asks to switch ──> WebSocketConnection ── bytes ──> MQTT

The frames are wsproto's. One frame may hold a part of an MQTT packet, or several (MQTT 3.1.1,
section 6): the bytes in them are a stream like any other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import h11
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    RejectConnection,
    TextMessage,
)
from wsproto.events import Request as Opening
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import RemoteProtocolError

from labkit.cloud.presented import Presented
from labkit.events import Events
from labkit.wire.channel import Channel, Errand, MakeApplication
from labkit.wire.http.messages import Request

PATH = "/$iothub/websocket"
SUBPROTOCOL = "mqtt"

_BAD_REQUEST = 400
T = TypeVar("T")


class NotAccepted(Exception):
    """A request that wanted a WebSocket and gets none; ``status`` is the answer to it."""

    def __init__(self, why: str, status: int = _BAD_REQUEST) -> None:
        self.status = status
        super().__init__(why)


def is_meant(request: Request) -> bool:
    """Whether a request wants to go on as MQTT in a WebSocket."""
    wanted = request.headers.get("upgrade", "").lower() == "websocket"
    return wanted and request.path.rstrip("/").lower() == PATH


def accept(head: h11.Request) -> tuple[bytes, WSConnection]:
    """The bytes of the answer that opens the WebSocket, and the WebSocket. Raises NotAccepted."""
    socket = WSConnection(ConnectionType.SERVER)
    try:
        socket.initiate_upgrade_connection(list(head.headers), head.target)
        (opening,) = socket.events()
    except (RemoteProtocolError, h11.LocalProtocolError, ValueError) as error:
        hint = getattr(error, "event_hint", None)
        status = hint.status_code if isinstance(hint, RejectConnection) else _BAD_REQUEST
        raise NotAccepted(str(error), status) from error
    assert isinstance(opening, Opening)
    if SUBPROTOCOL not in opening.subprotocols:
        raise NotAccepted(f"of its subprotocols {opening.subprotocols} none is {SUBPROTOCOL!r}")
    return socket.send(AcceptConnection(subprotocol=SUBPROTOCOL)), socket


class WebSocketConnection:
    """Takes frames apart for the application above, for which it is the channel."""

    def __init__(
        self, link: Channel, socket: WSConnection, above: MakeApplication, events: Events
    ) -> None:
        self._link, self._socket, self._events = link, socket, events
        self._above = above(self)

    # ---- the link's side

    def received(self, data: bytes) -> None:
        self._socket.receive_data(data)
        for event in self._socket.events():
            if self._link.is_closing:  # what came behind the last thing that counted
                return
            self._take(event)

    def resumed(self) -> None:
        self._above.resumed()

    def closed(self) -> None:
        self._above.closed()

    def _take(self, event: Event) -> None:
        if isinstance(event, BytesMessage):
            self._above.received(bytes(event.data))
        elif isinstance(event, Ping):
            self._link.send(self._socket.send(event.response()))
        elif isinstance(event, TextMessage):
            self._record("broken", "closed: text in a WebSocket, where MQTT is bytes")
            self._goodbye(CloseReason.UNSUPPORTED_DATA)
        elif isinstance(event, CloseConnection):
            if self._socket.state is ConnectionState.OPEN:  # wsproto's own: it could not read on
                self._record("broken", f"closed: no WebSocket frame: {event.reason}")
            self._goodbye(event.code)

    # ---- the application's side

    @property
    def presented(self) -> Presented:
        return self._link.presented

    @property
    def peer(self) -> str:
        return self._link.peer

    @property
    def is_full(self) -> bool:
        return self._link.is_full

    @property
    def is_closing(self) -> bool:
        return self._link.is_closing

    def send(self, data: bytes) -> None:
        if data and self._socket.state is ConnectionState.OPEN:
            self._link.send(self._socket.send(BytesMessage(data)))

    def close(self) -> None:
        self._goodbye(CloseReason.NORMAL_CLOSURE)

    def expect_within(self, seconds: float, what: str) -> None:
        self._link.expect_within(seconds, what)

    def work(self, job: Errand[T], then: Callable[[T], None]) -> None:
        self._link.work(job, then)

    def beside(self, job: Callable[[], None]) -> None:
        self._link.beside(job)

    def soon(self, call: Callable[[], None]) -> None:
        self._link.soon(call)

    # ---- inside

    def _goodbye(self, reason: int) -> None:
        """Says so in a frame of its own, as far as nobody has yet, and ends the link."""
        if self._socket.state in (ConnectionState.OPEN, ConnectionState.REMOTE_CLOSING):
            self._link.send(self._socket.send(CloseConnection(reason)))
        self._link.close()

    def _record(self, kind: str, text: str) -> None:
        self._events.record("https", kind, text, peer=self.peer)
