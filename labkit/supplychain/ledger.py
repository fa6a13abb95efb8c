"""What the supply chain remembers: who its custodians are, and what each CA has signed.

A file of its own, apart from the cloud's: the cloud never learns more of the supply chain
than a device presents.

A signature is in the ledger before its certificate leaves the CA. So the constraint on serial
numbers is the CA's own memory: a number that was used, even by a process that died since, is
refused here, and another is drawn.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from sqlalchemy import ForeignKey, func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, mapped_column

from labkit import ids
from labkit.database import COLUMN_TYPES, Database, Insert, utc_text
from labkit.errors import Conflict
from labkit.pki import chain

_AT_ONCE = 500
"""Values in one query: SQLite takes 999 at least."""


class _Base(MappedAsDataclass, DeclarativeBase):
    type_annotation_map: ClassVar[dict[Any, Any]] = {**COLUMN_TYPES}


class CustodianRow(_Base):
    """A party of the supply chain; its token has the same name."""

    __tablename__ = "custodian"
    name: Mapped[str] = mapped_column(primary_key=True)


class AuthorityRow(_Base):
    """A CA: whose it is, which key of their token it is, and its chain in PEM. A CA that was
    renewed has a row for each of its certificates: ``generation`` counts them from 1."""

    __tablename__ = "authority"
    custodian: Mapped[str] = mapped_column(primary_key=True)
    common_name: Mapped[str] = mapped_column(primary_key=True)
    key_label: Mapped[str]
    chain_pem: Mapped[str]
    generation: Mapped[int] = mapped_column(primary_key=True, default=1)


class IssuerRow(_Base):
    """A CA as one of its certificates names it. Two custodians may call their CAs the same, and
    a CA may get another certificate: the thumbprint (SHA-256, in hex) tells them all apart."""

    __tablename__ = "issuer"
    thumbprint: Mapped[str] = mapped_column(unique=True)
    custodian: Mapped[str]
    ca: Mapped[str]
    id: Mapped[int] = mapped_column(primary_key=True, init=False)


class IssuedRow(_Base):
    """One signature: by whom, and on which request (empty where the CA was handed a key and a
    name). No serial (in hex) is there twice, whoever the issuers are."""

    __tablename__ = "issued"
    number: Mapped[int] = mapped_column(primary_key=True)
    issuer: Mapped[int] = mapped_column(ForeignKey(IssuerRow.id), index=True)
    serial: Mapped[str] = mapped_column(unique=True)
    at: Mapped[datetime]
    certificate: Mapped[bytes]
    request: Mapped[bytes]


class DeviceRow(_Base):
    """A device that left the line, and the chain that was put into it, in PEM."""

    __tablename__ = "device"
    name: Mapped[str] = mapped_column(primary_key=True)
    maker: Mapped[str]
    chain_pem: Mapped[str]


class RenewalRow(_Base):
    """A later certificate of a device, and the chain that was handed out for it, in PEM. Who
    issued it, when and on which request is in the signature of this ``serial`` (in hex)."""

    __tablename__ = "renewal"
    serial: Mapped[str] = mapped_column(primary_key=True)
    device: Mapped[str] = mapped_column(index=True)
    chain_pem: Mapped[str]


class SimulatedRow(_Base):
    """A device of a simulated fleet: it has no token, and its key is nowhere on disk."""

    __tablename__ = "simulated"
    key: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    maker: Mapped[str]


_SIMULATED: Any = (SimulatedRow.key, SimulatedRow)


@dataclass(frozen=True, slots=True)
class Maker:
    """Who made a device (custodian and CA), and whether it is one of a simulated fleet."""

    name: str
    maker: str
    simulated: bool


class Simulated(NamedTuple):
    """A device of a simulated fleet on its way into the ledger."""

    name: str
    maker: str


@dataclass(frozen=True, slots=True)
class Signed:
    """A signature on its way into the ledger. ``request`` is the DER as it was received."""

    serial: int
    certificate: bytes
    request: bytes = b""


@dataclass(frozen=True, slots=True)
class Signature:
    """One entry of the ledger.

    ``number`` counts up from 1, ``custodian`` and ``ca`` name the issuer, ``thumbprint``
    (SHA-256, in hex) the very certificate it signed with; ``at`` is the lab's time.
    """

    number: int
    custodian: str
    ca: str
    thumbprint: str
    serial: int
    at: datetime
    der: bytes
    request_der: bytes

    @property
    def certificate(self) -> x509.Certificate:
        """What was signed."""
        return x509.load_der_x509_certificate(self.der)

    @property
    def request(self) -> x509.CertificateSigningRequest | None:
        """What was asked; None where the CA was handed a key and a name."""
        return x509.load_der_x509_csr(self.request_der) if self.request_der else None

    @property
    def issuer(self) -> str:
        """Custodian and CA: two custodians may call their CAs the same."""
        return f"{self.custodian}/{self.ca}"

    @property
    def subject(self) -> str:
        """For whom, as people read it."""
        return chain.title(self.certificate.subject)


class SerialTaken(Conflict):
    """Serial numbers that are in the ledger already, or twice among those that were to come."""

    def __init__(self, serials: frozenset[int]) -> None:
        super().__init__(
            "A serial number was used before",
            found=", ".join(f"{serial:x}" for serial in sorted(serials)),
            cure="draw another",
        )
        self.serials = serials


class Ledger:
    """The supply chain's records, in one database file."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path, _Base.metadata)
        self._issuers: dict[x509.Certificate, int] = {}

    def close(self) -> None:
        self._database.close()

    # ---- custodians, CAs, devices

    def add_custodian(self, name: str) -> bool:
        """Whether nobody of this name was known before."""
        with self._database.write() as session:
            if session.get(CustodianRow, name) is not None:
                return False
            session.add(CustodianRow(name))
        return True

    def custodians(self) -> list[str]:
        with self._database.read() as session:
            return sorted(session.scalars(select(CustodianRow.name)))

    def authorities(self) -> list[AuthorityRow]:
        """Every CA, in the order in which they were made."""
        with self._database.read() as session:
            return list(session.scalars(select(AuthorityRow)))

    def generations(self, custodian: str, common_name: str) -> list[AuthorityRow]:
        """The rows of one CA, one for each of its certificates, the first first."""
        mine = (AuthorityRow.custodian == custodian) & (AuthorityRow.common_name == common_name)
        with self._database.read() as session:
            wanted = select(AuthorityRow).where(mine).order_by(AuthorityRow.generation)
            return list(session.scalars(wanted))

    def renewals(self, device: str = "") -> list[RenewalRow]:
        """The later certificates of a device, or of all, in the order in which they were signed."""
        mine = [RenewalRow.device == device] if device else []
        signed = RenewalRow.serial == IssuedRow.serial
        wanted = select(RenewalRow).join(IssuedRow, signed).where(*mine)
        with self._database.read() as session:
            return list(session.scalars(wanted.order_by(IssuedRow.number)))

    def devices(self) -> list[DeviceRow]:
        with self._database.read() as session:
            return list(session.scalars(select(DeviceRow).order_by(DeviceRow.name)))

    def device(self, name: str) -> DeviceRow | None:
        with self._database.read() as session:
            return session.get(DeviceRow, name)

    def device_like(self, name: str) -> str:
        """The name of a device, of a simulated fleet too, that differs from this in case at the
        most; empty without one."""
        query = select(DeviceRow.name).where(func.lower(DeviceRow.name) == ids.key(name))
        with self._database.read() as session:
            simulated = session.get(SimulatedRow, ids.key(name))
            return simulated.name if simulated else session.scalar(query) or ""

    def renewed_by(self, certificate: x509.Certificate) -> str:
        """The device that a later certificate was issued for; empty for any other certificate."""
        with self._database.read() as session:
            row = session.get(RenewalRow, _hex(certificate.serial_number))
        return row.device if row else ""

    def makers(self, names: Sequence[str]) -> dict[str, Maker]:
        """Those of these names that devices have already, simulated ones too: by what two
        spellings of one name share (:func:`labkit.ids.key`)."""
        found: dict[str, Maker] = {}
        keys = [ids.key(name) for name in names]
        with self._database.read() as session:
            for column, row in ((func.lower(DeviceRow.name), DeviceRow), _SIMULATED):
                for portion in _portions(keys):
                    query = select(column, row.name, row.maker).where(column.in_(portion))
                    for key, name, maker in session.execute(query):
                        found[key] = Maker(name, maker, row is SimulatedRow)
        return found

    def add(self, row: AuthorityRow | DeviceRow) -> None:
        """Committed when this returns."""
        with self._database.write() as session:
            session.add(row)

    # ---- signatures

    def record(
        self,
        custodian: str,
        ca: str,
        issuer: x509.Certificate,
        at: datetime,
        signed: Sequence[Signed],
        devices: Iterable[DeviceRow | Simulated | RenewalRow] = (),
    ) -> None:
        """Signatures of one CA, and the devices that they make or that get another certificate by
        them, in one transaction.

        ``issuer`` is the certificate that the CA signed with. Committed when this returns.
        Raises SerialTaken where a serial is known already, Conflict where a device is; the
        ledger is then as it was.
        """
        number, moment = self._issuer(custodian, ca, issuer), utc_text(at)
        rows = [(number, _hex(s.serial), moment, s.certificate, s.request) for s in signed]
        try:
            self._database.insert(Insert.into("issued", _ISSUED, rows), *_inserts(list(devices)))
        except sqlite3.IntegrityError as error:
            if taken := self._taken([s.serial for s in signed]):
                raise SerialTaken(taken) from error
            raise Conflict(
                "A device of one of these names was made meanwhile",
                found=str(error),
                cure="make them again: those that are there are not made twice",
            ) from error

    def issued(self, *, issuer: str = "", after: int = 0, limit: int = 1000) -> list[Signature]:
        """Signatures in the order in which they were made: ``limit`` at the most, with numbers
        above ``after``, of one issuer (``"custodian/CA"``) or of all."""
        query = _SIGNATURES.where(IssuedRow.number > after, *_of(issuer))
        with self._database.read() as session:
            found = session.execute(query.order_by(IssuedRow.number).limit(limit))
            return [_signature(row) for row in found]

    def count(self, *, issuer: str = "") -> int:
        """How many signatures there are, of one issuer (``"custodian/CA"``) or of all."""
        query = select(func.count()).select_from(IssuedRow).join(IssuerRow).where(*_of(issuer))
        with self._database.read() as session:
            return session.scalar(query) or 0

    def find(self, serial: int) -> Signature | None:
        """The signature of this serial number."""
        query = _SIGNATURES.where(IssuedRow.serial == _hex(serial))
        with self._database.read() as session:
            row = session.execute(query).first()
        return _signature(row) if row else None

    def _issuer(self, custodian: str, ca: str, certificate: x509.Certificate) -> int:
        if certificate not in self._issuers:
            thumbprint = certificate.fingerprint(hashes.SHA256()).hex()
            known = select(IssuerRow.id).where(IssuerRow.thumbprint == thumbprint)
            with self._database.write() as session:
                if (number := session.scalar(known)) is None:
                    session.add(row := IssuerRow(thumbprint, custodian, ca))
                    session.flush()
                    number = row.id
            self._issuers[certificate] = number
        return self._issuers[certificate]

    def _taken(self, serials: Sequence[int]) -> frozenset[int]:
        twice = {serial for serial, times in Counter(serials).items() if times > 1}
        with self._database.read() as session:
            for portion in _portions([_hex(serial) for serial in serials]):
                query = select(IssuedRow.serial).where(IssuedRow.serial.in_(portion))
                twice |= {int(found, 16) for found in session.scalars(query)}
        return frozenset(twice)


