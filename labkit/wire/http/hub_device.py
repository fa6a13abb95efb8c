"""A hub over HTTPS, as devices see it: telemetry, and the messages that wait for them.

    POST   /devices/{id}/messages/events                       204, and the message is kept
    GET    /devices/{id}/messages/deviceBound                  200 and a message, or 204
    DELETE /devices/{id}/messages/deviceBound/{lock}           204: the device has it
    DELETE /devices/{id}/messages/deviceBound/{lock}?reject    204: nobody is to bring it again
    POST   /devices/{id}/messages/deviceBound/{lock}/abandon   204: it waits again

A device proves itself in TLS, or with a SAS token as Authorization. Properties of the application
travel as ``IoTHub-app-{name}``, those of the hub under the names below; the lock is the ETag.

Source: Azure documentation, IoT Hub REST: Device; for a message's headers azure-iot-cli-extension.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from urllib.parse import quote

from labkit.cloud import Cloud
from labkit.cloud.hub import Hub
from labkit.cloud.hub.authentication import Visitor
from labkit.cloud.hub.commands import Fetched, Settlement
from labkit.cloud.hub.telemetry import Telemetry
from labkit.wire.host_names import as_dialled
from labkit.wire.http.fields import wrong
from labkit.wire.http.hub_errors import answering
from labkit.wire.http.messages import Request, Response, Router

LARGEST_MESSAGE = 256 * 1024
"""Bytes of a device's message."""

_OWN = "iothub-app-"
_SYSTEM = {
    "iothub-messageid": "mid",
    "iothub-correlationid": "cid",
    "iothub-userid": "uid",
    "iothub-contenttype": "ct",
    "iothub-contentencoding": "ce",
    "content-type": "ct",
    "content-encoding": "ce",
}
_TO_DEVICE = {
    "iothub-messageid": "mid",
    "iothub-correlationid": "cid",
    "iothub-userid": "uid",
    "iothub-to": "to",
    "ContentType": "ct",
    "ContentEncoding": "ce",
}
"""Written also where there is nothing in them."""
_VALUE = re.compile(r"(?:[!-~](?:[ -~]*[!-~])?)?")
_NAME_SIGNS = "!#$&'*+-.^_`|~"
"""What may stand in a header's name beside letters and digits (RFC 9110, 5.6.2), but for the one
that is used to escape the others."""


def add_routes(router: Router, cloud: Cloud, name: str) -> None:
    """Serves the devices of a hub."""

    def admitted(request: Request, device: str) -> Hub:
        hub = cloud.hubs.get(name)
        token = request.headers.get("authorization", "")
        dialled = as_dialled(request.host)
        hub.admission.admit(Visitor(device, None, request.presented, token, dialled))
        return hub

    def receive(request: Request, parts: dict[str, str]) -> Response:
        device, hub = parts["id"], admitted(request, parts["id"])
        with cloud.refusals.told("hub", device):
            if len(request.body) > LARGEST_MESSAGE:
                raise wrong("the body", f"it has {len(request.body):,} bytes", "256 KB at most")
        hub.receive(device, [Telemetry(request.body, *_properties(request.headers))])
        return Response(204)

    def bring(request: Request, parts: dict[str, str]) -> Response:
        found = admitted(request, parts["id"]).fetch(parts["id"])
        return Response(204) if found is None else _message(found)

    def settle(how: Settlement, request: Request, parts: dict[str, str]) -> Response:
        rejects = how == "complete" and request.query.get("reject", "false").lower() != "false"
        hub = admitted(request, parts["id"])
        hub.settle(parts["id"], parts["lock"], "reject" if rejects else how)
        return Response(204)

    waiting = "/devices/{id}/messages/deviceBound"
    one = f"{waiting}/{{lock}}"
    router.add("POST", "/devices/{id}/messages/events", answering(receive))
    router.add("GET", waiting, answering(bring))
    router.add("DELETE", one, answering(partial(settle, "complete")))
    router.add("POST", f"{one}/abandon", answering(partial(settle, "abandon")))


def _properties(headers: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """The application's and the hub's. Names of headers have no case: they come in lower case."""
    own = {n.removeprefix(_OWN): value for n, value in headers.items() if n.startswith(_OWN)}
    system = {_SYSTEM[n]: value for n, value in headers.items() if n in _SYSTEM}
    return own, system


def _message(found: Fetched) -> Response:
    row = found.message
    own = {f"{_OWN}{quote(name, _NAME_SIGNS)}": text for name, text in row.properties.items()}
    headers = {
        "Content-Type": "application/octet-stream",
        "ETag": f'"{found.lock}"',
        "iothub-ack": "none",
        "iothub-sequencenumber": str(row.number),
        "iothub-deliverycount": str(row.deliveries - 1),
        "iothub-enqueuedtime": _moment(row.enqueued),
        "iothub-expiry": _moment(row.expires),
        **{name: _value(row.system.get(key, "")) for name, key in _TO_DEVICE.items()},
        **{name: _value(text) for name, text in own.items()},
    }
    return Response(200, row.body, headers)


def _value(text: str) -> str:
    """As it is where a header can carry it, else percent-encoded."""
    return text if _VALUE.fullmatch(text) else quote(text, safe="")


def _moment(at: datetime) -> str:
    """As Azure writes it here: ``12/22/2017 12:14:12 AM``."""
    return f"{at.month}/{at.day}/{at.year} {at.hour % 12 or 12}:{at:%M:%S %p}"
