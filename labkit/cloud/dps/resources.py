"""What DPS keeps beside enrollments, each thing under an ID and with an ETag: certificate
authorities and trust bundles (api-version 2021-11-01-preview).

    put without If-Match   makes it, or replaces the one that is there
    put with If-Match      replaces the one of this ETag; 412 for another, or none at all
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Generic, TypeVar

from sqlalchemy import JSON, Column, Connection, String, Table, bindparam, delete, select
from sqlalchemy.dialects.sqlite import insert

from labkit import ids
from labkit.clock import Clock
from labkit.cloud import codes
from labkit.cloud.dps.limits import QUOTA
from labkit.cloud.dps.registrations import ETAG, stale
from labkit.cloud.pages import Page, next_page, start_of
from labkit.cloud.prepared import Prepared
from labkit.cloud.refusals import Denial, Refusals
from labkit.cloud.store import Base, etag_matches, new_etag
from labkit.database import Database, UtcDateTime
from labkit.events import Events
from labkit.trace import failed

MOST = 100
"""Of one kind. Azure's documents name no number: this keeps a mistake from filling a disk."""

_table = Table(
    "dps_resource",
    Base.metadata,
    Column("kind", String, primary_key=True),
    Column("key", String, primary_key=True),
    Column("id", String, nullable=False),
    Column("said", JSON, nullable=False),
    Column("etag", String, nullable=False),
    Column("created", UtcDateTime, nullable=False),
    Column("updated", UtcDateTime, nullable=False),
)
_one = (_table.c.kind == bindparam("of_kind")) & (_table.c.key == bindparam("wanted"))
_columns = select(_table.c.id, _table.c.said, _table.c.etag, _table.c.created, _table.c.updated)
_find = Prepared(_columns.where(_one))
_page = _columns.where(_table.c.kind == bindparam("of_kind"), _table.c.key > bindparam("after"))
_delete = delete(_table).where(_one)
_insert = insert(_table)
_changed = {c.name: _insert.excluded[c.name] for c in _table.c if not c.primary_key}
_save = _insert.on_conflict_do_update(index_elements=["kind", "key"], set_=_changed)


@dataclass(frozen=True, slots=True)
class Stamp:
    """When a thing was made and changed, and its ETag."""

    etag: str
    created: datetime
    updated: datetime


R = TypeVar("R")


