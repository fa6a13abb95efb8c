"""IoT Hub as its callers know it: identities, telemetry, twins. Sockets are elsewhere."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Literal, overload

from sqlalchemy import func, select

from labkit.cloud import codes
from labkit.cloud.hub.authentication import Visitor
from labkit.cloud.hub.issuing import Begun, Issuing
from labkit.cloud.hub.live import Outlet, Presence, Subject
from labkit.cloud.hub.reaching import Reaching
from labkit.cloud.hub.tables import DeviceIdentity, Message, Subscriptions
from labkit.cloud.hub.telemetry import Telemetry, Wanted
from labkit.cloud.presented import Presented
from labkit.trace import Check, failed


class Hub(Reaching):
    """One IoT hub. ``host_name`` is its public name, ``name`` the first label of that."""

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

        visitor = Visitor(device_id, client_id, presented, token, self.dialled)
        self.admission.admit(visitor, enter)
        if displaced:
            self._refusals.refuse("hub", device_id, codes.DISPLACED, (_one(device_id),), quiet=True)
        self._record("connected", f"{device_id} connected to {self.name}", device=device_id)

    def resume(self, device_id: str, outlet: Outlet, *, clean: bool) -> dict[Subject, int]:
        """What a device that just connected listens to, and at which QoS: what it did in its last
        session, unless this one is a ``clean`` one."""
        with self._database.write() as session:
            kept = session.get(Subscriptions, (self.name, device_id))
            if kept is not None and clean:
                session.delete(kept)
        granted = {} if clean or kept is None else kept.granted
        found = {Subject(subject): qos for subject, qos in granted.items()}
        self._listen(device_id, outlet, found)
        return found

    def listen(
        self, device_id: str, outlet: Outlet, granted: Mapping[Subject, int], *, clean: bool
    ) -> None:
        """What a connected device wants to be told of from now on, and at which QoS; unless its
        session is ``clean``, also when it connects again."""
        if not clean:
            with self._database.write() as session:
                if session.get(DeviceIdentity, (self.name, device_id)) is None:
                    return  # it was deleted meanwhile, and this connection is being ended
                session.merge(
                    Subscriptions(
                        self.name,
                        device_id,
                        {str(subject): qos for subject, qos in granted.items()},
                    )
                )
        self._listen(device_id, outlet, granted)

    def _listen(self, device_id: str, outlet: Outlet, subjects: Iterable[Subject]) -> None:
        new = self.connections.listen(self.name, device_id, outlet, subjects)
        if Subject.METHODS in new:
            self._running.methods.came(self.name, device_id)
        if Subject.MESSAGES in new:
            self._shared.commands.bring(self.name, device_id)

    def disconnected(self, device_id: str, outlet: Outlet | None = None) -> None:
        """The device's connection is gone."""
        if outlet is not None:
            self.connections.leave(self.name, device_id, outlet)
        self._record("disconnected", f"{device_id} left {self.name}")

    def connected(self) -> list[Presence]:
        """The devices that are connected now."""
        return self.connections.of(self.name)

    # ---- its next certificate

    def ask_certificate(self, device_id: str, request_id: str, body: bytes) -> Begun:
        """A connected device asks for its next certificate; ``body`` is as it came. Raises
        ServiceRefusal."""
        self.connections.heard(self.name, device_id, self._clock.now())
        return self._issuing.begin(self.name, device_id, request_id, body)

    def bring_certificate(self, device_id: str) -> None:
        """Has decided what the device has asked for, and brings the answer once it listens. May
        take its time."""
        self._issuing.bring(self.name, device_id)

    def certificate_arrived(self, device_id: str, correlation_id: str) -> None:
        """The device has the answer."""
        self._issuing.arrived(self.name, device_id, correlation_id)

    @property
    def _issuing(self) -> Issuing:
        assert self._shared.issuing is not None, "a cloud has a Device Registry"
        return self._shared.issuing

    # ---- telemetry

    def receive(self, device_id: str, messages: Sequence[Telemetry]) -> None:
        """Keeps what a device sent; it is on disk when this returns."""
        now = self._clock.now()
        self._shared.inbox.keep(self.name, device_id, now, messages)
        self.connections.heard(self.name, device_id, now)
        size = sum(len(message.body) for message in messages)
        count = f"{len(messages)} messages, " if len(messages) > 1 else ""
        told = f"{device_id} sent {count}{size} bytes of telemetry to {self.name}"
        self._record("telemetry", told, device=device_id, count=len(messages))

    @overload
    def messages(
        self,
        device_id: str = ...,
        *,
        follow: Literal[False] = ...,
        since: datetime | None = ...,
        after: int = ...,
        properties: Mapping[str, str] = ...,
    ) -> list[Message]: ...

    @overload
    def messages(
        self,
        device_id: str = ...,
        *,
        follow: Literal[True],
        since: datetime | None = ...,
        after: int = ...,
        properties: Mapping[str, str] = ...,
        patience: float = ...,
    ) -> Iterator[Message]: ...

    def messages(
        self,
        device_id: str = "",
        *,
        follow: bool = False,
        since: datetime | None = None,
        after: int = 0,
        properties: Mapping[str, str] = MappingProxyType({}),
        patience: float = math.inf,
    ) -> list[Message] | Iterator[Message]:
        """The telemetry that was kept, oldest first: of one device where it is named, ``since`` a
        moment of the lab's clock, with a number above ``after``, with these ``properties``.

        With ``follow`` an iterator, which goes on with what comes, until nothing has come for
        ``patience`` seconds: for ever, unless that is given. The newest 100,000 messages of a lab
        are kept, and 256 MB of them at the most.
        """
        wanted = Wanted(self.name, device_id, since, after, properties)
        if follow:
            return self._shared.inbox.follow(wanted, patience)
        return self._shared.inbox.read(wanted)

    def newest_message(self) -> int:
        """The number of the newest message; 0 where none was kept yet."""
        return self._shared.inbox.newest(self.name)

    def message_count(self) -> int:
        """How many messages were kept, of all devices."""
        mine = select(func.count()).select_from(Message).where(Message.hub == self.name)
        with self._database.read() as session:
            return session.scalar(mine) or 0

    def messages_by_device(self) -> dict[str, int]:
        """How many messages were kept of each device that sent any."""
        mine = select(Message.device_id, func.count()).where(Message.hub == self.name)
        with self._database.read() as session:
            return dict(session.execute(mine.group_by(Message.device_id)).all())


def _one(device_id: str) -> Check:
    return failed(
        "a device has one connection",
        device_id,
        "it connected once more, and the newer connection ended the older",
        "give each device an identity of its own: two that share one displace each other",
        source="Azure documentation, IoT: communicate with an IoT hub using MQTT",
    )
