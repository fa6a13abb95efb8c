"""Azure Resource Manager, as far as the lab's two kinds of resource need it.

    …/provisioningServices/{name}    the resource, its keys, its CA certificates
    …/IotHubs/{name}                 the same: one code, as it is one shape

Any bearer token is taken: who somebody is in Azure is no subject of this lab. None is 401. Keys
are told to this machine only, for otherwise they would keep nobody out.
"""

from __future__ import annotations

import base64
import ipaddress
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from email.utils import format_datetime
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding

from labkit.cloud import Cloud
from labkit.cloud.certificates import CaCertificate, CaCertificates
from labkit.cloud.hub.links import LinkedHub
from labkit.cloud.policies import Policies, Policy
from labkit.cloud.store import setting
from labkit.database import Database
from labkit.errors import Conflict, LabError, NotFound, ServiceRefusal
from labkit.wire import azure_json
from labkit.wire.endpoints import DPS_NAME, GLOBAL_ENDPOINT, RESOURCE_GROUP, SERVICE_ENDPOINT
from labkit.wire.http.dps_errors import REQUEST_ID
from labkit.wire.http.fields import Fields
from labkit.wire.http.messages import (
    Handler,
    Reply,
    Request,
    Response,
    Router,
    changed,
    json_response,
)

LOCATION = "local"

_GROUP = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Devices"
_DPS, _HUB = "ProvisioningServices", "IotHubs"
_STATUS = {NotFound: (404, "NotFound"), Conflict: (409, "Conflict")}


@dataclass(frozen=True, slots=True)
class _Resource:
    """A resource of either kind, and what stands behind it."""

    id: str
    name: str
    type: str
    certificates: CaCertificates
    policies: Policies
    properties: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "name": self.name,
            "type": self.type,
            "location": LOCATION,
            "tags": {},
            "sku": {"name": "S1", "tier": "Standard", "capacity": 1},
            "properties": {"state": "Active", "provisioningState": "Succeeded", **self.properties},
        }


def subscription(database: Database) -> str:
    """The ID of the lab's one subscription, made once in the life of a workspace."""
    return setting(database, "subscription", lambda: str(uuid.uuid4()))


def add_routes(router: Router, cloud: Cloud) -> None:
    """Serves the lab's DPS and hubs as resources."""
    arm = _Arm(router, cloud)
    for kind in (_DPS, _HUB):
        one = f"{_GROUP}/{kind}/{{name}}"
        arm.add("GET", one, kind, _get)
        arm.add("POST", f"{one}/listkeys", kind, _at_home(_list_keys))
        keys = "keys" if kind == _DPS else "IotHubKeys"
        arm.add("POST", f"{one}/{keys}/{{key}}/listkeys", kind, _at_home(_one_key))
        certificate = f"{one}/certificates/{{certificate}}"
        arm.add("GET", f"{one}/certificates", kind, _list_certificates)
        arm.add("GET", certificate, kind, _get_certificate)
        arm.add("PUT", certificate, kind, _put_certificate)
        arm.add("DELETE", certificate, kind, _delete_certificate)
        arm.add("POST", f"{certificate}/generateVerificationCode", kind, _verification_code)
        arm.add("POST", f"{certificate}/verify", kind, _verify)


class _Arm:
    def __init__(self, router: Router, cloud: Cloud) -> None:
        self._router, self._cloud = router, cloud
        self._subscription = subscription(cloud.database)

    def add(self, method: str, path: str, kind: str, handler: _Handler) -> None:
        def answer(request: Request, parts: dict[str, str]) -> Response:
            if not request.headers.get("authorization", "").lower().startswith("bearer "):
                return _error(401, "AuthenticationFailed", "A bearer token is missing.")
            try:
                with self._cloud.refusals.told(_service_of(kind), parts["name"]):
                    return handler(self._resource(kind, parts), request, parts)
            except LabError as error:
                return _refused(error)

        self._router.add(method, path, _identified(answer))

    def _resource(self, kind: str, parts: dict[str, str]) -> _Resource:
        """Raises NotFound."""
        named = (parts["subscription"].lower(), parts["group"].lower())
        if named != (self._subscription.lower(), RESOURCE_GROUP):
            raise NotFound(
                "The lab has no such subscription or resource group",
                expected=f"{self._subscription} and {RESOURCE_GROUP}: `labkit serve` names them",
            )
        resource = self._dps if kind == _DPS else self._hub
        return resource(parts["name"])

    def _dps(self, name: str) -> _Resource:
        if name.lower() != DPS_NAME:
            raise NotFound(f"There is no provisioning service {name!r}", found=f"{DPS_NAME}")
        dps = self._cloud.dps
        policy = dps.allocation_policy
        shown = {
            "allocationPolicy": f"{policy[:1].upper()}{policy[1:]}",
            "deviceProvisioningHostName": GLOBAL_ENDPOINT,
            "serviceOperationsHostName": SERVICE_ENDPOINT,
            "idScope": dps.id_scope,
            "iotHubs": [_linked_json(hub) for hub in dps.linked_hubs],
        }
        policies = self._cloud.policies("dps")
        return self._made(_DPS, DPS_NAME, dps.certificates, policies, shown)

    def _hub(self, name: str) -> _Resource:
        hub = self._cloud.hubs.get(name)
        shown = {"hostName": hub.host_name}
        policies = self._cloud.policies(hub.name)
        return self._made(_HUB, hub.name, hub.certificates, policies, shown)

    def _made(
        self,
        kind: str,
        name: str,
        certificates: CaCertificates,
        policies: Policies,
        shown: dict[str, Any],
    ) -> _Resource:
        group = _GROUP.format(subscription=self._subscription, group=RESOURCE_GROUP)
        type_ = f"Microsoft.Devices/{kind}"
        return _Resource(f"{group}/{kind}/{name}", name, type_, certificates, policies, shown)


