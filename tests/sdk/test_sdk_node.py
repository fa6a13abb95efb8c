"""Microsoft's Node clients, unmodified, as npm has them: devices and a back end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from azure.iot.device import MethodResponse
from sdk_clients import HUB, hub_client
from stories import Story, pem_device

from labkit.cloud.dps.entries import SymmetricKeyAttestation
from labkit.pki import chain

Run = Callable[..., Any]


def where(story: Story) -> dict[str, str]:
    return {"host": story.lab.listener.host, "scope": story.lab.dps.id_scope}


TRANSPORTS = pytest.mark.parametrize("transport", ["mqtt", "mqtt-ws", "http"])


@TRANSPORTS
def test_a_device_registers_by_its_chain(
    on_443: Story, run: Run, tmp_path: Path, transport: str
) -> None:
    device = pem_device(on_443, tmp_path / "pem", f"node-{transport}")
    files = {"cert": str(device.chain_file), "key": str(device.key_file)}
    told = run("register.js", transport=transport, id=device.name, **files, **where(on_443))
    assert told == {"hub": HUB, "device": device.name, "status": "assigned"}


@TRANSPORTS
def test_a_device_registers_by_its_symmetric_key(on_443: Story, run: Run, transport: str) -> None:
    name = f"node-key-{transport}"
    made = on_443.lab.dps.enrollments.create(name, keys=SymmetricKeyAttestation())
    assert isinstance(made.attestation, SymmetricKeyAttestation)
    key = made.attestation.primary_key
    told = run("register.js", transport=transport, id=name, symmetricKey=key, **where(on_443))
    assert told == {"hub": HUB, "device": name, "status": "assigned"}


@TRANSPORTS
def test_a_device_polls_until_there_is_an_outcome(
    on_443: Story, run: Run, tmp_path: Path, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_443.lab.dps, "retry_after", 1)
    monkeypatch.setattr(on_443.lab.dps, "assignment_delay", 1)
    device = pem_device(on_443, tmp_path / "pem", f"node-polls-{transport}")
    files = {"cert": str(device.chain_file), "key": str(device.key_file)}
    told = run("register.js", transport=transport, id=device.name, **files, **where(on_443))
    assert told["status"] == "assigned"


@TRANSPORTS
def test_a_refusal_reaches_the_device_as_azures_bare_body(
    on_443: Story, run: Run, tmp_path: Path, transport: str
) -> None:
    device = pem_device(on_443, tmp_path / "pem", f"node-leaf-{transport}", sends=1)
    files = {"cert": str(device.chain_file), "key": str(device.key_file)}
    told = run("register.js", transport=transport, id=device.name, **files, **where(on_443))
    assert told["error"] == "UnauthorizedError"
    assert "CN=Technician-Z CA" in str(on_443.lab.explain(device.name))


def test_a_back_end_makes_changes_lists_and_deletes(
    on_443: Story, run: Run, tmp_path: Path
) -> None:
    device = pem_device(on_443, tmp_path / "pem", "node-back-end")
    policy = on_443.lab.cloud.policies("dps").owner
    keys = f"SharedAccessKeyName={policy.name};SharedAccessKey={policy.primary_key}"
    seen = run(
        "back_end.js",
        connectionString=f"HostName={on_443.lab.listener.host};{keys}",
        id=device.name,
        certificate=chain.to_pem(device.chain[:1]),
    )
    assert seen == {
        "made": device.name,
        "status": "disabled",
        "stale": 412,
        "read": True,
        "keys": ["primaryKey", "secondaryKey"],
        "bulk": True,
        "found": seen["found"],
        "gone": "Not found",
    }
    assert {f"{device.name}-{number}" for number in (1, 2, 3)} <= set(seen["found"])


def test_a_back_end_of_a_hub(on_443: Story, run: Run, tmp_path: Path) -> None:
    """Registry, twins, query, a method on a live device and on an absent one, and a job."""
    device = pem_device(on_443, tmp_path / "pem", "node-online")
    on_443.lab.hub().devices.create(device.name, certificate=device.chain[0])
    policy = on_443.lab.cloud.policies("contoso-hub").owner
    keys = f"SharedAccessKeyName={policy.name};SharedAccessKey={policy.primary_key}"
    client = hub_client(on_443, device.name, device, websockets=False, is_async=False)

    def answer(request: Any) -> None:
        response = MethodResponse.create_from_method_request(request, 200, request.payload)
        client.send_method_response(response)

    client.connect()
    client.on_method_request_received = answer
    try:
        seen = run(
            "hub_back_end.js",
            connectionString=f"HostName={HUB};{keys}",
            host=on_443.lab.listener.host,
            id="node-registry",
            online=device.name,
        )
    finally:
        client.shutdown()
    assert seen == {
        "keys": True,
        "exists": "DeviceAlreadyExistsError",
        "disabled": "disabled",
        "status": "disabled",
        "bulk": True,
        "twin": ["3", 5],
        "stale": "InvalidEtagError",
        "found": [f"node-registry-{number}" for number in (1, 2, 3)],
        "method": {"status": 200, "payload": {"n": 1}},
        "absent": "Error",
        "job": ["completed", 1],
        "jobs": ["job-node-registry"],
        "gone": "DeviceNotFoundError",
    }
