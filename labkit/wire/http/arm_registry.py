"""The Device Registry by the shape of Azure Resource Manager (2025-11-01-preview and later).

    …/Microsoft.DeviceRegistry/namespaces/{ns}                 PUT, GET, PATCH, DELETE, list
        …/credentials/default                                  PUT, GET, PATCH, DELETE, list
        …/credentials/default/synchronize                      POST: 202, and Location
        …/credentials/default/policies/{policy}                PUT, GET, PATCH, DELETE, list

What is asked for is done when it is answered: so 201 and 200 say Succeeded at once, and whoever
polls where a Location points to finds the same.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any

from labkit.cloud import Cloud
from labkit.cloud.adr.books import DPS, SERVICE
from labkit.cloud.adr.namespaces import Credential, Namespace
from labkit.cloud.adr.policies import USUAL_VALIDITY, Policy
from labkit.errors import NotFound
from labkit.wire import azure_json
from labkit.wire.endpoints import DPS_NAME, RESOURCE_GROUP
from labkit.wire.http.arm_answers import guarded
from labkit.wire.http.fields import Fields, wrong
from labkit.wire.http.messages import Request, Response, Router, json_response

LOCATION = "local"
PROVIDER = "Microsoft.DeviceRegistry"

_SUBSCRIPTION = f"/subscriptions/{{subscription}}/providers/{PROVIDER}"
_ALL = f"/subscriptions/{{subscription}}/resourceGroups/{{group}}/providers/{PROVIDER}/namespaces"
_ONE = f"{_ALL}/{{namespace}}"
_CREDENTIAL = f"{_ONE}/credentials/default"
_POLICIES = f"{_CREDENTIAL}/policies"
_POLICY = f"{_POLICIES}/{{policy}}"
_TYPE = f"{PROVIDER}/namespaces"
_DEVICES = "Microsoft.Devices"

_Handler = Callable[[Request, dict[str, str]], Response]


def add_routes(router: Router, cloud: Cloud, subscription: str) -> None:
    """Serves the lab's namespaces as resources."""
    api = _Api(router, cloud, subscription)
    api.add("GET", _ALL, api.list_namespaces)
    api.add("GET", f"{_SUBSCRIPTION}/namespaces", api.list_namespaces)
    api.add("GET", f"{_SUBSCRIPTION}/locations/{{location}}/operationStatuses/{{operation}}", _done)
    api.add("PUT", _ONE, api.put_namespace)
    api.add("PATCH", _ONE, api.put_namespace)
    api.add("GET", _ONE, api.get_namespace)
    api.add("DELETE", _ONE, api.delete_namespace)
    api.add("GET", f"{_ONE}/credentials", api.list_credentials)
    api.add("PUT", _CREDENTIAL, api.put_credential)
    api.add("PATCH", _CREDENTIAL, api.get_credential)
    api.add("GET", _CREDENTIAL, api.get_credential)
    api.add("DELETE", _CREDENTIAL, api.delete_credential)
    api.add("POST", f"{_CREDENTIAL}/synchronize", api.synchronize)
    api.add("GET", _POLICIES, api.list_policies)
    api.add("PUT", _POLICY, api.put_policy)
    api.add("PATCH", _POLICY, api.patch_policy)
    api.add("GET", _POLICY, api.get_policy)
    api.add("DELETE", _POLICY, api.delete_policy)


