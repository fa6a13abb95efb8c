"""The hubs of one lab."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from sqlalchemy import select

from labkit.clock import Clock
from labkit.cloud import codes
from labkit.cloud.hub import limits
from labkit.cloud.hub.issuing import Issuing
from labkit.cloud.hub.live import Connections
from labkit.cloud.hub.methods import MethodResult
from labkit.cloud.hub.names import hub_label, label_of
from labkit.cloud.hub.service import Hub
from labkit.cloud.hub.shared import Shared
from labkit.cloud.hub.tables import DeviceIdentity, HubRow
from labkit.cloud.presented import Presented
from labkit.cloud.refusals import Refusals
from labkit.database import Database
from labkit.errors import NotFound, ServiceRefusal
from labkit.events import Events
from labkit.trace import Check, failed
from labkit.work import Work

_API_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}(-preview)?")
_SOURCE = "Azure documentation, IoT: communicate with an IoT hub using MQTT"


@dataclass(frozen=True, slots=True)
class HubUser:
    """What an MQTT user name says: ``{hub}/{device}/?api-version=…``, for a module
    ``{hub}/{device}/{module}/?api-version=…``. The api-version may be left out. ``dialled`` is
    the hub as it stands there, with the port where the client wrote one."""

    hub: str
    device_id: str
    module: str = ""
    api_version: str = ""
    dialled: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Target:
    """A hub as its jobs need it."""

    hub: Hub

    def named_by(self, condition: str) -> list[str]:
        return self.hub.queries.devices(condition)

    def begin_method(
        self,
        device_id: str,
        name: str,
        payload: Any,
        response_timeout: float,
        connect_timeout: float,
    ) -> Future[MethodResult]:
        hub = self.hub
        return hub.begin_method(device_id, name, payload, response_timeout, connect_timeout)

    def patch_twin(self, device_id: str, patch: Mapping[str, Any]) -> None:
        self.hub.update_twin(device_id, desired=patch.get("desired"), tags=patch.get("tags"))


class Hubs:
    """The hubs of one lab, in the order of their names."""

    def __init__(
        self, database: Database, clock: Clock, events: Events, refusals: Refusals
    ) -> None:
        self._database, self._clock = database, clock
        self._events, self._refusals = events, refusals
        self._shared = Shared(database, clock, events, lambda name: _Target(self._hub(name)))
        self._shared.runner.resume()

    @property
    def work(self) -> Work:
        """What is told how far jobs are that somebody waits for."""
        return self._shared.work

    @work.setter
    def work(self, work: Work) -> None:
        self._shared.work = work

    @property
    def connections(self) -> Connections:
        """Who is connected now, to any of them."""
        return self._shared.running.connections

    def have_issued_by(self, issuing: Issuing) -> None:
        """Devices that ask their hub for a certificate have it from there."""
        self._shared.issuing = issuing

    def add(self, name: str) -> Hub:
        """A hub linked to DPS, made when absent. ``name`` with or without its domain."""
        label = hub_label(name)
        with self._database.write() as session:
            if session.get(HubRow, label) is None:
                session.add(HubRow(label))
        return self._hub(label)

    def get(self, name: str) -> Hub:
        """The hub of this name, with or without its domain. Raises NotFound."""
        label = label_of(name)
        if label not in self._names():
            raise NotFound(f"There is no hub {name!r}", found=f"hubs: {', '.join(self._names())}")
        return self._hub(label)

    def named_by(self, user: HubUser, presented: Presented) -> Hub:
        """The hub that a device's user name names, or by whose address it asks. Raises
        ServiceRefusal for an unknown one, and before anything else for what no device of this lab
        can say."""
        for check in _of_user(user):
            raise self._refuse(user.device_id, check, presented)
        try:
            hub = self._at(user) if _is_address(user.hub) else self.get(user.hub)
        except NotFound as error:
            check = failed(
                "the hub that the user name names exists",
                user.device_id,
                f"it names {user.hub!r}; {error.found}",
                "connect to the hub that DPS assigned",
            )
            raise self._refuse(user.device_id, check, presented) from error
        hub.dialled = user.dialled
        return hub

    def _at(self, user: HubUser) -> Hub:
        """All hubs are at one address: a device that dials it means the one that knows it.
        Raises NotFound."""
        knowing = select(DeviceIdentity.hub).where(DeviceIdentity.device_id == user.device_id)
        with self._database.read() as session:
            found = list(session.scalars(knowing))
        if len(found) != 1:
            those = ", ".join(found) or "none"
            raise NotFound(f"No hub is meant by {user.hub}", found=f"hubs that know it: {those}")
        return self._hub(found[0])

    def cut_off(self, hub: str, device_id: str) -> None:
        """Ends the connection of a device whose identity moved to another hub."""
        self.connections.end(hub, device_id, "its identity moved to another hub")
        self.connections.forget(hub, device_id)

    def connected(self) -> int:
        """How many devices are connected now, to any of them."""
        return self.connections.count()

    def close(self) -> None:
        """Whoever waits for an answer of a device waits no longer, and no job goes on."""
        self._shared.close()

    def __iter__(self) -> Iterator[Hub]:
        return (self._hub(name) for name in self._names())

    def _refuse(self, device_id: str, check: Check, presented: Presented) -> ServiceRefusal:
        error = codes.HUB_UNAUTHORIZED
        return self._refusals.refuse("hub", device_id, error, (check,), presented)

    def _names(self) -> list[str]:
        with self._database.read() as session:
            return list(session.scalars(select(HubRow.name).order_by(HubRow.name)))

    def _hub(self, name: str) -> Hub:
        return Hub(name, self._database, self._clock, self._events, self._refusals, self._shared)


def _is_address(name: str) -> bool:
    if name.lower() == "localhost":
        return True
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _of_user(user: HubUser) -> Iterator[Check]:
    """What is wrong with a user name, whichever hub it names."""
    about = user.device_id
    if not limits.is_device_id(about):
        yield failed(limits.DEVICE_ID, about, f"it is {about!r}", f"choose {limits.DEVICE_ID_RULE}")
    if user.module:
        yield failed(
            "the user name names a device",
            about,
            f"it names its module {user.module!r}; this lab has no module identities",
            "connect as the device: {hub host name}/{deviceId}/?api-version=2021-04-12",
            source=_SOURCE,
        )
    if user.api_version and not _API_VERSION.fullmatch(user.api_version):
        yield failed(
            "the api-version is a date",
            about,
            f"it is {user.api_version!r}",
            "say api-version=2021-04-12, or leave it out",
            source=_SOURCE,
        )
