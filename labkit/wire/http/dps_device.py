"""DPS over HTTPS, as devices see it: register, ask how it stands, look up where one belongs.

    PUT  /{idScope}/registrations/{id}/register           202 and Location, or 200 at once
    GET  /{idScope}/registrations/{id}/operations/{op}    202 until there is an outcome
    POST /{idScope}/registrations/{id}                    the registration as it stands

Any api-version is taken. A device proves itself in TLS, or with a SAS token as Authorization.
"""

from __future__ import annotations

from urllib.parse import quote

from labkit.cloud import strict_json
from labkit.cloud.dps.caller import Caller
from labkit.cloud.dps.registrations import ASSIGNING, Operation
from labkit.cloud.dps.service import ProvisioningService
from labkit.wire import azure_json, provisioning
from labkit.wire.http.dps_errors import RETRY_AFTER, answering
from labkit.wire.http.fields import check_is_json
from labkit.wire.http.messages import Handler, Prompt, Request, Response, Router, json_response

_DEVICE = "/{scope}/registrations/{id}"
_VERSION = "2021-06-01"


def add_routes(router: Router, dps: ProvisioningService) -> None:
    """Serves devices of this DPS."""

    def read(handler: Prompt) -> Handler:
        def answer(request: Request, parts: dict[str, str]) -> Response:
            with dps.told(_caller(request, parts)):
                check_is_json(request)
            return handler(request, parts)

        return answering(answer)

    def register(request: Request, parts: dict[str, str]) -> Response:
        force = provisioning.is_yes(request.query.get("forceRegistration", ""))
        caller = _caller(request, parts)
        found = dps.at_once(provisioning.register(dps, caller, request.body, force=force))
        return _answer(found, request, parts)

    def status(request: Request, parts: dict[str, str]) -> Response:
        found = dps.operation(_caller(request, parts), parts["operation"])
        return _answer(found, request, parts)

    def look_up(request: Request, parts: dict[str, str]) -> Response:
        caller = _caller(request, parts)
        said = strict_json.read_object(request.body.strip() or b"{}")
        if said is None or said.get("csr") is not None:
            why = "it holds a CSR" if said else "the body is not a JSON object"
            raise dps.refuse_request(caller, why, 'send {"registrationId": "…"}')
        return json_response(200, azure_json.device_state(dps.lookup(caller)))

    router.add("PUT", f"{_DEVICE}/register", read(register))
    router.add("GET", f"{_DEVICE}/operations/{{operation}}", read(status))
    router.add("POST", _DEVICE, read(look_up))


def _caller(request: Request, parts: dict[str, str]) -> Caller:
    token = request.headers.get("authorization", "")
    version = request.query.get("api-version", "")
    return Caller(parts["scope"], parts["id"], request.presented, token, version)


def _answer(found: Operation, request: Request, parts: dict[str, str]) -> Response:
    headers = {RETRY_AFTER: str(found.retry_after)} if found.retry_after else {}
    if found.status != ASSIGNING:
        return json_response(200, azure_json.operation(found), headers)
    path = "/".join(quote(parts[name], safe=":") for name in ("scope", "id"))
    path = path.replace("/", "/registrations/", 1)
    version = quote(request.query.get("api-version", _VERSION), safe="")
    where = f"https://{request.host}/{path}/operations/{found.operation_id}?api-version={version}"
    return json_response(202, azure_json.operation(found), {**headers, "Location": where})
