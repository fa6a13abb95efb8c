"""The Device Registry by the shape of Azure Resource Manager."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from https_clients import Answer, Client, client
from stories import Story

from labkit.serve import description

API = "api-version=2025-11-01-preview"


@pytest.fixture
def arm(story: Story) -> Iterator[Client]:
    with client(story.lab) as opened:
        opened.headers["Authorization"] = "Bearer whatever"
        yield opened


def group(story: Story) -> str:
    found = description(story.lab)["arm"]
    return f"/subscriptions/{found['subscriptionId']}/resourceGroups/{found['resourceGroup']}"


def at(story: Story, rest: str = "") -> str:
    return f"{group(story)}/providers/Microsoft.DeviceRegistry/namespaces{rest}?{API}"


def policy_body(days: int) -> dict[str, Any]:
    certificate = {
        "certificateAuthorityConfiguration": {"keyType": "ECC"},
        "leafCertificateConfiguration": {"validityPeriodInDays": days},
    }
    return {"location": "local", "properties": {"certificate": certificate}}


def assert_error(answer: Answer, status: int) -> str:
    assert answer.status == status, answer.body
    assert set(answer.json) == {"error"}
    return str(answer.json["error"]["message"])


def test_the_whole_of_a_pki_by_requests_alone(story: Story, arm: Client) -> None:
    """Namespace, credential, policy, links, synchronising; the second PUT is 200, not 201."""
    for status in (201, 200):
        for path, body in (
            ("/contoso", {"location": "local"}),
            ("/contoso/credentials/default", {"location": "local"}),
            ("/contoso/credentials/default/policies/short", policy_body(7)),
        ):
            made = arm.ask("PUT", at(story, path), body)
            assert made.status == status, made.body
            assert made.json["properties"]["provisioningState"] == "Succeeded"
            assert made.json["id"] == at(story, path).partition("?")[0]
            assert arm.ask("GET", at(story, path)).json == made.json
    shown = made.json["properties"]["certificate"]
    authority = shown["certificateAuthorityConfiguration"]
    assert authority["keyType"] == "ECC"
    assert authority["subject"] == "CN=short Issuing CA, O=contoso"
    assert shown["leafCertificateConfiguration"] == {"validityPeriodInDays": 7}
    namespace = at(story, "/contoso").partition("?")[0]
    dps = f"{group(story)}/providers/Microsoft.Devices/provisioningServices/lab-dps?{API}"
    hub = f"{group(story)}/providers/Microsoft.Devices/IotHubs/contoso-hub?{API}"
    link = {"resourceId": namespace, "authenticationType": "SystemAssigned"}
    body = {"location": "local", "properties": {"deviceRegistryNamespace": link}}
    linked = arm.ask("PUT", dps, body)
    assert linked.json["properties"]["deviceRegistryNamespace"] == link
    body = {"properties": {"deviceRegistry": {"namespaceResourceId": namespace}}}
    assert arm.ask("PATCH", hub, body).json["properties"]["deviceRegistry"] == {
        "namespaceResourceId": namespace
    }
    properties = arm.ask("GET", at(story, "/contoso")).json["properties"]
    endpoint = properties["messaging"]["endpoints"]["contoso-hub"]
    assert endpoint["address"] == "contoso-hub.azure-devices.net"
    assert set(properties["provisioning"]["endpoints"]) == {"lab-dps"}
    begun = arm.ask("POST", at(story, "/contoso/credentials/default/synchronize"))
    assert (begun.status, begun.body) == (202, b"")
    assert len(list(story.lab.hub().certificates)) == 1
    over = arm.ask("GET", urlsplit(begun.headers["location"]).path)
    assert over.json["status"] == "Succeeded"


def test_hubs_are_linked_as_endpoints_of_the_namespace_too(story: Story, arm: Client) -> None:
    hub = f"{group(story)}/providers/Microsoft.Devices/IotHubs/contoso-hub"
    endpoints = {"one": {"endpointType": "Microsoft.Devices/IotHubs", "resourceId": hub}}
    body = {"location": "local", "properties": {"messaging": {"endpoints": endpoints}}}
    assert arm.ask("PUT", at(story, "/contoso"), body).status == 201
    assert story.lab.registry.namespaces.get("contoso").hubs == ["contoso-hub"]
    other = {"one": {"resourceId": "/subscriptions/x/providers/Microsoft.Else/things/contoso-hub"}}
    body = {"properties": {"messaging": {"endpoints": other}}}
    assert_error(arm.ask("PUT", at(story, "/fabrikam"), body), 400)


def test_policies_are_listed_changed_and_deleted(story: Story, arm: Client) -> None:
    namespace = story.lab.registry.namespaces.create("contoso")
    namespace.create_credential()
    for name, days in (("short", 7), ("long", 90)):
        arm.ask(
            "PUT", at(story, f"/contoso/credentials/default/policies/{name}"), policy_body(days)
        )
    listed = arm.ask("GET", at(story, "/contoso/credentials/default/policies")).json["value"]
    assert [policy["name"] for policy in listed] == ["long", "short"]
    one = at(story, "/contoso/credentials/default/policies/short")
    changed = arm.ask("PATCH", one, policy_body(30))
    shown = changed.json["properties"]["certificate"]["leafCertificateConfiguration"]
    assert shown == {"validityPeriodInDays": 30}
    assert arm.ask("DELETE", one).status == 204
    assert_error(arm.ask("GET", one), 404)
    assert arm.ask("GET", at(story, "/contoso/credentials")).json["value"][0]["name"] == "default"
    found = description(story.lab)["arm"]["subscriptionId"]
    everywhere = f"/subscriptions/{found}/providers/Microsoft.DeviceRegistry/namespaces?{API}"
    assert [one["name"] for one in arm.ask("GET", everywhere).json["value"]] == ["contoso"]


def test_what_cannot_be_is_said_in_arms_form(story: Story, arm: Client) -> None:
    story.lab.registry.namespaces.create("contoso")
    policy = at(story, "/contoso/credentials/default/policies/short")
    assert "no credential" in assert_error(arm.ask("PUT", policy, policy_body(7)), 404)
    arm.ask("PUT", at(story, "/contoso/credentials/default"), {})
    assert "1 to 90" in assert_error(arm.ask("PUT", policy, policy_body(91)), 400)
    arm.ask("PUT", policy, policy_body(7))
    in_use = arm.ask("DELETE", at(story, "/contoso/credentials/default"))
    assert "in use" in assert_error(in_use, 409)
    assert_error(arm.ask("DELETE", at(story, "/contoso")), 409)
    assert_error(arm.ask("GET", at(story, "/fabrikam")), 404)
    assert_error(arm.ask("PUT", at(story, "/-x-"), {}), 400)
    assert_error(arm.ask("PUT", policy, b"no json"), 400)


def test_nobody_comes_without_a_token(story: Story) -> None:
    with client(story.lab) as stranger:
        assert_error(stranger.ask("GET", at(story)), 401)
