"""A Smart-X-Widget: a key in its token, a chain in its flash, and the firmware around them."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from functools import partial
from typing import Any, ClassVar

from cryptography import x509

from labkit.clock import Clock
from labkit.device import trust_bundle
from labkit.device.assignment import Assignment
from labkit.device.firmware import Firmware
from labkit.device.flash import Flash
from labkit.device.handlers import Handlers, Received
from labkit.device.holder import Holder
from labkit.device.network import Network
from labkit.device.operational import Operational, Renewer, check_renewer
from labkit.device.payload import as_json
from labkit.device.registration import Csr, Transport
from labkit.errors import BadCertificate, ConnectionFailed, ServerNotTrusted
from labkit.events import Events
from labkit.hsm import Token
from labkit.pki import chain, reading
from labkit.pki.identity import Identity
from labkit.pki.reading import Given

_LONGEST_SHOWN = 1_000

Left = Callable[["Device", ServerNotTrusted], None]
"""Told of a device that left in TLS, and why."""


class Device(Holder):
    """One device. It reaches the cloud over the network and in no other way.

    ``network`` is asked when it is needed: a lab that was opened again has new addresses. It
    raises WorkspaceError once the lab is closed, and so is asked before anything else is done.
    ``operational`` is what a service has issued to it.
    ``left`` is told when the device leaves in TLS because it does not trust the server.
    ``token``, ``update_keys`` and ``now`` are as a :class:`Holder` takes them.
    """

    _reconnects: ClassVar[bool] = True

    def __init__(
        self,
        identity: Identity,
        flash: Flash,
        network: Callable[[], Network],
        events: Events,
        left: Left = lambda *_: None,
        *,
        token: Callable[[], Token] | None = None,
        update_keys: Callable[[], bytes] = bytes,
        now: Callable[[], datetime] | None = None,
    ) -> None:
        super().__init__(identity, flash, events, token, update_keys, now or Clock().now)
        self._network, self._left = network, left
        self.operational = Operational(self.name, flash, token or (lambda: identity.key.token))
        self._client: Any = None
        self._presents: Any = None
        self._handlers = Handlers(self._record)
        self._firmware: Firmware | None = None
        self._making = threading.Lock()
        if not flash.roots:  # those of the day on which it was made; later ones have to be put in
            flash.install_roots(reading.read_certificates(network().server_roots))

    def __repr__(self) -> str:
        place = "a file" if self._flash.holds_a_key else "its own token"
        return f"<Device {self.name!r}, key in {place}, sends {chain.names(self._flash.chain)}>"

    def _check_open(self) -> None:
        self._network()

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

    def install_roots(self, roots: Given | Sequence[Given]) -> None:
        """Replaces its trust store, as a firmware update would: PEM, DER, a file, or certificates.
        A connection that is open stays; should it be lost, the next one trusts the new roots, too.

        Raises BadCertificate for what holds none, and for one that is no CA's: a server's own
        certificate is another one every few months.
        """
        self._network()
        roots = reading.bundle_of(roots)
        if not roots or not all(map(chain.is_ca, roots)):
            raise BadCertificate(
                f"{self.name} would trust no server by this",
                expected="the roots that may vouch for a server",
                found=chain.names(roots),
                cure="those of this lab's services: lab.network.server_roots",
            )
        self._flash.install_roots(roots)
        if self._presents is not None:
            self._presents.trust_also(chain.to_pem(roots))
        self._record("installed", f"trusts servers below {chain.names(self.trusted_roots)}")

    def take_trust_bundles(self) -> None:
        """Offers the direct method ``installTrustBundle`` from now on, by which a back end replaces
        its trust store: see :mod:`labkit.device.trust_bundle`. Raises ConnectionFailed."""
        self.on_method(trust_bundle.METHOD, partial(trust_bundle.take, self))

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
        api_version: str = "",
        symmetric_key: str = "",
    ) -> Assignment:
        """Registers with DPS and remembers the hub. Raises ProvisioningFailed, and where it is the
        device that does not trust the server ServerNotTrusted, which is one, too.

        ``registration_id`` is what its firmware is configured with: the CN of its certificate,
        unless given. With ``csr`` it asks DPS for a certificate as well, and what is issued is its
        operational credential from now on: ``widget.operational.request()`` makes one. Of
        ``api_version`` 2025-07-01-preview, which is meant without one, the Device Registry signs;
        of 2021-11-01-preview a certificate authority, and a trust bundle may come along, which is
        tried, and installed. A ``symmetric_key`` (base64) takes the place of the certificate that
        it was made with. By Microsoft's SDK, or, with any of these or over ``https``, by the lab's
        own client. An open connection stays, unless DPS moves the device: its old hub ends it.
        """
        from labkit.device import (  # slow to import, and a lab opens without
            provisioning_client,
            sdk,
        )

        network, name = self.network, registration_id or self.registration_id
        asked = f" as {registration_id}" if registration_id else ""
        sent = "a token of its symmetric key" if symmetric_key else chain.names(self.chain)
        self._record("provision", f"asks DPS to provision it{asked}, sending {sent}")
        with self._judging(), self._not_coming_back():
            proof = symmetric_key or self._identity(sdk)
            client = provisioning_client.registrar(
                network, name, proof, transport, csr, api_version
            )
            found = client.register()
            assigned = Assignment(found.hub, found.device_id, found.status, found.substatus)
            known = {"registered": chain.thumbprint(self.certificate)}
            if found.chain:  # before it is installed: then it is renewed where it was issued
                known["issued_under"] = api_version
            self._flash.learn(assignment=asdict(assigned), **known)
        self._record("provisioned", f"was assigned to {assigned.hub}")
        if found.chain:
            self._install_operational(found.chain)
        if why := trust_bundle.install_delivered(self, found.trust_bundle):
            self._record("left out", f"does not install the trust bundle that DPS sent: {why}")
        return assigned

    def renew_operational(self, by: Renewer = "dps") -> x509.Certificate:
        """A new key pair in its token, a request, and what is issued for it: its operational
        certificate from now on, which is returned. The one before stays in reserve until the hub
        has taken the new one: at the next :meth:`connect`.

        ``by`` registering with DPS again, or by asking the ``hub``, with the certificate that it
        has: then its connection ends. Raises ProvisioningFailed or NotIssued; LabError for a hub
        that knows no operational certificate yet, and for anybody else.
        """
        check_renewer(by)
        if by == "dps":
            version = self._flash.state.get("issued_under", "")
            self.provision(csr=self.operational.request(self.registration_id), api_version=version)
        else:
            self._renew_at_hub()
        assert self.operational.certificate is not None, "it was installed"
        return self.operational.certificate

    def _renew_at_hub(self) -> None:
        from labkit.device import hub_certificates

        assigned, identity = hub_certificates.renewable(self)
        csr = self.operational.request(assigned.device_id)
        self._record("request", f"asks {assigned.hub} for its next certificate")
        self.disconnect()
        with self._judging():
            found = hub_certificates.issue(self.network, assigned, identity, csr)
        self._install_operational(found)

    def _install_operational(self, found: Sequence[x509.Certificate]) -> None:
        self.operational.install(found)
        self._record("installed", f"has an operational certificate: {chain.names(found)}")

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
        identity = sdk.operational(self.operational.proof) or self._identity(sdk)
        with self._judging():
            self._client = sdk.connect(
                network, assigned.hub, assigned.device_id, identity, reconnects=self._reconnects
            )
            self._presents = identity
            self._flash.learn(taken=chain.thumbprint(self.certificate))
            self.operational.taken()
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

    def report_operational(self, *, renewals: int = 0, failures: int = 0) -> None:
        """Tells in its twin of its operational certificate: see ``REPORTED`` of
        :mod:`labkit.device.operational`. Raises as :meth:`report` does."""
        self.report(**self.operational.told(renewals=renewals, failures=failures))

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

    def on_message(self, handler: Callable[[Received], bool]) -> None:
        """Has ``handler`` see each cloud-to-device message first: those of which it returns False
        wait for :meth:`receive`. Raises ConnectionFailed."""
        self._handlers.message = handler
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

    @property
    def firmware(self) -> Firmware:
        """What the device does by itself: nothing, until it is run. Its direct methods are answered
        from when this is first asked for."""
        with self._making:
            if self._firmware is None:
                self._firmware = Firmware(self, self._flash, self._record)
        return self._firmware

    def close(self) -> None:
        """Ends what its firmware does, and leaves the hub. Harmless when called twice."""
        if self._firmware is not None:
            self._firmware.stop()
        self.disconnect()

    def disconnect(self) -> None:
        """Leaves the hub. Harmless when it is not connected."""
        client, self._client, self._presents = self._client, None, None
        if client is not None:
            from labkit.device import sdk

            sdk.leave(client)

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

    def _not_coming_back(self) -> contextlib.AbstractContextManager[None]:
        """While DPS chooses its hub: where that is another one, the old hub ends the connection
        before the device has its answer, and the client would try the old hub once more."""
        from labkit.device import sdk

        def hub() -> str:
            return self.assignment.hub if self.assignment else ""

        before = hub()
        return sdk.staying_away(self._client, lambda: self._reconnects and hub() == before)

    def _connected(self) -> Any:
        if self._client is None:
            self._network()
            raise ConnectionFailed(
                f"{self.name} is not connected", cure="connect it first: widget.connect()"
            )
        return self._client

    def _identity(self, sdk: Any) -> Any:
        return sdk.identity(self._flash.chain_file, self.key)
