"""What the supply chain remembers: who its custodians are, and what each CA has signed.

A file of its own, apart from the cloud's: the cloud never learns more of the supply chain
than a device presents.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import func, insert, select
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, mapped_column

from labkit import ids
from labkit.database import COLUMN_TYPES, Database
from labkit.pki import chain


class _Base(MappedAsDataclass, DeclarativeBase):
    type_annotation_map: ClassVar[dict[Any, Any]] = {**COLUMN_TYPES}


class CustodianRow(_Base):
    """A party of the supply chain; its token has the same name."""

    __tablename__ = "custodian"
    name: Mapped[str] = mapped_column(primary_key=True)


class AuthorityRow(_Base):
    """A CA: whose it is, which key of their token it is, and its chain in PEM."""

    __tablename__ = "authority"
    custodian: Mapped[str] = mapped_column(primary_key=True)
    common_name: Mapped[str] = mapped_column(primary_key=True)
    key_label: Mapped[str]
    chain_pem: Mapped[str]


class IssuedRow(_Base):
    """One signature of a CA: what for, and on which request. ``issuer`` is custodian and CA, the
    serial is in hex."""

    __tablename__ = "issued"
    issuer: Mapped[str] = mapped_column(primary_key=True)
    serial: Mapped[str] = mapped_column(primary_key=True)
    subject: Mapped[str]
    at: Mapped[datetime]
    certificate: Mapped[bytes]
    request: Mapped[bytes]


class DeviceRow(_Base):
    """A device that left the line, and the chain that was put into it, in PEM."""

    __tablename__ = "device"
    name: Mapped[str] = mapped_column(primary_key=True)
    maker: Mapped[str]
    chain_pem: Mapped[str]


_COLUMNS = tuple(IssuedRow.__table__.columns.keys())
_INSERT_ISSUED = insert(IssuedRow)


class Ledger:
    """The supply chain's records, in one database file."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path, _Base.metadata)

    def close(self) -> None:
        self._database.close()

    def add_custodian(self, name: str) -> None:
        with self._database.write() as session:
            session.merge(CustodianRow(name))

    def custodians(self) -> list[str]:
        with self._database.read() as session:
            return sorted(session.scalars(select(CustodianRow.name)))

    def authorities(self) -> list[AuthorityRow]:
        """Every CA, in the order in which they were made."""
        with self._database.read() as session:
            return list(session.scalars(select(AuthorityRow)))

    def authority(self, custodian: str, common_name: str) -> AuthorityRow | None:
        with self._database.read() as session:
            return session.get(AuthorityRow, (custodian, common_name))

    def devices(self) -> list[DeviceRow]:
        with self._database.read() as session:
            return list(session.scalars(select(DeviceRow).order_by(DeviceRow.name)))

    def device(self, name: str) -> DeviceRow | None:
        with self._database.read() as session:
            return session.get(DeviceRow, name)

    def device_like(self, name: str) -> str:
        """The name of a device that differs from this in case at the most; empty without one."""
        query = select(DeviceRow.name).where(func.lower(DeviceRow.name) == ids.key(name))
        with self._database.read() as session:
            return session.scalar(query) or ""

    def add(self, row: AuthorityRow | DeviceRow) -> None:
        """Committed when this returns."""
        with self._database.write() as session:
            session.add(row)

    def add_all(self, rows: Sequence[IssuedRow]) -> None:
        """Signatures, one or many: all committed when this returns, or none."""
        values = [{name: getattr(row, name) for name in _COLUMNS} for row in rows]
        if values:
            self._database.insert(_INSERT_ISSUED, values)


def issued(
    issuer: str,
    certificate: x509.Certificate,
    request: x509.CertificateSigningRequest,
    at: datetime,
) -> IssuedRow:
    """The entry for one signature."""
    return IssuedRow(
        issuer=issuer,
        serial=f"{certificate.serial_number:040x}",
        subject=chain.title(certificate.subject),
        at=at,
        certificate=certificate.public_bytes(Encoding.DER),
        request=request.public_bytes(Encoding.DER),
    )


def stored(chain_pem: str) -> Sequence[x509.Certificate]:
    """The certificates of a column, leaf first."""
    return x509.load_pem_x509_certificates(chain_pem.encode())
