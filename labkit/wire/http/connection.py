"""One HTTP/1.1 connection on a TLS link. The protocol is h11's; limits and patience are ours."""

from __future__ import annotations

import re
from concurrent.futures import Future
from email.utils import formatdate
from functools import partial
from http.client import responses

import h11

from labkit.cloud.refusals import clipped
from labkit.events import Events
from labkit.wire.channel import MakeApplication
from labkit.wire.http import websocket
from labkit.wire.http.messages import (
    Answerer,
    Reply,
    Request,
    Response,
    json_response,
    mapped,
    parse_target,
)
from labkit.wire.http.websocket import WebSocketConnection
from labkit.wire.tls import Link

LARGEST_BODY = 1024 * 1024
LARGEST_HEAD = 64 * 1024
LARGEST_SHOWN = 4096
"""Bytes of a body that the event log keeps."""
IDLE_SECONDS = 60.0
"""Between requests."""
REQUEST_SECONDS = 30.0
"""For a whole request, from its first byte on."""

_SECRET = re.compile(
    r'("(?:primary_?key|secondary_?key|api_?key|certificate)"\s*:\s*)"(?:[^"\\]|\\.)*"?',
    re.IGNORECASE | re.DOTALL,
)
"""However people misspell the names: what is refused for that is on record with what was sent."""


class HttpConnection:
    """Reads requests one after the other and has each answered; one of them may ask for MQTT
    in a WebSocket, and then there are no more. ``mqtt`` is what speaks it on a channel; None where
    nobody does."""

    def __init__(
        self, link: Link, answerer: Answerer, mqtt: MakeApplication | None, events: Events
    ) -> None:
        self._link, self._answerer, self._events = link, answerer, events
        self._mqtt = mqtt
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=LARGEST_HEAD)
        self._head: h11.Request | None = None
        self._body = bytearray()
        self._begun = False
        self._wait()

    def received(self, data: bytes) -> None:
        if not self._begun:  # once a request: bytes that trickle in buy no time
            self._begun = True
            self._link.expect_within(REQUEST_SECONDS, "a whole request")
        self._http.receive_data(data)
        self.resumed()

    def resumed(self) -> None:
        try:
            while not self._link.is_full and self._step():
                pass
        except h11.RemoteProtocolError as error:
            self._record("broken", f"closed: not HTTP/1.1: {error}")
            self._refuse(error.error_status_hint)

    def closed(self) -> None:
        """Nothing is kept of a connection."""

    def _step(self) -> bool:
        """One event of h11; False when more bytes are needed or nothing can follow."""
        event = self._http.next_event()
        if isinstance(event, h11.Request):
            self._begin(event)
        elif isinstance(event, h11.Data):
            self._body += event.data
            if len(self._body) > LARGEST_BODY:
                self._too_large()
        elif isinstance(event, h11.EndOfMessage):
            self._answer()
        elif isinstance(event, h11.ConnectionClosed):
            self._link.close()
        else:
            return False
        return not self._link.is_closing

    def _begin(self, head: h11.Request) -> None:
        self._head, self._body = head, bytearray()
        if _length(head) > LARGEST_BODY:
            self._too_large()
        elif self._http.they_are_waiting_for_100_continue:
            go_on = h11.InformationalResponse(status_code=100, headers=[])
            self._link.send(self._http.send(go_on) or b"")

    def _answer(self) -> None:
        assert self._head is not None
        try:
            request = self._request(self._head)
        except ValueError as error:
            self._record("broken", f"refused: {self._head.target!r} is no target: {error}")
            self._refuse(400)
            return
        if self._mqtt is not None and websocket.is_meant(request):
            self._switch(self._head, self._mqtt)
        else:
            self._link.work(partial(self._reply, request), partial(self._answered, request))

    def _reply(self, request: Request) -> Reply:
        failed = partial(self._failed, request)
        try:
            reply = self._answerer.answer(request)
        except Exception as error:
            return failed(error)
        return mapped(reply, lambda r: r, failed) if isinstance(reply, Future) else reply

    def _failed(self, request: Request, error: Exception) -> Response:
        """The last net: a client gets an answer, the log the cause."""
        self._record("failed", f"{request.method} {request.path}: {error!r}")
        return json_response(500, {"message": "the lab itself failed; see its log"})

    def _answered(self, request: Request, response: Response) -> None:
        self._record(
            "request",
            f"{request.method} {request.path} → {response.status}",
            body=_shown(request.body),
            answer=_shown(response.body),
        )
        self._send(response, head_only=request.method == "HEAD")

    def _switch(self, head: h11.Request, mqtt: MakeApplication) -> None:
        """To MQTT in a WebSocket, with whatever the client sent behind its request."""
        try:
            accepted, socket = websocket.accept(head)
        except websocket.NotAccepted as error:
            self._record("refused", f"no WebSocket: {error}")
            self._refuse(error.status)
            return
        self._record("websocket", "a WebSocket was opened, for MQTT")
        self._link.send(accepted)
        above = WebSocketConnection(self._link, socket, mqtt, self._events)
        self._link.become(above, self._http.trailing_data[0])

    def _request(self, head: h11.Request) -> Request:
        path, query = parse_target(head.target.decode("latin-1"))
        headers = {name.decode(): value.decode("latin-1") for name, value in head.headers}
        method, body = head.method.decode(), bytes(self._body)
        return Request(method, path, query, headers, body, self._link.presented, self._link.peer)

    def _send(self, response: Response, *, head_only: bool = False) -> None:
        headers = [
            *response.headers.items(),
            ("Date", formatdate(usegmt=True)),
            ("Content-Length", str(len(response.body))),
        ]
        status = response.status
        reason = responses.get(status, "")  # all that azure-iot-hub's exceptions tell of a refusal
        head = h11.Response(status_code=status, headers=headers, reason=reason.encode())
        out = self._http.send(head) or b""
        if response.body and not head_only:
            out += self._http.send(h11.Data(data=response.body)) or b""
        out += self._http.send(h11.EndOfMessage()) or b""
        self._link.send(out)
        if self._http.our_state is h11.MUST_CLOSE:
            self._link.close()
        elif self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
            self._wait()

    def _too_large(self) -> None:
        self._record("too large", f"refused: a body of more than {LARGEST_BODY} bytes")
        self._refuse(413)

    def _refuse(self, status: int) -> None:
        """Answers what could not be read, if HTTP still allows an answer, and closes."""
        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            closing = {"Connection": "close"}
            self._send(Response(status, headers=closing))
        self._link.close()

    def _wait(self) -> None:
        """For the next request, which may have begun already, behind the one before it."""
        self._begun = bool(self._http.trailing_data[0])
        if self._begun:
            self._link.expect_within(REQUEST_SECONDS, "a whole request")
        else:
            self._link.expect_within(IDLE_SECONDS, "the next request")

    def _record(self, kind: str, text: str, **details: str) -> None:
        self._events.record("https", kind, clipped(text), peer=self._link.peer, **details)


def _shown(body: bytes) -> str:
    """The beginning of a body, as text, for the log. Whatever may hold a key is left out: those
    of devices and policies, and what was sent for a certificate and may be something else."""
    if b"PRIVATE KEY" in body:
        return "(not shown: there is a private key in it)"
    return _SECRET.sub(r'\1"(not shown)"', body[:LARGEST_SHOWN].decode(errors="replace"))


def _length(head: h11.Request) -> int:
    """What the head says of the body; h11 has seen to it that it is a number."""
    return next((int(value) for name, value in head.headers if name == b"content-length"), 0)
