"""Registration records: which device was assigned to which hub, and how its last attempt stands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    JSON,
    Column,
    Connection,
    Integer,
    String,
    Table,
    bindparam,
    delete,
    func,
    select,
)
from sqlalchemy.dialects.sqlite import insert

from labkit import ids
from labkit.cloud import codes
from labkit.cloud.pages import Page, next_page, start_of
from labkit.cloud.prepared import Prepared
from labkit.cloud.refusals import Denial, Refusals
from labkit.cloud.store import Base, etag_matches
from labkit.database import Database, UtcDateTime
from labkit.errors import counted
from labkit.events import Events
from labkit.trace import Check, failed

if TYPE_CHECKING:
    from labkit.cloud.dps.trust_bundles import TrustBundle

ASSIGNING, ASSIGNED, FAILED, DISABLED = "assigning", "assigned", "failed", "disabled"
INITIAL = "initialAssignment"
MIGRATED, RESET = "deviceDataMigrated", "deviceDataReset"
AGAIN = "reprovisionedToInitialAssignment"

KNOWN = "the device has a registration record"
ETAG = "the ETag that was sent is the record's"


@dataclass(frozen=True, slots=True)
class Registration:
    """One record. IDs are kept as they were first spelled, and compared without regard to case.

    ``group_id`` is empty for a device with an individual enrollment; ``attestation`` is ``x509``
    or ``symmetricKey``; ``payload`` is what a webhook had for the device; ``error_code`` is 0
    and ``error_message`` empty unless the last attempt failed. ``assigned_hub`` and
    ``device_id`` outlive a failed attempt: they are empty only before the first assignment.
    ``issued`` is the number on record of the certificate that the last attempt brought, 0 for
    none; ``issued_by`` is whose number.
    """

    registration_id: str
    group_id: str
    device_id: str
    assigned_hub: str
    status: str
    substatus: str
    created: datetime
    updated: datetime
    etag: str
    operation_id: str
    attestation: str = "x509"
    payload: Any = None
    error_code: int = 0
    error_message: str = ""
    due: datetime | None = None
    pending: Mapping[str, Any] | None = None
    issued: int = 0
    issued_by: str = ""

    def __repr__(self) -> str:
        return f"<Registration {self.registration_id!r}: {self.status} to {self.assigned_hub}>"

    def waits(self, now: datetime) -> bool:
        """Whether its outcome is not told yet. A clock that was set back ends the waiting."""
        return self.due is not None and self.updated <= now < self.due


@dataclass(frozen=True, slots=True)
class Operation:
    """How a registration stands: ``assigning``, ``assigned``, ``failed`` or ``disabled``.

    ``retry_after`` is in seconds, 0 where there is nothing to wait for. ``registration`` may be
    None while it is assigning. ``chain`` is the certificate that it brought, with its issuers up
    to the root, each in DER; ``trust_bundle`` the CAs that the device is to trust from now on.
    """

    operation_id: str
    status: str
    registration: Registration | None = None
    retry_after: int = 0
    chain: tuple[bytes, ...] = ()
    trust_bundle: TrustBundle | None = None


_table = Table(
    "registration",
    Base.metadata,
    Column("key", String, primary_key=True),
    Column("group_key", String, nullable=False, index=True),
    Column("registration_id", String, nullable=False),
    Column("group_id", String, nullable=False),
    Column("device_id", String, nullable=False),
    Column("assigned_hub", String, nullable=False),
    Column("status", String, nullable=False),
    Column("substatus", String, nullable=False),
    Column("created", UtcDateTime, nullable=False),
    Column("updated", UtcDateTime, nullable=False),
    Column("etag", String, nullable=False),
    Column("operation_id", String, nullable=False),
    Column("attestation", String, nullable=False),
    Column("payload", JSON(none_as_null=True)),
    Column("error_code", Integer, nullable=False),
    Column("error_message", String, nullable=False),
    Column("due", UtcDateTime),
    Column("pending", JSON(none_as_null=True)),
    Column("issued", Integer, nullable=False),
    Column("issued_by", String, nullable=False),
    sqlite_with_rowid=False,  # one tree less to write at each registration
)
_NAMES = tuple(field.name for field in fields(Registration))
_columns = select(*(_table.c[name] for name in _NAMES))
_find = Prepared(_columns.where(_table.c.key == bindparam("wanted")))
_page = _columns.where(_table.c.key > bindparam("after")).order_by(_table.c.key)
_insert = insert(_table)
_changed = {c.name: _insert.excluded[c.name] for c in _table.c if not c.primary_key}
_save = Prepared(_insert.on_conflict_do_update(index_elements=["key"], set_=_changed))
"""In place, and not by REPLACE: that would rewrite the index of groups too."""
_stamp = Prepared(select(_table.c.etag).where(_table.c.key == bindparam("wanted")))


def find(connection: Connection, registration_id: str) -> Registration | None:
    """The record of this device, within a transaction."""
    row = _find.first(connection, wanted=ids.key(registration_id))
    return Registration(*row) if row is not None else None


def still(connection: Connection, registration_id: str, known: Registration | None) -> bool:
    """Whether the device's record is the one that was read before, or there is none still: each
    writing gives it another ETag."""
    row = _stamp.first(connection, wanted=ids.key(registration_id))
    return (row[0] if row is not None else None) == (known.etag if known is not None else None)


def save(connection: Connection, record: Registration) -> None:
    """Writes the record, in place of the one that the device has."""
    keys = {"key": ids.key(record.registration_id), "group_key": ids.key(record.group_id)}
    _save.rows(connection, **{name: getattr(record, name) for name in _NAMES}, **keys)


class Registrations:
    """The registration records of a DPS. They outlive enrollments; devices write them."""

    def __init__(self, database: Database, events: Events, refusals: Refusals) -> None:
        self._database, self._events, self._refusals = database, events, refusals

    def get(self, registration_id: str) -> Registration:
        """Raises ServiceRefusal (404), which is a NotFound."""
        record = self.find(registration_id)
        if record is None:
            denial = _missing(registration_id)
            raise self._refusals.of(denial, "dps", registration_id, quiet=True)
        return record

    def find(self, registration_id: str) -> Registration | None:
        """The record of this device, if it ever registered."""
        with self._database.quick_read() as connection:
            return find(connection, registration_id)

    def delete(self, registration_id: str, if_match: str = "") -> None:
        """Forgets the record; the identity in the hub stays. Raises ServiceRefusal (404, 412)."""
        key = ids.key(registration_id)
        with (
            self._refusals.told("dps", registration_id),
            self._database.quick_write() as connection,
        ):
            record = find(connection, registration_id)
            if record is None:
                raise _missing(registration_id)
            if not etag_matches(if_match, record.etag):
                raise Denial(codes.STALE_ENTRY, stale(registration_id))
            connection.execute(delete(_table).where(_table.c.key == key))
        text = f"The registration record of {record.registration_id!r} was deleted"
        name = record.registration_id
        self._events.record("dps", "deleted", text, what="registration", name=name)

    def query(
        self, group_id: str, limit: int = 100, continuation: str = ""
    ) -> tuple[list[Registration], str]:
        """Those that came through a group, in the order of their IDs, and what to ask on with;
        that is empty at the end. Raises ServiceRefusal (400) for a continuation of another."""
        page = Page(f"registrations {ids.key(group_id)}", limit)
        after = start_of(page, continuation, self._refusals)
        of_group = _page.where(_table.c.group_key == ids.key(group_id)).limit(page.size + 1)
        with self._database.quick_read() as connection:
            found = [Registration(*row) for row in connection.execute(of_group, {"after": after})]
        return next_page(page, found, lambda record: ids.key(record.registration_id))

    def count(self) -> int:
        """How many there are."""
        with self._database.quick_read() as connection:
            return connection.execute(select(func.count()).select_from(_table)).scalar_one()

    def __contains__(self, registration_id: object) -> bool:
        return self.find(ids.name(registration_id)) is not None

    def __len__(self) -> int:
        return self.count()

    def __repr__(self) -> str:
        return f"<{counted(len(self), 'registration')}>"

    def __iter__(self) -> Iterator[Registration]:
        with self._database.quick_read() as connection:
            rows = connection.execute(_columns.order_by(_table.c.key)).all()
        return iter([Registration(*row) for row in rows])


def stale(about: str) -> Check:
    """The failed check of a request with the ETag of an earlier state. The ETags themselves are
    not told: they differ at every run."""
    return failed(
        ETAG,
        about,
        "the record was changed since that ETag was read",
        "read it again and repeat the request with its ETag",
        "send If-Match: * to take whatever is there",
        source="RFC 9110, section 13.1.1",
    )


def _missing(registration_id: str) -> Denial:
    check = failed(
        KNOWN,
        registration_id,
        f"{registration_id!r} has never been assigned",
        "let the device provision: widget.provision()",
    )
    return Denial(codes.NO_SUCH_REGISTRATION, check)
