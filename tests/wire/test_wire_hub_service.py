"""A hub over HTTPS: who may do what, what a stranger learns, and a device's telemetry."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from https_clients import Answer, Client, client, sign
from stories import Story, pem_device

from labkit.cloud.policies import POLICY, RIGHT

API = "api-version=2021-04-12"
HUB = "contoso-hub"
_numbers = itertools.count()


@pytest.fixture
def name() -> str:
    return f"Https-{next(_numbers)}"


def port_of(story: Story) -> int:
    return story.lab.listener.hub_ports[HUB]


@pytest.fixture
def back_end(shared: Story) -> Iterator[Client]:
    with client(shared.lab, port=port_of(shared)) as opened:
        opened.headers["Authorization"] = token(shared, "iothubowner")
        yield opened


def token(story: Story, policy: str, resource: str = "") -> str:
    found = story.lab.cloud.policies(HUB).find(policy)
    assert found is not None
    host = f"{story.lab.listener.host}:{port_of(story)}"
    return sign(quote(resource or host, safe=""), found.primary_key, policy=policy)


def assert_refused(answer: Answer, status: int, name: str) -> None:
    """In the one form that the SDKs parse."""
    assert answer.status == status, answer.body
    assert set(answer.json) == {"Message", "ExceptionMessage"}
    assert answer.json["Message"].startswith(f"ErrorCode:{name};")
    assert answer.json["ExceptionMessage"].startswith("Tracking ID:")
    assert answer.headers["iothub-errorcode"] == name
    assert answer.headers["x-ms-request-id"] in answer.json["ExceptionMessage"]


CA = {"authentication": {"type": "certificateAuthority"}}


# ---- rights

ALLOWED = {
    ("GET", "/devices/{}"): {"iothubowner", "registryRead", "registryReadWrite"},
    ("PUT", "/devices/{}"): {"iothubowner", "registryReadWrite"},
    ("DELETE", "/devices/{}"): {"iothubowner", "registryReadWrite"},
    ("GET", "/devices"): {"iothubowner", "registryRead", "registryReadWrite"},
    ("POST", "/devices"): {"iothubowner", "registryReadWrite"},
    ("GET", "/statistics/devices"): {"iothubowner", "registryRead", "registryReadWrite"},
    ("GET", "/statistics/service"): {"iothubowner", "service"},
    ("POST", "/devices/query"): {"iothubowner", "service"},
    ("GET", "/twins/{}"): {"iothubowner", "service"},
    ("PATCH", "/twins/{}"): {"iothubowner", "service"},
    ("PUT", "/twins/{}"): {"iothubowner", "service"},
    ("POST", "/twins/{}/methods"): {"iothubowner", "service"},
    ("GET", "/jobs/v2/query"): {"iothubowner", "service"},
    ("GET", "/jobs/v2/{}"): {"iothubowner", "service"},
    ("PUT", "/jobs/v2/{}"): {"iothubowner", "service"},
    ("POST", "/jobs/v2/{}/cancel"): {"iothubowner", "service"},
}


@pytest.mark.parametrize(("method", "path"), ALLOWED)
def test_each_operation_needs_its_right(
    shared: Story, back_end: Client, name: str, method: str, path: str
) -> None:
    for policy in ("iothubowner", "service", "device", "registryRead", "registryReadWrite"):
        back_end.headers["Authorization"] = token(shared, policy)
        answer = back_end.ask(method, f"{path.format(name)}?{API}", {})
        allowed = policy in ALLOWED[method, path]
        assert (answer.status != 401) is allowed, (policy, answer.body)
        if not allowed:
            assert_refused(answer, 401, "IotHubUnauthorizedAccess")
            found = shared.lab.explain(answer.headers["x-ms-request-id"]).failure
            assert found is not None
            assert found.name == RIGHT


def test_without_a_token_nothing_is_told(shared: Story, back_end: Client, name: str) -> None:
    shared.lab.hub().devices.create(name, ca=True)
    del back_end.headers["Authorization"]
    answers = [back_end.ask("GET", f"/devices/{each}?{API}") for each in (name, "nobody")]
    for answer in answers:
        assert_refused(answer, 401, "IotHubUnauthorizedAccess")
    assert answers[0].json["Message"] == answers[1].json["Message"]


def test_a_policy_of_dps_is_none_of_the_hubs(shared: Story, back_end: Client) -> None:
    policy = shared.lab.cloud.policies("dps").owner
    host = quote(f"{shared.lab.listener.host}:{port_of(shared)}", safe="")
    back_end.headers["Authorization"] = sign(host, policy.primary_key, policy=policy.name)
    answer = back_end.ask("GET", f"/devices?{API}")
    assert_refused(answer, 401, "IotHubUnauthorizedAccess")
    found = shared.lab.explain(answer.headers["x-ms-request-id"]).failure
    assert found is not None
    assert found.name == POLICY


def test_a_token_for_one_device_is_for_that_one(shared: Story, back_end: Client, name: str) -> None:
    shared.lab.hub().devices.create(name, ca=True)
    resource = f"contoso-hub.azure-devices.net/devices/{name}"
    back_end.headers["Authorization"] = token(shared, "registryRead", resource)
    assert back_end.ask("GET", f"/devices/{name}?{API}").status == 200
    assert back_end.ask("GET", f"/devices/other?{API}").status == 401


def test_keys_are_told_to_who_may_write(shared: Story, back_end: Client, name: str) -> None:
    made = back_end.ask("PUT", f"/devices/{name}?{API}", {"deviceId": name})
    key = made.json["authentication"]["symmetricKey"]["primaryKey"]
    assert key
    for policy in ("registryRead", "service"):
        back_end.headers["Authorization"] = token(shared, policy)
        for path in (f"/devices/{name}", "/devices", f"/twins/{name}"):
            assert key.encode() not in back_end.ask("GET", f"{path}?{API}").body
    assert key not in "".join(str(event.details) for event in shared.lab.events)


# ---- shapes


def test_a_device_as_azure_writes_it(back_end: Client, name: str) -> None:
    sent = {"deviceId": name, "status": "disabled", "statusReason": "new", **CA}
    made = back_end.ask("PUT", f"/devices/{name}?{API}", sent)
    assert made.status == 200
    assert made.headers["etag"] == f'"{made.json["etag"]}"'
    assert {key: made.json[key] for key in ("deviceId", "status", "statusReason")} == {
        "deviceId": name,
        "status": "disabled",
        "statusReason": "new",
    }
    assert made.json["lastActivityTime"] == "0001-01-01T00:00:00Z"
    assert made.json["connectionState"] == "Disconnected"
    assert made.json["generationId"].isdecimal()


@pytest.mark.parametrize("etag", ["*", '"*"', "{}", '"{}"'])
def test_if_match_in_every_form(back_end: Client, name: str, etag: str) -> None:
    made = back_end.ask("PUT", f"/devices/{name}?{API}", CA).json
    wanted = etag.format(made["etag"])
    changed = back_end.ask("PUT", f"/devices/{name}?{API}", CA, if_match=wanted)
    assert changed.status == 200
    assert changed.json["etag"] != made["etag"]
    stale = back_end.ask("PUT", f"/devices/{name}?{API}", CA, if_match=made["etag"])
    assert_refused(stale, 412, "PreconditionFailed")
    assert_refused(back_end.ask("PUT", f"/devices/{name}?{API}", CA), 409, "DeviceAlreadyExists")


BAD: dict[str, Any] = {
    "no JSON": b"{",
    "a list": [],
    "another ID": {"deviceId": "another"},
    "a status that is none": {"status": "asleep"},
    "a type that is none": {"authentication": {"type": "telepathy"}},
    "a number for a text": {"statusReason": 7},
    "no thumbprint": {"authentication": {"type": "selfSigned"}},
    "a flag that is none": {"capabilities": {"iotEdge": "yes"}},
}


@pytest.mark.parametrize("body", BAD)
def test_a_body_that_cannot_be_is_refused(back_end: Client, name: str, body: str) -> None:
    assert_refused(back_end.ask("PUT", f"/devices/{name}?{API}", BAD[body]), 400, "ArgumentInvalid")
    assert_refused(back_end.ask("GET", f"/devices/{name}?{API}"), 404, "DeviceNotFound")


@pytest.mark.parametrize(
    "body",
    [{}, [], [1], [{"id": "x", "importMode": "conjure"}], [{"id": "x"}, {"id": "x"}], [{}] * 101],
)
def test_a_bulk_operation_that_cannot_be(back_end: Client, body: Any) -> None:
    answer = back_end.ask("POST", f"/devices?{API}", body)
    assert answer.status == 400
    assert "isSuccessful" in answer.json or "ErrorCode:ArgumentInvalid" in answer.json["Message"]


@pytest.mark.parametrize("twin", [{"tags": {"a.b": 1}}, {"properties": {"desired": {"$x": 1}}}])
def test_a_new_device_whose_twin_cannot_be_is_not_made(
    back_end: Client, name: str, twin: dict[str, Any]
) -> None:
    answer = back_end.ask("POST", f"/devices?{API}", [{"id": name, "importMode": "create", **twin}])
    assert answer.status == 400
    (error,) = answer.json["errors"]
    assert (error["deviceId"], error["errorCode"]) == (name, "ArgumentInvalid")
    assert_refused(back_end.ask("GET", f"/devices/{name}?{API}"), 404, "DeviceNotFound")


@pytest.mark.parametrize(
    "change",
    [
        {"startTime": "tomorrow"},
        {"type": "dance"},
        {"queryCondition": "a =="},
        {"maxExecutionTimeInSeconds": True},
        {"cloudToDeviceMethod": {"methodName": ""}},
        {"cloudToDeviceMethod": []},
    ],
)
def test_a_job_that_cannot_be(back_end: Client, name: str, change: dict[str, Any]) -> None:
    plan = {"type": "scheduleDeviceMethod", "cloudToDeviceMethod": {"methodName": "x"}}
    answer = back_end.ask("PUT", f"/jobs/v2/{name}?{API}", {**plan, **change})
    assert_refused(answer, 400, "ArgumentInvalid")


def test_jobs_are_listed_by_kind_and_status(back_end: Client, name: str) -> None:
    patch = {"tags": {"x": 1}}
    plan = {"type": "scheduleUpdateTwin", "queryCondition": "deviceId = ''", "updateTwin": patch}
    later = {**plan, "startTime": "2099-01-01T00:00:00Z"}
    for number in range(3):
        back_end.ask("PUT", f"/jobs/v2/{name}-{number}?{API}", later)
    asked = f"/jobs/v2/query?{API}&jobType=scheduleUpdateTwin&jobStatus=scheduled"
    first = back_end.ask("GET", asked, x_ms_max_item_count="2")
    assert [job["jobId"] for job in first.json] == [f"{name}-2", f"{name}-1"]
    rest = back_end.ask("GET", asked, x_ms_continuation=first.headers["x-ms-continuation"])
    assert f"{name}-0" in [job["jobId"] for job in rest.json]
    for number in range(3):
        cancelled = back_end.ask("POST", f"/jobs/v2/{name}-{number}/cancel?{API}")
        assert cancelled.json["status"] == "cancelled"


# ---- devices


def test_a_device_sends_telemetry_with_its_certificate(
    shared: Story, tmp_path: Path, name: str
) -> None:
    device = pem_device(shared, tmp_path / "pem", name)
    shared.lab.hub().devices.create(name, certificate=device.chain[0])
    files = {"chain_file": device.chain_file, "key_file": device.key_file}
    with client(shared.lab, port=port_of(shared), **files) as opened:
        headers = {"IoTHub_app_floor": "3", "IoTHub_MessageId": "m1"}
        body = json.dumps({"t": 21.5}).encode()
        answer = opened.ask("POST", f"/devices/{name}/messages/events?{API}", body, **headers)
        other = opened.ask("POST", f"/devices/{name}x/messages/events?{API}", body)
    assert (answer.status, answer.body) == (204, b"")
    assert_refused(other, 401, "IotHubUnauthorized")
    (message,) = shared.lab.hub().messages(name)
    assert (message.body, message.properties["floor"]) == (body, "3")
    assert message.system["mid"] == "m1"


def test_a_device_sends_telemetry_with_its_key(shared: Story, name: str) -> None:
    made = shared.lab.hub().devices.create(name)
    resource = quote(f"contoso-hub.azure-devices.net/devices/{name}", safe="")
    path = f"/devices/{name}/messages/events?{API}"
    with client(shared.lab, port=port_of(shared)) as opened:
        for key, status in ((made.secondary_key, 204), ("bm90IHRoZSBrZXk=", 401)):
            signed = sign(resource, key)
            assert opened.ask("POST", path, b"hello", authorization=signed).status == status
        shared.lab.hub().devices.disable(name, "stolen")
        signed = sign(resource, made.primary_key)
        assert opened.ask("POST", path, b"hello", authorization=signed).status == 401
    assert [message.text for message in shared.lab.hub().messages(name)] == ["hello"]
    assert "because: stolen" in str(shared.lab.explain(name))


def test_each_hub_answers_for_itself(shared: Story, back_end: Client, name: str) -> None:
    """The Host header names the hub where there is one port for all."""
    shared.lab.hub().devices.create(name, ca=True)
    host = "contoso-hub.azure-devices.net"
    back_end.headers["Authorization"] = token(shared, "iothubowner", host)
    assert back_end.ask("GET", f"/devices/{name}?{API}", host=host).status == 200
