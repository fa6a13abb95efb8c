"""``/labkit/refusals``: the trace behind Azure's bare answer, for clients in any language.

Only this machine may ask: the trace tells more than Azure would ever tell a stranger.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any

from labkit.cloud.refusals import Refusal, Refusals
from labkit.errors import NotFound
from labkit.pki import chain
from labkit.wire import azure_json
from labkit.wire.http.messages import Handler, Request, Response, Router, json_response


def add_routes(router: Router, refusals: Refusals) -> None:
    """Serves the list, all or of one device, and a single refusal."""

    def recent(request: Request, _: dict[str, str]) -> Response:
        rows = refusals.recent(request.query.get("device", ""))
        return json_response(200, [to_json(row) for row in rows])

    def one(_: Request, parts: dict[str, str]) -> Response:
        return json_response(200, to_json(refusals.find(parts["tracking_id"])))

    router.add("GET", "/labkit/refusals", _guarded(recent))
    router.add("GET", "/labkit/refusals/{tracking_id}", _guarded(one))


def to_json(row: Refusal) -> dict[str, Any]:
    """A refusal whole: what went over the wire, what was presented, every check in order."""
    return {
        "trackingId": row.tracking_id,
        "timestampUtc": azure_json.timestamp(row.at),
        "service": row.service,
        "device": row.device,
        "status": row.status,
        "errorCode": int(row.code) if row.code.isdigit() else row.code,
        "message": row.message,
        "presented": [chain.subject(certificate) for certificate in row.chain],
        "checks": row.trace,
    }


def _guarded(handler: Callable[[Request, dict[str, str]], Response]) -> Handler:
    def answer(request: Request, parts: dict[str, str]) -> Response:
        if not ipaddress.ip_address(request.peer).is_loopback:
            return json_response(403, {"message": "only this machine may ask for explanations"})
        try:
            return handler(request, parts)
        except NotFound as error:
            return json_response(404, {"message": str(error)})

    return answer
