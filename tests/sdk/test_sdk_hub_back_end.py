"""The service SDK for Python, unmodified: a hub's registry, queries, twins, methods and jobs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from azure.iot.device import MethodResponse
from azure.iot.hub import IoTHubJobManager, IoTHubRegistryManager
from azure.iot.hub.models import (
    CloudToDeviceMethod,
    ExportImportDevice,
    JobRequest,
    QuerySpecification,
    Twin,
    TwinProperties,
)
from identities import add_device
from msrest.exceptions import HttpOperationError
from sdk_clients import hub_client
from stories import Story, eventually

from labkit.serve import description

_numbers = itertools.count()


@pytest.fixture
def name() -> str:
    return f"Registry-{next(_numbers)}"


@pytest.fixture(autouse=True)
def trusted(shared: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    """This SDK is told by the environment whom to trust."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(shared.lab.server.root_file))


@pytest.fixture
def connection(shared: Story) -> str:
    (hub,) = description(shared.lab)["hubs"]
    return str(hub["connectionString"])


@pytest.fixture
def registry(connection: str) -> Any:
    return IoTHubRegistryManager.from_connection_string(connection)


@pytest.fixture
def online(shared: Story, tmp_path: Path, name: str) -> Iterator[Any]:
    """The device of this name, connected by Microsoft's device SDK; it echoes its methods."""
    proof = add_device(shared, tmp_path / "pem", name)
    client = hub_client(shared, name, proof, websockets=False, is_async=False)

    def answer(request: Any) -> None:
        response = MethodResponse.create_from_method_request(request, 200, request.payload)
        client.send_method_response(response)

    client.connect()
    client.on_method_request_received = answer
    yield client
    client.shutdown()


def refused(status: int, code: str, act: Any, *arguments: Any) -> Any:
    """The SDK's error, which has Azure's code in it."""
    with pytest.raises(HttpOperationError) as caught:
        act(*arguments)
    assert caught.value.response.status_code == status
    assert caught.value.response.headers["iothub-errorcode"] == code
    return caught.value


# ---- the registry


def test_a_device_with_keys_from_its_making_to_its_deletion(registry: Any, name: str) -> None:
    made = registry.create_device_with_sas(name, None, None, "enabled")
    assert made.authentication.type == "sas"
    assert made.authentication.symmetric_key.primary_key
    read = registry.get_device(name)
    assert (read.etag, read.generation_id) == (made.etag, made.generation_id)
    assert read.connection_state == "Disconnected"
    keys = made.authentication.symmetric_key
    changed = registry.update_device_with_sas(
        name, made.etag, keys.primary_key, keys.secondary_key, "disabled"
    )
    assert changed.status == "disabled"
    refused(412, "PreconditionFailed", registry.delete_device, name, made.etag)
    registry.delete_device(name, changed.etag)
    error = refused(404, "DeviceNotFound", registry.get_device, name)
    assert f"ErrorCode:DeviceNotFound;{name}" in error.response.text


def test_a_device_by_thumbprint_and_by_ca(registry: Any, shared: Story, name: str) -> None:
    one, two = "A" * 64, "b" * 64
    made = registry.create_device_with_x509(name, one, two, "enabled")
    assert made.authentication.x509_thumbprint.secondary_thumbprint == two.upper()
    registry.update_device_with_x509(name, None, two, one, "enabled")
    changed = registry.update_device_with_certificate_authority(name, None, "enabled")
    assert changed.authentication.type == "certificateAuthority"
    made = registry.create_device_with_certificate_authority(f"{name}-ca", "enabled")
    assert made.device_id in [device.device_id for device in registry.get_devices(1000)]


def test_forms_of_thumbprints_may_not_be_mixed(registry: Any, shared: Story, name: str) -> None:
    """Pain point 16; what the wire does not say, the lab does."""
    create = registry.create_device_with_x509
    refused(400, "ArgumentInvalid", create, name, "A" * 40, "B" * 64, "enabled")
    assert "the primary one is SHA-1, the secondary one SHA-256" in str(shared.lab.explain(name))


