"""A hub over HTTPS, as devices see it: telemetry.

    POST /devices/{id}/messages/events      204, and the message is kept

A device proves itself in TLS, or with a SAS token as Authorization. Properties of the application
come as ``IoTHub-app-{name}``, those of the hub under the names below.

Source: Azure documentation, IoT Hub REST: Device, send device event.
"""

from __future__ import annotations

from collections.abc import Mapping

from labkit.cloud import Cloud
from labkit.cloud.hub.authentication import Visitor
from labkit.cloud.hub.telemetry import Telemetry
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


def add_routes(router: Router, cloud: Cloud, name: str) -> None:
    """Serves the devices of a hub."""

    def receive(request: Request, parts: dict[str, str]) -> Response:
        device, hub = parts["id"], cloud.hubs.get(name)
        token = request.headers.get("authorization", "")
        hub.admission.admit(Visitor(device, None, request.presented, token))
        with cloud.refusals.told("hub", device):
            if len(request.body) > LARGEST_MESSAGE:
                raise wrong("the body", f"it has {len(request.body):,} bytes", "256 KB at most")
        hub.receive(device, [Telemetry(request.body, *_properties(request.headers))])
        return Response(204)

    router.add("POST", "/devices/{id}/messages/events", answering(receive))


def _properties(headers: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """The application's and the hub's. Names of headers have no case: they come in lower case."""
    own = {n.removeprefix(_OWN): value for n, value in headers.items() if n.startswith(_OWN)}
    system = {_SYSTEM[n]: value for n, value in headers.items() if n in _SYSTEM}
    return own, system