_Handler = Callable[[_Resource, Request, dict[str, str]], Response]


def _at_home(handler: _Handler) -> _Handler:
    """For this machine only."""

    def answer(resource: _Resource, request: Request, parts: dict[str, str]) -> Response:
        if not ipaddress.ip_address(request.peer).is_loopback:
            return _error(403, "AuthorizationFailed", "Keys are told to this machine only.")
        return handler(resource, request, parts)

    return answer


# ---- what is asked of a resource


def _get(resource: _Resource, _: Request, __: dict[str, str]) -> Response:
    return json_response(200, resource.to_json())


def _list_keys(resource: _Resource, _: Request, __: dict[str, str]) -> Response:
    return json_response(200, {"value": [_key_json(policy) for policy in resource.policies]})


def _one_key(resource: _Resource, _: Request, parts: dict[str, str]) -> Response:
    policy = resource.policies.find(parts["key"])
    if policy is None:
        raise NotFound(f"There is no policy {parts['key']!r}")
    return json_response(200, _key_json(policy))


def _list_certificates(resource: _Resource, _: Request, __: dict[str, str]) -> Response:
    found = [_certificate_json(resource, ca) for ca in resource.certificates]
    return json_response(200, {"value": found})


def _get_certificate(resource: _Resource, _: Request, parts: dict[str, str]) -> Response:
    ca = resource.certificates.get(parts["certificate"])
    return json_response(200, _certificate_json(resource, ca))


def _put_certificate(resource: _Resource, request: Request, parts: dict[str, str]) -> Response:
    said = Fields.of(request.body).object("properties") or Fields({})
    certificate, name = said.text("certificate"), parts["certificate"]
    verified = said.flag("isVerified", False)
    ca = resource.certificates.upload(name, certificate, **_etag(request), verified=verified)
    return json_response(200, _certificate_json(resource, ca))


def _delete_certificate(resource: _Resource, request: Request, parts: dict[str, str]) -> Response:
    resource.certificates.delete(parts["certificate"], **_etag(request))
    return Response(200)


def _verification_code(resource: _Resource, request: Request, parts: dict[str, str]) -> Response:
    name = parts["certificate"]
    code = resource.certificates.generate_verification_code(name, **_etag(request))
    body = _certificate_json(resource, resource.certificates.get(name))
    body["properties"]["verificationCode"] = code
    return json_response(200, body)


def _verify(resource: _Resource, request: Request, parts: dict[str, str]) -> Response:
    proof, name = Fields.of(request.body).text("certificate"), parts["certificate"]
    resource.certificates.verify(name, proof, **_etag(request))
    return json_response(200, _certificate_json(resource, resource.certificates.get(name)))


def _etag(request: Request) -> dict[str, str]:
    """If-Match, for whom it is sent at all."""
    found = request.headers.get("if-match")
    return {} if found is None else {"etag": found}


# ---- as ARM writes it


def _certificate_json(resource: _Resource, ca: CaCertificate) -> dict[str, Any]:
    certificate, row = ca.certificate, resource.certificates.row(ca.name)
    der = certificate.public_bytes(Encoding.DER)
    return {
        "id": f"{resource.id}/certificates/{ca.name}",
        "name": ca.name,
        "type": f"{resource.type}/certificates",
        "etag": ca.etag,
        "properties": {
            "subject": azure_json.distinguished_name(certificate.subject),
            "expiry": format_datetime(certificate.not_valid_after_utc, usegmt=True),
            "thumbprint": ca.thumbprint,
            "isVerified": ca.is_verified,
            "created": format_datetime(row.created, usegmt=True),
            "updated": format_datetime(row.updated, usegmt=True),
            "certificate": base64.b64encode(der).decode(),
        },
    }


def _linked_json(hub: LinkedHub) -> dict[str, Any]:
    return {
        "name": hub.host_name,
        "location": LOCATION,
        "applyAllocationPolicy": True,
        "allocationWeight": hub.weight,
    }


def _key_json(policy: Policy) -> dict[str, str]:
    return {
        "keyName": policy.name,
        "primaryKey": policy.primary_key,
        "secondaryKey": policy.secondary_key,
        "rights": ", ".join(policy.rights),
    }


def _refused(error: LabError) -> Response:
    """ARM has room for a sentence: the lab's own, where Azure's is not known."""
    if isinstance(error, ServiceRefusal):
        response = _error(error.error.status, str(error.error.code), error.error.message)
        return replace(response, headers={**response.headers, REQUEST_ID: error.tracking_id})
    found = (answer for kind, answer in _STATUS.items() if isinstance(error, kind))
    return _error(*next(found, (400, "BadRequest")), " ".join(str(error).split()))


def _error(status: int, code: str, message: str) -> Response:
    return json_response(status, {"error": {"code": code, "message": message}})


def _service_of(kind: str) -> str:
    return "dps" if kind == _DPS else "hub"


def _identified(handler: Handler) -> Handler:
    """ARM's answers have a request ID, whatever they are."""

    def answer(request: Request, parts: dict[str, str]) -> Reply:
        def identified(response: Response) -> Response:
            return replace(response, headers={REQUEST_ID: str(uuid.uuid4()), **response.headers})

        return changed(handler(request, parts), identified)

    return answer
