"""Cloud-to-device messages: a queue a device, kept until the device has completed each.

send ──> enqueued ──the device listens (MQTT)──> brought ──PUBACK────> completed
           │   └────the device asks (HTTPS)────> locked ───complete──> completed
           │                                        └──────reject────> nobody has it any more
           ├── expired, or brought ten times ──> nobody has it any more
           └── the connection ended, the lock was lost or given back ──> enqueued
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal
from urllib.parse import quote

from sqlalchemy import Select, delete, func, select
from sqlalchemy.orm import Session

from labkit.cloud import codes
from labkit.cloud.hub.live import CloudMessage, Outlet, Subject
from labkit.cloud.hub.locks import LOCK_SECONDS, Locks
from labkit.cloud.hub.running import Running
from labkit.cloud.hub.tables import DeviceIdentity, QueuedMessage
from labkit.cloud.refusals import Denial
from labkit.database import Database
from labkit.trace import failed

MOST_QUEUED = 50
"""Messages of one device."""
MOST_DELIVERIES = 10
"""How often a message is brought to a device that does not complete it."""
LARGEST = 64 * 1024
"""Bytes of body and properties."""
LARGEST_BAG = 60_000
"""Characters of the properties as they stand in an MQTT topic, which has no more than 65,535:
percent-encoded, and with room for the device's ID."""
USUAL_LIFE, LONGEST_LIFE = 3_600.0, 2 * 24 * 3_600.0
"""Seconds by the lab's clock until a message expires."""
ACKNOWLEDGEMENTS = ("none", "positive", "negative", "full")

ROOM = "the device's queue has room"
FORM = "the message is one that a hub takes"
LOCKED = "the message is locked for the device"
_SOURCE = "Azure documentation, IoT Hub: understand cloud-to-device messaging"
_DONE = {"complete": "completed", "reject": "rejected"}


Settlement = Literal["complete", "abandon", "reject"]
"""What a device says of a message that it has fetched: it has it, it wants it later, or nobody is
to bring it again."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message to send. ``life`` is in seconds, by the lab's clock."""

    body: bytes
    properties: Mapping[str, str]
    system: Mapping[str, str]
    life: float = USUAL_LIFE


@dataclass(frozen=True, slots=True)
class Fetched:
    """A message that a device has fetched, locked for it. ``lock`` is the token to settle it
    by."""

    message: QueuedMessage
    lock: str


def as_body(body: Any) -> tuple[bytes, dict[str, str]]:
    """Bytes and text as they are, all else as JSON, and the system properties that say so.

    Raises TypeError, ValueError or RecursionError for what JSON cannot carry.
    """
    if isinstance(body, bytes | bytearray):
        return bytes(body), {}
    if isinstance(body, str):
        return body.encode(), {}
    return json.dumps(body, allow_nan=False).encode(), {"ct": "application/json", "ce": "utf-8"}


@dataclass(slots=True)
class _Brought:
    """What was brought over one connection and not completed yet."""

    outlet: Outlet
    numbers: set[int] = field(default_factory=set)


