"""The TLS end of a server: shows its certificate, takes the client's, judges nothing.

Azure completes the handshake with whatever chain the client sends, and refuses in the
protocol above (HTTP 401, MQTT CONNACK 5). The standard library cannot do that: it ends
the handshake of an unknown chain with an alert. pyOpenSSL on memory buffers can, and
OpenSSL still checks *possession*: a stolen certificate with another key does not get in.

    socket ── bytes ──> Link ── bytes in clear ──> Application (MQTT, HTTP)
                         │ presented chain
                         └ deadlines: handshake, then whatever the application sets
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Protocol

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL

from labkit.cloud.presented import Presented
from labkit.events import Events
from labkit.pki.chain import subject

HANDSHAKE_SECONDS = 10.0
LARGEST_BACKLOG = 4 * 1024 * 1024
"""Bytes that may wait for a client that does not read; then it is cut off."""

_log = logging.getLogger(__name__)
_READ = 64 * 1024
_PLAIN_HTTP = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n"
    b"This port speaks TLS. Use https:// (the certificate to trust is named by `labkit serve`).\n"
)


class Application(Protocol):
    """What speaks above TLS. Called on the event loop's thread only."""

    def received(self, data: bytes) -> None: ...

    def closed(self) -> None: ...


def server_context(
    key: ec.EllipticCurvePrivateKey, chain: tuple[x509.Certificate, ...]
) -> SSL.Context:
    """TLS 1.2 and 1.3 with this certificate (leaf first). Asks for a client certificate and
    takes any; sessions are never resumed, so every connection shows its chain anew."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.use_certificate(chain[0])
    for issuer in chain[1:]:
        context.add_extra_chain_cert(issuer)
    context.use_privatekey(key)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_RENEGOTIATION)
    context.set_verify(SSL.VERIFY_PEER, lambda *_: True)
    return context


class Link(asyncio.Protocol):
    """One connection. The application sends and closes through it."""

    def __init__(
        self,
        context: SSL.Context,
        application: Callable[[Link], Application],
        events: Events,
        opened: set[Link],
    ) -> None:
        self._tls = SSL.Connection(context, None)
        self._tls.set_accept_state()
        self._make_application, self._events, self._opened = application, events, opened
        self._application: Application | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._closing = False
        self.presented = Presented()
        self.peer = ""

    # ---- the socket's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._socket = transport
        self.peer = str((transport.get_extra_info("peername") or ("",))[0])
        self._opened.add(self)
        self.expect_within(HANDSHAKE_SECONDS, "the TLS handshake")

    def data_received(self, data: bytes) -> None:
        try:
            self._tls.bio_write(data)
            if self._application is None and not self._shake_hands():
                return
            self._deliver()
        except SSL.Error as error:
            self._fail(error)
        except Exception as error:  # a certificate that OpenSSL takes and nobody else can read
            self._give_up(error)

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        self._opened.discard(self)
        self._stop_waiting()
        if self._application is not None:
            self._application.closed()

    # ---- the application's side

    @property
    def is_closing(self) -> bool:
        return self._closing

    def send(self, data: bytes) -> None:
        if self._closing or not data:
            return
        self._tls.sendall(data)
        self._flush()
        if self._socket.get_write_buffer_size() > LARGEST_BACKLOG:
            self._record("slow", "a client does not read what it is sent: cut off")
            self._socket.abort()

    def close(self) -> None:
        """Says goodbye in TLS and closes the socket, once what was sent is out."""
        if self._closing:
            return
        self._closing = True
        self._stop_waiting()
        if self._application is not None:
            self._tls.shutdown()
        self._flush()
        self._socket.close()

    def expect_within(self, seconds: float | None, what: str) -> None:
        """Closes the link unless it is called again within ``seconds``; None waits for ever."""
        self._stop_waiting()
        if seconds is not None:
            loop = asyncio.get_running_loop()
            self._deadline = loop.call_later(seconds, self._too_late, what, seconds)

    # ---- inside

    def _shake_hands(self) -> bool:
        try:
            self._tls.do_handshake()
        except SSL.WantReadError:
            self._flush()
            return False
        self._flush()
        self.presented = Presented(self._chain(), self.peer)
        self._record(
            "handshake",
            f"{self._tls.get_protocol_version_name()} with {self._client()}",
            cipher=self._tls.get_cipher_name(),
            presented=[subject(certificate) for certificate in self.presented.chain],
        )
        self._application = self._make_application(self)
        return True

    def _chain(self) -> tuple[x509.Certificate, ...]:
        """As a server, OpenSSL keeps the client's own certificate out of the chain."""
        leaf = self._tls.get_peer_certificate(as_cryptography=True)
        if leaf is None:
            return ()
        rest = self._tls.get_peer_cert_chain(as_cryptography=True) or []
        return (leaf, *(certificate for certificate in rest if certificate != leaf))

    def _client(self) -> str:
        sent = len(self.presented.chain)
        if not sent:
            return "a client that sent no certificate"
        return f"a client that sent {sent} certificate{'s' if sent > 1 else ''}"

    def _deliver(self) -> None:
        assert self._application is not None
        while not self._closing:
            try:
                data = self._tls.recv(_READ)
            except SSL.WantReadError:
                break
            except (SSL.ZeroReturnError, SSL.SysCallError):
                self.close()
                return
            self._hand_over(self._application, data)
        self._flush()

    def _hand_over(self, application: Application, data: bytes) -> None:
        """Whatever goes wrong above costs this client its connection, and nobody else."""
        try:
            application.received(data)
        except Exception as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        _log.error("a connection failed", exc_info=error)
        self._record("failed", f"closed: it could not be served: {error!r}")
        self.close()

    def _flush(self) -> None:
        while not self._socket.is_closing():
            try:
                self._socket.write(self._tls.bio_read(_READ))
            except SSL.WantReadError:
                return

    def _fail(self, error: SSL.Error) -> None:
        reason = _reason(error)
        if self._application is not None:
            self._record("failed", f"TLS failed: {reason}")
        else:
            self._record("handshake failed", f"no TLS from {self.peer}: {_in_words(reason)}")
            if reason == "http request":
                self._socket.write(_PLAIN_HTTP)
        self._flush()
        self._closing = True
        self._socket.close()

    def _too_late(self, what: str, seconds: float) -> None:
        self._record("silent", f"closed a client that was silent: {what} took over {seconds:g} s")
        self.close()

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _record(self, kind: str, text: str, **details: Any) -> None:
        self._events.record("tls", kind, text, peer=self.peer, **details)


_KNOWN = {
    "http request": "the client spoke plain HTTP to a TLS port",
    "wrong version number": "the client spoke something else than TLS, plain MQTT perhaps",
    "bad signature": "the client does not hold the private key of the certificate that it sent",
    "provider signature failure": "the client does not hold the private key of the certificate "
    "that it sent",
}


def _reason(error: SSL.Error) -> str:
    """OpenSSL's own words: of its error queue the entry that we can explain, else the first."""
    queue = error.args[0] if error.args and isinstance(error.args[0], list) else []
    reasons = [str(entry[-1]) for entry in queue] or [type(error).__name__]
    return next((reason for reason in reasons if reason in _KNOWN), reasons[0])


def _in_words(reason: str) -> str:
    known = _KNOWN.get(reason)
    return f"{known} ({reason})" if known else reason
