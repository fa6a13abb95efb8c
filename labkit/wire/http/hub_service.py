"""A hub's service API (2021-04-12, and what else has its shape), for back ends.

    devices       PUT, GET, DELETE, list, bulk        RegistryRead, RegistryWrite
    devices/query, twins, methods, jobs/v2            ServiceConnect
    statistics    devices (RegistryRead), service (ServiceConnect)

Who asks signs with the key of a policy (SAS), and may do what that policy may. Who may not learns
nothing, not even whether the thing exists.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any

from labkit.cloud import Cloud, codes, strict_json
from labkit.cloud.hub import Hub, limits
from labkit.cloud.hub.tables import DeviceIdentity
from labkit.cloud.policies import REGISTRY_READ, REGISTRY_WRITE, SERVICE_CONNECT
from labkit.cloud.refusals import Denial
from labkit.cloud.store import machine_time
from labkit.errors import ServiceRefusal
from labkit.trace import failed, first_failure
from labkit.wire.host_names import as_dialled
from labkit.wire.http import hub_json
from labkit.wire.http.dps_service import CONTINUATION, ITEM_TYPE, count_of
from labkit.wire.http.fields import Fields, wrong
from labkit.wire.http.hub_errors import answering, named
from labkit.wire.http.messages import Reply, Request, Response, Router, json_response, mapped

MOST_AT_ONCE = 100
"""Devices of one bulk operation."""

_MODES = ("create", "update", "updateIfMatchETag", "delete", "deleteIfMatchETag")
_LOWER_MODES = {mode.lower(): mode for mode in _MODES}
_ONCE = "a device is named once in a bulk operation"


@dataclass(frozen=True, slots=True)
class Call:
    """A request to a hub, admitted. ``parts`` are those of its path, ``rights`` what who asks may
    do. What is ``told`` of a device is raised as a refusal."""

    hub: Hub
    request: Request
    parts: dict[str, str]
    rights: tuple[str, ...]
    told: Callable[[str], AbstractContextManager[None]]

    @property
    def id(self) -> str:
        """The device or job that it is about."""
        return self.parts.get("id", "")

    @property
    def fields(self) -> Fields:
        """Those of its body. Raises Denial."""
        return Fields.of(self.request.body)

    @property
    def if_match(self) -> str:
        return self.request.headers.get("if-match", "")


CallHandler = Callable[[Call], Reply]


class HubApi:
    """Adds operations of one hub to a router."""

    def __init__(self, router: Router, cloud: Cloud, hub: str) -> None:
        self._router, self._cloud, self._hub = router, cloud, hub

    def add(self, method: str, path: str, right: str, handler: CallHandler) -> None:
        """An operation that needs a right."""

        def guarded(request: Request, parts: dict[str, str]) -> Reply:
            rights = self._admit(request, right)
            hub = self._cloud.hubs.get(self._hub)
            told = partial(self._cloud.refusals.told, "hub")
            with told(parts.get("id", "")):
                return handler(Call(hub, request, parts, rights, told))

        self._router.add(method, path, answering(guarded))

    def _admit(self, request: Request, right: str) -> tuple[str, ...]:
        """What the token's policy may do. Raises ServiceRefusal (401) unless this is among it."""
        token, host = request.headers.get("authorization", ""), request.host
        names = (*as_dialled(host), f"{self._hub}.azure-devices.net")
        policies = self._cloud.policies(self._hub)
        resources = [f"{name}{request.path}" for name in names]
        checks = policies.authorize(token, resources, right, machine_time())
        if first_failure(checks):
            raise self._cloud.refusals.refuse("hub", "", codes.ACCESS_DENIED, checks)
        policy = policies.find(checks[-1].about)
        return tuple(policy.rights) if policy else ()


def add_routes(api: HubApi) -> None:
    """Serves the back ends of a hub."""
    one = "/devices/{id}"
    api.add("POST", "/devices/query", SERVICE_CONNECT, _query)
    api.add("GET", "/devices", REGISTRY_READ, _list)
    api.add("POST", "/devices", REGISTRY_WRITE, _bulk)
    api.add("GET", one, REGISTRY_READ, _get)
    api.add("PUT", one, REGISTRY_WRITE, _put)
    api.add("DELETE", one, REGISTRY_WRITE, _delete)
    api.add("GET", "/statistics/devices", REGISTRY_READ, _device_statistics)
    api.add("GET", "/statistics/service", SERVICE_CONNECT, _service_statistics)
    api.add("GET", "/twins/{id}", SERVICE_CONNECT, _get_twin)
    api.add("PATCH", "/twins/{id}", SERVICE_CONNECT, _update_twin)
    api.add("PUT", "/twins/{id}", SERVICE_CONNECT, _replace_twin)
    api.add("POST", "/twins/{id}/methods", SERVICE_CONNECT, _invoke)


# ---- the registry


def _shown(call: Call, identity: DeviceIdentity) -> dict[str, Any]:
    presence = call.hub.connections.presence(call.hub.name, identity.device_id)
    queued = len(call.hub.queued(identity.device_id))
    secrets = REGISTRY_WRITE in call.rights
    return hub_json.device_json(identity, presence, queued, secrets=secrets)


def _with_etag(body: dict[str, Any]) -> Response:
    return json_response(200, body, {"ETag": f'"{body["etag"]}"'})