class ResourceBook(ABC, Generic[R]):
    """The things of one kind: ``noun`` is what people call one, ``collection`` where the service
    API serves them."""

    noun: ClassVar[str]
    collection: ClassVar[str]

    def __init__(
        self, database: Database, clock: Clock, events: Events, refusals: Refusals
    ) -> None:
        self._database, self._clock, self._events = database, clock, events
        self._refusals = refusals

    def get(self, name: str) -> R:
        """Raises ServiceRefusal (404), which is a NotFound."""
        with self._database.quick_read() as connection:
            if (found := self.read(connection, name)) is not None:
                return found
            missing = self._missing(connection, name)
        raise self._refusals.of(missing, "dps", name, quiet=True)

    def find(self, name: str) -> R | None:
        """The thing of this ID, if there is one; case does not count."""
        with self._database.quick_read() as connection:
            return self.read(connection, name)

    def read(self, connection: Connection, name: str) -> R | None:
        """The same, within a transaction."""
        row = _find.first(connection, of_kind=self.collection, wanted=ids.key(name))
        return self._of_row(row) if row is not None else None

    def delete(self, name: str, if_match: str = "") -> None:
        """Takes it away; enrollments that name it go on to do so. Raises ServiceRefusal (404,
        412)."""
        with self._refusals.told("dps", name), self._database.quick_write() as connection:
            if self.read(connection, name) is None:
                raise self._missing(connection, name)
            self._check_etag(connection, name, if_match)
            connection.execute(_delete, {"of_kind": self.collection, "wanted": ids.key(name)})
        text = f"{self._named(name)} was deleted"
        self._events.record("dps", "deleted", text, what=self.noun, name=name)

    def query(self, limit: int = 0, continuation: str = "") -> tuple[list[R], str]:
        """A page in the order of their IDs, and what to ask on with; that is empty at the end.
        Raises ServiceRefusal (400) for a continuation of another list."""
        page = Page(self.collection, limit)
        after = start_of(page, continuation, self._refusals)
        found, more = next_page(page, self._after(after, page.size + 1), lambda row: row[0].lower())
        return [self._of_row(row) for row in found], more

    def __iter__(self) -> Iterator[R]:
        return iter([self._of_row(row) for row in self._after("", -1)])

    def __len__(self) -> int:
        return len(self._after("", -1))

    # ---- for the kinds

    @abstractmethod
    def _read(self, name: str, said: Any, stamp: Stamp) -> R:
        """The thing, out of what was kept of it."""

    def _keep(self, name: str, said: Any, if_match: str = "") -> R:
        """Puts it in place. Raises ServiceRefusal (412; 400 where there are too many)."""
        now = self._clock.now()
        with self._refusals.told("dps", name), self._database.quick_write() as connection:
            self._check_etag(connection, name, if_match)
            row = _find.first(connection, of_kind=self.collection, wanted=ids.key(name))
            if row is None:
                self._check_room(connection, name)
            spelled, created = (row[0], row[3]) if row is not None else (name, now)
            stamp = Stamp(new_etag(), created, now)
            values = {"etag": stamp.etag, "created": created, "updated": now}
            key = {"kind": self.collection, "key": ids.key(name)}
            connection.execute(_save, {**key, "id": spelled, "said": said, **values})
        verb = "is there now" if row is None else "is another from now on"
        self._events.record("dps", self.noun, f"{self._named(spelled)} {verb}", name=spelled)
        return self._read(spelled, said, stamp)

    def _check_room(self, connection: Connection, name: str) -> None:
        if len(self._rows(connection, "", MOST)) == MOST:
            why = f"{MOST} are there already"
            cure = f"delete a {self.noun} that no enrollment names"
            raise Denial(codes.TOO_MANY, failed(QUOTA, name, why, cure))

    def _check_name(self, name: str) -> None:
        if not ids.is_valid(name):
            wanted = f"choose {ids.RULE}"
            check = failed("the ID is well formed", name, f"it is {name!r}", wanted)
            raise self._refusals.refuse("dps", name, codes.BAD_REQUEST, (check,))

    def _named(self, name: str) -> str:
        return f"{self.noun[0].upper()}{self.noun[1:]} {name!r}"

    def _said(self, connection: Connection, name: str) -> tuple[str, Any] | None:
        """The ID as it is spelled, and what was kept."""
        row = _find.first(connection, of_kind=self.collection, wanted=ids.key(name))
        return (row[0], row[1]) if row is not None else None

    # ---- inside

    def _of_row(self, row: tuple[Any, ...]) -> R:
        name, said, *stamp = row
        return self._read(name, said, Stamp(*stamp))

    def _after(self, key: str, limit: int) -> list[tuple[Any, ...]]:
        with self._database.quick_read() as connection:
            return self._rows(connection, key, limit)

    def _rows(self, connection: Connection, key: str, limit: int) -> list[tuple[Any, ...]]:
        wanted = _page.order_by(_table.c.key).limit(limit)
        asked = {"of_kind": self.collection, "after": key}
        return [tuple(row) for row in connection.execute(wanted, asked)]

    def _check_etag(self, connection: Connection, name: str, if_match: str) -> None:
        if not if_match:
            return
        row = _find.first(connection, of_kind=self.collection, wanted=ids.key(name))
        if row is None:
            why, cure = f"there is no {self.noun} {name!r}", "leave If-Match out to make it"
            raise Denial(codes.STALE_ENTRY, failed(ETAG, name, why, cure))
        if not etag_matches(if_match, row[2]):
            raise Denial(codes.STALE_ENTRY, stale(name))

    def _missing(self, connection: Connection, name: str) -> Denial:
        known = ", ".join(row[0] for row in self._rows(connection, "", 5)) or "none yet"
        why = f"there is no {self.noun} {name!r}; there are: {known}"
        check = failed(f"there is a {self.noun} of this ID", name, why, "look at its ID")
        return Denial(codes.NO_SUCH_RESOURCE, check)
