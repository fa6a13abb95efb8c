"""IoT Hub as its callers know it: identities, telemetry, twins. Sockets are elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from typing import Any

from sqlalchemy import func, select

from labkit.clock import Clock
from labkit.cloud import codes
from labkit.cloud.certificates import CaCertificates
from labkit.cloud.hub import limits, methods
from labkit.cloud.hub.admission import Admission
from labkit.cloud.hub.authentication import KNOWN, Visitor
from labkit.cloud.hub.live import Outlet, Presence, Subject
from labkit.cloud.hub.methods import MethodResult
from labkit.cloud.hub.registry import Devices
from labkit.cloud.hub.running import Running
from labkit.cloud.hub.tables import DeviceIdentity, HubRow, Message, Twin
from labkit.cloud.presented import Presented
from labkit.cloud.refusals import Denial, Refusals
from labkit.database import Database
from labkit.errors import LabError, NotFound, ServiceRefusal
from labkit.events import Events
from labkit.trace import Check, failed

DOMAIN = "azure-devices.net"
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{1,48}[A-Za-z0-9])")


class Hub:
    """One IoT hub. ``host_name`` is its public name, ``name`` the first label of that."""

    def __init__(
        self,
        name: str,
        database: Database,
        clock: Clock,
        events: Events,
        refusals: Refusals,
        running: Running,
    ) -> None:
        self.name, self.host_name = name, f"{name}.{DOMAIN}"
        self._database, self._clock = database, clock
        self._events, self._refusals = events, refusals
        self._running, self.connections = running, running.connections
        self.certificates = CaCertificates(name, database, clock, events, refusals)
        self.admission = Admission(
            name, self.host_name, database, clock, refusals, self.certificates
        )
        self.devices = Devices(name, database, clock, events, refusals, running.connections)

    def __repr__(self) -> str:
        return f"<IoT hub {self.name!r}: {len(self.devices)} device identities>"

    # ---- connections

    def connect(
        self,
        device_id: str,
        client_id: str,
        presented: Presented,
        token: str = "",
        outlet: Outlet | None = None,
    ) -> None:
        """Authenticates a device that wants to connect, by its certificate or by a SAS ``token``
        that its key signed. By ``outlet`` it is reached then, until it is disconnected. Raises
        ServiceRefusal (CONNACK 5)."""
        displaced = False

        def enter() -> None:
            nonlocal displaced
            if outlet is not None:
                displaced = self.connections.enter(self.name, device_id, outlet)

        self.admission.admit(Visitor(device_id, client_id, presented, token), enter)
        if displaced:
            self._refusals.refuse("hub", device_id, codes.DISPLACED, (_one(device_id),), quiet=True)
        self._record("connected", f"{device_id} connected to {self.name}")

    def disconnected(self, device_id: str, outlet: Outlet | None = None) -> None:
        """The device's connection is gone."""
        if outlet is not None:
            self.connections.leave(self.name, device_id, outlet)
        self._record("disconnected", f"{device_id} left {self.name}")

    def listen(self, device_id: str, outlet: Outlet, subjects: Iterable[Subject]) -> None:
        """What a connected device wants to be told of from now on."""
        new = self.connections.listen(self.name, device_id, outlet, subjects)
        if Subject.METHODS in new:
            self._running.methods.came(self.name, device_id)

    def connected(self) -> list[Presence]:
        """The devices that are connected now."""
        return self.connections.of(self.name)

    # ---- direct methods

    def begin_method(
        self,
        device_id: str,
        name: str,
        payload: Any = None,
        response_timeout: float = methods.USUAL_WAIT,
        connect_timeout: float = 0.0,
    ) -> Future[MethodResult]:
        """Calls a direct method and does not wait. The future has the answer, or a ServiceRefusal:
        404103 where the device does not come within ``connect_timeout`` seconds, 504101 where it
        does not answer within ``response_timeout``, 404001 and 400004 for a call that nobody could
        answer."""
        if self._identity(device_id) is None:
            return _refused(self._refusals.of(self._unknown(device_id), "hub", device_id))
        if why := methods.fault(name, payload, response_timeout, connect_timeout):
            cure = "see Azure's documents on direct methods"
            return _refused(self.refuse_request(device_id, why, cure, rule=methods.CALL))
        self._record("method", f"{name} is called on {device_id} in {self.name}")
        return self._running.methods.begin(
            self.name, device_id, name, payload, response_timeout, connect_timeout,
            lambda error, check: self._refusals.refuse("hub", device_id, error, (check,)),
        )  # fmt: skip

    def invoke(
        self,
        device_id: str,
        name: str,
        payload: Any = None,
        *,
        response_timeout: float = methods.USUAL_WAIT,
        connect_timeout: float = 0.0,
    ) -> MethodResult:
        """Calls a direct method and waits for the answer. Raises ServiceRefusal as
        :meth:`begin_method` says."""
        begun = self.begin_method(device_id, name, payload, response_timeout, connect_timeout)
        return begun.result()

    def answer_method(self, device_id: str, request_id: str, status: int, payload: Any) -> None:
        """The device's answer to a call. One that nobody waits for any more is passed over."""
        result = MethodResult(status, payload)
        taken = self._running.methods.answer(self.name, device_id, request_id, result)
        said = "answered a method" if taken else "answered a method too late, or one never called"
        self._record("method answered", f"{device_id} {said}: {status}")

    # ---- telemetry

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
        self._record("telemetry", f"{device_id} sent {len(body)} bytes of telemetry to {self.name}")

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

    # ---- twins

    def twin(self, device_id: str) -> Twin:
        """Raises NotFound."""
        with self._database.read() as session:
            row = session.get(Twin, (self.name, device_id))
        if row is None:
            raise NotFound(
                f"{self.name} has no twin of {device_id!r}",
                cure="a twin comes and goes with the device's identity: look at .devices",
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

    def _unknown(self, device_id: str) -> Denial:
        why = f"{self.name} has no identity {device_id!r}"
        return Denial(codes.NO_SUCH_DEVICE, failed(KNOWN, device_id, why, "see .devices"))

    def _record(self, kind: str, text: str) -> None:
        self._events.record("hub", kind, text)


def _one(device_id: str) -> Check:
    return failed(
        "a device has one connection",
        device_id,
        "it connected once more, and the newer connection ended the older",
        "give each device an identity of its own: two that share one displace each other",
        source="Azure documentation, IoT: communicate with an IoT hub using MQTT",
    )


def _refused(refusal: ServiceRefusal) -> Future[MethodResult]:
    found: Future[MethodResult] = Future()
    found.set_exception(refusal)
    return found


def hub_label(name: str) -> str:
    """The first label of a hub's name, in lower case. Raises LabError for an impossible name."""
    label = name.removesuffix(f".{DOMAIN}").lower() if isinstance(name, str) else ""
    if not _NAME.fullmatch(label):
        raise LabError(
            f"{name!r} cannot be the name of a hub",
            expected="3 to 50 letters, digits and dashes, no dash at the ends",
        )
    return label


class Hubs:
    """The hubs of one lab, in the order of their names."""

    def __init__(
        self, database: Database, clock: Clock, events: Events, refusals: Refusals
    ) -> None:
        self._database, self._clock = database, clock
        self._events, self._refusals = events, refusals
        self._running = Running(clock.now)

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
        """The hub that a device's user name names. Raises ServiceRefusal for an unknown one, and
        before anything else for what can be no device's ID."""
        if not limits.is_device_id(device_id):
            why, cure = f"it is {device_id!r}", f"choose {limits.DEVICE_ID_RULE}"
            raise self._refuse(device_id, failed(limits.DEVICE_ID, device_id, why, cure), presented)
        try:
            return self.get(name)
        except NotFound as error:
            check = failed(
                "the hub that the user name names exists",
                device_id,
                f"it names {name!r}; {error.found}",
                "connect to the hub that DPS assigned",
            )
            raise self._refuse(device_id, check, presented) from error

    def close(self) -> None:
        """Whoever waits for an answer of a device waits no longer."""
        self._running.close()

    def __iter__(self) -> Iterator[Hub]:
        return (self._hub(name) for name in self._names())

    def _refuse(self, device_id: str, check: Check, presented: Presented) -> ServiceRefusal:
        error = codes.HUB_UNAUTHORIZED
        return self._refusals.refuse("hub", device_id, error, (check,), presented)

    def _names(self) -> list[str]:
        with self._database.read() as session:
            return list(session.scalars(select(HubRow.name).order_by(HubRow.name)))

    def _hub(self, name: str) -> Hub:
        return Hub(name, self._database, self._clock, self._events, self._refusals, self._running)


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