class _Api:
    def __init__(self, router: Router, cloud: Cloud, subscription: str) -> None:
        self._router, self._registry = router, cloud.registry
        self._subscription, self._hubs = subscription, cloud.hubs
        self._refusals = cloud.refusals

    def add(self, method: str, path: str, handler: _Handler) -> None:
        def placed(request: Request, parts: dict[str, str]) -> Response:
            here = (self._subscription.lower(), RESOURCE_GROUP)
            if (parts["subscription"].lower(), parts.get("group", RESOURCE_GROUP).lower()) != here:
                raise NotFound("The lab has no such subscription or resource group")
            with self._refusals.told(SERVICE, parts.get("namespace", "")):
                return handler(request, parts)

        self._router.add(method, path, guarded(placed))

    # ---- namespaces

    def list_namespaces(self, _: Request, __: dict[str, str]) -> Response:
        return _listed([self._namespace_json(one) for one in self._registry.namespaces])

    def put_namespace(self, request: Request, parts: dict[str, str]) -> Response:
        """Also links the hubs that it names as messaging endpoints."""
        said = Fields.of(request.body).object("properties") or Fields({})
        hubs = [hub_of(resource) for resource in _endpoints(said)]
        is_new = parts["namespace"].lower() not in {one.name for one in self._registry.namespaces}
        namespace = self._registry.namespaces.create(parts["namespace"])
        for hub in hubs:
            namespace.link_hub(hub)
        return json_response(201 if is_new else 200, self._namespace_json(namespace))

    def get_namespace(self, _: Request, parts: dict[str, str]) -> Response:
        return json_response(200, self._namespace_json(self._namespace(parts)))

    def delete_namespace(self, _: Request, parts: dict[str, str]) -> Response:
        self._registry.namespaces.delete(parts["namespace"])
        return Response(204)

    # ---- the credential

    def list_credentials(self, _: Request, parts: dict[str, str]) -> Response:
        namespace = self._namespace(parts)
        held = [] if namespace.root is None else [namespace.credential]
        return _listed([self._credential_json(credential) for credential in held])

    def put_credential(self, _: Request, parts: dict[str, str]) -> Response:
        namespace = self._namespace(parts)
        status = 201 if namespace.root is None else 200
        return json_response(status, self._credential_json(namespace.create_credential()))

    def get_credential(self, _: Request, parts: dict[str, str]) -> Response:
        return json_response(200, self._credential_json(self._namespace(parts).credential))

    def delete_credential(self, _: Request, parts: dict[str, str]) -> Response:
        self._namespace(parts).delete_credential()
        return Response(204)

    def synchronize(self, request: Request, parts: dict[str, str]) -> Response:
        self._namespace(parts).synchronize()
        path = _SUBSCRIPTION.format(subscription=self._subscription)
        where = f"https://{request.host}{path}/locations/{LOCATION}/operationStatuses"
        version = request.query.get("api-version", "")
        location = f"{where}/{uuid.uuid4()}?api-version={version}"
        return Response(202, headers={"Location": location, "Retry-After": "0"})

    # ---- policies

    def list_policies(self, _: Request, parts: dict[str, str]) -> Response:
        return _listed([self._policy_json(one) for one in self._namespace(parts).policies])

    def put_policy(self, request: Request, parts: dict[str, str]) -> Response:
        """A new policy; or one that is there, for another number of days."""
        policies, days = self._namespace(parts).policies, _days(request) or USUAL_VALIDITY
        if parts["policy"].lower() in {policy.name.lower() for policy in policies}:
            return self._changed(policies.get(parts["policy"]), days)
        policy = policies.create(parts["policy"], validity_days=days)
        return json_response(201, self._policy_json(policy))

    def patch_policy(self, request: Request, parts: dict[str, str]) -> Response:
        return self._changed(self._policy(parts), _days(request))

    def get_policy(self, _: Request, parts: dict[str, str]) -> Response:
        return json_response(200, self._policy_json(self._policy(parts)))

    def delete_policy(self, _: Request, parts: dict[str, str]) -> Response:
        self._namespace(parts).policies.delete(parts["policy"])
        return Response(204)

    def _changed(self, policy: Policy, days: int) -> Response:
        if days and days != policy.validity_days:
            policy.update(validity_days=days)
        return json_response(200, self._policy_json(policy))

    # ---- as ARM writes them

    def _namespace(self, parts: dict[str, str]) -> Namespace:
        return self._registry.namespaces.get(parts["namespace"])

    def _policy(self, parts: dict[str, str]) -> Policy:
        return self._namespace(parts).policies.get(parts["policy"])

    def _id(self, namespace: str) -> str:
        return namespace_id(self._subscription, namespace)

    def _namespace_json(self, namespace: Namespace) -> dict[str, Any]:
        devices = f"{_group(self._subscription)}/providers/{_DEVICES}"
        endpoints = {
            hub: {
                "endpointType": f"{_DEVICES}/IotHubs",
                "address": self._hubs.get(hub).host_name,
                "resourceId": f"{devices}/IotHubs/{hub}",
            }
            for hub in namespace.hubs
        }
        properties = {"uuid": namespace.row.uuid, "messaging": {"endpoints": endpoints}}
        if DPS in namespace.links:
            dps = {
                "endpointType": f"{_DEVICES}/provisioningServices",
                "resourceId": f"{devices}/provisioningServices/{DPS_NAME}",
            }
            properties["provisioning"] = {"endpoints": {DPS_NAME: dps}}
        row = namespace.row
        return _resource(self._id(row.name), _TYPE, properties, row.created, row.created)

    def _credential_json(self, credential: Credential) -> dict[str, Any]:
        id_ = f"{self._id(credential.namespace)}/credentials/default"
        times = (credential.created, credential.updated)
        return _resource(id_, f"{_TYPE}/credentials", {}, *times)

    def _policy_json(self, policy: Policy) -> dict[str, Any]:
        row, certificate = policy.row, policy.certificate
        authority = {
            "keyType": "ECC",
            "subject": azure_json.distinguished_name(certificate.subject),
            "validityNotBefore": azure_json.timestamp(certificate.not_valid_before_utc),
            "validityNotAfter": azure_json.timestamp(certificate.not_valid_after_utc),
        }
        leaf = {"validityPeriodInDays": row.days}
        shown = {
            "certificateAuthorityConfiguration": authority,
            "leafCertificateConfiguration": leaf,
        }
        id_ = f"{self._id(policy.namespace)}/credentials/default/policies/{row.policy}"
        type_ = f"{_TYPE}/credentials/policies"
        return _resource(id_, type_, {"certificate": shown}, row.created, row.updated)


