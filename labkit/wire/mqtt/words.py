"""MQTT packets in plain words, for the event log."""

from __future__ import annotations

from typing import Any

from labkit.cloud.refusals import clipped
from labkit.wire.mqtt import topics
from labkit.wire.mqtt.packets import (
    Disconnect,
    Packet,
    Ping,
    Publish,
    Subscribe,
    Unsubscribe,
)

LARGEST_SHOWN = 4096
"""Bytes of a payload that the log keeps."""

_ASKED = {
    "$dps/registrations/PUT/iotdps-register": "asks to be registered",
    "$dps/registrations/GET/iotdps-get-operationstatus": "asks how its registration stands",
    "$iothub/credentials/POST/issueCertificate": "asks for its next certificate",
    "$iothub/twin/GET": "asks for its twin",
    "$iothub/twin/PATCH/properties/reported": "reports properties",
}
_ANSWERED = {
    "$dps/registrations/res": "DPS answers",
    "$iothub/twin/res": "the hub answers",
    "$iothub/credentials/res": "the hub answers",
}
_TOLD = {
    "$iothub/methods/POST": "the hub calls a method of",
    "$iothub/twin/PATCH/properties": "the hub tells of new properties",
}


def received(client: str, packet: Packet) -> str:
    """What a client's packet says; empty for one that says nothing by itself."""
    if isinstance(packet, Publish):
        path = topics.path(packet.topic)
        if path.startswith("$iothub/methods/res/"):
            return f"{client} answers a method: {path.rpartition('/')[2]}"
        return f"{client} {_ASKED.get(path, 'sends a message')}"
    if isinstance(packet, Subscribe):
        return f"{client} listens to {', '.join(topic for topic, _ in packet.filters)}"
    if isinstance(packet, Unsubscribe):
        return f"{client} stops listening to {', '.join(packet.filters)}"
    if isinstance(packet, Disconnect):
        return f"{client} says goodbye"
    return f"{client} is still there" if isinstance(packet, Ping) else ""


def sent(client: str, answer: Publish) -> str:
    """What the service's message says: ``DPS answers smart-x-widget-001: 200``."""
    path = topics.path(answer.topic)
    stem, _, status = path.rpartition("/")
    if stem in _TOLD:
        return f"{_TOLD[stem]} {client}: {status}"
    if "/messages/devicebound" in path:
        return f"the hub brings a message to {client}"
    return f"{_ANSWERED.get(stem, 'the service writes to')} {client}: {status}"


def details(packet: Packet) -> dict[str, Any]:
    """The bytes on demand: topic, payload as text, quality of service."""
    if not isinstance(packet, Publish):
        return {}
    shown = packet.payload[:LARGEST_SHOWN].decode(errors="replace")
    return {"topic": clipped(packet.topic), "payload": shown, "qos": packet.qos}
