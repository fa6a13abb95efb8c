"""Telemetry: kept in groups, read in order, followed as it comes, and let go when it is old."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, func, select

from labkit.cloud.hub.tables import Message
from labkit.database import Database, utc_text

KEPT_MESSAGES = 100_000
"""Messages kept in a lab, of all its hubs; the oldest make room."""
KEPT_BYTES = 256 * 1024 * 1024
"""Bytes of their bodies that are kept."""

_PRUNE_AT = 1_000, 8 * 1024 * 1024
"""So many messages or bytes may be kept above that before somebody looks."""
_PAGE = 500
_LOOK_SECONDS = 0.2
"""How often a follower looks for what another process kept; what this one keeps, it is told."""

_KEEP = (
    "INSERT INTO message (hub, device_id, at, body, properties, system) VALUES (?, ?, ?, ?, ?, ?)"
)
_OLD = "DELETE FROM message WHERE number <= (SELECT max(number) FROM message) - ?"
_LARGE = """DELETE FROM message WHERE number <= (
    SELECT number FROM (
        SELECT number, sum(length(body)) OVER (ORDER BY number DESC) AS bytes FROM message
    ) WHERE bytes > ? ORDER BY number DESC LIMIT 1
)"""


@dataclass(frozen=True, slots=True)
class Telemetry:
    """What a device sent. ``properties`` are the application's, ``system`` the hub's."""

    body: bytes
    properties: Mapping[str, str] = field(default_factory=dict)
    system: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which messages: of one device, kept at a moment or later, with a number above, with these
    properties among theirs."""

    hub: str
    device_id: str = ""
    since: datetime | None = None
    after: int = 0
    properties: Mapping[str, str] = field(default_factory=dict)

    def select(self) -> Select[Message]:
        """The query, without the properties."""
        query = select(Message).where(Message.hub == self.hub, Message.number > self.after)
        if self.device_id:
            query = query.where(Message.device_id == self.device_id)
        if self.since is not None:
            query = query.where(Message.at >= self.since)
        return query.order_by(Message.number)

    def takes(self, message: Message) -> bool:
        """Whether a message has the properties."""
        return self.properties.items() <= message.properties.items()


class Inbox:
    """The telemetry of all hubs of a lab."""

    def __init__(self, database: Database) -> None:
        self._database, self._came, self._groups = database, threading.Condition(), 0
        self._messages, self._bytes = _PRUNE_AT  # who opens a lab looks once

    def keep(self, hub: str, device_id: str, now: datetime, messages: Sequence[Telemetry]) -> None:
        """All of them or none; they are on disk when this returns."""
        at = utc_text(now)
        rows = [
            (hub, device_id, at, m.body, _json(m.properties), _json(m.system)) for m in messages
        ]
        with self._database.quick_write() as connection:
            _driver(connection).executemany(_KEEP, rows)
            self._prune(connection, len(rows), sum(len(m.body) for m in messages))
        with self._came:
            self._groups += 1
            self._came.notify_all()

    def read(self, wanted: Wanted) -> list[Message]:
        """What was kept and is wanted, oldest first."""
        with self._database.read() as session:
            return [m for m in session.scalars(wanted.select()) if wanted.takes(m)]

    def follow(self, wanted: Wanted, patience: float) -> Iterator[Message]:
        """The same, and then what comes; ends when nothing came for ``patience`` seconds."""
        seen, end = wanted.after, time.monotonic() + patience
        while True:
            groups, page = self._groups, self._page(wanted, seen)
            for message in filter(wanted.takes, page):
                yield message
                end = time.monotonic() + patience
            if page:
                seen = page[-1].number
            elif (left := end - time.monotonic()) > 0:
                self._wait(groups, min(left, _LOOK_SECONDS))
            else:
                return

    def newest(self, hub: str) -> int:
        """The number of a hub's newest message; 0 without one."""
        with self._database.read() as session:
            query = select(func.max(Message.number)).where(Message.hub == hub)
            return session.scalar(query) or 0

    def _wait(self, groups: int, seconds: float) -> None:
        """Until a group was kept behind so many."""
        with self._came:
            self._came.wait_for(lambda: self._groups != groups, seconds)

    def _page(self, wanted: Wanted, seen: int) -> list[Message]:
        with self._database.read() as session:
            query = wanted.select().where(Message.number > seen).limit(_PAGE)
            return list(session.scalars(query))

    def _prune(self, connection: Connection, messages: int, size: int) -> None:
        self._messages, self._bytes = self._messages + messages, self._bytes + size
        if self._messages >= _PRUNE_AT[0]:
            _driver(connection).execute(_OLD, (KEPT_MESSAGES,))
            self._messages = 0
        if self._bytes >= _PRUNE_AT[1]:
            _driver(connection).execute(_LARGE, (KEPT_BYTES,))
            self._bytes = 0


def _json(values: Mapping[str, str]) -> str:
    return json.dumps(values) if values else "{}"


def _driver(connection: Connection) -> Any:
    return connection.connection.dbapi_connection
