"""DPS over MQTT: three topics, translated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from labkit.cloud.dps.caller import Caller
from labkit.cloud.dps.registrations import ASSIGNING, Operation
from labkit.cloud.dps.service import ProvisioningService
from labkit.cloud.refusals import Throttled
from labkit.errors import ServiceRefusal
from labkit.steps import Steps
from labkit.wire import azure_json, provisioning
from labkit.wire.mqtt import topics
from labkit.wire.mqtt.packets import MalformedPacket, Publish
from labkit.wire.mqtt.session import Face, Job
from labkit.wire.provisioning import Way

ANSWERS = "$dps/registrations/res"
_REGISTER = "$dps/registrations/PUT/iotdps-register"
_STATUS = "$dps/registrations/GET/iotdps-get-operationstatus"


class DpsFace(Face):
    """DPS as one device sees it. Raises ServiceRefusal when the device may not connect."""

    def __init__(self, dps: ProvisioningService, client_id: str, caller: Caller) -> None:
        self._dps, self._caller = dps, caller
        dps.connect(caller, client_id)

    def may_subscribe(self, topic_filter: str) -> bool:
        return topic_filter == f"{ANSWERS}/#"

    def publish(self, message: Publish) -> Iterable[Publish] | Job:
        path, query = topics.split(message.topic)
        rid = topics.request_id(message.topic)
        if path == _REGISTER:
            force = provisioning.is_yes(query.get("forceRegistration", ""))
            return self._register(message.payload, force, rid)
        if path == _STATUS:
            named = query.get("operationId", "")
            job = partial(self._poll, named, rid)
            return job if self._dps.polls_may_wait else job()
        why = f"PUBLISH to {message.topic!r}, which DPS does not know"
        raise MalformedPacket(why, f"publish to {_REGISTER}/?$rid=…, then to {_STATUS}/?$rid=…")

    def _register(self, body: bytes, force: bool, rid: str) -> Iterable[Publish] | Job:
        steps = self._registering(body, force, rid)
        way = provisioning.way(self._dps, body)
        if way is Way.IN_STEPS:
            return steps
        job = partial(self._dps.at_once, steps)
        return job if way is Way.BY_THREAD else job()

    def _registering(self, body: bytes, force: bool, rid: str) -> Steps[list[Publish]]:
        try:
            asked = provisioning.register(self._dps, self._caller, body, force=force)
            return [_outcome((yield from asked), rid)]
        except ServiceRefusal as refusal:
            return [_refused(refusal, rid)]

    def _poll(self, operation_id: str, rid: str) -> list[Publish]:
        try:
            return [_outcome(self._dps.operation(self._caller, operation_id), rid)]
        except ServiceRefusal as refusal:
            return [_refused(refusal, rid)]


def _outcome(found: Operation, rid: str) -> Publish:
    status = 202 if found.status == ASSIGNING else 200
    return _message(status, rid, azure_json.operation(found), found.retry_after)


def _refused(refusal: ServiceRefusal, rid: str) -> Publish:
    body = azure_json.refusal(refusal, datetime.now(UTC))
    wait = refusal.retry_after if isinstance(refusal, Throttled) else 0
    return _message(refusal.error.status, rid, body, wait)


def _message(status: int, rid: str, body: Mapping[str, Any], retry_after: int) -> Publish:
    wait = {"retry-after": str(retry_after)} if retry_after else None
    return Publish(topics.answer(f"{ANSWERS}/{status}", rid, wait), azure_json.dumps(body))
