"""DPS's refusals as HTTP: the body of Azure's errors, and the headers beside it."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from labkit.cloud.refusals import Throttled
from labkit.errors import ServiceRefusal
from labkit.wire import azure_json
from labkit.wire.http.messages import Handler, Request, Response, json_response

REQUEST_ID, ERROR_CODE, RETRY_AFTER = "x-ms-request-id", "x-ms-error-code", "Retry-After"


def answering(handler: Callable[[Request, dict[str, str]], Response]) -> Handler:
    """The handler, with its refusals turned into responses, and an ID for every request."""

    def answer(request: Request, parts: dict[str, str]) -> Response:
        try:
            response = handler(request, parts)
        except ServiceRefusal as error:
            return refused(error)
        headers = {REQUEST_ID: str(uuid.uuid4()), **response.headers}
        return replace(response, headers=headers)

    return answer


def refused(error: ServiceRefusal) -> Response:
    """Azure's bare answer. Its request ID is the tracking ID, under which the lab explains it."""
    headers = {REQUEST_ID: error.tracking_id, ERROR_CODE: str(error.error.code)}
    if isinstance(error, Throttled):
        headers[RETRY_AFTER] = str(error.retry_after)
    body = azure_json.refusal(error, datetime.now(UTC))
    return json_response(error.error.status, body, headers)