def namespace_id(subscription: str, namespace: str) -> str:
    """The resource ID of a namespace."""
    return f"{_group(subscription)}/providers/{PROVIDER}/namespaces/{namespace}"


def _group(subscription: str) -> str:
    return f"/subscriptions/{subscription}/resourceGroups/{RESOURCE_GROUP}"


def namespace_of(resource_id: str) -> str:
    """The name of a namespace out of its resource ID. Raises Denial."""
    return _last(resource_id, f"{PROVIDER}/namespaces")


def hub_of(resource_id: str) -> str:
    """The name of a hub out of its resource ID. Raises Denial."""
    return _last(resource_id, f"{_DEVICES}/IotHubs")


def _last(resource_id: str, kind: str) -> str:
    before, _, name = resource_id.rpartition("/")
    if not before.lower().endswith(f"/providers/{kind}".lower()) or not name:
        raise wrong("resourceId", f"it is {resource_id!r}", f"…/providers/{kind}/{{name}}")
    return name


def _endpoints(said: Fields) -> list[str]:
    """The resource IDs of messaging endpoints."""
    messaging = said.object("messaging") or Fields({})
    endpoints = messaging.object("endpoints") or Fields({})
    found = [endpoints.object(name) for name in messaging.raw("endpoints")]
    return [endpoint.text("resourceId") for endpoint in found if endpoint is not None]


def _days(request: Request) -> int:
    """For how long leaf certificates are to be valid; 0 where the request does not say."""
    said: Fields | None = Fields.of(request.body)
    for name in ("properties", "certificate", "leafCertificateConfiguration"):
        said = said.object(name) if said is not None else None
    return said.number("validityPeriodInDays", 0) if said is not None else 0


def _done(_: Request, parts: dict[str, str]) -> Response:
    """Of an operation that was over when it was answered."""
    return json_response(200, {"name": parts["operation"], "status": "Succeeded"})


def _listed(items: list[dict[str, Any]]) -> Response:
    return json_response(200, {"value": items})


def _resource(
    id_: str, type_: str, properties: dict[str, Any], created: datetime, updated: datetime
) -> dict[str, Any]:
    return {
        "id": id_,
        "name": id_.rpartition("/")[2],
        "type": type_,
        "location": LOCATION,
        "tags": {},
        "properties": {**properties, "provisioningState": "Succeeded"},
        "systemData": {
            "createdAt": azure_json.timestamp(created),
            "lastModifiedAt": azure_json.timestamp(updated),
        },
    }