def _get(call: Call) -> Response:
    return _with_etag(_shown(call, call.hub.devices.get(call.id)))


def _put(call: Call) -> Response:
    said = call.fields
    if (named := said.text("deviceId", call.id)) != call.id:
        raise wrong("deviceId", f"it is {named[:128]!r}, the path says {call.id!r}", "one of them")
    made = call.hub.devices.put(hub_json.wanted(said, call.id), call.if_match)
    return _with_etag(_shown(call, made))


def _delete(call: Call) -> Response:
    call.hub.devices.delete(call.id, etag=call.if_match)
    return Response(204)


def _list(call: Call) -> Response:
    top = call.request.query.get("top", "")
    found = call.hub.devices.page(int(top) if top.isdecimal() and len(top) < 6 else 0)
    return json_response(200, [_shown(call, identity) for identity in found])


def _bulk(call: Call) -> Response:
    """Each is done or refused by itself; 400 where one was refused."""
    entries = _entries(call)
    errors = [error for said in entries if (error := _one_of_bulk(call, said))]
    body = {"isSuccessful": not errors, "errors": errors, "warnings": []}
    return json_response(400 if errors else 200, body)


def _entries(call: Call) -> list[Fields]:
    try:
        found = strict_json.read(call.request.body)
    except ValueError:
        found = None
    if not isinstance(found, list) or not 0 < len(found) <= MOST_AT_ONCE:
        raise wrong("the body", "it is none", f"a list of 1 to {MOST_AT_ONCE} devices")
    if not all(isinstance(entry, dict) for entry in found):
        raise wrong("the body", "it holds something else", "a list of devices")
    entries = [Fields(entry, f"[{place}]") for place, entry in enumerate(found)]
    names = [said.text("id") for said in entries]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        check = failed(_ONCE, twice, f"{twice!r} is named twice", "send it once")
        raise Denial(codes.BAD_REQUEST, check)
    return entries


def _one_of_bulk(call: Call, said: Fields) -> dict[str, str] | None:
    name = said.text("id")
    try:
        with call.told(name):
            _do(call, said, name)
    except ServiceRefusal as refusal:
        code, text = named(refusal)
        return {"deviceId": name, "errorCode": code, "errorStatus": text}
    return None


def _do(call: Call, said: Fields, name: str) -> None:
    mode = _LOWER_MODES.get(said.text("importMode", "create").lower())
    etag = said.text("eTag") or said.text("etag")
    if mode is None:
        raise wrong(said.path("importMode"), "it is none", f"one of: {', '.join(_MODES)}")
    if mode.startswith("delete"):
        call.hub.devices.delete(name, etag=etag if mode == "deleteIfMatchETag" else "*")
        return
    wanted = hub_json.wanted(said, name)
    if mode == "create":
        twin = _first_twin(said)
        call.hub.devices.put(wanted)
        if any(twin.values()):
            call.hub.update_twin(name, **twin)
    else:
        call.hub.devices.put(wanted, etag or "*" if mode == "updateIfMatchETag" else "*")


def _first_twin(said: Fields) -> dict[str, Any]:
    """The tags and desired properties that a new device may come with. Raises Denial for what no
    twin holds: nothing is made of such a device then."""
    patch = hub_json.twin_patch(said)
    for part, largest in (("tags", limits.LARGEST_TAGS), ("desired", limits.LARGEST_SECTION)):
        if why := limits.fault_of_whole(patch[part] or {}, largest):
            raise wrong(said.path(part), why, "what a twin may hold")
    return patch


def _device_statistics(call: Call) -> Response:
    counts = call.hub.devices.counts()
    body = {
        "totalDeviceCount": counts.total,
        "enabledDeviceCount": counts.enabled,
        "disabledDeviceCount": counts.disabled,
    }
    return json_response(200, body)


def _service_statistics(call: Call) -> Response:
    return json_response(200, {"connectedDeviceCount": len(call.hub.connected())})


# ---- queries, twins, methods


def _query(call: Call) -> Response:
    token = call.request.headers.get(CONTINUATION, "")
    found = call.hub.queries.page(call.fields.text("query"), count_of(call.request), token)
    more = {CONTINUATION: found.continuation} if found.continuation else {}
    return json_response(200, found.rows, {ITEM_TYPE: found.kind, **more})


def _get_twin(call: Call) -> Response:
    found = call.hub.queries.documents.twin(call.id)
    if found is None:
        call.hub.devices.get(call.id)  # which says that there is none
        raise AssertionError("a device has a twin")
    return _with_etag(found)


def _update_twin(call: Call) -> Response:
    patch = hub_json.twin_patch(call.fields)
    call.hub.update_twin(call.id, **patch, etag=call.if_match)
    return _get_twin(call)


def _replace_twin(call: Call) -> Response:
    patch = hub_json.twin_patch(call.fields)
    whole = {name: part or {} for name, part in patch.items()}
    call.hub.replace_twin(call.id, **whole, etag=call.if_match)
    return _get_twin(call)


def _invoke(call: Call) -> Reply:
    """Answers when the device does; until then it occupies no thread."""
    said = hub_json.method(call.fields)
    begun = call.hub.begin_method(
        call.id,
        said["methodName"],
        said["payload"],
        said["responseTimeoutInSeconds"],
        said["connectTimeoutInSeconds"],
    )
    return mapped(
        begun,
        lambda result: json_response(200, {"status": result.status, "payload": result.payload}),
    )
