"""SQLite, opened the one way that the lab uses it.

A write takes SQLite's write lock at its start, so that what it read stays true until it
commits. Committed is durable across ``kill -9`` (write-ahead log, synchronous NORMAL); a
power cut may cost the last commits but never the file.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Connection,
    DateTime,
    Dialect,
    Engine,
    ExceptionContext,
    MetaData,
    PoolProxiedConnection,
    TypeDecorator,
    create_engine,
    event,
)
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session
from sqlalchemy.schema import CreateIndex, CreateTable
from sqlalchemy.util import LRUCache

from labkit import ids
from labkit.errors import WorkspaceError

_BUSY_MILLISECONDS = 10_000


class UtcDateTime(TypeDecorator[datetime]):
    """A moment with its zone. SQLite has none: stored as UTC, read as UTC.

    Written and read past SQLAlchemy's own type for SQLite, by what the standard library has in C:
    a registration has a dozen of them.
    """

    impl = DateTime
    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> Callable[[datetime | None], str | None]:
        return lambda value: None if value is None else utc_text(value)

    def result_processor(
        self, dialect: Dialect, coltype: object
    ) -> Callable[[str | None], datetime | None]:
        return lambda text: None if text is None else _of_utc_text(text)


def utc_text(moment: datetime) -> str:
    """A moment as :class:`UtcDateTime` keeps it, for those who write past it."""
    naive = moment.astimezone(UTC).replace(tzinfo=None)
    return naive.isoformat(sep=" ", timespec="microseconds")


def _of_utc_text(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


COLUMN_TYPES = {datetime: UtcDateTime}
"""For the ``type_annotation_map`` of every declarative base."""


_THING = re.compile(r"Error binding parameter .*type '(.+)' is not supported")


@dataclass(frozen=True, slots=True)
class Insert:
    """Rows for one table: ``statement`` is SQL with a ``?`` for each column."""

    statement: str
    rows: Sequence[tuple[Any, ...]]

    @classmethod
    def into(cls, table: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> Insert:
        """Into these columns; each row has its values in their order, as SQLite keeps them."""
        places = ", ".join("?" * len(columns))
        return cls(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})", rows)


class Database:
    """One SQLite file with the tables of ``metadata``, made when absent (mode 0600)."""

    def __init__(self, path: Path, metadata: MetaData) -> None:
        path.touch(mode=0o600)
        self._closed = False
        self._inserting: PoolProxiedConnection | None = None
        self._inserting_lock = threading.Lock()
        self._engine = _engine(path)
        event.listen(self._engine, "connect", _configure)
        event.listen(self._engine, "begin", _begin)
        self._writing = self._engine.execution_options(labkit_begin="BEGIN IMMEDIATE")
        self._kept = _Kept(self._engine)
        try:
            with self._writing.begin() as connection:
                for statement in _making(metadata, len(metadata.tables)):
                    connection.exec_driver_sql(statement)
        except DatabaseError as error:
            raise WorkspaceError(
                f"{path} cannot be used",
                expected="an SQLite database of the lab",
                found=str(error.orig),
                cure=f"move {os.fspath(path.parent)} away, or open the lab with fresh=True",
            ) from error

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A consistent view. What it hands out stays usable after it ends."""
        self._check_open()
        with Session(self._engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Commits at its end, or takes everything back when it ends in an exception."""
        self._check_open()
        with Session(self._writing, expire_on_commit=False) as session, session.begin():
            yield session

    def quick_read(self) -> AbstractContextManager[Connection]:
        """A connection that is kept, for what a device waits for: without a session and without a
        transaction. What :meth:`quick_write` writes does not change meanwhile: one at a time uses
        the connection, and never one within another."""
        self._check_open()
        return self._kept.use(writing=False)

    def quick_write(self) -> AbstractContextManager[Connection]:
        """A transaction like that of :meth:`write`, on the same kept connection. Whoever is inside
        may not use :meth:`write` either."""
        self._check_open()
        return self._kept.use(writing=True)

    def insert(self, *inserts: Insert) -> None:
        """All the rows of all the inserts or none, committed when this returns.

        Straight to the driver, which prepares a statement once, and on a connection that is
        kept: ten times as fast as :meth:`write` for those who write thousands of rows. Raises
        sqlite3.IntegrityError, and nothing is written, where a row breaks a constraint.
        """
        with self._inserting_lock:
            self._check_open()
            if self._inserting is None:
                self._inserting = self._engine.raw_connection()
            cursor = self._inserting.cursor()
            cursor.execute("BEGIN IMMEDIATE")
            try:
                for insert in inserts:
                    cursor.executemany(insert.statement, insert.rows)
            except BaseException:
                cursor.execute("ROLLBACK")
                raise
            cursor.execute("COMMIT")

    def close(self) -> None:
        """Nothing can be read or written any more: the workspace may belong to others by then."""
        with self._inserting_lock:
            self._closed = True
            if self._inserting is not None:
                self._inserting.close()
                self._inserting = None
        self._kept.close()
        self._engine.dispose()

    def _check_open(self) -> None:
        if self._closed:
            raise closed()


class _Kept:
    """A connection that is opened once and used by one thread at a time.

    Its transactions are begun and ended at the driver: SQLAlchemy's own way there takes as long
    as all that a registration writes.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine.execution_options(labkit_begin="")
        self._lock, self._owner = threading.Lock(), 0
        self._connection: Connection | None = None

    @contextmanager
    def use(self, *, writing: bool) -> Iterator[Connection]:
        me = threading.get_ident()
        assert self._owner != me, "this would wait for itself"
        with self._lock:
            self._owner = me
            if self._connection is None:
                self._connection = self._engine.connect()
            connection, driver = self._connection, self._connection.connection
            try:
                if writing:
                    driver.cursor().execute("BEGIN IMMEDIATE")
                yield connection
                if connection.in_transaction():  # somebody asked through SQLAlchemy
                    connection.commit()
                driver.commit()  # SQLAlchemy's does nothing where it was not asked
            except BaseException:
                connection.rollback()
                driver.rollback()
                raise
            finally:
                self._owner = 0

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None


def closed() -> WorkspaceError:
    """What whoever still holds something of a lab that was closed, or started over, is told."""
    return WorkspaceError(
        "This lab is closed", cure="run the cell that opens it, and those below it, again"
    )


_compiled = LRUCache[Any, Any](1000)


def _engine(path: Path) -> Engine:
    """What a statement looks like in SQLite is found out once for all databases of a process: it
    takes longer than to run it."""
    # hidden: an error that is logged would tell the keys among them
    engine = create_engine(f"sqlite:///{path}", hide_parameters=True)
    engine.dialect = _dialect()
    return engine.execution_options(compiled_cache=_compiled)


@cache
def _dialect() -> Dialect:
    """Initialised by a connection, and the same for all: compiled statements are kept by it, and
    what becomes of an error is the dialect's, too."""
    engine = create_engine("sqlite://")
    event.listen(engine, "handle_error", _refuse_things)
    engine.connect().close()
    engine.dispose()
    return engine.dialect


@cache
def _making(metadata: MetaData, _number: int) -> tuple[str, ...]:
    """What makes those of so many tables that are absent, with their indexes."""
    made: list[CreateTable | CreateIndex] = []
    for table in metadata.sorted_tables:
        made.append(CreateTable(table, if_not_exists=True))
        made += [CreateIndex(index, if_not_exists=True) for index in table.indexes]
    return tuple(str(each.compile(dialect=_dialect())) for each in made)


def _configure(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # begin is ours: see _begin
    for pragma in (
        "journal_mode = WAL",
        "synchronous = NORMAL",
        "foreign_keys = ON",
        "wal_autocheckpoint = 5000",  # pages: each time costs as much as a hundred registrations
        f"busy_timeout = {_BUSY_MILLISECONDS}",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    if begin := connection.get_execution_options().get("labkit_begin", "BEGIN"):
        connection.exec_driver_sql(begin)


def _refuse_things(context: ExceptionContext) -> None:
    """Whoever hands over a device where its name is wanted is told so, and not what SQLite makes
    of it."""
    if found := _THING.search(str(context.original_exception)):
        raise ids.not_a_name(found[1])
