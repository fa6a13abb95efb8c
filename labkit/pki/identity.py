"""Who somebody is in TLS: a key in a token, and the certificates that speak for it."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509

from labkit.hsm import TokenKey
from labkit.pki import chain


@dataclass(frozen=True, slots=True)
class Identity:
    """``chain`` is the certificate for ``key`` first, then its issuers up to the root."""

    key: TokenKey
    chain: tuple[x509.Certificate, ...]

    @property
    def certificate(self) -> x509.Certificate:
        return self.chain[0]

    @property
    def name(self) -> str:
        """The CN, which is the registration ID."""
        return chain.common_name(self.certificate)
