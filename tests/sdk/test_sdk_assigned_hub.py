"""Hubs by address, for clients that can neither be redirected nor look up a hub's name.

Each client here dials what DPS told it and nothing else: no gateway, no /etc/hosts.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from azure.iot.device import X509, IoTHubDeviceClient
from azure.iot.device.aio import IoTHubDeviceClient as AioHubClient
from https_clients import sign
from sdk_clients import HUB, dps_client, run, within
from stories import PATIENCE, Story, eventually, failed_check, pem_device
from subprocesses import serving
from wire_clients import MqttClient, hub_user, tls

from labkit.cloud.dps.entries import SymmetricKeyAttestation
from labkit.cloud.hub import authentication
from labkit.serve import hub_address


@pytest.fixture
def by_address(shared: Story, monkeypatch: pytest.MonkeyPatch) -> str:
    """What its devices are told in place of the hub's name."""
    address = hub_address(shared.lab)
    assert address == shared.lab.listener.host, "the SDK's port is the usual one"
    monkeypatch.setattr(shared.lab.dps, "hub_address", address)
    return address


def told(shared: Story, name: str, proof: Any, *, is_async: bool = False) -> str:
    """The hub that DPS names to the device."""
    client = dps_client(shared, name, proof, websockets=False, is_async=is_async)
    return str(run(client, "register").registration_state.assigned_hub)


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "aio"])
def test_the_sdk_dials_what_it_was_told(
    shared: Story, by_address: str, tmp_path: Path, is_async: bool
) -> None:
    """With a certificate; back ends go on reading the hub's name."""
    name = f"dials-{is_async}"
    device = pem_device(shared, tmp_path / "pem", name)
    host = told(shared, name, device, is_async=is_async)
    assert host == by_address
    assert shared.lab.dps.registrations.get(name).assigned_hub == HUB
    x509 = X509(cert_file=str(device.chain_file), key_file=str(device.key_file))
    kind = AioHubClient if is_async else IoTHubDeviceClient
    trust = {"server_verification_cert": shared.lab.server.root_pem}
    client = kind.create_from_x509_certificate(x509, host, name, **trust)
    if is_async:
        asyncio.run(_talk(client, name))
    else:
        client.send_message(f"from {name}")
        client.shutdown()
    assert [message.text for message in shared.lab.hub().messages(name)] == [f"from {name}"]


async def _talk(client: Any, name: str) -> None:
    try:
        await within(client.send_message(f"from {name}"))
    finally:
        await client.shutdown()


def test_a_token_is_signed_for_the_address_that_was_dialled(shared: Story, by_address: str) -> None:
    """With a symmetric key the SDK signs what it dials, and no other name."""
    made = shared.lab.dps.enrollments.create("keyed-dials", keys=SymmetricKeyAttestation())
    key = made.attestation.primary_key  # type: ignore[union-attr]
    host = told(shared, "keyed-dials", key)
    trust = {"server_verification_cert": shared.lab.server.root_pem}
    client = IoTHubDeviceClient.create_from_symmetric_key(key, host, "keyed-dials", **trust)
    client.send_message("signed")
    client.shutdown()
    assert [message.text for message in shared.lab.hub().messages("keyed-dials")] == ["signed"]


def test_paho_dials_it_too(shared: Story, by_address: str, tmp_path: Path) -> None:
    device = pem_device(shared, tmp_path / "pem", "paho-dials")
    host = told(shared, "paho-dials", device)
    client = paho.Client(client_id="paho-dials", clean_session=True)
    client.username_pw_set(hub_user(shared.lab, "paho-dials", host))
    client.tls_set_context(tls(shared.lab, device.chain_file, device.key_file))
    client.connect(host, 8883, keepalive=30)
    client.loop_start()
    try:
        sent = client.publish("devices/paho-dials/messages/events/", b"from paho", qos=1)
        sent.wait_for_publish(PATIENCE)
        eventually(lambda: shared.lab.hub().messages("paho-dials"))
    finally:
        client.disconnect()
        client.loop_stop()


def test_by_address_too_only_the_known_certificate_is_let_in(
    shared: Story, by_address: str, tmp_path: Path
) -> None:
    """The address says which hub, and nothing of who asks."""
    device = pem_device(shared, tmp_path / "pem", "guarded")
    told(shared, "guarded", device)
    other = pem_device(shared, tmp_path / "pem", "guarded")
    user = hub_user(shared.lab, "guarded", by_address)
    with MqttClient(shared.lab, tls(shared.lab, other.chain_file, other.key_file)) as client:
        assert client.enter("guarded", user) == 5
    assert failed_check(shared.lab, "guarded") == authentication.THUMBPRINT
    stranger = hub_user(shared.lab, "nobody", by_address)
    with MqttClient(shared.lab, tls(shared.lab, device.chain_file, device.key_file)) as client:
        assert client.enter("nobody", stranger) == 5
    assert "hubs that know it: none" in str(shared.lab.explain("nobody"))


# ---- the option of `labkit serve`


@pytest.fixture(params=[(), ("--assigned-hub", "name"), ("--assigned-hub", "address")])
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[bool, Any]]:
    """Whether addresses were asked for, and what the server announced."""
    by_address = "address" in request.param
    with serving(tmp_path / "lab", *request.param) as (announced, _):
        yield by_address, announced


def test_serve_tells_devices_what_the_option_says(served: tuple[bool, Any]) -> None:
    """Outside this process: an enrollment over the service API, then its device over HTTPS."""
    by_address, announced = served
    dps = announced["dps"]
    parts = dict(part.split("=", 1) for part in dps["connectionString"].split(";"))
    trust = ssl.create_default_context(cafile=announced["serverCa"])
    where = (dps["host"], dps["httpsPort"])
    connection = http.client.HTTPSConnection(*where, timeout=PATIENCE, context=trust)

    def ask(method: str, path: str, token: str, body: Any) -> Any:
        headers = {"Authorization": token, "Content-Type": "application/json"}
        connection.request(method, f"{path}?api-version=2021-10-01", json.dumps(body), headers)
        answer = connection.getresponse()
        found = json.loads(answer.read())
        assert answer.status == 200, found
        return found

    owner = sign(
        parts["HostName"].replace(":", "%3A"),
        parts["SharedAccessKey"],
        policy=parts["SharedAccessKeyName"],
    )
    entry = {"registrationId": "served", "attestation": {"type": "symmetricKey"}}
    made = ask("PUT", "/enrollments/served", owner, entry)
    resource, keys = f"{announced['idScope']}/registrations/served", made["attestation"]
    token = sign(resource.replace("/", "%2F"), keys["symmetricKey"]["primaryKey"])
    state = ask("PUT", f"/{resource}/register", token, {})["registrationState"]
    (hub,) = announced["hubs"]
    port = "" if hub["mqttPort"] == 8883 else f":{hub['mqttPort']}"
    assert state["assignedHub"] == (f"{hub['address']}{port}" if by_address else hub["hostName"])
    assert ask("POST", f"/{resource}", token, {})["assignedHub"] == state["assignedHub"]
    record = ask("GET", "/registrations/served", owner, None)
    assert record["assignedHub"] == hub["hostName"], "back ends read the name"
    connection.close()