class Commands:
    """The queues of all hubs of a lab. ``now`` is its clock, ``tell`` takes a kind of event and
    its text. Refusals are raised as Denial."""

    def __init__(
        self,
        database: Database,
        running: Running,
        now: Callable[[], datetime],
        tell: Callable[[str, str], object],
    ) -> None:
        self._database, self._running, self._now, self._tell = database, running, now, tell
        self._brought: dict[tuple[str, str], _Brought] = {}
        self._locks = Locks(now)
        self._last = 0

    def send(self, hub: str, device_id: str, message: Message) -> QueuedMessage:
        """Keeps a message; brings it at once where the device is connected and listens."""
        if why := _fault(message):
            raise Denial(codes.BAD_REQUEST, failed(FORM, device_id, why, source=_SOURCE))
        now = self._now()
        with self._running.order:
            with self._database.write() as session:
                if session.get(DeviceIdentity, (hub, device_id)) is None:
                    why = f"{hub} has no device {device_id!r}"
                    check = failed("the hub knows the device", device_id, why, "see .devices")
                    raise Denial(codes.NO_SUCH_DEVICE, check)
                self._let_go(session, hub, device_id, now, self._under_way(hub, device_id))
                if _count(session, hub, device_id) >= MOST_QUEUED:
                    raise _full(device_id)
                row = _row(hub, device_id, now, message)
                row.number = self._next_number(session)
                session.add(row)
            self._bring(hub, device_id)
        return row

    def bring(self, hub: str, device_id: str) -> None:
        """Brings what waits to a device that listens."""
        with self._running.order:
            self._bring(hub, device_id)

    def complete(self, hub: str, device_id: str, number: int) -> None:
        """The device has it."""
        with self._running.order:
            brought = self._brought.get((hub, device_id))
            if brought is not None:
                brought.numbers.discard(number)
            gone = self._delete(*_of(hub, device_id, number))
        if gone:
            self._tell("completed", f"{device_id} completed a cloud-to-device message")

    def fetch(self, hub: str, device_id: str) -> Fetched | None:
        """The oldest message that the device is not being given already, locked for it; None where
        there is none."""
        with self._running.order:
            under_way = self._under_way(hub, device_id)
            with self._database.write() as session:
                self._let_go(session, hub, device_id, self._now(), under_way)
                waiting = _waiting(hub, device_id).where(QueuedMessage.number.not_in(under_way))
                row = session.scalar(waiting.limit(1))
                if row is None:
                    return None
                row.deliveries += 1
            return Fetched(row, self._locks.take(hub, device_id, row.number))

    def settle(self, hub: str, device_id: str, lock: str, how: Settlement) -> None:
        """What the device says of a message that it has fetched. Raises Denial (412002) where the
        lock is lost: the message is in the queue again, or gone."""
        with self._running.order:
            number = self._locks.release(hub, device_id, lock)
            if number is None:
                raise _lock_lost(device_id)
            if how == "abandon":
                self._bring(hub, device_id)
                return
            gone = self._delete(*_of(hub, device_id, number))
        if gone:
            kind = "completed" if how == "complete" else "dead-lettered"
            self._tell(kind, f"{device_id} {_DONE[how]} a cloud-to-device message")

    def queued(self, hub: str, device_id: str) -> list[QueuedMessage]:
        """What the device has not completed, oldest first, without what has expired."""
        with self._database.read() as session:
            query = _waiting(hub, device_id).where(QueuedMessage.expires > self._now())
            return list(session.scalars(query))

    def purge(self, hub: str, device_id: str) -> int:
        """Empties the queue; returns how many messages that took."""
        with self._running.order:
            before = len(self.queued(hub, device_id))
            self._delete(*_of(hub, device_id))
            self._brought.pop((hub, device_id), None)
            self._locks.forget(hub, device_id)
        return before

    def _bring(self, hub: str, device_id: str) -> None:
        outlet = self._running.connections.reach(hub, device_id, Subject.MESSAGES)
        if outlet is None:
            return
        brought = self._brought.get((hub, device_id))
        if brought is None or brought.outlet is not outlet:
            brought = self._brought[hub, device_id] = _Brought(outlet)
        under_way = self._under_way(hub, device_id)
        with self._database.write() as session:
            self._let_go(session, hub, device_id, self._now(), under_way)
            rows = list(session.scalars(_waiting(hub, device_id)))
            rows = [row for row in rows if row.number not in under_way]
            for row in rows:
                row.deliveries += 1
        for row in rows:
            brought.numbers.add(row.number)
            outlet.deliver(CloudMessage(row.number, row.body, row.properties, row.system))

    def _under_way(self, hub: str, device_id: str) -> set[int]:
        """What the device is being given: over the connection that it has, or by a lock."""
        locked, brought = self._locks.numbers(hub, device_id), self._brought.get((hub, device_id))
        if brought is None or self._running.connections.find(hub, device_id) is not brought.outlet:
            return locked
        return locked | brought.numbers

    def _next_number(self, session: Session) -> int:
        """One that no message has had since the lab was opened. SQLite gives the number of a
        message that is gone to the next one, and what a device says late of the older would be
        taken for a word on the newer."""
        newest = session.scalar(select(func.max(QueuedMessage.number))) or 0
        self._last = max(self._last, newest) + 1
        return self._last

    def _delete(self, *which: Any) -> int:
        with self._database.write() as session:
            gone = session.execute(delete(QueuedMessage).where(*which))
        return int(gone.rowcount)  # type: ignore[attr-defined]

    def _let_go(
        self, session: Session, hub: str, device_id: str, now: datetime, under_way: set[int]
    ) -> None:
        """What has expired, and what was brought too often; not what the device is just given."""
        mine = [QueuedMessage.number.not_in(under_way), *_of(hub, device_id)]
        for kind, why in (
            ("expired", QueuedMessage.expires <= now),
            ("dead-lettered", QueuedMessage.deliveries >= MOST_DELIVERIES),
        ):
            gone = session.execute(delete(QueuedMessage).where(why, *mine)).rowcount  # type: ignore[attr-defined]
            if gone:
                self._tell(kind, f"{gone} cloud-to-device message(s) to {device_id}: {kind}")


