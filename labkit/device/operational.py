"""The operational credential: what a service has issued to a device, beside the onboarding one that
it was made with.

    onboarding    identity, its chain in flash      for DPS: whether it may be provisioned at all
    operational   operational N, operational.pem    for the hub: short-lived, renewed over and over

The key in use is the one that the installed chain is for. So both change in one step; a key for
which nothing came back yet is asked for again, and no other is made meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from cryptography import x509

from labkit.device.flash import Flash
from labkit.errors import BadCertificate
from labkit.hsm import Algorithm, Token, TokenKey
from labkit.pki import chain, request

_FAMILY = "operational"
"""What the labels of these keys begin with: ``operational 1``, and so on."""


class Operational:
    """The operational credential of one device: its keys are in the device's ``token``."""

    def __init__(self, name: str, flash: Flash, token: Callable[[], Token]) -> None:
        self._name, self._flash, self._find_token = name, flash, token

    def __repr__(self) -> str:
        held = chain.names(self.chain)
        return f"<Operational credential of {self._name}: {held}>"

    @property
    def chain(self) -> list[x509.Certificate]:
        """What is installed, its own certificate first, the root last; empty while nothing is."""
        return self._flash.operational

    @property
    def certificate(self) -> x509.Certificate | None:
        """The device's own, where there is one."""
        return next(iter(self.chain), None)

    @property
    def proof(self) -> tuple[Path, TokenKey] | None:
        """What it shows to its hub: the file with the chain, and the key that signs for it."""
        key = self._key_of(self.chain)
        return (self._flash.operational_file, key) if key is not None else None

    def request(
        self, common_name: str = "", *, algorithm: Algorithm | str = Algorithm.P384
    ) -> x509.CertificateSigningRequest:
        """A request for a new key, made in the device's token. A key that was asked for before, and
        for which nothing came back, is asked for again.

        The CN is the device's name, unless another is given: DPS wants the registration ID. Raises
        BadRequest for what can be no CN.
        """
        kind = Algorithm.named(algorithm)
        subject = request.name(common_name or self._name)
        token = self._find_token()
        waiting = next(self._waiting(kind), None)
        return request.make(waiting or token.ensure_key(self._free_label(token), kind), subject)

    def install(self, certificates: Sequence[x509.Certificate]) -> None:
        """Uses what was issued from now on; the key before is destroyed. The same again is
        harmless. Raises BadCertificate where the first is for no key of the token."""
        if self._key_of(certificates) is None:
            raise BadCertificate(
                "This chain is for no key of the device",
                expected="first a certificate for a key in the device's token",
                found=chain.names(certificates),
                cure="send a request that the device made: widget.operational.request()",
            )
        self._flash.install_operational(certificates)
        token = self._find_token()
        for label, key in self._keys():
            if key.public_key() != certificates[0].public_key():
                token.destroy_key(label)

    def remove(self) -> None:
        """Forgets it: the device shows its onboarding credential to the hub again. Its key goes for
        good. Harmless where there is none."""
        self._flash.remove_operational()
        token = self._find_token()
        for label, _ in self._keys():
            token.destroy_key(label)

    def _key_of(self, certificates: Sequence[x509.Certificate]) -> TokenKey | None:
        if not certificates:
            return None
        wanted = certificates[0].public_key()
        return next((key for _, key in self._keys() if key.public_key() == wanted), None)

    def _waiting(self, kind: Algorithm) -> Iterator[TokenKey]:
        """Keys of this kind that nothing is installed for."""
        installed = self.certificate
        for _, key in self._keys():
            is_used = installed is not None and installed.public_key() == key.public_key()
            if not is_used and Algorithm.of(key.public_key()) is kind:
                yield key

    def _keys(self) -> Iterator[tuple[str, TokenKey]]:
        token = self._find_token()
        labels = [label for label in token.key_labels if label.startswith(_FAMILY)]
        return ((label, token.key(label)) for label in labels if token.has_key(label))

    def _free_label(self, token: Token) -> str:
        numbers = [int(label.removeprefix(_FAMILY)) for label, _ in self._keys()]
        return f"{_FAMILY} {max(numbers, default=0) + 1}"
