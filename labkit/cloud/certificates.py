"""CA certificates that were uploaded to a service, and the proof that makes them count.

One code for DPS and hub. The way of a certificate:

    upload ──> unverified ──verification code──> unverified ──proof──> verified
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import delete, select
from sqlalchemy.orm import Mapped, mapped_column

from labkit.clock import Clock
from labkit.cloud import codes
from labkit.cloud.presented import Presented
from labkit.cloud.refusals import Refusals
from labkit.cloud.store import Base, new_etag
from labkit.database import Database
from labkit.errors import AzureError, BadCertificate, Conflict, NotFound
from labkit.events import Events
from labkit.pki import chain, possession
from labkit.pki.chain import Readable
from labkit.trace import first_failure

_NOT_A_CA = "upload the CA that signed it; a single device belongs into an enrollment"
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


class CaCertificateRow(Base):
    """One uploaded certificate, in DER. ``code`` is the verification code that is open, if any."""

    __tablename__ = "ca_certificate"
    service: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    der: Mapped[bytes]
    created: Mapped[datetime]
    updated: Mapped[datetime]
    etag: Mapped[str]
    is_verified: Mapped[bool] = mapped_column(default=False)
    code: Mapped[str] = mapped_column(default="")


class CaCertificate:
    """One uploaded CA certificate. Its attributes are read from the service each time."""

    def __init__(self, name: str, certificates: CaCertificates) -> None:
        self.name = name
        self._certificates = certificates

    def __repr__(self) -> str:
        state = "verified" if self.is_verified else "not verified"
        return f"<CA certificate {self.name!r}: {chain.subject(self.certificate)}, {state}>"

    @property
    def certificate(self) -> x509.Certificate:
        return x509.load_der_x509_certificate(self._row.der)

    @property
    def thumbprint(self) -> str:
        return chain.thumbprint_sha1(self.certificate)

    @property
    def is_verified(self) -> bool:
        return self._row.is_verified

    @property
    def etag(self) -> str:
        return self._row.etag

    @property
    def verification_code(self) -> str:
        """The code to sign: made when first asked for, the same until it has been proven."""
        return self._row.code or self._certificates.generate_verification_code(self.name)

    @property
    def _row(self) -> CaCertificateRow:
        return self._certificates.row(self.name)


class CaCertificates:
    """The CA certificates of one service (``dps``, or a hub's name)."""

    def __init__(
        self, service: str, database: Database, clock: Clock, events: Events, refusals: Refusals
    ) -> None:
        self._service, self._database, self._clock = service, database, clock
        self._events, self._refusals = events, refusals

    def upload(self, name: str, certificate: x509.Certificate | Readable) -> CaCertificate:
        """Keeps a CA certificate, unverified.

        Takes PEM, DER, base64 of either, a file (Path), or a certificate object. The same
        certificate under the same name again is harmless. Raises BadCertificate for anything
        that is no CA certificate (a private key is never kept), Conflict where the name is
        taken by another.
        """
        parsed = chain.read_ca(certificate, cure=_NOT_A_CA)
        if not _NAME.fullmatch(name):
            raise BadCertificate(
                f"{name!r} cannot name a certificate",
                expected="1 to 64 letters, digits, dots, dashes or underscores",
            )
        der = parsed.public_bytes(Encoding.DER)
        with self._database.write() as session:
            existing = session.get(CaCertificateRow, (self._service, name))
            if existing is None:
                now = self._clock.now()
                row = CaCertificateRow(self._service, name, der, now, now, new_etag())
                session.add(row)
        if existing is None:
            self._record("uploaded", f"CA certificate {name!r} was uploaded, not verified yet")
        elif existing.der != der:
            raise Conflict(
                f"A CA certificate {name!r} exists already",
                found=f"it is {chain.subject(CaCertificate(name, self).certificate)}, "
                f"thumbprint {CaCertificate(name, self).thumbprint}",
                cure="upload under another name, or delete the old one first",
            )
        else:
            self._record("again", f"CA certificate {name!r} was there already")
        return CaCertificate(name, self)

    def generate_verification_code(self, name: str) -> str:
        """A fresh code for this certificate; an older one counts no more."""

        def change(row: CaCertificateRow) -> None:
            row.code = possession.new_code()

        return self._change(name, change).code

    def verify(self, ca: CaCertificate | str, proof: x509.Certificate | Readable) -> None:
        """Checks the proof of possession and marks the CA as verified.

        ``proof`` is a certificate whose CN is the verification code, signed by the CA's key.
        Raises ServiceRefusal (IH400053), which names the check that failed. A CA that is
        verified already stays so, whatever is shown.
        """
        name = ca if isinstance(ca, str) else ca.name
        row = self.row(name)
        if row.is_verified:
            self._record("again", f"CA certificate {name!r} was verified already")
            return
        presented = chain.read_certificate(proof)
        uploaded = x509.load_der_x509_certificate(row.der)
        checks = possession.examine(presented, uploaded, row.code)
        if first_failure(checks):
            shown = Presented((presented,))
            raise self._refusals.refuse(self._service, name, _failed(presented), checks, shown)
        self._change(name, _mark_verified)
        self._record("verified", f"CA certificate {name!r} is verified: its owner holds the key")

    def delete(self, ca: CaCertificate | str) -> None:
        """Forgets the certificate. Raises NotFound."""
        name = self.row(ca if isinstance(ca, str) else ca.name).name
        with self._database.write() as session:
            session.execute(
                delete(CaCertificateRow).where(
                    CaCertificateRow.service == self._service, CaCertificateRow.name == name
                )
            )
        text = f"CA certificate {name!r} was deleted"
        self._events.record(self._service, "deleted", text, what="CA certificate", name=name)

    def get(self, name: str) -> CaCertificate:
        """Raises NotFound."""
        return CaCertificate(self.row(name).name, self)

    def __iter__(self) -> Iterator[CaCertificate]:
        return (CaCertificate(row.name, self) for row in self._rows())

    def verified(self) -> list[x509.Certificate]:
        """The CAs that chains may end in."""
        return [x509.load_der_x509_certificate(r.der) for r in self._rows() if r.is_verified]

    def row(self, name: str) -> CaCertificateRow:
        with self._database.read() as session:
            row = session.get(CaCertificateRow, (self._service, name))
        if row is None:
            known = ", ".join(r.name for r in self._rows()) or "none yet"
            raise NotFound(f"There is no CA certificate {name!r}", found=f"uploaded: {known}")
        return row

    def _rows(self) -> list[CaCertificateRow]:
        with self._database.read() as session:
            mine = select(CaCertificateRow).where(CaCertificateRow.service == self._service)
            return list(session.scalars(mine.order_by(CaCertificateRow.name)))

    def _change(self, name: str, change: Callable[[CaCertificateRow], None]) -> CaCertificateRow:
        self.row(name)
        with self._database.write() as session:
            row = session.get_one(CaCertificateRow, (self._service, name))
            change(row)
            row.etag, row.updated = new_etag(), self._clock.now()
        return row

    def _record(self, kind: str, text: str) -> None:
        self._events.record(self._service, kind, text)


def _mark_verified(row: CaCertificateRow) -> None:
    row.is_verified, row.code = True, ""


def _failed(proof: x509.Certificate) -> AzureError:
    """The sentence that Azure's users quote (sdk-c #1347), with the issuer's name in it."""
    return AzureError(
        400,
        codes.POSSESSION_FAILED,
        f"Proof-Of-Possession failed. Issuer certificate {proof.issuer.rfc4514_string()} "
        "cannot be found in the certificate chain",
    )
