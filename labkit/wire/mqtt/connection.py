"""An MQTT session on a channel, and who is asked for at its door."""

from __future__ import annotations

from typing import Any

from labkit.cloud import Cloud
from labkit.cloud.dps.service import Caller
from labkit.cloud.refusals import LONGEST_ID, clipped
from labkit.errors import ServiceRefusal
from labkit.events import Events
from labkit.wire.channel import Channel
from labkit.wire.host_names import without_port
from labkit.wire.mqtt import words
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
        while not self._link.is_full and self._session.step():
            # Only a whole packet buys time: bytes that trickle in do not.
            if self._session.connected:
                self._link.expect_within(self._patience(), "the next packet")
            if self._session.job:
                self._link.work(self._session.job, self._session.done)
        if self._session.over:
            self._leave()

    def closed(self) -> None:
        self._session.close()

    def received_packet(self, packet: Packet) -> None:
        if text := words.received(self._client, packet):
            self._record("received", text, **words.details(packet))

    def sent_message(self, message: Publish) -> None:
        self._record("sent", words.sent(self._client, message), **words.details(message))

    def _leave(self) -> None:
        if self._session.fault:
            self._record("broken", f"closed: {self._session.fault}")
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
        path, question, _ = connect.user_name.partition("?")
        parts = path.split("/")
        if question and len(parts) == 3 and not parts[2]:
            hub = self._cloud.hubs.named_by(without_port(parts[0]), parts[1], presented)
            return HubFace(hub, client_id, parts[1], presented, _token(connect))
        parts = connect.user_name.split("/", 3)
        if len(parts) >= 3 and parts[1] == "registrations":
            caller = Caller(parts[0], parts[2], presented, _token(connect))
            return DpsFace(self._cloud.dps, client_id, caller)
        raise self._cloud.stranger(client_id, connect.user_name, presented)

    def _record(self, kind: str, text: str, **details: Any) -> None:
        self._events.record("mqtt", kind, clipped(text), peer=self._link.peer, **details)


def _token(connect: Connect) -> str:
    """A device with a symmetric key sends its SAS token as password."""
    return (connect.password or b"").decode(errors="replace")
