"""IoT Hub as its callers know it: identities, telemetry, twins. Sockets are elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from typing import Any

from sqlalchemy import func, select

from labkit.clock import Clock
from labkit.cloud import codes, presentations
from labkit.cloud.certificates import CaCertificates
from labkit.cloud.hub import limits
from labkit.cloud.hub.authentication import Visitor, authenticate
from labkit.cloud.hub.tables import DeviceIdentity, HubRow, Message, Twin
from labkit.cloud.presented import Presented
from labkit.cloud.refusals import Refusals
from labkit.cloud.store import machine_time
from labkit.database import Database
from labkit.errors import LabError, NotFound, ServiceRefusal
from labkit.events import Events
from labkit.trace import Check, failed, first_failure

DOMAIN = "azure-devices.net"
RESERVED = frozenset({"dps", "hub", "mqtt", "https", "tls"})
"""Under these names the books and the event log keep what is not a single hub's."""
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{1,48}[A-Za-z0-9])")


class Hub:
    """One IoT hub. ``host_name`` is its public name, ``name`` the first label of that;
    ``dialled`` is what a client calls it, which may be an address."""

    def __init__(
        self, name: str, database: Database, clock: Clock, events: Events, refusals: Refusals
    ) -> None:
        self.name, self.host_name = name, f"{name}.{DOMAIN}"
        self.dialled = self.host_name
        self._database, self._clock = database, clock
        self._events, self._refusals = events, refusals
        self.certificates = CaCertificates(name, database, clock, events, refusals)
        self.real_time = machine_time

    def __repr__(self) -> str:
        return f"<IoT hub {self.name!r}: {len(self.devices())} device identities>"

    def connect(
        self, device_id: str, client_id: str, presented: Presented, token: str = ""
    ) -> None:
        """Authenticates a device that wants to connect, by its certificate or by a SAS ``token``
        that its key signed. Raises ServiceRefusal (CONNACK 5)."""
        now, identity = self._clock.now(), self._identity(device_id)
        visitor = Visitor(device_id, client_id, presented, token, self.dialled)
        checks = authenticate(self.host_name, visitor, identity, now, self.real_time())
        accepted = first_failure(checks) is None
        with self._database.quick_write() as connection:
            presentations.keep(connection, self.name, device_id, now, presented, accepted)
        if not accepted:
            raise self._refusals.refuse("hub", device_id, codes.HUB_UNAUTHORIZED, checks, presented)
        self._events.record("hub", "connected", f"{device_id} connected to {self.name}")

    def disconnected(self, device_id: str) -> None:
        self._events.record("hub", "disconnected", f"{device_id} left {self.name}")

    def receive(
        self,
        device_id: str,
        body: bytes,
        properties: Mapping[str, str],
        system: Mapping[str, str],
    ) -> None:
        """Keeps a telemetry message; it is on disk when this returns."""
        now = self._clock.now()
        with self._database.write() as session:
            session.add(Message(self.name, device_id, now, body, dict(properties), dict(system)))
        self._events.record(
            "hub", "telemetry", f"{device_id} sent {len(body)} bytes of telemetry to {self.name}"
        )

    def messages(self, device_id: str = "") -> list[Message]:
        """The telemetry that was kept, oldest first; of one device where it is named."""
        query = select(Message).where(Message.hub == self.name).order_by(Message.number)
        if device_id:
            query = query.where(Message.device_id == device_id)
        with self._database.read() as session:
            return list(session.scalars(query))

    def message_count(self) -> int:
        """How many messages were kept, of all devices."""
        mine = select(func.count()).select_from(Message).where(Message.hub == self.name)
        with self._database.read() as session:
            return session.scalar(mine) or 0

    def messages_by_device(self) -> dict[str, int]:
        """How many messages were kept of each device that sent any."""
        mine = select(Message.device_id, func.count()).where(Message.hub == self.name)
        with self._database.read() as session:
            return dict(session.execute(mine.group_by(Message.device_id)).tuples().all())

    def device(self, device_id: str) -> DeviceIdentity:
        """The identity of a device. IDs are compared with regard to case. Raises NotFound."""
        found = self._identity(device_id)
        if found is None:
            known = ", ".join(d.device_id for d in self.devices()) or "none yet"
            raise NotFound(
                f"{self.name} has no device {device_id!r}", found=f"device identities: {known}"
            )
        return found

    def devices(self) -> list[DeviceIdentity]:
        query = select(DeviceIdentity).where(DeviceIdentity.hub == self.name)
        with self._database.read() as session:
            return list(session.scalars(query.order_by(DeviceIdentity.device_id)))

    def twin(self, device_id: str) -> Twin:
        """Raises NotFound."""
        with self._database.read() as session:
            row = session.get(Twin, (self.name, device_id))
        if row is None:
            raise NotFound(
                f"{self.name} has no twin of {device_id!r}",
                cure="a twin comes and goes with the device's identity: look at .devices()",
            )
        return row

    def report(self, device_id: str, patch: Mapping[str, Any]) -> int:
        """Merges a patch into the reported properties and returns their new version.

        A null takes a property away (JSON merge patch, RFC 7396). Raises ServiceRefusal for
        more than Azure's twins hold.
        """
        if limits.too_deep(patch):
            why, cure = f"more than {limits.DEEPEST} levels", "report flatter properties"
            raise self.refuse_request(device_id, why, cure, rule=limits.DEPTH)
        with self._database.write() as session:
            row = session.get_one(Twin, (self.name, device_id))
            after = merged(row.reported, patch)
            if (size := limits.size(after)) <= limits.LARGEST_SECTION:
                row.reported = after
                row.reported_version += 1
                return row.reported_version
        why = f"they would be {size:,} bytes; {limits.LARGEST_SECTION:,} at most"
        cure = "report less, or take old properties away by reporting null for them"
        raise self.refuse_request(device_id, why, cure, rule=limits.SIZE)

    def refuse_request(
        self, device_id: str, why: str, cure: str, *, rule: str = "the request can be read"
    ) -> ServiceRefusal:
        """The answer to a request that could not be understood, or asks for too much."""
        check = failed(rule, device_id, why, cure)
        return self._refusals.refuse("hub", device_id, codes.BAD_REQUEST, (check,))

    def _identity(self, device_id: str) -> DeviceIdentity | None:
        with self._database.read() as session:
            return session.get(DeviceIdentity, (self.name, device_id))


