"""What a client showed of itself in TLS."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509


@dataclass(frozen=True, slots=True)
class Presented:
    """``chain`` as it came, leaf first; empty for a client without certificate.

    That the client holds the leaf's private key was settled by the handshake (CertificateVerify)
    before anybody sees this.
    """

    chain: tuple[x509.Certificate, ...] = ()
    peer: str = ""

    @property
    def leaf(self) -> x509.Certificate | None:
        return self.chain[0] if self.chain else None
