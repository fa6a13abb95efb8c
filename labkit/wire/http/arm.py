"""Azure Resource Manager, as far as the lab's two kinds of resource need it.

    …/provisioningServices/{name}    the resource, its keys, its CA certificates
    …/IotHubs/{name}                 the same: one code, as it is one shape

Keys are told to this machine only, for otherwise they would keep nobody out. Of a PUT only the link
to a namespace of the Device Registry is taken: what else a resource is, is set elsewhere.
"""

from __future__ import annotations

import base64
import ipaddress
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import format_datetime
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding

from labkit.cloud import Cloud
from labkit.cloud.certificates import CaCertificate, CaCertificates
from labkit.cloud.hub.links import LinkedHub
from labkit.cloud.policies import Policies, Policy
from labkit.cloud.store import setting
from labkit.database import Database
from labkit.errors import NotFound
from labkit.wire import azure_json
from labkit.wire.endpoints import DPS_NAME, GLOBAL_ENDPOINT, RESOURCE_GROUP, SERVICE_ENDPOINT
from labkit.wire.http import arm_answers, arm_links, arm_registry
from labkit.wire.http.arm_answers import guarded
from labkit.wire.http.arm_registry import LOCATION
from labkit.wire.http.fields import Fields
from labkit.wire.http.messages import (
    Request,
    Response,
    Router,
    json_response,
)

_PROVIDER = "Microsoft.Devices"
_GROUP = f"/subscriptions/{{subscription}}/resourceGroups/{{group}}/providers/{_PROVIDER}"
_DPS, _HUB = "ProvisioningServices", "IotHubs"


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
    """Serves the lab's DPS, hubs and Device Registry as resources."""
    arm = _Arm(router, cloud)
    arm_registry.add_routes(router, cloud, subscription(cloud.database))
    for kind in (_DPS, _HUB):
        one = f"{_GROUP}/{kind}/{{name}}"
        arm.add("GET", one, kind, _get)
        arm.add("PUT", one, kind, arm.link)
        arm.add("PATCH", one, kind, arm.link)
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
            with self._cloud.refusals.told(_service_of(kind), parts["name"]):
                return handler(self._resource(kind, parts), request, parts)

        self._router.add(method, path, guarded(answer))

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
            **self._linked(_DPS, "dps"),
        }
        policies = self._cloud.policies("dps")
        return self._made(_DPS, DPS_NAME, dps.certificates, policies, shown)

    def _hub(self, name: str) -> _Resource:
        hub = self._cloud.hubs.get(name)
        shown = {"hostName": hub.host_name, **self._linked(_HUB, hub.name)}
        policies = self._cloud.policies(hub.name)
        return self._made(_HUB, hub.name, hub.certificates, policies, shown)

    def link(self, resource: _Resource, request: Request, parts: dict[str, str]) -> Response:
        """Links a resource to the namespace that it names, if it names one."""
        said = Fields.of(request.body).object("properties") or Fields({})
        if named := arm_links.named(said):
            namespace = self._cloud.registry.namespaces.get(named)
            if resource.type == f"{_PROVIDER}/{_DPS}":
                namespace.link_dps()
            else:
                namespace.link_hub(resource.name)
        kind = resource.type.rpartition("/")[2]
        return json_response(200, self._resource(kind, parts).to_json())

    def _linked(self, kind: str, service: str) -> dict[str, Any]:
        namespace = self._cloud.registry.namespaces.of(service)
        if namespace is None:
            return {}
        return arm_links.shown(kind, arm_registry.namespace_id(self._subscription, namespace.name))

    def _made(
        self,
        kind: str,
        name: str,
        certificates: CaCertificates,
        policies: Policies,
        shown: dict[str, Any],
    ) -> _Resource:
        group = _GROUP.format(subscription=self._subscription, group=RESOURCE_GROUP)
        type_ = f"{_PROVIDER}/{kind}"
        return _Resource(f"{group}/{kind}/{name}", name, type_, certificates, policies, shown)


_Handler = Callable[[_Resource, Request, dict[str, str]], Response]


def _at_home(handler: _Handler) -> _Handler:
    """For this machine only."""

    def answer(resource: _Resource, request: Request, parts: dict[str, str]) -> Response:
        if not ipaddress.ip_address(request.peer).is_loopback:
            return arm_answers.error(
                403, "AuthorizationFailed", "Keys are told to this machine only."
            )
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


def _service_of(kind: str) -> str:
    return "dps" if kind == _DPS else "hub"
