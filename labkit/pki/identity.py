"""Who somebody is in TLS: a key in a token, and the certificates that speak for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cryptography import x509

from labkit.hsm import TokenKey
from labkit.pki import chain


@dataclass(frozen=True, slots=True)
class Identity:
    """``chain`` is the certificate for :attr:`key` first, then its issuers up to the root.

    The key may be given as what finds it: a token is opened when its key is first asked for,
    and hundreds of devices can be listed without opening one.
    """

    _key: TokenKey | Callable[[], TokenKey]
    chain: tuple[x509.Certificate, ...]

    @property
    def key(self) -> TokenKey:
        """The private key, in its token. Raises what opening the token raises."""
        return self._key() if callable(self._key) else self._key

    @property
    def certificate(self) -> x509.Certificate:
        return self.chain[0]

    @property
    def name(self) -> str:
        """The CN, which is the registration ID."""
        return chain.common_name(self.certificate)
