"""What passed from hand to hand beside certificates: orders at a public CA, chains put into
devices, update packages, and private keys that were carried. In the same file as the ledger, in
tables of its own.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, ClassVar

from sqlalchemy import func, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, mapped_column

from labkit import ids
from labkit.database import COLUMN_TYPES, Database

_AGE = text("rowid")  # SQLite counts rows as they come


class _Base(MappedAsDataclass, DeclarativeBase):
    type_annotation_map: ClassVar[dict[Any, Any]] = {**COLUMN_TYPES}


class OrderRow(_Base):
    """An order at a public CA: one for each key that a certificate is wanted for. ``key`` is the
    SHA-256 of the public key, in hex; ``chain_pem`` is empty until it is issued."""

    __tablename__ = "ca_order"
    vendor: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    organization: Mapped[str]
    path_length: Mapped[int]
    request: Mapped[bytes]
    vetted: Mapped[bool] = mapped_column(default=False)
    chain_pem: Mapped[str] = mapped_column(default="")


class InjectionRow(_Base):
    """A certificate that ``custodian`` put into a device after the one who made it had.
    ``thumbprint`` is its SHA-256, in hex."""

    __tablename__ = "injection"
    device: Mapped[str] = mapped_column(primary_key=True)
    thumbprint: Mapped[str] = mapped_column(primary_key=True)
    custodian: Mapped[str]
    certificate_pem: Mapped[str]


class PregeneratedRow(_Base):
    """A device key that was not born in its device, and the chain that was made for it. ``ca`` is
    the CA of ``custodian`` in whose token the key was born; ``installer`` the custodian who put it
    into the device, empty until then. Written before the key is made: ``chain_pem`` is empty until
    it is signed."""

    __tablename__ = "pregenerated"
    device: Mapped[str] = mapped_column(primary_key=True)
    custodian: Mapped[str]
    ca: Mapped[str]
    chain_pem: Mapped[str]
    installer: Mapped[str] = mapped_column(default="")


class CopyRow(_Base):
    """A copy of such a key: ``holder`` is the custodian whose token it went into. Written before
    the copy is made: there is none that is not on record."""

    __tablename__ = "key_copy"
    device: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    holder: Mapped[str]


class UpdateKeyRow(_Base):
    """Who signs updates, and the public key that devices check them with, in PEM."""

    __tablename__ = "update_key"
    custodian: Mapped[str] = mapped_column(primary_key=True)
    public_pem: Mapped[str]


class UpdateRow(_Base):
    """An update package for a device, as it was signed by ``custodian``."""

    __tablename__ = "update_package"
    device: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    custodian: Mapped[str]
    chain_pem: Mapped[str]
    package: Mapped[bytes]


class Records:
    """The rows above, in the supply chain's database file."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path, _Base.metadata)
        self.packing = threading.Lock()
        """Held by whoever gives an update its version, until it is saved: no number twice."""

    def close(self) -> None:
        self._database.close()

    def save(self, *rows: _Base) -> None:
        """Adds each row, or replaces the one of its key. Committed when this returns."""
        with self._database.write() as session:
            for row in rows:
                session.merge(row)

    def order(self, vendor: str, key: str) -> OrderRow | None:
        with self._database.read() as session:
            return session.get(OrderRow, (vendor, key))

    def orders(self, vendor: str) -> list[OrderRow]:
        """The orders at one public CA, in the order in which they came."""
        with self._database.read() as session:
            return list(
                session.scalars(select(OrderRow).where(OrderRow.vendor == vendor).order_by(_AGE))
            )

    def all_orders(self) -> list[OrderRow]:
        """The orders at every public CA."""
        with self._database.read() as session:
            return list(session.scalars(select(OrderRow).order_by(_AGE)))

    def injections(self, device: str) -> list[InjectionRow]:
        """What was put into a device after it was made, in that order."""
        with self._database.read() as session:
            wanted = select(InjectionRow).where(InjectionRow.device == device).order_by(_AGE)
            return list(session.scalars(wanted))

    def pregenerated(self, device: str) -> PregeneratedRow | None:
        """The row of a device whose name differs from this in case at the most."""
        wanted = select(PregeneratedRow).where(
            func.lower(PregeneratedRow.device) == ids.key(device)
        )
        with self._database.read() as session:
            return session.scalar(wanted)

    def all_pregenerated(self) -> list[PregeneratedRow]:
        """Every key that was made outside of its device, in the order in which they were."""
        with self._database.read() as session:
            return list(session.scalars(select(PregeneratedRow).order_by(_AGE)))

    def holders(self, device: str) -> list[str]:
        """The custodians who got a copy of a pre-generated key, in that order."""
        with self._database.read() as session:
            wanted = select(CopyRow).where(CopyRow.device == device).order_by(CopyRow.number)
            return [row.holder for row in session.scalars(wanted)]

    def add_holder(self, device: str, holder: str) -> None:
        """One copy more. Harmless for one who has it."""
        with self._database.write() as session:
            wanted = select(CopyRow.holder).where(CopyRow.device == device)
            known = list(session.scalars(wanted))
            if holder not in known:
                session.add(CopyRow(device, len(known), holder))

    def update_key(self, custodian: str) -> UpdateKeyRow | None:
        with self._database.read() as session:
            return session.get(UpdateKeyRow, custodian)

    def update_keys(self) -> list[UpdateKeyRow]:
        """Those of everybody who signs updates."""
        with self._database.read() as session:
            return list(session.scalars(select(UpdateKeyRow).order_by(_AGE)))

    def updates(self, device: str) -> list[UpdateRow]:
        """The packages for a device, the oldest first."""
        wanted = select(UpdateRow).where(UpdateRow.device == device).order_by(UpdateRow.version)
        with self._database.read() as session:
            return list(session.scalars(wanted))