def test_the_same_device_twice_exists_already(registry: Any, name: str) -> None:
    registry.create_device_with_certificate_authority(name, "enabled")
    create = registry.create_device_with_certificate_authority
    error = refused(409, "DeviceAlreadyExists", create, name, "enabled")
    assert f"A device with ID '{name}' is already registered." in error.response.text


def test_many_devices_at_once(registry: Any, name: str) -> None:
    names = [f"{name}-{number}" for number in range(5)]
    new = [ExportImportDevice(id=each, import_mode="create", tags={"of": name}) for each in names]
    assert registry.bulk_create_or_update_devices(new).is_successful
    again = registry.bulk_create_or_update_devices([*new[:1], *_with(name, "new", "create")])
    assert not again.is_successful
    assert [(e.device_id, e.error_code) for e in again.errors] == [
        (names[0], "DeviceAlreadyExists")
    ]
    twins = _query(registry, f"SELECT deviceId FROM devices WHERE tags.of = '{name}'")
    assert len(twins) == 5
    stale = ExportImportDevice(id=names[0], import_mode="deleteIfMatchETag", e_tag="stale")
    result = registry.bulk_create_or_update_devices([stale])
    assert result.errors[0].error_code == "PreconditionFailed"
    gone = [ExportImportDevice(id=each, import_mode="delete") for each in names]
    assert registry.bulk_create_or_update_devices(gone).is_successful
    refused(404, "DeviceNotFound", registry.get_device, names[0])


def _with(name: str, suffix: str, mode: str) -> list[Any]:
    return [ExportImportDevice(id=f"{name}-{suffix}", import_mode=mode)]


def _query(registry: Any, text: str) -> list[Any]:
    return list(registry.query_iot_hub(QuerySpecification(query=text)).items)


def test_statistics(registry: Any, name: str) -> None:
    before = registry.get_device_registry_statistics()
    registry.create_device_with_certificate_authority(name, "disabled")
    after = registry.get_device_registry_statistics()
    assert after.total_device_count == before.total_device_count + 1
    assert after.disabled_device_count == before.disabled_device_count + 1
    assert registry.get_service_statistics().connected_device_count == 0


def test_a_disabled_device_is_cut_off(registry: Any, online: Any, name: str) -> None:
    assert registry.get_device(name).connection_state == "Connected"
    read = registry.get_device(name)
    held = read.authentication.x509_thumbprint.primary_thumbprint
    registry.update_device_with_x509(name, read.etag, held, None, "disabled", status_reason="x")
    eventually(lambda: not online.connected)
    assert registry.get_device(name).connection_state == "Disconnected"


# ---- queries and twins


def test_a_query_page_by_page(registry: Any, name: str) -> None:
    for number in range(5):
        registry.create_device_with_certificate_authority(f"{name}-{number}", "enabled")
    text = QuerySpecification(query=f"SELECT * FROM devices WHERE startswith(deviceId, '{name}-')")
    found, token = [], None
    while True:
        page = registry.query_iot_hub(text, token, 2)
        assert page.type == "twin"
        found += [twin.device_id for twin in page.items]
        token = page.continuation_token
        if token is None:
            break
    assert found == [f"{name}-{number}" for number in range(5)]


def test_a_query_that_is_none_is_told_where(registry: Any) -> None:
    error = refused(400, "ArgumentInvalid", _query, registry, "SELECT * FROM devices WHERE a ==")
    assert "at character" in error.response.text


def test_a_twin_is_changed_under_its_etag(registry: Any, name: str) -> None:
    registry.create_device_with_certificate_authority(name, "enabled")
    first = registry.get_twin(name)
    patch = Twin(tags={"floor": "3"}, properties=TwinProperties(desired={"interval": 5}))
    second = registry.update_twin(name, patch, first.etag)
    assert second.tags == {"floor": "3"}
    assert second.properties.desired["interval"] == 5
    refused(412, "PreconditionFailed", registry.update_twin, name, patch, first.etag)
    whole = Twin(tags={"room": "7"}, properties=TwinProperties(desired={}))
    third = registry.replace_twin(name, whole, second.etag)
    assert third.tags == {"room": "7"}
    assert "interval" not in third.properties.desired
    refused(404, "DeviceNotFound", registry.get_twin, f"{name}-nobody")


# ---- methods


