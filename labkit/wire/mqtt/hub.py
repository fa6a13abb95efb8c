"""IoT Hub over MQTT: telemetry, twin, methods, messages to the device and its certificates,
translated."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from labkit.cloud import strict_json
from labkit.cloud.hub import Hub
from labkit.cloud.hub.live import (
    CertificateAnswer,
    CloudMessage,
    DesiredChange,
    MethodCall,
    Subject,
    ToDevice,
)
from labkit.cloud.hub.methods import ANSWER
from labkit.cloud.hub.telemetry import Telemetry
from labkit.cloud.presented import Presented
from labkit.errors import NotFound, ServiceRefusal
from labkit.wire import azure_json
from labkit.wire.mqtt import topics
from labkit.wire.mqtt.packets import Connect, MalformedPacket, Publish
from labkit.wire.mqtt.session import Face, Job, Line

_TWIN_GET = "$iothub/twin/GET"
_TWIN_REPORT = "$iothub/twin/PATCH/properties/reported"
_TWIN_DESIRED = "$iothub/twin/PATCH/properties/desired"
_TWIN_ANSWERS = "$iothub/twin/res"
_METHODS = "$iothub/methods/POST"
_METHOD_ANSWERS = "$iothub/methods/res/"
_CERTIFICATE = "$iothub/credentials/POST/issueCertificate"
_CERTIFICATES = "$iothub/credentials/res"
_OTHERS = f"{_TWIN_GET}/?$rid=…, {_TWIN_REPORT}/?$rid=…, {_METHOD_ANSWERS}200/?$rid=…"
_SYSTEM = "$."  # the hub's own properties travel among the application's with this in front


class HubFace(Face):
    """A hub as one device sees it, and for the hub the outlet to it. Raises ServiceRefusal when
    the device may not connect."""

    def __init__(
        self, hub: Hub, line: Line, connect: Connect, device_id: str, presented: Presented
    ) -> None:
        self._hub, self._line, self._device_id = hub, line, device_id
        self._clean = connect.clean_session
        self._telemetry = f"devices/{device_id}/messages/events"
        self._messages = f"devices/{device_id}/messages/devicebound"
        self._subjects = {
            f"{self._messages}/#": Subject.MESSAGES,
            f"{_METHODS}/#": Subject.METHODS,
            f"{_TWIN_DESIRED}/#": Subject.DESIRED,
            f"{_TWIN_ANSWERS}/#": Subject.TWIN_ANSWERS,
            f"{_CERTIFICATES}/#": Subject.CERTIFICATES,
        }
        self._taken: list[Telemetry] = []
        hub.connect(device_id, connect.client_id, presented, connect.token, self)
        self._kept = self._resumed()

    # ---- the hub's way to the device, from any thread

    def deliver(self, message: ToDevice) -> None:
        arrived: Callable[[], None] = _nothing
        if isinstance(message, CloudMessage):
            arrived = partial(self._hub.complete, self._device_id, message.number)
        if isinstance(message, CertificateAnswer):
            correlation = message.correlation_id
            arrived = partial(self._hub.certificate_arrived, self._device_id, correlation)
        self._line.send(self._translated(message), arrived)

    def end(self, why: str) -> None:
        self._line.end(why)

    # ---- the device's way to the hub

    @property
    def kept(self) -> Mapping[str, int]:
        return self._kept

    def may_subscribe(self, topic_filter: str) -> bool:
        return topic_filter in self._subjects

    def subscribed(self, subscriptions: Mapping[str, int]) -> None:
        granted = {self._subjects[topic]: qos for topic, qos in subscriptions.items()}
        self._hub.listen(self._device_id, self, granted, clean=self._clean)
        if Subject.CERTIFICATES in granted:
            self._bring_certificate()

    def publish(self, message: Publish) -> Iterable[Publish] | Job | None:
        if message.topic == self._telemetry or message.topic.startswith(f"{self._telemetry}/"):
            self._taken.append(self._as_telemetry(message))
            return None
        path, values = topics.split(message.topic)
        rid = topics.request_id(message.topic)
        if path == _TWIN_GET:
            return [Publish(_answers(200, rid), azure_json.dumps(self._twin()))]
        if path == _TWIN_REPORT:
            return [self._report(message.payload, rid, values.get("$version", ""))]
        if path == _CERTIFICATE:
            return partial(self._ask_certificate, rid, message.payload)
        if path.startswith(_METHOD_ANSWERS):
            self._answer(path.removeprefix(_METHOD_ANSWERS), values.get("$rid", ""), message)
            return []
        why = f"PUBLISH to {message.topic!r}, which the hub does not know"
        raise MalformedPacket(why, f"publish to {self._telemetry}/, or to {_OTHERS}")

    def settle(self) -> None:
        taken, self._taken = self._taken, []
        if taken:
            self._hub.receive(self._device_id, taken)

    def closed(self) -> None:
        self._hub.disconnected(self._device_id, self)

    # ---- inside

    def _resumed(self) -> dict[str, int]:
        try:
            found = self._hub.resume(self._device_id, self, clean=self._clean)
        except BaseException:
            self.closed()
            raise
        if Subject.CERTIFICATES in found:
            self._bring_certificate()
        return {
            topic: found[subject] for topic, subject in self._subjects.items() if subject in found
        }

    def _translated(self, message: ToDevice) -> Publish:
        if isinstance(message, MethodCall):  # always at QoS 0 (Azure's document on methods)
            topic = f"{_METHODS}/{message.name}/?$rid={message.request_id}"
            return Publish(topic, azure_json.dumps(message.payload))
        if isinstance(message, CertificateAnswer):
            return _of_certificate(message)
        if isinstance(message, DesiredChange):
            body = azure_json.dumps({**message.patch, "$version": message.version})
            return Publish(f"{_TWIN_DESIRED}/?$version={message.version}", body, qos=1)
        system = {f"{_SYSTEM}{name}": value for name, value in message.system.items()}
        bag = topics.bag({**system, **message.properties})
        return Publish(f"{self._messages}/{bag}", message.body, qos=1)

    def _as_telemetry(self, message: Publish) -> Telemetry:
        bag = message.topic[len(self._telemetry) :].strip("/?")
        found = topics.properties(bag) if bag else {}
        system = {n.removeprefix(_SYSTEM): v for n, v in found.items() if n.startswith(_SYSTEM)}
        own = {name: value for name, value in found.items() if not name.startswith(_SYSTEM)}
        if message.retain:  # kept for nobody; who reads the telemetry is told (Azure's document)
            own["mqtt-retain"] = "true"
        return Telemetry(message.payload, own, system)

    def _twin(self) -> dict[str, Any]:
        try:
            return self._hub.twin(self._device_id).to_json()
        except NotFound as error:  # its identity was deleted, and this connection is being ended
            why, cure = "a device without an identity asks for its twin", "let it provision again"
            raise MalformedPacket(why, cure) from error

    def _report(self, payload: bytes, rid: str, version: str) -> Publish:
        try:
            what = "the version that the patch is for"
            number = self._number(version, what) if version else None
            found = self._hub.report(self._device_id, self._patch(payload), number)
        except ServiceRefusal as refusal:  # the Node SDK looks for errorCode in the body only
            body = azure_json.refusal(refusal, datetime.now(UTC))
            return Publish(_answers(refusal.error.status, rid), azure_json.dumps(body))
        return Publish(_answers(204, rid, {"$version": str(found)}))

    def _ask_certificate(self, rid: str, payload: bytes) -> Iterable[Publish]:
        """Whoever gives no $rid has no answer to wait for; it can be explained all the same."""
        if not rid:
            why, cure = "there is no $rid in its topic", f"publish to {_CERTIFICATE}/?$rid=…"
            self._hub.refuse_request(self._device_id, why, cure)
            return []
        try:
            begun = self._hub.ask_certificate(self._device_id, rid, payload)
        except ServiceRefusal as refusal:
            return [_of_refusal(rid, refusal)]
        return self._begun(rid, azure_json.begun(begun))

    def _begun(self, rid: str, body: Mapping[str, Any]) -> Iterator[Publish]:
        """Taken on the listener's thread: what is begun behind the 202 cannot overtake it."""
        yield Publish(topics.answer(f"{_CERTIFICATES}/202", rid), azure_json.dumps(body))
        self._bring_certificate()

    def _bring_certificate(self) -> None:
        self._line.beside(partial(self._hub.bring_certificate, self._device_id))

    def _patch(self, payload: bytes) -> dict[str, Any]:
        patch = strict_json.read_object(payload)
        if patch is None:
            raise self._hub.refuse_request(
                self._device_id, "the patch is not a JSON object", 'send {"property": value}'
            )
        return patch

    def _number(self, text: str, what: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise self._hub.refuse_request(self._device_id, f"{what} is {text!r}", "send a number")
        return int(text)

    def _answer(self, status: str, rid: str, message: Publish) -> None:
        """An answer that cannot be read is none; MQTT has no way to say so to the device."""
        try:
            number = self._number(status, "the status of the method's answer")
            payload = strict_json.read(message.payload) if message.payload else None
        except ServiceRefusal:
            return
        except ValueError as error:
            self._hub.refuse_request(
                self._device_id, f"it is no JSON: {error}", "answer with JSON", rule=ANSWER
            )
            return
        self._hub.answer_method(self._device_id, rid, number, payload)


def _nothing() -> None:
    """Nobody waits to hear that it arrived."""


def _of_certificate(answer: CertificateAnswer) -> Publish:
    if answer.refusal is not None:
        return replace(_of_refusal(answer.request_id, answer.refusal), qos=1)
    topic = topics.answer(f"{_CERTIFICATES}/200", answer.request_id)
    return Publish(topic, azure_json.dumps(azure_json.issued(answer)), qos=1)


def _of_refusal(rid: str, refusal: ServiceRefusal) -> Publish:
    body = azure_json.credential_refusal(refusal, datetime.now(UTC))
    topic = topics.answer(f"{_CERTIFICATES}/{refusal.error.status}", rid)
    return Publish(topic, azure_json.dumps(body))


def _answers(status: int, rid: str, values: Mapping[str, str] | None = None) -> str:
    return topics.answer(f"{_TWIN_ANSWERS}/{status}", rid, values)
