"""A hub's refusals as HTTP: the two forms of body that Azure's hubs were seen to send.

    {"Message": "ErrorCode:DeviceNotFound;widget-1", "ExceptionMessage": "Tracking ID:…"}
    {"Message": "{\\"errorCode\\":404103,…}", "ExceptionMessage": ""}           of direct methods

Source: azure-iot-sdk-csharp, ErrorPayload2.cs; iotedge #98; azure-iot-cli-extension #54.
"""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime

from labkit.errors import ServiceRefusal
from labkit.trace import first_failure
from labkit.wire import azure_json
from labkit.wire.http.dps_errors import REQUEST_ID
from labkit.wire.http.messages import (
    Handler,
    Reply,
    Request,
    Response,
    changed,
    json_response,
    mapped,
)

ERROR_CODE = "iothub-errorcode"

_NAMES = {400004: "ArgumentInvalid", 404103: "DeviceNotOnline", 504101: "GatewayTimeout"}
_TEXTS = {
    "DeviceNotFound": "{about}",
    "DeviceAlreadyExists": "A device with ID '{about}' is already registered.",
    "PreconditionFailed": "PreconditionFailed, ETag may be invalid.",
    "IotHubUnauthorizedAccess": "Unauthorized",
    "IotHubUnauthorized": "Unauthorized",
    "JobNotFound": "{about}",
    "JobAlreadyExists": "A job with ID '{about}' is already there.",
}


def answering(handler: Handler) -> Handler:
    """The handler, with its refusals turned into responses, and an ID for every request."""

    def identified(response: Response) -> Response:
        return replace(response, headers={REQUEST_ID: str(uuid.uuid4()), **response.headers})

    def answer(request: Request, parts: dict[str, str]) -> Reply:
        try:
            reply = handler(request, parts)
        except ServiceRefusal as error:
            return refused(error)
        if not isinstance(reply, Response):
            reply = mapped(reply, lambda response: response, _refused_later)
        return changed(reply, identified)

    return answer


def _refused_later(error: Exception) -> Response:
    if isinstance(error, ServiceRefusal):
        return refused(error)
    raise error


def refused(error: ServiceRefusal) -> Response:
    """Azure's bare answer. Its request ID is the tracking ID, under which the lab explains it."""
    now, code = datetime.now(UTC), error.error.code
    name, text = named(error)
    if code in (404103, 504101):  # what the gateway to the devices says, as it says it
        inner = azure_json.dumps({**azure_json.refusal(error, now), "info": {}}).decode()
        body = {"Message": inner, "ExceptionMessage": ""}
    else:
        tracked = f"Tracking ID:{error.tracking_id}-TimeStamp:{now:%m/%d/%Y %H:%M:%S}"
        body = {"Message": f"ErrorCode:{name};{text}", "ExceptionMessage": tracked}
    headers = {REQUEST_ID: error.tracking_id, ERROR_CODE: name}
    return json_response(error.error.status, body, headers)


def named(error: ServiceRefusal) -> tuple[str, str]:
    """The name of a refusal's code, and what Azure was seen to say behind it. Of a bad request it
    says which part was bad; otherwise no more than who asked knows."""
    code, said = error.error.code, error.error.message
    name = _NAMES.get(code, said) if isinstance(code, int) else said
    failure = first_failure(error.checks)
    if (known := _TEXTS.get(name)) is not None:
        return name, known.format(about=failure.about if failure else "")
    if name == "ArgumentInvalid" and failure is not None:
        return name, " ".join(failure.why.replace(";", ",").split())
    return name, said
