"""DPS over MQTT: three topics, translated."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from labkit.cloud.dps.service import Caller, ProvisioningService
from labkit.cloud.presented import Presented
from labkit.errors import ServiceRefusal
from labkit.wire import azure_json
from labkit.wire.mqtt import topics
from labkit.wire.mqtt.packets import MalformedPacket, Publish

ANSWERS = "$dps/registrations/res"
_REGISTER = "$dps/registrations/PUT/iotdps-register"
_STATUS = "$dps/registrations/GET/iotdps-get-operationstatus"


class DpsFace:
    """DPS as one device sees it. Raises ServiceRefusal when the device may not connect."""

    def __init__(
        self,
        dps: ProvisioningService,
        client_id: str,
        id_scope: str,
        registration_id: str,
        presented: Presented,
    ) -> None:
        self._dps = dps
        self._caller = Caller(id_scope, registration_id, presented)
        dps.connect(self._caller, client_id)

    def may_subscribe(self, topic_filter: str) -> bool:
        return topic_filter == f"{ANSWERS}/#"

    def publish(self, message: Publish) -> Iterable[Publish]:
        path, query = topics.split(message.topic)
        rid = topics.request_id(message.topic)
        try:
            if path == _REGISTER:
                row = self._dps.register(self._caller, named=self._named(message.payload))
            elif path == _STATUS:
                row = self._dps.operation(self._caller, query.get("operationId", ""))
            else:
                raise MalformedPacket(f"PUBLISH to {message.topic!r}, which DPS does not know")
        except ServiceRefusal as refusal:
            body = azure_json.refusal(refusal, datetime.now(UTC))
            return [_answer(refusal.error.status, rid, body)]
        return [_answer(200, rid, azure_json.registration(row))]

    def closed(self) -> None:
        """DPS keeps nothing of a connection."""

    def _named(self, payload: bytes) -> str:
        """The registration ID in the body; without one, the connection's."""
        body = azure_json.read_object(payload or b"{}")
        if body is None:
            raise self._dps.refuse_request(
                self._caller, "the body is not a JSON object", 'send {"registrationId": "…"}'
            )
        return str(body.get("registrationId", self._caller.registration_id))


def _answer(status: int, rid: str, body: object) -> Publish:
    return Publish(topics.answer(f"{ANSWERS}/{status}", rid), azure_json.dumps(body))
