"""What a device asks of DPS and what it learns, whichever client asks.

Microsoft's SDK registers, and no more. The client of :mod:`labkit.device.provisioning_client` can
send a certificate signing request, too, over MQTT or HTTPS, in the words of either api-version that
knows one: :mod:`labkit.device.dialects`.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from cryptography import x509

Transport: TypeAlias = Literal["mqtt", "https"]

Csr: TypeAlias = x509.CertificateSigningRequest | str
"""A request to be signed. Text goes out as it is, right or wrong."""


@dataclass(frozen=True, slots=True)
class Registered:
    """What DPS answered. ``hub`` is a host name; ``chain`` the certificate that was issued, and
    its issuers up to the root: empty where none was asked for; ``trust_bundle`` the CAs that the
    device is to trust, empty where none came."""

    hub: str
    device_id: str
    status: str
    substatus: str
    chain: tuple[x509.Certificate, ...] = ()
    trust_bundle: tuple[x509.Certificate, ...] = ()


class Proof(Protocol):
    """A certificate chain and its key, wherever that is."""

    def load_into(self, context: ssl.SSLContext) -> None:
        """Makes a TLS context send the one, and sign with the other."""


class Registrar(Protocol):
    """A client of DPS that speaks for one device."""

    def register(self) -> Registered:
        """Registers. Raises ProvisioningFailed, or ServerNotTrusted, which is one, too."""
