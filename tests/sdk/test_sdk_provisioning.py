"""Microsoft's azure-iot-device, unmodified: X.509 and symmetric keys, MQTT and MQTT over
WebSockets, blocking and asynchronous."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.iot.device import exceptions
from sdk_clients import HUB, dps_client, hub_client, run, story_on_443, within
from stories import PemDevice, Story, pem_device

from labkit.cloud.dps.entries import SymmetricKeyAttestation

ASYNC = pytest.mark.parametrize("is_async", [False, True], ids=["sync", "aio"])


@pytest.fixture(scope="module")
def on_443(told: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """A lab whose HTTPS is on port 443, where the SDK's WebSockets go."""
    with story_on_443(told, tmp_path_factory.mktemp("on-443") / "lab", "websockets") as opened:
        yield opened


@pytest.fixture(params=["mqtt", "websockets"])
def transport(request: pytest.FixtureRequest) -> tuple[Story, bool]:
    """A lab, and whether the SDK is to use WebSockets with it."""
    websockets = request.param == "websockets"
    return request.getfixturevalue("on_443" if websockets else "shared"), websockets


def assert_it_gets_through(
    story: Story, name: str, proof: PemDevice | str, *, websockets: bool, is_async: bool
) -> None:
    """Registers, connects to the hub that was assigned, and is heard there."""
    how = {"websockets": websockets, "is_async": is_async}
    result = run(dps_client(story, name, proof, **how), "register")
    assert result.status == "assigned"
    assert result.registration_state.assigned_hub == HUB
    assert result.registration_state.device_id == name

    if is_async:
        asyncio.run(_talk(hub_client(story, name, proof, **how), name))
    else:
        client = hub_client(story, name, proof, **how)
        try:
            client.send_message(f"from {name}")
        finally:
            client.shutdown()
    assert [message.text for message in story.lab.hub().messages(name)] == [f"from {name}"]


async def _talk(client: Any, name: str) -> None:
    try:
        await within(client.send_message(f"from {name}"))
    finally:
        await client.shutdown()


@ASYNC
def test_a_device_of_a_group_by_its_chain(
    transport: tuple[Story, bool], tmp_path: Path, is_async: bool
) -> None:
    story, websockets = transport
    name = f"group-{websockets}-{is_async}"
    device = pem_device(story, tmp_path / "pem", name)
    assert_it_gets_through(story, name, device, websockets=websockets, is_async=is_async)
    assert story.lab.dps.registrations.get(name).group_id == "smart-x-widgets"


@ASYNC
def test_a_device_of_its_own_by_its_certificate(
    transport: tuple[Story, bool], tmp_path: Path, is_async: bool
) -> None:
    story, websockets = transport
    name = f"own-{websockets}-{is_async}"
    device = pem_device(story, tmp_path / "pem", name)
    story.lab.dps.enrollments.create(name, certificate=device.chain[0])
    assert_it_gets_through(story, name, device, websockets=websockets, is_async=is_async)
    assert story.lab.dps.registrations.get(name).group_id == ""


@ASYNC
def test_a_device_of_its_own_by_a_symmetric_key(
    transport: tuple[Story, bool], is_async: bool
) -> None:
    story, websockets = transport
    name = f"key-{websockets}-{is_async}"
    made = story.lab.dps.enrollments.create(name, keys=SymmetricKeyAttestation())
    assert isinstance(made.attestation, SymmetricKeyAttestation)
    for key in (made.attestation.primary_key, made.attestation.secondary_key):
        client = dps_client(story, name, key, websockets=websockets, is_async=is_async)
        assert run(client, "register").status == "assigned"
    key = made.attestation.primary_key
    assert_it_gets_through(story, name, key, websockets=websockets, is_async=is_async)


@ASYNC
def test_a_device_of_a_group_by_a_derived_key(
    transport: tuple[Story, bool], is_async: bool
) -> None:
    """Derived as Azure's documents say: HMAC-SHA256 of the registration ID with the group's."""
    story, websockets = transport
    name, group = f"derived-{websockets}-{is_async}", f"keys-{websockets}-{is_async}"
    made = story.lab.dps.enrollment_groups.create(group, keys=SymmetricKeyAttestation())
    assert isinstance(made.attestation, SymmetricKeyAttestation)
    master = base64.b64decode(made.attestation.primary_key)
    key = base64.b64encode(hmac.new(master, name.encode(), hashlib.sha256).digest()).decode()
    assert_it_gets_through(story, name, key, websockets=websockets, is_async=is_async)
    assert story.lab.dps.registrations.get(name).group_id == group


@pytest.mark.parametrize("websockets", [False, True], ids=["mqtt", "websockets"])
def test_another_key_is_a_credential_error(
    request: pytest.FixtureRequest, websockets: bool
) -> None:
    """CONNACK 5, for a token is looked at when the device connects."""
    story: Story = request.getfixturevalue("on_443" if websockets else "shared")
    name = f"wrong-key-{websockets}"
    story.lab.dps.enrollments.create(name, keys=SymmetricKeyAttestation())
    other = base64.b64encode(b"another key, of 32 bytes as well").decode()
    client = dps_client(story, name, other, websockets=websockets, is_async=False)
    with pytest.raises(exceptions.CredentialError):
        client.register()
    from labkit.device import sdk

    sdk._shut_down(client)
    assert story.lab.explain(name).cures


def test_the_sdk_polls_until_there_is_an_outcome(
    shared: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a delay, the answer to the registration is 202; it honours ``retry-after`` on polls."""
    monkeypatch.setattr(shared.lab.dps, "retry_after", 1)
    monkeypatch.setattr(shared.lab.dps, "assignment_delay", 1)
    device = pem_device(shared, tmp_path / "pem", "polls")
    client = dps_client(shared, "polls", device, websockets=False, is_async=False)
    assert client.register().status == "assigned"
    asked = [e for e in shared.lab.events.about(kind="received") if "polls asks how" in e.text]
    assert asked


def test_a_payload_goes_to_the_webhook_and_another_comes_back(
    shared: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import json

    from labkit.cloud.dps.allocation import WebhookAnswer
    from labkit.cloud.dps.entries import CUSTOM, CustomAllocation

    asked: list[Any] = []

    def hook(_: str, body: bytes) -> WebhookAnswer:
        asked.append(json.loads(body)["deviceRuntimeContext"]["payload"])
        answer = {"iotHubHostName": HUB, "payload": {"welcome": True}}
        return WebhookAnswer(200, json.dumps(answer).encode())

    monkeypatch.setattr(shared.lab.dps, "webhook", hook)
    device = pem_device(shared, tmp_path / "pem", "payload")
    hooked = CustomAllocation("http://localhost:1/", "2019-03-31")
    create = shared.lab.dps.enrollments.create
    create("payload", certificate=device.chain[0], allocation=CUSTOM, webhook=hooked)
    client = dps_client(shared, "payload", device, websockets=False, is_async=False)
    client.provisioning_payload = {"model": 7}
    result = client.register()
    assert asked == [{"model": 7}]
    assert json.loads(result.registration_state.response_payload) == {"welcome": True}
