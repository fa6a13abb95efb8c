"""What a device holds: keys in its token, certificates in its flash, and nothing of the cloud."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import datetime

from cryptography import x509

from labkit.device import update
from labkit.device.credentials import Credentials, Issuer, check_issuer
from labkit.device.flash import Flash
from labkit.device.update import Arrived, UpdateRefused
from labkit.errors import BadCertificate
from labkit.events import Events
from labkit.hsm import Algorithm, Token, TokenKey
from labkit.pki import chain, reading
from labkit.pki.identity import Identity
from labkit.pki.renewal import Renewal


class Holder:
    """Whoever holds an identity, and changes its certificates.

    ``token`` finds its own token, where its later keys are born, too; without it, it is that of
    its key. ``update_keys`` (PEM) are put into its flash when it is made; ``now`` is its clock.
    """

    def __init__(
        self,
        identity: Identity,
        flash: Flash,
        events: Events,
        token: Callable[[], Token] | None,
        update_keys: Callable[[], bytes],
        now: Callable[[], datetime],
    ) -> None:
        self.name, self.now = identity.name, now
        self._flash, self._events = flash, events
        self._installing = threading.Lock()  # by method and by message, at the same time
        self._credentials = Credentials(identity, flash, token or (lambda: identity.key.token))
        if not flash.chain:
            if keys := update_keys():
                flash.install_update_keys(keys)
            flash.install(identity.chain)

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
            self._check_open()
        return found

    def install_chain(self, certificates: Sequence[x509.Certificate]) -> None:
        """Replaces the chain in flash, as a firmware update would. The key stays.

        Raises BadCertificate unless the first certificate is for this device's own key, and for
        what is no certificate.
        """
        self._check_open()
        certificates = reading.certificates_of(certificates)
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
        check_issuer(issuer, f"{self.name} is not renewed", "widget.renew(technician)")
        asked = self.request_certificate(common_name, algorithm=algorithm)
        self.accept_certificate(issuer.issue(asked))
        return self.certificate

    def request_certificate(
        self, common_name: str = "", *, algorithm: Algorithm | str = ""
    ) -> Renewal:
        """The first half of :meth:`renew`, on foot: a request for a new key in its token, vouched
        for with the key in use. Raises BadRequest for what can be no CN."""
        self._check_open()
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
        self._check_open()
        certificates = reading.certificates_of(certificates)
        self._credentials.accept(certificates)
        self._record("installed", f"has a new certificate in use: {chain.names(certificates)}")

    @property
    def reserve(self) -> list[x509.Certificate]:
        """The chain that it does not use: after a renewal the old one; empty without."""
        return self._flash.reserve if self._credentials.is_in_reserve else []

    def use_reserve(self) -> None:
        """Takes the chain in reserve into use, with its key: back to the old certificate where
        the new one is refused, or on to the new one again. Raises LabError without a reserve."""
        self._check_open()
        self._credentials.switch()
        self._record("installed", f"uses its other certificate: {chain.names(self.chain)}")

    def retire_reserve(self) -> None:
        """Forgets the chain in reserve and destroys its key, once the new one works: nobody can
        speak with the old key any more. Harmless when there is none."""
        self._check_open()
        if old := self.reserve:
            self._credentials.retire()
            self._record("retired", f"destroyed its old key: {chain.names(old[:1])}")

    def install_update(self, package: Arrived) -> int:
        """Installs a chain that its manufacturer sent: for a key that it has, without a request.
        The old chain stays in reserve. Returns the version that is installed now. The same package
        again is harmless. Raises UpdateRefused, with every check; the device is then as it was.
        """
        self._check_open()
        try:
            with self._installing:
                is_new = update.install(
                    self.name, package, self._flash, self._credentials, self.now()
                )
        except UpdateRefused as error:
            self._record("refused", f"does not install an update: {error.found}")
            raise
        if is_new:
            self._record("installed", f"installed update {self.update_version}")
        return self.update_version

    @property
    def update_version(self) -> int:
        """The version of the update that it installed last; 0 where it has had none."""
        return update.installed_version(self._flash)

    def install_update_keys(self, public_keys: bytes | str | Sequence[bytes | str]) -> None:
        """Whose updates it installs from now on, in place of those whom it has known since
        manufacture: for a technician with the device on the bench. Raises LabError."""
        self._check_open()
        self._flash.install_update_keys(update.joined(public_keys))
        self._record("configured", "has other update-signing keys")

    @property
    def registration_id(self) -> str:
        """What it asks DPS with: the CN of the certificate in use."""
        return chain.common_name(self.certificate)

    def _check_open(self) -> None:
        """Raises WorkspaceError once the lab is closed."""

    def _record(self, kind: str, text: str) -> None:
        self._events.record("device", kind, f"{self.name} {text}", device=self.name)
