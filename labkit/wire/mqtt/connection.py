"""An MQTT session on a channel, and who is asked for at its door."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from labkit.cloud import Cloud
from labkit.cloud.dps.caller import Caller
from labkit.cloud.hub import HubUser
from labkit.cloud.refusals import LONGEST_ID, clipped
from labkit.errors import ServiceRefusal
from labkit.events import Events
from labkit.wire.channel import Channel
from labkit.wire.host_names import as_dialled, without_port
from labkit.wire.mqtt import topics, words
from labkit.wire.mqtt.dps import DpsFace
from labkit.wire.mqtt.hub import HubFace
from labkit.wire.mqtt.packets import Connect, Packet, Publish, ReturnCode
from labkit.wire.mqtt.session import Denied, Face, Session, Watcher

CONNECT_SECONDS = 30.0
_GRACE = 1.5  # MQTT 3.1.1, 3.1.2.10: one and a half times the keep-alive
_LONGEST_SILENCE = 1767.0  # IoT Hub's cap, 29.45 minutes


class MqttConnection(Watcher):
    """DPS and every hub on one port: the user name says which is meant."""

    def __init__(self, link: Channel, cloud: Cloud, events: Events) -> None:
        self._link, self._cloud, self._events = link, cloud, events
        self._session, self._client = Session(self._enter, link.send, self), ""
        link.expect_within(CONNECT_SECONDS, "CONNECT")

    def received(self, data: bytes) -> None:
        self._session.feed(data)
        self.resumed()

    def resumed(self) -> None:
        took = False
        while not self._link.is_full and self._session.step():
            took = True
            if self._session.job:
                self._link.work(self._session.job, self._session.done)
        self._session.settle()
        # Only a whole packet buys time: bytes that trickle in do not.
        if took and self._session.connected:
            self._link.expect_within(self._patience(), "the next packet")
        while not self._link.is_full and self._session.hand_out():
            pass
        if self._session.over:
            self._leave()

    def closed(self) -> None:
        self._session.close()

    # ---- the service's way back to the client, from any thread

    def send(self, message: Publish, arrived: Callable[[], None]) -> None:
        self._link.soon(lambda: self._push(message, arrived))

    def beside(self, job: Callable[[], None]) -> None:
        self._link.beside(job)

    def end(self, why: str) -> None:
        self._link.soon(lambda: self._end(why))

    def _push(self, message: Publish, arrived: Callable[[], None]) -> None:
        self._session.push(message, arrived)
        self.resumed()

    def _end(self, why: str) -> None:
        self._record("ended", f"closed the connection of {self._client!r}: {why}")
        self._session.over = True
        self._link.close()

    def received_packet(self, packet: Packet) -> None:
        if text := words.received(self._client, packet):
            self._record("received", text, **words.details(packet))

    def sent_message(self, message: Publish) -> None:
        self._record("sent", words.sent(self._client, message), **words.details(message))

    def refused_filters(self, filters: Iterable[str]) -> None:
        told = f"SUBACK 0x80: {self._client} may not listen to {', '.join(filters)}"
        self._record("refused filter", told)

    def _leave(self) -> None:
        session = self._session
        if session.fault:
            self._record("broken", f"closed: {session.fault}")
        if session.fault and session.was_let_in:
            self._cloud.rule_broken(self._client, session.fault, session.cure)
        self._link.close()

    def _patience(self) -> float:
        wanted = self._session.keep_alive * _GRACE
        return min(wanted, _LONGEST_SILENCE) if wanted else _LONGEST_SILENCE

    def _enter(self, connect: Connect) -> Face:
        user, self._client = clipped(connect.user_name), clipped(connect.client_id, LONGEST_ID)
        self._record("connect", f"CONNECT from {self._client!r}", user_name=user)
        try:
            face = self._face(connect)
        except ServiceRefusal as refusal:
            self._record("connack", "CONNACK 5, not authorized: there is room for no more")
            raise Denied(ReturnCode.NOT_AUTHORIZED) from refusal
        self._record("connack", f"CONNACK 0 for {self._client!r}")
        return face

    def _face(self, connect: Connect) -> Face:
        """By the form of the user name: ``{hub}/{device}/?…``, or ``{scope}/registrations/{id}``
        and anything behind it."""
        client_id, presented = connect.client_id, self._link.presented
        parts = connect.user_name.split("/", 3)
        if len(parts) >= 3 and parts[1] == "registrations":
            version = topics.properties("".join(parts[3:])).get("api-version", "")
            caller = Caller(parts[0], parts[2], presented, connect.token, version)
            return DpsFace(self._cloud.dps, client_id, caller)
        if (user := _hub_user(connect.user_name)) is not None:
            hub = self._cloud.hubs.named_by(user, presented)
            return HubFace(hub, self, connect, user.device_id, presented)
        raise self._cloud.stranger(client_id, connect.user_name, presented)

    def _record(self, kind: str, text: str, **details: Any) -> None:
        self._events.record("mqtt", kind, clipped(text), peer=self._link.peer, **details)


def _hub_user(text: str) -> HubUser | None:
    """With the api-version behind a question mark, as now, or without one, as before 2017."""
    path, _, question = text.partition("?")
    parts = path.removesuffix("/").split("/")
    if len(parts) > 2 and parts[-1].startswith("api-version="):
        question = parts.pop()
    if not 2 <= len(parts) <= 3 or not parts[0]:
        return None
    hub, device_id, *module = parts
    version = topics.properties(question).get("api-version", "")
    return HubUser(without_port(hub), device_id, "".join(module), version, as_dialled(hub))