_ISSUED = ("issuer", "serial", "at", "certificate", "request")
_SIGNATURES = select(
    IssuedRow.number,
    IssuerRow.custodian,
    IssuerRow.ca,
    IssuerRow.thumbprint,
    IssuedRow.serial,
    IssuedRow.at,
    IssuedRow.certificate,
    IssuedRow.request,
).join(IssuerRow)


def _inserts(devices: Sequence[DeviceRow | Simulated | RenewalRow]) -> Iterable[Insert]:
    made = [(d.name, d.maker, d.chain_pem) for d in devices if isinstance(d, DeviceRow)]
    simulated = [(ids.key(d.name), *d) for d in devices if isinstance(d, Simulated)]
    yield Insert.into("device", ("name", "maker", "chain_pem"), made)
    renewed = [(d.serial, d.device, d.chain_pem) for d in devices if isinstance(d, RenewalRow)]
    yield Insert.into("simulated", ("key", "name", "maker"), simulated)
    yield Insert.into("renewal", ("serial", "device", "chain_pem"), renewed)


def _of(issuer: str) -> list[Any]:
    """A custodian's name may hold a slash, too: so the whole is compared."""
    return [IssuerRow.custodian + "/" + IssuerRow.ca == issuer] if issuer else []


def _signature(row: Any) -> Signature:
    number, custodian, ca, thumbprint, serial, *rest = row
    return Signature(number, custodian, ca, thumbprint, int(serial, 16), *rest)


def renewed(device: str, certificates: Sequence[x509.Certificate]) -> RenewalRow:
    """A later certificate of a device, with its chain, on its way into the ledger."""
    return RenewalRow(_hex(certificates[0].serial_number), device, chain.to_pem(certificates))


def _hex(serial: int) -> str:
    return f"{serial:040x}"


def _portions(values: Sequence[str]) -> Iterable[Sequence[str]]:
    return (values[start : start + _AT_ONCE] for start in range(0, len(values), _AT_ONCE))


def stored(chain_pem: str) -> Sequence[x509.Certificate]:
    """The certificates of a column, leaf first."""
    return x509.load_pem_x509_certificates(chain_pem.encode())
