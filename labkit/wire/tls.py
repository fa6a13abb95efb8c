"""The TLS end of a server: shows its certificate, takes the client's, judges nothing.

Azure completes the handshake with whatever chain the client sends, and refuses in the
protocol above (HTTP 401, MQTT CONNACK 5). The standard library cannot do that: it ends
the handshake of an unknown chain with an alert. pyOpenSSL on memory buffers can, and
OpenSSL still checks *possession*: a stolen certificate with another key does not get in.

    socket ── bytes ──> Link ── bytes in clear ──> Application (MQTT, HTTP)
                         │ presented chain
                         │ is_full: the client reads too slowly, or is being worked for:
                         │          take nothing more from it
                         └ deadlines: handshake, then whatever the application sets, goodbye
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any, TypeVar

from cryptography import x509
from OpenSSL import SSL

from labkit.cloud.presented import Presented
from labkit.events import Events
from labkit.pki.chain import subject
from labkit.wire import openssl
from labkit.wire.channel import Application, Errand
from labkit.wire.workers import Workers

HANDSHAKE_SECONDS = 10.0
HIGH_WATER = 256 * 1024
"""Bytes that may wait for a client before no more is taken from it; a quarter lets it go on."""
STALL_SECONDS = 30.0
"""How long a client may leave what waits for it unread; then it is cut off."""
GOODBYE_SECONDS = 5.0
"""How long a closed connection may take to deliver its last bytes; then it is cut off."""

T = TypeVar("T")

_log = logging.getLogger(__name__)
_READ = 64 * 1024
_PLAIN_HTTP = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n"
    b"This port speaks TLS. Use https:// (the certificate to trust is named by `labkit serve`).\n"
)


HandshakeFailed = Callable[[str, Presented, str], None]
"""Told OpenSSL's reason, what the client had shown by then, and the name that it asked for."""


