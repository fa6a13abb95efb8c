"""Signatures that are in the ledger before anybody has the certificate.

    sign a batch ──> one transaction ──> hand out

Whoever is killed before the transaction has handed out nothing; whoever is killed after it has
everything on record. A serial number that the ledger knows is drawn again, whoever used it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from labkit.clock import Clock
from labkit.errors import LabError
from labkit.pki.authority import Authority
from labkit.pki.profiles import Profile
from labkit.supplychain.ledger import (
    DeviceRow,
    Ledger,
    RenewalRow,
    SerialTaken,
    Signed,
    Simulated,
)

Certificates: TypeAlias = list[x509.Certificate]
Rows: TypeAlias = Iterable[DeviceRow | Simulated | RenewalRow]

_DRAWS = 5
"""Of 159 random bits none is ever drawn twice, unless the source is broken."""


class Issuing:
    """One CA's authority and its ledger together: what it returns is committed."""

    def __init__(
        self, signer: Authority, custodian: str, ca: str, ledger: Ledger, clock: Clock
    ) -> None:
        self._signer, self._clock, self._ledger = signer, clock, ledger
        self._custodian, self._ca = custodian, ca

    def on_requests(
        self,
        requests: Sequence[x509.CertificateSigningRequest],
        profile: Profile,
        devices: Callable[[Certificates], Rows] = lambda _: (),
    ) -> Certificates:
        """One certificate for each request, each of which is checked. All of them or none.

        ``devices`` makes the rows of the devices that the certificates are for, new ones or
        renewed ones: they are committed together. Raises BadRequest, Conflict.
        """
        makers = [partial(self._signer.sign_request, request, profile) for request in requests]
        asked = [request.public_bytes(Encoding.DER) for request in requests]
        return self._recorded(makers, asked, devices)

    def on_checked(
        self,
        requests: Sequence[bytes],
        profile: Profile,
        devices: Callable[[Certificates], Rows] = lambda _: (),
    ) -> Certificates:
        """The same for requests in DER that the CA's own registration authority has checked."""
        parsed = [x509.load_der_x509_csr(request) for request in requests]
        issue, validity = (
            self._signer.issue,
            self._signer.validity(profile),
        )  # a lot is of one moment
        makers = [
            partial(issue, request.public_key(), request.subject, profile, validity=validity)
            for request in parsed
        ]
        return self._recorded(makers, requests, devices)

    def _recorded(
        self,
        makers: Sequence[Callable[[], x509.Certificate]],
        requests: Sequence[bytes],
        devices: Callable[[Certificates], Rows],
    ) -> Certificates:
        def record(made: Certificates) -> None:
            entries = list(map(signed, made, requests))
            now, own = self._clock.now(), self._signer.certificate
            self._ledger.record(self._custodian, self._ca, own, now, entries, devices(made))

        return drawn(makers, record)


def drawn(
    makers: Sequence[Callable[[], x509.Certificate]], record: Callable[[Certificates], None]
) -> Certificates:
    """What ``makers`` make, once ``record`` has taken it: made again where it says SerialTaken."""
    made = [make() for make in makers]
    for _ in range(_DRAWS):
        try:
            record(made)
        except SerialTaken as known:
            made = [
                make() if certificate.serial_number in known.serials else certificate
                for make, certificate in zip(makers, made, strict=True)
            ]
        else:
            return made
    raise LabError(
        "This machine's random numbers repeat themselves",
        expected="a serial number that was not used before",
        found=f"a used one, {_DRAWS} times over",
        cure="do not issue certificates on this machine",
    )


def signed(certificate: x509.Certificate, request: bytes) -> Signed:
    """A certificate as the ledger takes it; ``request`` in DER, empty where there was none."""
    return Signed(certificate.serial_number, certificate.public_bytes(Encoding.DER), request)