def _is_address(name: str) -> bool:
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def hub_label(name: str) -> str:
    """The first label of a hub's name, in lower case. Raises LabError for an impossible name."""
    label = name.removesuffix(f".{DOMAIN}").lower() if isinstance(name, str) else ""
    if not _NAME.fullmatch(label):
        raise LabError(
            f"{name!r} cannot be the name of a hub",
            expected="3 to 50 letters, digits and dashes, no dash at the ends",
        )
    if label in RESERVED:
        raise LabError(
            f"{name!r} cannot be the name of a hub",
            expected="a name that the lab does not use for its services itself",
            found=f"the lab's own are: {', '.join(sorted(RESERVED))}",
            cure=f"choose another name, such as {label}-hub",
        )
    return label


class Hubs:
    """The hubs of one lab, in the order of their names."""

    def __init__(
        self, database: Database, clock: Clock, events: Events, refusals: Refusals
    ) -> None:
        self._database, self._clock = database, clock
        self._events, self._refusals = events, refusals

    def add(self, name: str) -> Hub:
        """A hub linked to DPS, made when absent. ``name`` with or without its domain."""
        label = hub_label(name)
        with self._database.write() as session:
            if session.get(HubRow, label) is None:
                session.add(HubRow(label))
        return self._hub(label)

    def get(self, name: str) -> Hub:
        """The hub of this name, with or without its domain. Raises NotFound."""
        label = name.removesuffix(f".{DOMAIN}").lower()
        if label not in self._names():
            raise NotFound(f"There is no hub {name!r}", found=f"hubs: {', '.join(self._names())}")
        return self._hub(label)

    def named_by(self, name: str, device_id: str, presented: Presented) -> Hub:
        """The hub that a device's user name names, or by whose address it asks. Raises
        ServiceRefusal for an unknown one, and before anything else for what can be no device's
        ID."""
        if not limits.is_device_id(device_id):
            why, cure = f"it is {device_id!r}", f"choose {limits.DEVICE_ID_RULE}"
            raise self._refuse(device_id, failed(limits.DEVICE_ID, device_id, why, cure), presented)
        try:
            return self._at(name, device_id) if _is_address(name) else self.get(name)
        except NotFound as error:
            check = failed(
                "the hub that the user name names exists",
                device_id,
                f"it names {name!r}; {error.found}",
                "connect to the hub that DPS assigned",
            )
            raise self._refuse(device_id, check, presented) from error

    def _at(self, address: str, device_id: str) -> Hub:
        """All hubs are at one address: a device that dials it means the one that knows it.
        Raises NotFound."""
        knowing = select(DeviceIdentity.hub).where(DeviceIdentity.device_id == device_id)
        with self._database.read() as session:
            found = list(session.scalars(knowing))
        if len(found) != 1:
            those = ", ".join(found) or "none"
            raise NotFound(f"No hub is meant by {address}", found=f"hubs that know it: {those}")
        hub = self._hub(found[0])
        hub.dialled = address
        return hub

    def __iter__(self) -> Iterator[Hub]:
        return (self._hub(name) for name in self._names())

    def _refuse(self, device_id: str, check: Check, presented: Presented) -> ServiceRefusal:
        error = codes.HUB_UNAUTHORIZED
        return self._refusals.refuse("hub", device_id, error, (check,), presented)

    def _names(self) -> list[str]:
        with self._database.read() as session:
            return list(session.scalars(select(HubRow.name).order_by(HubRow.name)))

    def _hub(self, name: str) -> Hub:
        return Hub(name, self._database, self._clock, self._events, self._refusals)


def merged(base: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """JSON merge patch (RFC 7396): objects are merged, null takes away, all else replaces."""
    result = dict(base)
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, dict):
            below = result.get(name)
            result[name] = merged(below if isinstance(below, dict) else {}, value)
        else:
            result[name] = value
    return result