def _fault(message: Message) -> str:
    values = [*message.properties.items(), *message.system.items()]
    if not all(_is_text(part) for pair in values for part in pair):
        return "names and values of properties are text"
    if "" in message.properties:
        return "a property without a name"
    size = len(message.body) + sum(len(text.encode()) for pair in values for text in pair)
    if size > LARGEST:
        return f"body and properties are {size:,} bytes; {LARGEST:,} at most"
    if (
        bag := sum(len(quote(text, safe="")) + 1 for pair in values for text in pair)
    ) > LARGEST_BAG:
        return f"its properties are {bag:,} characters, percent-encoded; {LARGEST_BAG:,} at most"
    if not 0 < message.life <= LONGEST_LIFE:
        return f"it would live {message.life:g} s; {LONGEST_LIFE:g} at most"
    return ""


def _is_text(part: Any) -> bool:
    """Whether UTF-8 can carry it: Python's texts may hold half of a surrogate pair."""
    return isinstance(part, str) and not any("\ud800" <= sign <= "\udfff" for sign in part)


def _full(device_id: str) -> Denial:
    why = f"{MOST_QUEUED} messages wait that the device has not completed"
    cures = ("let the device connect and receive them", "purge the queue", "let them expire sooner")
    return Denial(codes.QUEUE_FULL, failed(ROOM, device_id, why, *cures, source=_SOURCE))


def _lock_lost(device_id: str) -> Denial:
    why = "there is no lock of this token, any more or at all"
    cures = (f"settle a message within {LOCK_SECONDS:g} s", "fetch it again: it is in the queue")
    return Denial(codes.LOCK_LOST, failed(LOCKED, device_id, why, *cures, source=_SOURCE))


def _row(hub: str, device_id: str, now: datetime, message: Message) -> QueuedMessage:
    return QueuedMessage(
        hub,
        device_id,
        now,
        now + timedelta(seconds=message.life),
        message.body,
        dict(message.properties),
        {**message.system, "to": f"/devices/{device_id}/messages/devicebound"},
    )


def _of(hub: str, device_id: str, number: int | None = None) -> list[Any]:
    mine = [QueuedMessage.hub == hub, QueuedMessage.device_id == device_id]
    return mine if number is None else [*mine, QueuedMessage.number == number]


def _waiting(hub: str, device_id: str) -> Select[QueuedMessage]:
    return select(QueuedMessage).where(*_of(hub, device_id)).order_by(QueuedMessage.number)


def _count(session: Session, hub: str, device_id: str) -> int:
    query = select(func.count()).select_from(QueuedMessage).where(*_of(hub, device_id))
    return session.scalar(query) or 0