class Link(asyncio.Protocol):
    """One connection. The application sends and closes through it: it is its channel."""

    def __init__(
        self,
        context: SSL.Context,
        application: Callable[[Link], Application],
        events: Events,
        workers: Workers,
        opened: set[Link],
        handshake_failed: HandshakeFailed = lambda *_: None,
    ) -> None:
        self._tls = SSL.Connection(context, None)
        self._tls.set_accept_state()
        self._make_application, self._events, self._opened = application, events, opened
        self._workers, self._handshake_failed = workers, handshake_failed
        self._application: Application | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._awaited = (0.0, "", 0.0)
        self._patience: asyncio.TimerHandle | None = None
        self._closing = self._full = self._working = self._ended = False
        self.presented = Presented()
        self.peer = ""

    # ---- the socket's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._socket, self._loop = transport, asyncio.get_running_loop()
        transport.set_write_buffer_limits(high=HIGH_WATER)
        self.peer = str((transport.get_extra_info("peername") or ("",))[0])
        self._opened.add(self)
        self.expect_within(HANDSHAKE_SECONDS, "the TLS handshake")

    def data_received(self, data: bytes) -> None:
        try:
            self._tls.bio_write(data)
            if self._working:  # one read of it is kept; what comes behind stays in the socket
                self._socket.pause_reading()
                return
            if self._application is None:
                if self._shake_hands():
                    self._deliver()
                return
            if not self._deliver():
                self._flush()  # to what was no data, TLS may have an answer of its own
        except SSL.Error as error:
            self._fail(error)
        except Exception as error:  # a certificate that OpenSSL takes and nobody else can read
            self._give_up(error)

    def eof_received(self) -> bool:
        """Without our own close, the transport would wait for its buffer for ever. Who is being
        worked for may still read the answer."""
        self._ended = True
        if not self._working:
            self.close()
        return self._working

    def pause_writing(self) -> None:
        """The client reads too slowly. What it still sends stays in its own socket."""
        self._full = True
        self._socket.pause_reading()
        self._patience = self._loop.call_later(STALL_SECONDS, self._cut_off)

    def resume_writing(self) -> None:
        self._full = False
        _cancel(self._patience)
        self._go_on()

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        self._stop_waiting()
        _cancel(self._patience)
        try:
            if self._application is not None:
                self._application.closed()
        finally:
            self._opened.discard(self)
            del self._tls  # a hundred kilobytes, of which Python's garbage collector knows nothing

    # ---- the application's side

    @property
    def is_closing(self) -> bool:
        return self._closing

    @property
    def is_full(self) -> bool:
        """Whether so much waits for the client that it should be given no more to do, or it is
        being worked for already."""
        return self._full or self._working

    def send(self, data: bytes) -> None:
        if self._closing or not data:
            return
        self._tls.sendall(data)
        self._flush()

    def close(self) -> None:
        """Says goodbye in TLS and closes the socket, once what was sent is out, or time is."""
        if self._closing:
            return
        with contextlib.suppress(SSL.Error):  # a handshake that is not done has no goodbye
            self._tls.shutdown()
        self._leave()

    def abort(self) -> None:
        """Ends the connection now; what was not sent by now never is."""
        self._closing = True
        self._socket.abort()

    def expect_within(self, seconds: float, what: str) -> None:
        """Closes the link unless it is called again within ``seconds``."""
        if self._closing:
            return
        due = self._loop.time() + seconds
        self._awaited = due, what, seconds
        # A timer that rings too early is set again then: cheaper than a new one for each packet.
        if self._deadline is None or self._deadline.when() > due:
            self._stop_waiting()
            self._deadline = self._loop.call_at(due, self._rings)

    def work(self, job: Errand[T], then: Callable[[T], None]) -> None:
        """Does elsewhere what may take its time, and gives ``then`` its result. Until that
        nothing more is taken from the client."""
        self._working = True
        self._workers.run(job, lambda result: self._worked(then, result), self._give_up)

    def beside(self, job: Callable[[], None]) -> None:
        """Does in another thread what nobody waits for: the client goes on meanwhile."""
        self._workers.run(job, _done, self._give_up)

    def soon(self, call: Callable[[], None]) -> None:
        """Makes a call on the loop's thread; from any thread. None once the link is closed."""
        with contextlib.suppress(RuntimeError):  # a loop that is closed: everybody has gone
            self._loop.call_soon_threadsafe(self._call, call)

    def become(self, application: Application, data: bytes) -> None:
        """Another protocol from here on, which begins with ``data``."""
        self._application = application
        if data:
            application.received(data)

    # ---- inside

    def _call(self, call: Callable[[], None]) -> None:
        try:
            if not self._closing:
                call()
        except Exception as error:
            self._give_up(error)

    def _worked(self, then: Callable[[T], None], result: T) -> None:
        self._working = False
        if self._closing:
            return
        try:
            then(result)
        except Exception as error:
            self._give_up(error)
        self._go_on()

    def _go_on(self) -> None:
        """Takes up again what was left while the client read too slowly, or was worked for."""
        if self._closing or self.is_full:
            return
        self._socket.resume_reading()
        try:
            if self._application is not None:
                self._application.resumed()
                self._deliver()
                self._flush()
        except SSL.Error as error:
            self._fail(error)
        except Exception as error:
            self._give_up(error)
        if self._ended and not self.is_full:
            self.close()

    def _shake_hands(self) -> bool:
        try:
            self._tls.do_handshake()
        except SSL.WantReadError:
            self._flush()
            return False
        # What TLS 1.3 still has to say are session tickets, for sessions that are never resumed:
        # they go out with the first answer. A write of their own would wake the client for nothing.
        if self._tls.get_protocol_version() < SSL.TLS1_3_VERSION:
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

    def _deliver(self) -> bool:
        """All that one read of the socket brought, in one go: a client that writes each packet
        in a TLS record of its own is served as well as another. Whether there was anything."""
        assert self._application is not None
        if self._closing or self.is_full:
            return False
        data, ended = self._received()
        if data:
            self._hand_over(self._application, data)
        if ended:
            self._ended = True
            if not self.is_full:
                self.close()
        return bool(data)

    def _received(self) -> tuple[bytes, bool]:
        """What came in clear, and whether the client said goodbye in TLS."""
        found = []
        while True:
            try:
                found.append(self._tls.recv(_READ))
            except SSL.WantReadError:
                return b"".join(found), False
            except (SSL.ZeroReturnError, SSL.SysCallError):
                return b"".join(found), True

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
                data = self._tls.bio_read(_READ)
            except SSL.WantReadError:
                return
            self._socket.write(data)
            if len(data) < _READ:  # that was all: to ask once more costs as much as to send
                return

    def _fail(self, error: SSL.Error) -> None:
        reason = openssl.reason(error)
        if self._application is not None:
            self._record("failed", f"TLS failed: {reason}")
        else:
            self._record("handshake failed", f"no TLS from {self.peer}: {openssl.in_words(reason)}")
            self._handshake_failed(reason, self._shown(), self._asked())
            if reason == "http request":
                self._socket.write(_PLAIN_HTTP)
        self._leave()

    def _shown(self) -> Presented:
        """What a client had shown when its handshake failed, if that can be read."""
        try:
            return Presented(self._chain(), self.peer)
        except Exception:  # anything may have been sent
            return Presented((), self.peer)

    def _asked(self) -> str:
        """The server name that the client asked for (SNI); empty where it dialled an address."""
        return (self._tls.get_servername() or b"").decode(errors="replace")

    def _leave(self) -> None:
        """A client that reads no more would keep the socket, and all behind it, for ever."""
        self._stop_waiting()
        self._flush()
        self._closing = True
        self._socket.close()
        self._deadline = self._loop.call_later(GOODBYE_SECONDS, self._socket.abort)

    def _cut_off(self) -> None:
        self._record("slow", "a client does not read what it is sent: cut off")
        self.abort()

    def _rings(self) -> None:
        due, what, seconds = self._awaited
        self._deadline = None
        if self._loop.time() < due:
            self._deadline = self._loop.call_at(due, self._rings)
        else:
            self._too_late(what, seconds)

    def _too_late(self, what: str, seconds: float) -> None:
        if self.is_full:  # it is we who do not listen: until we do, other clocks count
            self.expect_within(seconds, what)
            return
        self._record("silent", f"closed a client that was silent: {what} took over {seconds:g} s")
        self.close()

    def _stop_waiting(self) -> None:
        _cancel(self._deadline)
        self._deadline = None

    def _record(self, kind: str, text: str, **details: Any) -> None:
        self._events.record("tls", kind, text, peer=self.peer, **details)


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()


def _done(_: None) -> None:
    """Nobody waits to hear that it was done."""
