"""Who is connected now, and how the hub reaches a device on its own account.

Nothing here has heard of sockets. What carries messages to a device gives the hub an
:class:`Outlet`; the hub holds one for each device that is connected, and no more than one:

    enter ──> connected ──listen──> reached for messages, methods, desired properties
      │           │
      │           ├── leave: the device went, or its line broke
      │           └── end: another connection of the device, or its identity was disabled
      └ a connection that was there before is ended: the newer wins (Azure's 400027)
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol, TypeAlias

from labkit.errors import ServiceRefusal


class Subject(StrEnum):
    """What a device can ask to be told of. Twin answers and certificates are for its own requests
    only."""

    MESSAGES = "messages"
    METHODS = "methods"
    DESIRED = "desired"
    TWIN_ANSWERS = "twin answers"
    CERTIFICATES = "certificates"


@dataclass(frozen=True, slots=True)
class CloudMessage:
    """A cloud-to-device message. ``number`` is what the device's side completes it by."""

    number: int
    body: bytes
    properties: Mapping[str, str]
    system: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class MethodCall:
    """A direct method, called. The answer comes back under ``request_id``."""

    request_id: str
    name: str
    payload: Any


@dataclass(frozen=True, slots=True)
class DesiredChange:
    """What a back end changed in the desired properties, and their version since."""

    version: int
    patch: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CertificateAnswer:
    """How a device's request for its next certificate ended: ``chain`` is what was issued and its
    issuers up to the root, in DER; or it is empty, and ``refusal`` says why."""

    request_id: str
    correlation_id: str
    chain: tuple[bytes, ...] = ()
    refusal: ServiceRefusal | None = None


ToDevice: TypeAlias = CloudMessage | MethodCall | DesiredChange | CertificateAnswer


class Outlet(Protocol):
    """A live connection, as the hub sees it. Both may be called in any thread, and neither
    waits for anything nor raises."""

    def deliver(self, message: ToDevice) -> None:
        """Brings it to the device, if the connection lasts that long."""
        ...

    def end(self, why: str) -> None:
        """Ends the connection. :meth:`Connections.leave` is called when it is gone."""
        ...


@dataclass(frozen=True, slots=True)
class Presence:
    """Whether a device is connected, since when that is so, and when it was last heard of, by
    the lab's clock. Known of devices that came since the lab was opened."""

    device_id: str
    connected: bool
    since: datetime
    last_activity: datetime


@dataclass(slots=True)
class _Connection:
    outlet: Outlet
    since: datetime
    last_activity: datetime
    subjects: frozenset[Subject] = field(default_factory=frozenset)


_Key: TypeAlias = tuple[str, str]


class Connections:
    """The live connections of all hubs of a lab. ``now`` is the lab's clock."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now, self._lock = now, threading.Lock()
        self._live: dict[_Key, _Connection] = {}
        self._gone: dict[_Key, Presence] = {}

    def enter(self, hub: str, device_id: str, outlet: Outlet) -> bool:
        """The device is connected by this outlet from now on. True where that ended an older
        connection of it."""
        now = self._now()
        with self._lock:
            older = self._live.get((hub, device_id))
            self._live[hub, device_id] = _Connection(outlet, now, now)
            self._gone.pop((hub, device_id), None)
        if older is None:
            return False
        older.outlet.end("the device connected once more, and the newer connection wins")
        return True

    def leave(self, hub: str, device_id: str, outlet: Outlet) -> bool:
        """This connection is gone. False where another took its place before."""
        with self._lock:
            found = self._live.get((hub, device_id))
            if found is None or found.outlet is not outlet:
                return False
            del self._live[hub, device_id]
            self._gone[hub, device_id] = Presence(
                device_id, False, self._now(), found.last_activity
            )
        return True

    def end(self, hub: str, device_id: str, why: str) -> bool:
        """Ends the device's connection; False where it has none. From now on the device is not
        reached any more, even if its line takes a moment to close."""
        with self._lock:
            found = self._live.get((hub, device_id))
        if found is None:
            return False
        self.leave(hub, device_id, found.outlet)
        found.outlet.end(why)
        return True

    def listen(
        self, hub: str, device_id: str, outlet: Outlet, subjects: Iterable[Subject]
    ) -> frozenset[Subject]:
        """What this connection is told of from now on, instead of before. Returns what is new."""
        wanted = frozenset(subjects)
        with self._lock:
            found = self._live.get((hub, device_id))
            if found is None or found.outlet is not outlet:
                return frozenset()
            before, found.subjects = found.subjects, wanted
        return wanted - before

    def heard(self, hub: str, device_id: str, now: datetime) -> None:
        """The device said something."""
        with self._lock:
            if (found := self._live.get((hub, device_id))) is not None:
                found.last_activity = now

    def find(self, hub: str, device_id: str) -> Outlet | None:
        """The connection of a device, if it has one."""
        with self._lock:
            found = self._live.get((hub, device_id))
        return found.outlet if found else None

    def reach(self, hub: str, device_id: str, subject: Subject) -> Outlet | None:
        """The connection of a device, if it has one and listens to this."""
        with self._lock:
            found = self._live.get((hub, device_id))
        return found.outlet if found and subject in found.subjects else None

    def presence(self, hub: str, device_id: str) -> Presence | None:
        """What is known of a device; None where it did not come since the lab was opened."""
        with self._lock:
            found = self._live.get((hub, device_id))
            if found is None:
                return self._gone.get((hub, device_id))
        return Presence(device_id, True, found.since, found.last_activity)

    def count(self) -> int:
        """How many devices are connected, to any hub."""
        with self._lock:
            return len(self._live)

    def of(self, hub: str) -> list[Presence]:
        """The devices that are connected to a hub, in the order of their IDs."""
        with self._lock:
            found = sorted((key[1], one) for key, one in self._live.items() if key[0] == hub)
        return [Presence(name, True, one.since, one.last_activity) for name, one in found]

    def forget(self, hub: str, device_id: str) -> None:
        """Nothing is known any more of a device that is not connected: its identity was
        deleted."""
        with self._lock:
            self._gone.pop((hub, device_id), None)
