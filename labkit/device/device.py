"""A Smart-X-Widget: a key in its token, a chain in its flash, and the firmware around them."""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from cryptography import x509

from labkit.device.assignment import Assignment
from labkit.device.credentials import Credentials, Issuer
from labkit.device.flash import Flash
from labkit.device.handlers import Handlers, Received
from labkit.device.network import Network
from labkit.device.operational import Operational
from labkit.device.payload import as_json
from labkit.device.registration import Csr, Transport
from labkit.errors import BadCertificate, ConnectionFailed, ServerNotTrusted
from labkit.events import Events
from labkit.hsm import Algorithm, Token, TokenKey
from labkit.pki import chain, reading
from labkit.pki.forms import Readable
from labkit.pki.identity import Identity
from labkit.pki.renewal import Renewal

_LONGEST_SHOWN = 1_000


Left = Callable[["Device", ServerNotTrusted], None]
"""Told of a device that left in TLS, and why."""


class Device:
    """One device. It reaches the cloud over the network and in no other way.

    ``network`` is asked when it is needed: a lab that was opened again has new addresses. It
    raises WorkspaceError once the lab is closed, and so is asked before anything else is done.
    ``operational`` is what a service has issued to it.
    ``left`` is told when the device leaves in TLS because it does not trust the server. ``token``
    finds its own token, where its later keys are born, too; without it, it is that of its key.
    """

    def __init__(
        self,
        identity: Identity,
        flash: Flash,
        network: Callable[[], Network],
        events: Events,
        left: Left = lambda *_: None,
        *,
        token: Callable[[], Token] | None = None,
    ) -> None:
        self.name = identity.name
        self._credentials = Credentials(identity, flash, token or (lambda: identity.key.token))
        self.operational = Operational(identity.name, flash, token or (lambda: identity.key.token))
        self._flash, self._network, self._events = flash, network, events
        self._left = left
        self._client: Any = None
        self._handlers = Handlers(self._record)
        if not flash.chain:
            flash.install(identity.chain)
        if not flash.roots:  # those of the day on which it was made; later ones have to be put in
            flash.install_roots(reading.read_certificates(network().server_roots))

    def __repr__(self) -> str:
        return (
            f"<Device {self.name!r}, key in its own token, sends {chain.names(self._flash.chain)}>"
        )

    @property
    def key(self) -> TokenKey:
        """The private key in use, in its own token: opened when this is first asked for."""
        return self._credentials.key

    @property
    def certificate(self) -> x509.Certificate:
        return self.chain[0]

    @property
    def chain(self) -> list[x509.Certificate]:
        """What it sends in TLS: its own certificate first, then what is installed behind it."""
        found = self._flash.chain
        if not found:  # gone with a workspace that was thrown away
            self._network()
        return found

    def install_chain(self, certificates: Sequence[x509.Certificate]) -> None:
        """Replaces the chain in flash, as a firmware update would. The key stays.

        Raises BadCertificate unless the first certificate is for this device's own key.
        """
        self._network()
        if not certificates or certificates[0].public_key() != self.key.public_key():
            raise BadCertificate(
                f"This chain does not belong to {self.name}",
                expected="first the certificate for the key in the device's token",
                found=chain.names(certificates),
                cure="put the device's own certificate first, then its issuers",
            )
        self._flash.install(certificates)
        self._record("installed", f"installed a chain of {len(certificates)}")

    # ---- the next certificate

    def renew(
        self, issuer: Issuer, *, common_name: str = "", algorithm: Algorithm | str = ""
    ) -> x509.Certificate:
        """A new key pair in its token, a request, the answer of ``issuer``, installed: returns the
        new certificate, which is in use from now on. The old one and its key stay in reserve.

        The CN stays as it is: another ``common_name`` is another registration ID, so that a
        service takes it for another device. An open connection stays as it is, too. Raises what
        the issuer raises; the device is then as it was.
        """
        asked = self.request_certificate(common_name, algorithm=algorithm)
        self.accept_certificate(issuer.issue(asked))
        return self.certificate

    def request_certificate(
        self, common_name: str = "", *, algorithm: Algorithm | str = ""
    ) -> Renewal:
        """The first half of :meth:`renew`, on foot: a request for a new key in its token, vouched
        for with the key in use. Raises BadRequest for what can be no CN."""
        self._network()
        kind = Algorithm.named(algorithm) if algorithm else None
        asked = self._credentials.request(common_name or self.registration_id, kind)
        self._record(
            "request", f"made a key pair and asks for {chain.title(asked.request.subject)}"
        )
        return asked

    def accept_certificate(self, certificates: Sequence[x509.Certificate]) -> None:
        """The second half of :meth:`renew`: takes the chain that came back into use, and keeps
        the one before in reserve. The same chain again is harmless. Raises BadCertificate where
        the first certificate is for no key in its token."""
        self._network()
        self._credentials.accept(certificates)
        self._record("installed", f"has a new certificate in use: {chain.names(certificates)}")

    @property
    def reserve(self) -> list[x509.Certificate]:
        """The chain that it does not use: after a renewal the old one; empty without."""
        return self._flash.reserve if self._credentials.is_in_reserve else []

    def use_reserve(self) -> None:
        """Takes the chain in reserve into use, with its key: back to the old certificate where
        the new one is refused, or on to the new one again. Raises LabError without a reserve."""
        self._network()
        self._credentials.switch()
        self._record("installed", f"uses its other certificate: {chain.names(self.chain)}")

    def retire_reserve(self) -> None:
        """Forgets the chain in reserve and destroys its key, once the new one works: nobody can
        speak with the old key any more. Harmless when there is none."""
        self._network()
        if old := self.reserve:
            self._credentials.retire()
            self._record("retired", f"destroyed its old key: {chain.names(old[:1])}")

    @property
    def registration_id(self) -> str:
        """What it asks DPS with: the CN of the certificate in use."""
        return chain.common_name(self.certificate)

    # ---- what it is configured with

    @property
    def network(self) -> Network:
        """What it is configured with: what the lab's devices are made with, but for what its
        flash holds: its trust store, and what was changed since.

        Raises WorkspaceError once the lab is closed."""
        made_with, state = self._network(), self._flash.state
        return replace(
            made_with,
            id_scope=state.get("id_scope") or made_with.id_scope,
            server_roots=self._flash.roots,
        )

    def configure(self, *, id_scope: str = "") -> None:
        """Changes which provisioning service it asks; without a value, to the lab's own again."""
        self._network()
        self._flash.learn(id_scope=id_scope)
        self._record("configured", f"is configured with {id_scope or 'the ID scope of the lab'}")

    @property
    def trusted_roots(self) -> list[x509.Certificate]:
        """Its trust store: the CAs that may vouch for a *server*. Its own chain is not in it.

        At manufacture these are the services' roots of that day; only :meth:`install_roots`
        changes them.
        """
        return reading.read_certificates(self.network.server_roots)

    def install_roots(
        self, roots: x509.Certificate | Sequence[x509.Certificate] | Readable
    ) -> None:
        """Replaces its trust store, as a firmware update would: PEM, DER, a file, or certificates.

        Raises BadCertificate for what holds none, and for one that is no CA's: a server's own
        certificate is another one every few months.
        """
        self._network()
        if isinstance(roots, bytes | str | Path):
            roots = reading.read_certificates(roots)
        elif isinstance(roots, x509.Certificate):
            roots = [roots]
        if not roots or not all(map(chain.is_ca, roots)):
            raise BadCertificate(
                f"{self.name} would trust no server by this",
                expected="the roots that may vouch for a server",
                found=chain.names(roots),
                cure="those of this lab's services: lab.network.server_roots",
            )
        self._flash.install_roots(roots)
        self._record("installed", f"trusts servers below {chain.names(self.trusted_roots)}")

    @property
    def assignment(self) -> Assignment | None:
        """What DPS said last; kept in flash across restarts."""
        kept = self._flash.state.get("assignment")
        return Assignment(**kept) if kept else None

    def provision(
        self,
        *,
        registration_id: str = "",
        csr: Csr | None = None,
        transport: Transport = "mqtt",
    ) -> Assignment:
        """Registers with DPS and remembers the hub. Raises ProvisioningFailed, and where it is the
        device that does not trust the server ServerNotTrusted, which is one, too.

        ``registration_id`` is what its firmware is configured with: the CN of its certificate,
        unless given. With ``csr`` it asks DPS for a certificate as well, and what is issued is its
        operational credential from now on: ``widget.operational.request()`` makes one. By
        Microsoft's SDK, or, with ``csr`` or over ``https``, by the lab's own client.
        """
        from labkit.device import (  # slow to import, and a lab opens without
            provisioning_client,
            sdk,
        )

        network, name = self.network, registration_id or self.registration_id
        asked = f" as {registration_id}" if registration_id else ""
        sent = chain.names(self.chain)
        self._record("provision", f"asks DPS to provision it{asked}, sending {sent}")
        with self._judging():
            identity = self._identity(sdk)
            client = provisioning_client.registrar(network, name, identity, transport, csr)
            found = client.register()
        assigned = Assignment(found.hub, found.device_id, found.status, found.substatus)
        self._flash.learn(assignment=asdict(assigned))
        self._record("provisioned", f"was assigned to {assigned.hub}")
        if found.chain:
            self.operational.install(found.chain)
            self._record("installed", f"has an operational certificate: {chain.names(found.chain)}")
        return assigned

    def connect(self) -> Device:
        """Connects to the hub that DPS assigned. Raises ConnectionFailed, and where it is the
        device that does not trust the server ServerNotTrusted, which is one, too."""
        from labkit.device import sdk

        if self._client is not None and self._client.connected:
            return self
        self.disconnect()
        network = self.network
        assigned = self.assignment
        if assigned is None:
            raise ConnectionFailed(
                f"{self.name} has no hub yet",
                expected="an assignment by DPS",
                cure=f"provision it first: lab.device({self.name!r}).provision()",
            )
        proof = self.operational.proof
        identity = sdk.TokenX509(*proof) if proof else self._identity(sdk)
        with self._judging():
            self._client = sdk.connect(network, assigned.hub, assigned.device_id, identity)
            sdk.listen(self._client, self._handlers)
        self._record("connected", f"connected to {assigned.hub}")
        return self

    @property
    def connected(self) -> bool:
        """Whether its client has a connection to the hub now."""
        return self._client is not None and bool(self._client.connected)

    def send(self, body: Any, **properties: str) -> None:
        """Sends telemetry: anything that JSON can carry. Returns once the hub has acknowledged.

        Raises ConnectionFailed, or LabError for what is no JSON or more than 256 KB.
        """
        from labkit.device import sdk

        client, text = self._connected(), as_json(body)
        with self._judging():  # a connection that was lost is made again, with a handshake
            sdk.send(client, text, properties)
        self._record("sent", f"sent {text[:_LONGEST_SHOWN]}")

    def twin(self) -> dict[str, Any]:
        """Its twin, as the hub has it: ``{"desired": {...}, "reported": {...}}``.

        Raises ConnectionFailed.
        """
        from labkit.device import sdk

        client = self._connected()
        with self._judging():
            return sdk.twin(client)

    def report(self, **properties: Any) -> None:
        """Sets reported properties of its twin.

        Raises ConnectionFailed, or LabError for what is no JSON or what the hub refuses.
        """
        from labkit.device import sdk

        client = self._connected()
        as_json(properties)
        with self._judging():
            sdk.report(client, properties)

    def on_method(self, name: str, handler: Callable[[Any], Any]) -> None:
        """Has ``handler`` answer the direct method ``name``, in this and every later connection.
        It gets the call's payload; what it returns goes back with status 200, or it returns an
        :class:`Answer` of its own. What it raises goes back as 500. Raises ConnectionFailed."""
        self._handlers.methods[name] = handler
        self._listen()

    def on_desired(self, handler: Callable[[dict[str, Any]], object]) -> None:
        """Has ``handler`` told of every change of the desired properties, as it was written: a
        None takes a property away. Where it missed any while it was away, the SDK
        makes one call of all of them when it connects again. Raises ConnectionFailed."""
        self._handlers.desired = handler
        self._listen()

    def receive(self, patience: float = 5.0) -> Received | None:
        """The next cloud-to-device message; None where none comes within ``patience`` seconds.

        Raises ConnectionFailed.
        """
        self._connected()
        self._handlers.wants_messages = True
        self._listen()
        try:
            return self._handlers.inbox.get(timeout=patience)
        except queue.Empty:
            return None

    def disconnect(self) -> None:
        """Leaves the hub. Harmless when it is not connected."""
        client, self._client = self._client, None
        if client is not None:
            # At the end of a program the SDK's own threads are gone before we are asked.
            with contextlib.suppress(RuntimeError):
                client.shutdown()

    def _listen(self) -> None:
        """At once where it is connected, else when it connects."""
        from labkit.device import sdk

        if self._client is not None:
            sdk.listen(self._client, self._handlers)

    @contextlib.contextmanager
    def _judging(self) -> Iterator[None]:
        """In each handshake the device judges the server, before it shows anything of itself."""
        try:
            yield
        except ServerNotTrusted as error:
            self._left(self, error)
            self._record("left", f"left in TLS: it does not trust the server ({error.found})")
            raise

    def _connected(self) -> Any:
        if self._client is None:
            self._network()
            raise ConnectionFailed(
                f"{self.name} is not connected", cure="connect it first: widget.connect()"
            )
        return self._client

    def _identity(self, sdk: Any) -> Any:
        return sdk.TokenX509(self._flash.chain_file, self.key)

    def _record(self, kind: str, text: str) -> None:
        self._events.record("device", kind, f"{self.name} {text}", device=self.name)