def test_a_method_on_a_live_device(registry: Any, online: Any, name: str) -> None:
    method = CloudToDeviceMethod(method_name="echo", payload={"n": [1, 2]})
    eventually(lambda: registry.get_device(name).connection_state == "Connected")
    result = registry.invoke_device_method(name, method)
    assert (result.status, result.payload) == (200, {"n": [1, 2]})


def test_a_method_on_an_absent_device(registry: Any, shared: Story, name: str) -> None:
    registry.create_device_with_certificate_authority(name, "enabled")
    method = CloudToDeviceMethod(method_name="echo", payload=None)
    error = refused(404, "DeviceNotOnline", registry.invoke_device_method, name, method)
    assert "404103" in error.response.text
    assert "Timed out waiting for device to connect." in error.response.text
    assert "it is not there" in str(shared.lab.explain(name))
    nobody = f"{name}-nobody"
    refused(404, "DeviceNotFound", registry.invoke_device_method, nobody, method)


def test_twenty_that_wait_keep_no_thread_from_others(registry: Any, name: str) -> None:
    """More calls wait for a device that never comes than the lab has workers."""
    registry.create_device_with_certificate_authority(name, "enabled")
    slow = CloudToDeviceMethod(method_name="echo", connect_timeout_in_seconds=3)
    with ThreadPoolExecutor(20) as pool:
        waiting = [pool.submit(registry.invoke_device_method, name, slow) for _ in range(20)]
        assert registry.get_device(name).device_id == name
        assert not any(call.done() for call in waiting)
        assert {call.exception().response.status_code for call in waiting} == {404}  # type: ignore[union-attr]


# ---- jobs


def test_a_job_calls_a_method(connection: str, online: Any, name: str, registry: Any) -> None:
    jobs = IoTHubJobManager.from_connection_string(connection)
    request = JobRequest(
        type="scheduleDeviceMethod",
        cloud_to_device_method=CloudToDeviceMethod(method_name="echo", payload="hi"),
        query_condition=f"deviceId = '{name}'",
        start_time=datetime.now(UTC).isoformat(),
        max_execution_time_in_seconds=60,
    )
    made = jobs.create_scheduled_job(f"job-{name}", request)
    assert made.job_id == f"job-{name}"
    eventually(lambda: jobs.get_scheduled_job(made.job_id).status == "completed")
    done = jobs.get_scheduled_job(made.job_id).device_job_statistics
    assert (done.device_count, done.succeeded_count) == (1, 1)
    refused(409, "JobAlreadyExists", jobs.create_scheduled_job, made.job_id, request)


def test_a_job_changes_twins_and_is_cancelled(connection: str, registry: Any, name: str) -> None:
    jobs = IoTHubJobManager.from_connection_string(connection)
    registry.create_device_with_certificate_authority(name, "enabled")
    patch = Twin(etag="*", tags={"wave": 2}, properties=TwinProperties(desired={"x": 1}))
    request = JobRequest(
        type="scheduleUpdateTwin",
        update_twin=patch,
        query_condition=f"deviceId = '{name}'",
        max_execution_time_in_seconds=60,
    )
    jobs.create_scheduled_job(f"now-{name}", request)
    eventually(lambda: jobs.get_scheduled_job(f"now-{name}").status == "completed")
    assert registry.get_twin(name).properties.desired["x"] == 1
    request.start_time = "2099-01-01T00:00:00Z"
    assert jobs.create_scheduled_job(f"later-{name}", request).status == "scheduled"
    assert jobs.cancel_scheduled_job(f"later-{name}").status == "cancelled"
    refused(404, "JobNotFound", jobs.get_scheduled_job, "nobody")


# ---- who asks


def test_a_wrong_key_learns_nothing(connection: str, name: str, shared: Story) -> None:
    wrong = connection.rpartition("SharedAccessKey=")[0] + "SharedAccessKey=bm90IHRoZSBrZXk="
    registry = IoTHubRegistryManager.from_connection_string(wrong)
    shared.lab.hub().devices.create(name, ca=True)
    for device in (name, f"{name}-nobody"):
        error = refused(401, "IotHubUnauthorizedAccess", registry.get_device, device)
        assert name not in error.response.text
