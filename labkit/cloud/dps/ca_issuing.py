"""A certificate authority of another company as the one who signs what DPS is asked to have signed
(api-version 2021-11-01-preview).

does the enrollment name an authority? ── has DPS that? ── the request
                              refused at once, 400 <┘
a hub is chosen ── the authority signs ── the hub is to know the device by that certificate
                    └ the registration ends as failed, and may be repeated
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from labkit.clock import Clock
from labkit.cloud import codes
from labkit.cloud.adr import requests
from labkit.cloud.dps import ca_client, ca_ledger
from labkit.cloud.dps.allocation import TryAgain
from labkit.cloud.dps.ca_ledger import Issued
from labkit.cloud.dps.certificate_authorities import CertificateAuthorities
from labkit.cloud.dps.issuance import AUTHORITY, Carried, Order
from labkit.cloud.hub.credentials import Credentials
from labkit.cloud.refusals import Denial
from labkit.database import Database
from labkit.events import Events
from labkit.pki import chain, profiles, reading, request
from labkit.steps import Steps, done
from labkit.trace import Check, failed, passed

KNOWN = "DPS is linked to the certificate authority that the enrollment names"
FORM = "the request is PEM (PKCS#10), with its BEGIN and END lines"

_BEGIN, _END = "-----BEGIN CERTIFICATE REQUEST-----", "-----END CERTIFICATE REQUEST-----"
_SOURCE = "Azure REST API specifications, DPS device 2021-11-01-preview (DeviceRegistration)"
_MAKE = (
    "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout KEY -subj /CN={}"
)


@dataclass(frozen=True, slots=True)
class AuthorityIssuer:
    """Has the authorities sign that DPS is linked to."""

    database: Database
    clock: Clock
    events: Events
    authorities: CertificateAuthorities

    def accept(self, order: Order) -> Steps[AuthorityCommission]:
        """Examines an order; the authority is asked later. Raises Denial (400)."""
        checks: list[Check] = []
        for check in self._checks(order):
            checks.append(check)
            if check.failed:
                code = codes.NOT_ISSUED if check.name == KNOWN else codes.CSR_REFUSED
                raise Denial(code, *checks)
        csr = _read(order.request)
        assert csr is not None, "it was examined"
        return done(AuthorityCommission(self, order, csr))

    def knows(self, registration_id: str) -> Credentials | None:
        """By its certificate, where the device has a valid one from an authority already."""
        with self.database.quick_read() as connection:
            found = ca_ledger.lasting(connection, registration_id, self.clock.now())
        return Credentials(found.thumbprint) if found is not None else None

    def chain(self, number: int) -> tuple[bytes, ...]:
        """A certificate on record and its issuers up to the root, each in DER."""
        with self.database.quick_read() as connection:
            pem = ca_ledger.chain(connection, number)
        return tuple(found.public_bytes(Encoding.DER) for found in reading.read_certificates(pem))

    def _checks(self, order: Order) -> Iterator[Check]:
        about = order.registration_id
        yield _known(order, self.authorities)
        yield _form(order.request, about)
        csr = _read(order.request)
        assert csr is not None, "asked only after it could be read"
        more_is_asked = (request.REGISTRATION,)
        yield from request.examine(csr, profiles.DEVICE, without=more_is_asked)
        yield requests.named(csr, about, _SOURCE)


@dataclass(slots=True)
class AuthorityCommission:
    """An order that was examined: see :class:`labkit.cloud.dps.issuance.Commission`. The hub is to
    know the device by the thumbprint of what the authority signs."""

    _issuer: AuthorityIssuer
    _order: Order
    _csr: x509.CertificateSigningRequest
    _signed: tuple[int, Issued] | None = field(default=None, repr=False)

    by = AUTHORITY

    def carry_out(self, device_id: str, hub: str) -> Steps[Carried]:
        """Has the request signed, once; the hub may know the device by any name. Raises Denial
        where it is not, TryAgain where the authority has too much to do."""
        number, entry = self._signed = self._signed or self._found() or (0, self._sign())
        carried = Carried(
            Credentials(entry.thumbprint),
            lambda connection: number or ca_ledger.add(connection, entry),
        )
        return done(carried)

    def _found(self) -> tuple[int, Issued] | None:
        """The answer to the same request a moment ago."""
        order, now = self._order, self._issuer.clock.now()
        asked = (order.registration_id, order.issuer, _digest(self._csr))
        with self._issuer.database.quick_read() as connection:
            return ca_ledger.repeated(connection, *asked, now)

    def _sign(self) -> Issued:
        now = self._issuer.clock.now()
        name, authority = self._order.registration_id, self._order.issuer
        link = self._issuer.authorities.link(authority)
        if link is None:  # deleted since it was examined
            raise Denial(codes.NOT_ISSUED, _known(self._order, self._issuer.authorities))
        self._tell("asked", f"DPS sends the request of {name} to {link.name}")
        try:
            chained = ca_client.sign(link, name, self._csr, self._issuer.authorities.ask)
        except ca_client.Busy:
            cure = "register again when it has less to do"
            raise TryAgain(codes.NOT_ISSUED, ca_client.REACHED, cure) from None
        leaf = chained[0]
        self._tell("issued", f"{link.name} has signed for {name}")
        return Issued(
            self._order.issuer,
            name,
            _digest(self._csr),
            chain.thumbprint(leaf),
            chain.to_pem(chained),
            now,
            leaf.not_valid_before_utc,
            leaf.not_valid_after_utc,
        )

    def _tell(self, kind: str, text: str) -> None:
        self._issuer.events.record("dps", kind, text, device=self._order.registration_id)


def _known(order: Order, authorities: CertificateAuthorities) -> Check:
    about = order.registration_id
    if (found := authorities.find(order.issuer)) is not None:
        return passed(KNOWN, about, f"{found.id!r}, profile {found.profile!r}")
    return failed(
        KNOWN,
        about,
        f"the enrollment names {order.issuer!r}, and DPS is linked to no such authority",
        "link it: lab.dps.certificate_authorities.create("
        f"{order.issuer!r}, profile=..., api_key=...)",
        "let the enrollment name another one",
        source=_SOURCE,
    )


def _form(text: str, about: str) -> Check:
    if len(text) > 2 * requests.LARGEST:
        why, cure = f"it has {len(text):,} characters", f"send {requests.LARGEST:,} bytes at most"
        return failed(FORM, about, why, cure, source=_SOURCE)
    if _read(text) is not None:
        return passed(FORM, about, "it can be read")
    cure = f"make it anew: {_MAKE.format(about)}"
    if requests.read(text) is not None:
        cure = "send it as PEM: openssl req -in request.der -inform DER -out request.pem"
    return failed(FORM, about, _unread(text), cure, source=_SOURCE)


def _unread(text: str) -> str:
    """Why it is no request in PEM."""
    if requests.read(text) is not None:
        return "it is base64 of DER, as a later api-version has it; this one wants PEM"
    if _BEGIN not in text:
        return f"there is no line {_BEGIN}"
    return "what is between its lines is no PKCS#10 request"


def _read(text: str) -> x509.CertificateSigningRequest | None:
    """The request, as far as it can be read at all. The specification's own example has no line
    ends around the base64: such is taken, too."""
    inner = text.strip()
    if not (inner.startswith(_BEGIN) and inner.endswith(_END)):
        return None
    return requests.read("".join(inner.removeprefix(_BEGIN).removesuffix(_END).split()))


def _digest(csr: x509.CertificateSigningRequest) -> str:
    """The SHA-256 of the key that it is for."""
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    return hashlib.sha256(csr.public_key().public_bytes(*form)).hexdigest()
