"""A device's keys and certificates: those in use, those in reserve, and how it gets the next.

    request ──> new key in its token, CSR, vouched for with the present key ──> Issuer
    accept  <── chain ── into the other slot of the flash, in use from now on; the old in reserve
    switch      back to what is in reserve, as long as that is valid
    retire      the reserve goes, and its key is destroyed

The key in use is the one that the certificate in use is for: so certificate and key change in one
step, and a power cut finds the old pair or the new one.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from cryptography import x509

from labkit.device.flash import Flash
from labkit.errors import BadCertificate, BadRequest, LabError, NotFound
from labkit.hsm import Algorithm, Token, TokenKey
from labkit.pki import chain, renewal, request
from labkit.pki.identity import Identity
from labkit.pki.renewal import Renewal

_FAMILY = "identity"
"""What the labels of a device's keys begin with: ``identity``, ``identity 2`` and so on."""


class Issuer(Protocol):
    """Whoever issues a device's next certificate: a CA of the supply chain, or a service."""

    def issue(self, asked: Renewal, /) -> Sequence[x509.Certificate]:
        """The new certificate first, then its issuers, the root left out or not.

        Raises LabError where it does not issue, and says why.
        """


def check_issuer(issuer: object, refused: str, cure: str) -> None:
    """Raises BadRequest for what cannot answer a request, before a key is made for nothing."""
    if not hasattr(issuer, "issue"):
        raise BadRequest(
            refused,
            expected="a CA that answers its request",
            found=f"a value of type {type(issuer).__name__}",
            cure=f"hand over the CA itself: {cure}",
        )


class Credentials:
    """The keys in ``token``, and the chains in ``flash`` that are for them."""

    def __init__(self, identity: Identity, flash: Flash, token: Callable[[], Token]) -> None:
        self._made, self._flash, self._find_token = identity, flash, token
        self._changing = threading.RLock()  # an update may arrive while the device renews

    @property
    def key(self) -> TokenKey:
        """The key in use. Raises what opening the token raises."""
        return self._key_for(self._flash.chain) or self._made.key

    @property
    def is_in_reserve(self) -> bool:
        """Whether there is another chain than the one in use, and its key."""
        reserve = self._flash.reserve
        return bool(reserve) and reserve != self._flash.chain

    def holds_key_of(self, certificate: x509.Certificate) -> bool:
        """Whether a key of the token is the one that a certificate is for."""
        return self._key_for([certificate]) is not None

    def request(self, common_name: str, kind: Algorithm | None = None) -> Renewal:
        """Asks for a certificate for a new key of the token, of the present one's kind unless
        another is named. A request that was never answered is made again for the same key."""
        subject = request.name(common_name)  # refuses what can be no name before a key is made
        with self._changing:
            current, key = self._flash.chain[0], self.key
            csr = request.make(self._next_key(kind or Algorithm.of(key.public_key())), subject)
            return renewal.ask(csr, current, key)

    def accept(self, certificates: Sequence[x509.Certificate], **learned: object) -> None:
        """Takes a chain for a key of the token into use, and keeps the old one in reserve.

        The chain in use again is harmless. Raises BadCertificate where the token has no such key.
        """
        if list(certificates) == self._flash.chain:
            self._flash.learn(**learned)
            return
        key = self._key_for(certificates)
        if key is None:
            raise BadCertificate(
                "This chain is for no key of the device",
                expected="first a certificate for a key in the device's token",
                found=chain.names(certificates),
                cure="take what was issued for a request that this device made",
            )
        with self._changing:
            asked = self._flash.state.get("asked", "")
            still_asked = "" if key.label == asked else asked  # an update answers no request
            self._flash.install_beside(certificates, asked=still_asked, **learned)
            self._sweep()

    def switch(self) -> None:
        """Uses what was in reserve, and keeps what was in use there. Raises LabError without."""
        if not self.is_in_reserve:
            raise LabError(
                "There is nothing in reserve",
                expected="another chain, of before the last renewal",
                found=f"only {chain.names(self._flash.chain)}",
                cure="renew first; and what was retired does not come back",
            )
        with self._changing:
            self._flash.switch()

    def retire(self) -> None:
        """What is in reserve goes for good, and the key that only it was for is destroyed.
        Harmless when there is nothing."""
        with self._changing:
            self._flash.clear_reserve()
            self._sweep()

    @property
    def _token(self) -> Token:
        return self._find_token()

    def _key_for(self, certificates: Sequence[x509.Certificate]) -> TokenKey | None:
        """The key of the token that the first certificate is for. The one that the device was
        made with is known without a search."""
        if not certificates:
            return None
        wanted = certificates[0].public_key()
        if wanted == self._made.certificate.public_key():
            with contextlib.suppress(NotFound):  # retired
                return self._made.key
            return None
        token = self._token
        keys = (token.key(label) for label in self._labels() if token.has_key(label))
        return next((key for key in keys if key.public_key() == wanted), None)

    def _labels(self) -> list[str]:
        return [label for label in self._token.key_labels if label.startswith(_FAMILY)]

    def _next_key(self, kind: Algorithm) -> TokenKey:
        """Its label is remembered before it is born: a crash leaves no key that nobody knows."""
        token, label = self._token, self._flash.state.get("asked") or self._free_label()
        self._flash.learn(asked=label)
        if token.has_key(label) and Algorithm.of(token.key(label).public_key()) is not kind:
            token.destroy_key(label)
        return token.ensure_key(label, kind)

    def _free_label(self) -> str:
        numbers = [int(label[len(_FAMILY) :].strip() or 1) for label in self._labels()]
        return f"{_FAMILY} {max(numbers, default=1) + 1}"

    def _sweep(self) -> None:
        """Destroys the keys that no chain is for any more."""
        held = (self._flash.chain, self._flash.reserve)
        needed = [certificates[0].public_key() for certificates in held if certificates]
        token, asked = self._token, self._flash.state.get("asked")
        for label in self._labels():
            is_needed = token.has_key(label) and token.key(label).public_key() in needed
            if not is_needed and label != asked:
                token.destroy_key(label)
