"""What a device asks of DPS and what it learns, whichever client asks.

Microsoft's SDK registers, and no more. The client of :mod:`labkit.device.provisioning_client` can
send a certificate signing request, too, over MQTT or HTTPS.
"""

from __future__ import annotations

import ssl
from base64 import b64decode, b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

Transport: TypeAlias = Literal["mqtt", "https"]

Csr: TypeAlias = x509.CertificateSigningRequest | str
"""A request to be signed. Text goes out as it is, right or wrong."""


@dataclass(frozen=True, slots=True)
class Registered:
    """What DPS answered. ``hub`` is a host name; ``chain`` the certificate that was issued, and
    its issuers up to the root: empty where none was asked for."""

    hub: str
    device_id: str
    status: str
    substatus: str
    chain: tuple[x509.Certificate, ...] = ()


class Proof(Protocol):
    """A certificate chain and its key, wherever that is."""

    def load_into(self, context: ssl.SSLContext) -> None:
        """Makes a TLS context send the one, and sign with the other."""


class Registrar(Protocol):
    """A client of DPS that speaks for one device."""

    def register(self) -> Registered:
        """Registers. Raises ProvisioningFailed, or ServerNotTrusted, which is one, too."""


def chain_of(texts: Iterable[str]) -> tuple[x509.Certificate, ...]:
    """Certificates as services send them: each base64 of DER. Raises ValueError."""
    ders = (b64decode(text, validate=True) for text in texts)
    return tuple(map(x509.load_der_x509_certificate, ders))


def csr_text(csr: Csr) -> str:
    """A request as the service's field ``csr`` holds it: base64 of DER, in one line."""
    return csr if isinstance(csr, str) else b64encode(csr.public_bytes(Encoding.DER)).decode()
