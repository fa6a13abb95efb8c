"""CA certificates that were uploaded to a service, and the proof that makes them count.

One code for DPS and hub. The way of a certificate:

    upload ──> unverified ──verification code──> unverified ──proof──> verified
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import func, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from labkit import ids
from labkit.clock import Clock
from labkit.cloud import codes
from labkit.cloud.presented import Presented
from labkit.cloud.refusals import Refusals
from labkit.cloud.store import Base, new_etag
from labkit.database import Database
from labkit.errors import AzureError, BadCertificate, Conflict, NotFound
from labkit.events import Events
from labkit.pki import chain, possession, reading
from labkit.pki.forms import Readable
from labkit.trace import Check, failed, first_failure

ETAG = "the ETag is that of its present state"

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

    def upload(
        self,
        name: str,
        certificate: x509.Certificate | Readable,
        *,
        etag: str = "",
        verified: bool = False,
    ) -> CaCertificate:
        """Keeps a CA certificate, unverified. One that has expired is kept too; no chain can end
        in it, and it cannot be proven. ``verified`` takes the uploader's word: nothing is proven.

        Takes PEM, DER, base64 of either, a file (Path), or a certificate object. The same
        certificate under the same name again is harmless. With the ``etag`` of the one that has
        the name, another takes its place, and has to be proven anew. Raises BadCertificate for
        anything that is no CA certificate (a private key is never kept), Conflict where the name
        is taken by another, ServiceRefusal (IH412001) for an ETag of an earlier state.
        """
        parsed = reading.read_ca(certificate, cure=_NOT_A_CA)
        if not _NAME.fullmatch(name):
            raise BadCertificate(
                f"{name!r} cannot name a certificate",
                expected="1 to 64 letters, digits, dots, dashes or underscores",
            )
        der = parsed.public_bytes(Encoding.DER)
        if self._add(name, der):
            self._record("uploaded", f"CA certificate {name!r} was uploaded, not verified yet")
        else:
            self._again(name, der, etag)
        if verified:
            self._believe(name, der)
        return self.get(name)

    def _believe(self, name: str, der: bytes) -> None:
        """Verified without proof, unless another has taken its place since."""
        with self._changing(name, "") as (_, row):
            is_news = row.der == der and not row.is_verified
            if is_news:
                row.is_verified, row.code = True, ""
        if is_news:
            text = f"CA certificate {name!r} is verified: who uploaded it said so, without proof"
            self._record("verified", text)

    def _add(self, name: str, der: bytes) -> bool:
        """Whether the name was free, and is taken by this certificate now."""
        with self._database.write() as session:
            if self._named(session, name) is not None:
                return False
            now = self._clock.now()
            session.add(CaCertificateRow(self._service, name, der, now, now, new_etag()))
        return True

    def _again(self, name: str, der: bytes, etag: str) -> None:
        """An upload under a name that is taken."""
        with self._changing(name, etag) as (_, row):
            before = row.der
            replaces = before != der and bool(etag)
            if replaces:
                row.der, row.is_verified, row.code = der, False, ""
        if replaces:
            self._record("replaced", f"CA certificate {name!r} was replaced, not verified yet")
        elif before == der:
            self._record("again", f"CA certificate {name!r} was there already")
        else:
            raise _taken(name, x509.load_der_x509_certificate(before))

    def generate_verification_code(self, name: str, *, etag: str = "") -> str:
        """A fresh code for this certificate; an older one counts no more, however it was signed.

        Codes do not expire. Raises NotFound, ServiceRefusal (IH412001) for an ETag of an earlier
        state.
        """
        with self._changing(name, etag) as (_, row):
            row.code = possession.new_code()
        return row.code

    def verify(
        self, ca: CaCertificate | str, proof: x509.Certificate | Readable, *, etag: str = ""
    ) -> None:
        """Checks the proof of possession and marks the CA as verified.

        ``proof`` is a certificate whose CN is the verification code, signed by the CA's key.
        Raises ServiceRefusal: IH400053, which names the check that failed, or IH412001 for an
        ETag of an earlier state. A CA that is verified already stays so, whatever is shown.
        """
        name = ca if isinstance(ca, str) else ca.name
        # Read before the transaction: a file may be slow, and everybody else would wait for it.
        presented = None if self.row(name).is_verified else reading.read_certificate(proof)
        with self._changing(name, etag) as (_, row):
            is_again = row.is_verified
            checks = self._examined(presented, row) if presented and not is_again else ()
            if presented and first_failure(checks) is None:
                row.is_verified, row.code = True, ""
        if is_again:
            self._record("again", f"CA certificate {name!r} was verified already")
        elif presented is None:  # another took its place since it was read, and is to be proven
            self.verify(name, proof, etag=etag)
        elif first_failure(checks):
            shown = Presented((presented,))
            raise self._refusals.refuse(self._service, name, _failed(presented), checks, shown)
        else:
            text = f"CA certificate {name!r} is verified: its owner holds the key"
            self._record("verified", text)

    def _examined(self, proof: x509.Certificate, row: CaCertificateRow) -> tuple[Check, ...]:
        uploaded = x509.load_der_x509_certificate(row.der)
        return possession.examine(proof, uploaded, row.code, self._clock.now())

    def delete(self, ca: CaCertificate | str, *, etag: str = "") -> None:
        """Forgets the certificate. Raises NotFound, ServiceRefusal (IH412001) for an ETag of an
        earlier state."""
        name = ca if isinstance(ca, str) else ca.name
        with self._changing(name, etag) as (session, row):
            session.delete(row)
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
            row = self._named(session, name)
        if row is None:
            known = ", ".join(r.name for r in self._rows()) or "none yet"
            raise NotFound(f"There is no CA certificate {name!r}", found=f"uploaded: {known}")
        return row

    def _named(self, session: Session, name: str) -> CaCertificateRow | None:
        """The row of this name, in whatever spelling: names of resources in Azure differ by more
        than their case (Azure documentation, Resource Manager: naming rules)."""
        mine = select(CaCertificateRow).where(CaCertificateRow.service == self._service)
        return session.scalar(mine.where(func.lower(CaCertificateRow.name) == ids.key(name)))

    def _rows(self) -> list[CaCertificateRow]:
        with self._database.read() as session:
            mine = select(CaCertificateRow).where(CaCertificateRow.service == self._service)
            return list(session.scalars(mine.order_by(CaCertificateRow.name)))

    @contextmanager
    def _changing(self, name: str, etag: str) -> Iterator[tuple[Session, CaCertificateRow]]:
        """The row, to look at and to change in one transaction: nobody comes in between. What
        was changed gets a new ETag. Raises NotFound, ServiceRefusal (IH412001)."""
        with self._database.write() as session:
            row = self._named(session, name)
            if row is not None and _matches(etag, row.etag):
                yield session, row
                if session.is_modified(row):
                    row.etag, row.updated = new_etag(), self._clock.now()
                return
        self.row(name)
        raise self._refusals.refuse(self._service, name, codes.STALE_ETAG, (_stale(name),))

    def _record(self, kind: str, text: str) -> None:
        self._events.record(self._service, kind, text)


def _matches(wanted: str, etag: str) -> bool:
    """If-Match (RFC 9110, 13.1.1): nothing and ``*`` match any; quotes do not matter, because
    clients differ in them."""
    return wanted.strip().strip('"') in ("", "*", etag)


def _stale(name: str) -> Check:
    """The ETags themselves are not told: they differ at every run."""
    return failed(
        ETAG,
        name,
        "it was changed since that ETag was read: to upload it, to ask for a verification code "
        "and to verify it each give it a new one",
        f"read it again just before: lab.dps.certificates.get({name!r}).etag, "
        "az iot dps certificate show",
        "leave the ETag out where nobody else can have changed it",
        source="RFC 9110, section 13.1.1 (If-Match)",
    )


def _taken(name: str, by: x509.Certificate) -> Conflict:
    return Conflict(
        f"A CA certificate {name!r} exists already",
        found=f"it is {chain.subject(by)}, thumbprint {chain.thumbprint_sha1(by)}",
        cure="upload under another name, delete the old one first, or name its etag to replace it",
    )


def _failed(proof: x509.Certificate) -> AzureError:
    """The sentence that Azure's users quote (sdk-c #1347), with the issuer's name in it."""
    issuer = ", ".join(part.rfc4514_string() for part in reversed(proof.issuer.rdns))
    return AzureError(
        400,
        codes.POSSESSION_FAILED,
        f"Proof-Of-Possession failed. Issuer certificate '{issuer}' cannot be found in the "
        "certificate chain.",
    )
