"""Client certificates that a certificate authority of another company has issued through DPS: on
record, with the registration, before a device has them; never taken off."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta

from sqlalchemy import Column, Connection, Integer, String, Table, bindparam, insert, select

from labkit import ids
from labkit.cloud.prepared import Prepared
from labkit.cloud.store import Base
from labkit.database import UtcDateTime

AGAIN = timedelta(hours=1)
"""For so long the same request, for the same key, is taken for one that lost its answer."""


@dataclass(frozen=True, slots=True)
class Issued:
    """One entry. ``authority`` is its name in DPS, ``public_key`` the SHA-256 of the key that was
    certified, ``thumbprint`` that of the certificate, ``chain`` the certificate and its issuers up
    to the root, in PEM; ``at`` is the lab's time."""

    authority: str
    registration_id: str
    public_key: str
    thumbprint: str
    chain: str = field(repr=False)
    at: datetime
    begins: datetime
    ends: datetime


_table = Table(
    "issued_client_certificate",
    Base.metadata,
    Column("number", Integer, primary_key=True),
    Column("device", String, nullable=False, index=True),
    Column("authority", String, nullable=False),
    Column("registration_id", String, nullable=False),
    Column("public_key", String, nullable=False),
    Column("thumbprint", String, nullable=False),
    Column("chain", String, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("begins", UtcDateTime, nullable=False),
    Column("ends", UtcDateTime, nullable=False),
)
_NAMES = tuple(found.name for found in fields(Issued))
_columns = [_table.c[name] for name in _NAMES]
_last = select(_table.c.number, *_columns).order_by(_table.c.number.desc()).limit(1)
_valid = (_table.c.begins <= bindparam("begun")) & (_table.c.ends > bindparam("now"))
_of_device = _table.c.device == bindparam("of_device")
_lasting = Prepared(_last.where(_of_device, _valid))
_repeated = Prepared(
    _last.where(
        _of_device,
        _valid,
        _table.c.authority == bindparam("by"),
        _table.c.public_key == bindparam("for_key"),
        _table.c.at > bindparam("since"),
    )
)
_chain = Prepared(select(_table.c.chain).where(_table.c.number == bindparam("wanted")))


def add(connection: Connection, entry: Issued) -> int:
    """Puts a certificate on record; returns its number."""
    values = {name: getattr(entry, name) for name in _NAMES}
    values["device"] = ids.key(entry.registration_id)
    key = connection.execute(insert(_table), values).inserted_primary_key
    assert key is not None, "SQLite counts its rows"
    return int(key[0])


def repeated(
    connection: Connection, registration_id: str, authority: str, public_key: str, now: datetime
) -> tuple[int, Issued] | None:
    """What answered the same request a moment ago, and its number."""
    row = _repeated.first(
        connection,
        of_device=ids.key(registration_id),
        by=authority,
        for_key=public_key,
        since=now - AGAIN,
        begun=now,
        now=now,
    )
    return (row[0], Issued(*row[1:])) if row is not None else None


def lasting(connection: Connection, registration_id: str, now: datetime) -> Issued | None:
    """The last certificate that was issued to this device, where it is still valid."""
    row = _lasting.first(connection, of_device=ids.key(registration_id), begun=now, now=now)
    return Issued(*row[1:]) if row is not None else None


def chain(connection: Connection, number: int) -> str:
    """A certificate on record and its issuers, in PEM."""
    row = _chain.first(connection, wanted=number)
    assert row is not None, "nothing is taken off the ledger"
    return str(row[0])
