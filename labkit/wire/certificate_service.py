"""The stand-in CA on the network: its own listener, on loopback, TLS always.

Who vouches for its server certificate is a web root of its own, not that of the lab's services: it
is another company. The key of the server certificate lives in memory, a new one at each start.
"""

from __future__ import annotations

import http.client
import ssl
import threading
from functools import partial
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL

from labkit.cloud.dps.ca_client import BUSY, CaAnswer, CaQuestion
from labkit.events import Events
from labkit.pki import profiles, request
from labkit.thirdparty import Account, CertificateService
from labkit.wire import asking, sockets
from labkit.wire.asking import Question
from labkit.wire.event_loop import EventLoop
from labkit.wire.http import certificate_service
from labkit.wire.http.connection import HttpConnection
from labkit.wire.http.messages import Router
from labkit.wire.openssl import server_context
from labkit.wire.tls import Link

AT_A_TIME = 4
"""Requests that may wait for its answer. As many workers are left to DPS for everything else, when
it is slow."""
PATIENCE = 0.5
"""Seconds that one more waits for its turn; then it is told to come again."""

_HEADERS = {"Content-Type": "application/json; charset=utf-8", "Accept": "application/json"}


class ThirdPartyCa:
    """The certificate service of this lab: it listens from when it is made, until it is stopped; at
    ``host``, or at another address of this machine's own where that is none.
    """

    def __init__(self, service: CertificateService, host: str, events: Events) -> None:
        self._service, self._events = service, events
        self._host = host if ip_address(host).is_loopback else "127.0.0.1"
        self._router = Router()
        certificate_service.add_routes(self._router, service)
        self._turns = threading.BoundedSemaphore(AT_A_TIME)
        self._loop: EventLoop | None = None
        self.port = 0
        try:
            self.start()
        except BaseException:
            service.close()
            raise

    def __repr__(self) -> str:
        state = f"listens at {self._host}:{self.port}" if self.running else "is down"
        return f"<Third-party CA {self.name!r}, {state}>"

    @property
    def name(self) -> str:
        return self._service.name

    # ---- its customers

    def account(self, name: str = "Company-X") -> Account:
        """The account of a customer: opened when first named."""
        return self._service.account(name)

    @property
    def certificate(self) -> x509.Certificate:
        """Of the CA that signs for customers."""
        return self._service.certificate

    @property
    def root(self) -> x509.Certificate:
        """Of the root above it."""
        return self._service.root

    # ---- its web service

    @property
    def running(self) -> bool:
        """Whether its web service can be reached."""
        return self._loop is not None

    @property
    def web_root_pem(self) -> str:
        """Whom a client of its web service has to trust."""
        return self._service.web_root_pem

    def start(self) -> None:
        """Listens, at the port that it had before where that is still free. Harmless when it does
        already."""
        if self._loop is not None:
            return
        context = self._context()
        bound = sockets.bind_first(self._host, (self.port, 0) if self.port else (0,))
        self.port = sockets.port_of(bound)
        loop = self._loop = EventLoop(f"labkit {self.name}")
        above = partial(HttpConnection, answerer=self._router, mqtt=None, events=self._events)
        loop.serve((bound, lambda: Link(context, above, self._events, loop.workers, loop.links)))
        self._service.record("started", f"{self.name} listens at {self._host}")

    def stop(self) -> None:
        """Ends its web service; what it has issued goes on to be valid. Harmless when it is down
        already."""
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.stop()
            self._service.record("stopped", f"{self.name} is down")

    def close(self) -> None:
        """For good: the lab is closed."""
        self.stop()
        self._service.close()

    def ask(self, question: CaQuestion) -> CaAnswer:
        """What its web service answers to whoever asks with an API key; 429, where too many wait
        for an answer already."""
        if not self._turns.acquire(timeout=PATIENCE):
            return CaAnswer(BUSY)
        try:
            return self._asked(question)
        finally:
            self._turns.release()

    def _asked(self, question: CaQuestion) -> CaAnswer:
        context = ssl.create_default_context(cadata=self.web_root_pem)
        connection = http.client.HTTPSConnection(
            self._host, self.port, timeout=asking.SECONDS, context=context
        )
        headers = {**_HEADERS, certificate_service.API_KEY: question.api_key}
        asked = Question(question.method, question.path, question.body, headers)
        return CaAnswer(*asking.ask(connection, asked))

    def _context(self) -> SSL.Context:
        key, web = ec.generate_private_key(ec.SECP256R1()), self._service.web
        names = [x509.IPAddress(ip_address(self._host)), x509.DNSName("localhost")]
        subject = request.name(f"{self.name} Web Service")
        leaf = web.issue(key.public_key(), subject, profiles.SERVER, names=names)
        return server_context(key, (leaf,))
