"""IoT Hub over MQTT: telemetry and the twin's half of its topics, translated."""

from __future__ import annotations

from collections.abc import Iterable

from labkit.cloud.hub import Hub
from labkit.cloud.presented import Presented
from labkit.wire import azure_json
from labkit.wire.mqtt import topics
from labkit.wire.mqtt.packets import MalformedPacket, Publish

_TWIN_GET = "$iothub/twin/GET"
_TWIN_REPORT = "$iothub/twin/PATCH/properties/reported"
_TWIN_ANSWERS = "$iothub/twin/res"
_SYSTEM = "$."  # the hub's own properties travel among the application's with this in front


class HubFace:
    """A hub as one device sees it. Raises ServiceRefusal when the device may not connect."""

    def __init__(self, hub: Hub, client_id: str, device_id: str, presented: Presented) -> None:
        self._hub, self._device_id = hub, device_id
        self._telemetry = f"devices/{device_id}/messages/events"
        self._subscribable = (
            f"{_TWIN_ANSWERS}/#",
            "$iothub/twin/PATCH/properties/desired/#",
            "$iothub/methods/POST/#",
            f"devices/{device_id}/messages/devicebound/#",
        )
        hub.connect(device_id, client_id, presented)

    def may_subscribe(self, topic_filter: str) -> bool:
        return topic_filter in self._subscribable

    def publish(self, message: Publish) -> Iterable[Publish]:
        if message.topic == self._telemetry or message.topic.startswith(f"{self._telemetry}/"):
            self._receive(message)
            return []
        path, query = topics.split(message.topic)
        rid = query.get("$rid", "")
        if path == _TWIN_GET:
            twin = self._hub.twin(self._device_id).to_json()
            return [_twin_answer(200, {"$rid": rid}, azure_json.dumps(twin))]
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
        patch = azure_json.read_object(payload)
        if patch is None:
            return _twin_answer(400, {"$rid": rid})
        version = self._hub.report(self._device_id, patch)
        return _twin_answer(204, {"$rid": rid, "$version": str(version)})


def _twin_answer(status: int, values: dict[str, str], body: bytes = b"") -> Publish:
    return Publish(topics.join(f"{_TWIN_ANSWERS}/{status}", values), body)
