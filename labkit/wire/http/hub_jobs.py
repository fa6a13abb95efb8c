"""A hub's jobs over HTTPS: ``/jobs/v2``."""

from __future__ import annotations

from labkit.cloud.pages import LARGEST
from labkit.cloud.policies import SERVICE_CONNECT
from labkit.wire.http import hub_json
from labkit.wire.http.dps_service import CONTINUATION, ITEM_TYPE, count_of
from labkit.wire.http.hub_service import Call, HubApi
from labkit.wire.http.messages import Response, json_response


def add_routes(api: HubApi) -> None:
    """Serves jobs that call methods or change twins. ``query`` comes before a job of that name."""
    one = "/jobs/v2/{id}"
    api.add("GET", "/jobs/v2/query", SERVICE_CONNECT, _query)
    api.add("GET", one, SERVICE_CONNECT, _get)
    api.add("PUT", one, SERVICE_CONNECT, _create)
    api.add("POST", f"{one}/cancel", SERVICE_CONNECT, _cancel)


def _create(call: Call) -> Response:
    made = call.hub.jobs.create(hub_json.plan(call.fields, call.id))
    return json_response(200, hub_json.job_json(made))


def _get(call: Call) -> Response:
    return json_response(200, hub_json.job_json(call.hub.jobs.get(call.id)))


def _cancel(call: Call) -> Response:
    return json_response(200, hub_json.job_json(call.hub.jobs.cancel(call.id)))


def _query(call: Call) -> Response:
    """A list, with its continuation in a header, as Azure's Node client reads it. The reference,
    and the Python client with it, have an object here."""
    asked = call.request.query
    found = call.hub.jobs.find(asked.get("jobType", ""), asked.get("jobStatus", ""))
    token = call.request.headers.get(CONTINUATION, "")
    first, size = int(token) if token.isdecimal() else 0, count_of(call.request) or LARGEST
    shown, last = found[first : first + size], first + size
    more = {CONTINUATION: str(last)} if last < len(found) else {}
    body = [hub_json.job_json(job) for job in shown]
    return json_response(200, body, {ITEM_TYPE: "jobResponse", **more})
