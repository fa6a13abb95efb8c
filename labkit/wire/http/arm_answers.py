"""What all answers of Azure Resource Manager have in common: who may ask, how it says no.

Any bearer token is taken: who somebody is in Azure is no subject of this lab. None is 401.
"""

from __future__ import annotations

import uuid
from dataclasses import replace

from labkit.errors import Conflict, LabError, NotFound, ServiceRefusal
from labkit.wire.http.dps_errors import REQUEST_ID
from labkit.wire.http.messages import Handler, Prompt, Request, Response, json_response

_STATUS = {NotFound: (404, "NotFound"), Conflict: (409, "Conflict")}


def guarded(handler: Prompt) -> Handler:
    """The handler, for those who bring a token; its errors are answered, and every answer has a
    request ID."""

    def answer(request: Request, parts: dict[str, str]) -> Response:
        if not request.headers.get("authorization", "").lower().startswith("bearer "):
            return identified(error(401, "AuthenticationFailed", "A bearer token is missing."))
        try:
            return identified(handler(request, parts))
        except LabError as refusal:
            return identified(refused(refusal))

    return answer


def refused(refusal: LabError) -> Response:
    """ARM has room for a sentence: the lab's own, where Azure's is not known."""
    if isinstance(refusal, ServiceRefusal):
        said = refusal.error
        response = error(said.status, str(said.code), said.message)
        return replace(response, headers={**response.headers, REQUEST_ID: refusal.tracking_id})
    found = (answer for kind, answer in _STATUS.items() if isinstance(refusal, kind))
    return error(*next(found, (400, "BadRequest")), " ".join(str(refusal).split()))


def error(status: int, code: str, message: str) -> Response:
    """An error in ARM's form."""
    return json_response(status, {"error": {"code": code, "message": message}})


def identified(response: Response) -> Response:
    """ARM's answers have a request ID, whatever they are."""
    return replace(response, headers={REQUEST_ID: str(uuid.uuid4()), **response.headers})
