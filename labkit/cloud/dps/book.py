"""A book of enrollments: put, get, delete, query and bulk, as the service API has them.

What both kinds of entry share is here; :mod:`enrollments` and :mod:`enrollment_groups` add what
is said in Python. An entry is a plain value: to change it, put a changed copy under its ETag.

    put without If-Match   makes a new entry; 409 where there is one (sdk-python #35187)
    put with If-Match      changes the entry of this ETag; 412 for another, or none at all
    put with If-None-Match makes a new entry; 412 where there is one that it names (``*``: any)
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Generic, TypeVar, cast

from sqlalchemy import Connection, Table, bindparam, delete, func, insert, select, update

from labkit import ids
from labkit.clock import Clock
from labkit.cloud import codes
from labkit.cloud.dps import entry_tables as tables
from labkit.cloud.dps.entries import (
    DISABLED,
    ENABLED,
    BulkError,
    BulkResult,
    Enrollment,
    EnrollmentGroup,
)
from labkit.cloud.dps.limits import Limits
from labkit.cloud.dps.registrations import ETAG, stale
from labkit.cloud.dps.validation import check_entry, completed, refuse_second_use
from labkit.cloud.pages import Page, next_page, start_of
from labkit.cloud.prepared import Prepared
from labkit.cloud.refusals import Denial, Refusals
from labkit.cloud.store import etag_matches, new_etag
from labkit.database import Database
from labkit.errors import ServiceRefusal, counted
from labkit.events import Events
from labkit.trace import Check, failed

E = TypeVar("E", Enrollment, EnrollmentGroup)

EXISTS = "there is an entry of this ID"
ABSENT = "there is no entry of this ID yet"
QUERY = "the query can be read"
BULK = "the bulk operation can be read"
BULK_LIMIT = 10
CREATE, UPDATE, UPDATE_IF_MATCH, DELETE = "create", "update", "updateIfMatchETag", "delete"
_MODES = {mode.lower(): mode for mode in (CREATE, UPDATE, UPDATE_IF_MATCH, DELETE)}
_QUERY = re.compile(r"\s*(?:select\s+\*(?:\s+from\s+(?P<what>\w+))?|\*)?\s*", re.IGNORECASE)
_ANY = "*"
_IF_NONE_MATCH = "RFC 9110, section 13.1.2"
_NOTHING_TO_MATCH = failed(
    ETAG,
    "",
    f"the mode is {UPDATE_IF_MATCH}, and the entry says no etag that could match",
    "send the etag with which the entry was read",
    f"use the mode {UPDATE} to take whatever is there",
)


class EntryBook(ABC, Generic[E]):
    """The entries of one kind of one DPS.

    ``version`` is another object after each change: a number that two threads count up at a time
    could come to a value that somebody has seen already, with other entries behind it.
    """

    noun: ClassVar[str]
    collection: ClassVar[str]
    _table: ClassVar[Table]

    def __init__(
        self,
        database: Database,
        clock: Clock,
        events: Events,
        refusals: Refusals,
        limits: Limits,
    ) -> None:
        self._database, self._clock, self._events = database, clock, events
        self._refusals, self._limits = refusals, limits
        of_key = self._table.c.key == bindparam("wanted")
        self._find_row = Prepared(select(self._table).where(of_key))
        self.version = object()
        self._asked: tuple[object, bool] = (None, False)

    # ---- as the service API has it

    def put(self, entry: E, if_match: str = "", *, if_none_match: str = "") -> E:
        """Keeps a new entry, or changes the one whose ETag ``if_match`` names.

        Returns it as it is kept: keys that were left out are made, or stay as they were. Raises
        ServiceRefusal: 400004 for what cannot be, 409201 where the entry exists or a
        certificate belongs to another, 412201 for an ETag of an earlier state, or for an entry
        that ``if_none_match`` names (RFC 9110, section 13.1.2).
        """
        before, after = self._write(entry, if_match, if_none_match)
        text = f"{self._named(after)} {self._admits(after)}"
        self._record(self.noun, text if before is None else f"{text} from now on", after)
        return after

    def get(self, entry_id: str) -> E:
        """Raises ServiceRefusal (404201), which is a NotFound."""
        found = self.find(entry_id)
        if found is None:
            raise self._refusals.of(self._missing(entry_id), "dps", entry_id, quiet=True)
        return found

    def find(self, entry_id: str) -> E | None:
        """The entry of this ID, if there is one."""
        with self._database.quick_read() as connection:
            return self.read(connection, entry_id)

    def read(self, connection: Connection, entry_id: str) -> E | None:
        """The same, within a transaction."""
        row = self._find_row.first(connection, wanted=ids.key(entry_id))
        return self.of_row(connection, row) if row is not None else None

    def of_row(self, connection: Connection, row: tuple[Any, ...]) -> E:
        """The entry of a whole row of this book's table, with its certificates."""
        return cast(E, tables.read(connection, self._table, row))

    def delete(self, entry_id: str, if_match: str = "") -> None:
        """Takes the entry away; registrations and hub identities stay. Raises ServiceRefusal
        (404201, 412)."""
        if self.find(entry_id) is None:
            raise self._refusals.of(self._missing(entry_id), "dps", entry_id)
        with self._refusals.told("dps", entry_id), self._database.quick_write() as connection:
            found = self.read(connection, entry_id)
            if found is None:  # gone since
                raise Denial(codes.NO_SUCH_ENROLLMENT, failed(EXISTS, entry_id, "it is gone"))
            if not etag_matches(if_match, found.etag):
                raise Denial(codes.STALE_ENTRY, stale(found.id))
            key = ids.key(entry_id)
            connection.execute(delete(self._table).where(self._table.c.key == key))
            tables.forget_certificates(connection, self._table, key)
        self.version = object()
        text = f"{self._named(found)} was deleted"
        self._events.record("dps", "deleted", text, what=self.noun, name=found.id)

    def query(self, text: str = "", limit: int = 0, continuation: str = "") -> tuple[list[E], str]:
        """``SELECT * FROM`` all entries, a page of them in the order of their IDs, and what to
        ask on with; that is empty at the end. Raises ServiceRefusal (400004)."""
        self._check_query(text)
        page = Page(self.collection, limit)
        after = start_of(page, continuation, self._refusals)
        return next_page(page, self._after(after, page.size + 1), lambda entry: ids.key(entry.id))

    def bulk(self, mode: str, entries: Sequence[E]) -> BulkResult:
        """``create``, ``update``, ``updateIfMatchETag`` or ``delete`` for up to ten entries: each
        is done or refused by itself. Raises ServiceRefusal (400004) for more, or another mode."""
        known = _MODES.get(mode.lower())
        if known is None or not 0 < len(entries) <= BULK_LIMIT:
            why = f"{mode!r} with {len(entries)} entries"
            cure = f"send one of {', '.join(_MODES.values())} with 1 to {BULK_LIMIT} entries"
            raise self._refuse_request("", failed(BULK, "", why, cure))
        refused = []
        for entry in entries:
            try:
                self._one_of_bulk(known, entry)
            except ServiceRefusal as refusal:
                code = int(refusal.error.code)
                refused.append(BulkError(entry.id, code, refusal.error.message))
        return BulkResult(tuple(refused))

    # ---- as it is said in Python

    def enable(self, entry_id: str) -> E:
        """Admits its devices again. Raises ServiceRefusal (404201)."""
        return self._switch(entry_id, ENABLED)

    def disable(self, entry_id: str) -> E:
        """Keeps its devices out from now on. Hub identities stay as they are: who is registered
        goes on talking to its hub. Raises ServiceRefusal (404201)."""
        return self._switch(entry_id, DISABLED)

    def update(self, entry: E) -> E:
        """Puts a changed copy of an entry in its place. Raises ServiceRefusal (412) where
        somebody else has changed it since ``entry`` was read."""
        return self.put(entry, entry.etag or _ANY)

    def __iter__(self) -> Iterator[E]:
        after = ""
        while found := self._after(after, 500):
            yield from found
            after = ids.key(found[-1].id)

    def __contains__(self, entry_id: object) -> bool:
        return self.find(ids.name(entry_id)) is not None

    def __len__(self) -> int:
        with self._database.quick_read() as connection:
            return connection.execute(select(func.count()).select_from(self._table)).scalar_one()

    def __repr__(self) -> str:
        return f"<{counted(len(self), self.noun)}>"

    @property
    def asks_webhooks(self) -> bool:
        """Whether any entry leaves the choice of the hub to a webhook."""
        version, found = self._asked
        if version is not self.version:
            version = self.version
            custom = select(self._table.c.key).where(self._table.c.custom).limit(1)
            with self._database.quick_read() as connection:
                found = connection.execute(custom).first() is not None
            self._asked = version, found
        return found

    # ---- inside

    def _create(self, wanted: E) -> E:
        """A new entry, or the one that is there just so already."""
        existing = self.find(wanted.id)
        if existing is not None and _is_the_same(existing, wanted):
            self._record("again", f"{self._named(existing)} was there already", existing)
            return existing
        if existing is not None:
            check = failed(
                ABSENT,
                existing.id,
                f"{self.noun} {existing.id!r} exists already; it names {existing.proof}",
                "choose another ID",
                "delete it first, or put a changed copy of it: update(replace(entry, ...))",
            )
            error = codes.ENROLLMENT_EXISTS
            raise self._refusals.refuse("dps", existing.id, error, (check,))
        return self.put(wanted)

    def _write(self, entry: E, if_match: str, if_none_match: str = "") -> tuple[E | None, E]:
        now = self._clock.now()
        with self._refusals.told("dps", entry.id), self._database.quick_write() as connection:
            before = self.read(connection, entry.id)
            if if_none_match and before is not None:
                _check_absent(before, if_none_match)
            self._check_precondition(entry, before, if_match)
            check_entry(entry)
            after = completed(entry, before)
            after = replace(
                after,
                id=before.id if before else entry.id,
                etag=new_etag(),
                created=before.created if before else now,
                updated=now,
            )
            self._check_quota(connection, before)
            refuse_second_use(connection, self._table, after)
            self._save(connection, before, after)
        self.version = object()
        return before, after

    def _save(self, connection: Connection, before: E | None, after: E) -> None:
        row, table = tables.row_of(after), self._table
        if before is None:
            connection.execute(insert(table), row)
        else:
            connection.execute(update(table).where(table.c.key == row["key"]).values(**row))
        if before is None or before.attestation != after.attestation:
            tables.write_certificates(connection, table, after)

    def _check_precondition(self, entry: E, before: E | None, if_match: str) -> None:
        if before is not None and not if_match:
            why = f"there is {self.noun} {before.id!r} already; it names {before.proof}"
            cures = ("choose another ID", "to change it, send its ETag in If-Match")
            raise Denial(codes.ENROLLMENT_EXISTS, failed(ABSENT, before.id, why, *cures))
        if before is None and if_match:
            why = f"there is no {self.noun} {entry.id!r} to change"
            cure = "leave If-Match out to make it"
            raise Denial(codes.STALE_ENTRY, failed(EXISTS, entry.id, why, cure))
        if before is not None and not etag_matches(if_match, before.etag):
            raise Denial(codes.STALE_ENTRY, stale(before.id))

    def _check_quota(self, connection: Connection, before: E | None) -> None:
        """The book of groups has one."""

    def _one_of_bulk(self, mode: str, entry: E) -> None:
        if mode == CREATE:
            self.put(entry)
        elif mode == DELETE:
            self.delete(entry.id, entry.etag)
        elif self.find(entry.id) is None:
            raise self._refusals.of(self._missing(entry.id), "dps", entry.id)
        elif mode == UPDATE_IF_MATCH and not entry.etag:
            raise self._refusals.of(Denial(codes.STALE_ENTRY, _NOTHING_TO_MATCH), "dps", entry.id)
        else:
            self.put(entry, entry.etag if mode == UPDATE_IF_MATCH else _ANY)

    def _switch(self, entry_id: str, status: str) -> E:
        found = self._write(replace(self.get(entry_id), provisioning_status=status), _ANY)[1]
        text = f"{self._named(found)} was {status}"
        self._record(status, text, found)
        return found

    def _after(self, key: str, limit: int) -> list[E]:
        table = self._table
        wanted = select(table).where(table.c.key > key).order_by(table.c.key).limit(limit)
        with self._database.quick_read() as connection:
            rows = [tuple(row) for row in connection.execute(wanted)]
            return [self.of_row(connection, row) for row in rows]

    def _check_query(self, text: str) -> None:
        found = _QUERY.fullmatch(text)
        what = (found["what"] or self.collection) if found else ""
        if what.lower() != self.collection.lower():
            cure = f"send SELECT * FROM {self.collection}: DPS has no conditions"
            raise self._refuse_request("", failed(QUERY, "", f"it says {text!r}", cure))

    def _missing(self, entry_id: str) -> Denial:
        why = f"there is no {self.noun} {entry_id!r}; there are: {self._known()}"
        cure = "look at its ID; case does not count"
        return Denial(codes.NO_SUCH_ENROLLMENT, failed(EXISTS, entry_id, why, cure))

    def _known(self) -> str:
        """Some of those that there are, for people who mistyped one."""
        names = [entry.id for entry in self._after("", 6)]
        more = ", …" if len(names) > 5 else ""
        return ", ".join(names[:5]) + more or "none yet"

    def _refuse_request(self, about: str, check: Check) -> ServiceRefusal:
        return self._refusals.refuse("dps", about, codes.BAD_REQUEST, (check,))

    @abstractmethod
    def _admits(self, entry: E) -> str:
        """Whom it lets in, in words: ``takes …``."""

    def _named(self, entry: E) -> str:
        return f"{self.noun[0].upper()}{self.noun[1:]} {entry.id!r}"

    def _record(self, kind: str, text: str, entry: E) -> None:
        self._events.record("dps", kind, text, name=entry.id)


def _check_absent(before: Enrollment | EnrollmentGroup, if_none_match: str) -> None:
    """Raises Denial where the entry is one that the request wants to be absent."""
    if etag_matches(if_none_match, before.etag):
        why = f"there is {before.id!r}; it names {before.proof}"
        cures = ("leave it as it is", "to change it, send its ETag in If-Match")
        check = failed(ABSENT, before.id, why, *cures, source=_IF_NONE_MATCH)
        raise Denial(codes.STALE_ENTRY, check)


def _is_the_same(existing: E, wanted: E) -> bool:
    """Whether an entry is what is wanted; that it was disabled since does not count."""
    try:
        filled = replace(
            completed(wanted, existing),
            id=existing.id,
            etag=existing.etag,
            created=existing.created,
            updated=existing.updated,
            provisioning_status=existing.provisioning_status,
        )
    except Denial:
        return False
    return filled == existing
