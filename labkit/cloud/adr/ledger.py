"""Every certificate that was issued: on record before anybody has it, and never taken off."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from sqlalchemy import Connection, Table, bindparam, insert, select

from labkit import ids
from labkit.cloud.adr.tables import CaRow, CertificateRow
from labkit.cloud.prepared import Prepared
from labkit.database import Database

AGAIN = timedelta(hours=1)
"""For so long the same request, for the same key, is taken for one that lost its answer."""


@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    """One entry. ``policy`` is the one that it was issued under, ``hub`` the name of the hub that
    it is for; ``at`` is the lab's time."""

    number: int
    namespace: str
    policy: str
    registration_id: str
    device_id: str
    hub: str
    at: datetime
    certificate: x509.Certificate = field(repr=False)


@dataclass(frozen=True, slots=True)
class Entry:
    """What is to be put on record: see :class:`CertificateRow`."""

    ca: int
    registration_id: str
    device_id: str
    hub: str
    public_key: str
    der: bytes
    request: bytes
    at: datetime
    ends: datetime


_table: Table = CertificateRow.__table__  # type: ignore[assignment]
_mine = (_table.c.device == bindparam("of_device")) & (_table.c.ca == bindparam("by_ca"))
_last_first = _table.c.number.desc()
_repeated = Prepared(
    select(_table.c.number)
    .where(
        _mine,
        _table.c.public_key == bindparam("for_key"),
        _table.c.device_id == bindparam("as_device"),
        _table.c.hub == bindparam("at_hub"),
        _table.c.at > bindparam("since"),
        _table.c.at <= bindparam("now"),
        _table.c.ends > bindparam("lasting"),
    )
    .order_by(_last_first)
    .limit(1)
)
_lasting = Prepared(
    select(_table.c.number)
    .where(_table.c.device == bindparam("of_device"), _table.c.ends > bindparam("now"))
    .limit(1)
)
_given: dict[str, Any] = {
    column.name: bindparam(column.name) for column in _table.c if not column.primary_key
}
_add = Prepared(insert(_table).values(_given).returning(_table.c.number))
_found = Prepared(select(_table.c.ca, _table.c.der).where(_table.c.number == bindparam("wanted")))


class Ledger:
    """Reads what was issued; :func:`add` writes it, in the transaction of whoever hands it out."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, namespace: str, registration_id: str = "") -> list[IssuedCertificate]:
        """All of a namespace, the oldest first; of one device where it is named."""
        wanted = (
            select(CertificateRow, CaRow.policy)
            .join(CaRow, CaRow.number == CertificateRow.ca)
            .where(CaRow.namespace == namespace)
            .order_by(CertificateRow.number)
        )
        if registration_id:
            wanted = wanted.where(CertificateRow.device == ids.key(registration_id))
        with self._database.read() as session:
            rows = session.execute(wanted).all()
        return [_issued(namespace, policy, row) for row, policy in rows]


def add(connection: Connection, entry: Entry) -> int:
    """Puts a certificate on record; returns its number. The same request once more, a moment
    later, is not another: then the number is that of the certificate which answered it."""
    if known := repeated(connection, entry):
        return known
    values = {name: getattr(entry, name) for name in Entry.__slots__}
    values["device"] = ids.key(entry.registration_id)
    number: int = _add.rows(connection, **values)[0][0]
    return number


def repeated(connection: Connection, entry: Entry) -> int:
    """The number of the certificate that answered the same request a moment ago; 0 for none."""
    found = _repeated.first(
        connection,
        of_device=ids.key(entry.registration_id),
        by_ca=entry.ca,
        for_key=entry.public_key,
        as_device=entry.device_id,
        at_hub=entry.hub,
        since=entry.at - AGAIN,
        now=entry.at,
        lasting=entry.at,
    )
    return found[0] if found is not None else 0


def has_lasting(connection: Connection, registration_id: str, now: datetime) -> bool:
    """Whether this device has a certificate that is still valid, also of a policy that is gone."""
    return _lasting.first(connection, of_device=ids.key(registration_id), now=now) is not None


def read(connection: Connection, number: int) -> tuple[int, bytes]:
    """The number of the CA that issued it, and the certificate in DER."""
    found = _found.first(connection, wanted=number)
    assert found is not None, "nothing is taken off the ledger"
    return found[0], found[1]


def _issued(namespace: str, policy: str, row: CertificateRow) -> IssuedCertificate:
    certificate = x509.load_der_x509_certificate(row.der)
    who = (row.registration_id, row.device_id, row.hub)
    return IssuedCertificate(row.number, namespace, policy, *who, row.at, certificate)
