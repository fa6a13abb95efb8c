"""IoT Hub over MQTT: telemetry and the twin's half of its topics, translated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from labkit.cloud.hub import Hub
from labkit.cloud.presented import Presented
from labkit.errors import ServiceRefusal
from labkit.wire import azure_json
from labkit.wire.mqtt import topics
from labkit.wire.mqtt.packets import MalformedPacket, Publish

_TWIN_GET = "$iothub/twin/GET"
_TWIN_REPORT = "$iothub/twin/PATCH/properties/reported"
_TWIN_ANSWERS = "$iothub/twin/res"
_SYSTEM = "$."  # the hub's own properties travel among the application's with this in front


class HubFace:
    """A hub as one device sees it. Raises ServiceRefusal when the device may not connect."""

    def __init__(
        self, hub: Hub, client_id: str, device_id: str, presented: Presented, token: str
    ) -> None:
        self._hub, self._device_id = hub, device_id
        self._telemetry = f"devices/{device_id}/messages/events"
        self._subscribable = (
            f"{_TWIN_ANSWERS}/#",
            "$iothub/twin/PATCH/properties/desired/#",
            "$iothub/methods/POST/#",
            f"devices/{device_id}/messages/devicebound/#",
        )
        hub.connect(device_id, client_id, presented, token)

    def may_subscribe(self, topic_filter: str) -> bool:
        return topic_filter in self._subscribable

    def publish(self, message: Publish) -> Iterable[Publish]:
        if message.topic == self._telemetry or message.topic.startswith(f"{self._telemetry}/"):
            self._receive(message)
            return []
        path, _ = topics.split(message.topic)
        rid = topics.request_id(message.topic)
        if path == _TWIN_GET:
            twin = self._hub.twin(self._device_id).to_json()
            return [Publish(_answers(200, rid), azure_json.dumps(twin))]
        if path == _TWIN_REPORT:
            return [self._report(message.payload, rid)]
        raise MalformedPacket(f"PUBLISH to {message.topic!r}, which the hub does not know")

    def closed(self) -> None:
        self._hub.disconnected(self._device_id)

    def _receive(self, message: Publish) -> None:
        found = topics.properties(message.topic.removeprefix(self._telemetry).strip("/?"))
        system = {n.removeprefix(_SYSTEM): v for n, v in found.items() if n.startswith(_SYSTEM)}
        own = {name: value for name, value in found.items() if not name.startswith(_SYSTEM)}
        self._hub.receive(self._device_id, message.payload, own, system)

    def _report(self, payload: bytes, rid: str) -> Publish:
        try:
            version = self._hub.report(self._device_id, self._patch(payload))
        except ServiceRefusal as refusal:  # the Node SDK looks for errorCode in the body only
            body = azure_json.refusal(refusal, datetime.now(UTC))
            return Publish(_answers(refusal.error.status, rid), azure_json.dumps(body))
        return Publish(_answers(204, rid, {"$version": str(version)}))

    def _patch(self, payload: bytes) -> dict[str, Any]:
        patch = azure_json.read_object(payload)
        if patch is None:
            raise self._hub.refuse_request(
                self._device_id, "the patch is not a JSON object", 'send {"property": value}'
            )
        return patch


def _answers(status: int, rid: str, values: Mapping[str, str] | None = None) -> str:
    return topics.answer(f"{_TWIN_ANSWERS}/{status}", rid, values)
