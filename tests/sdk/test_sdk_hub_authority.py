"""Microsoft's azure-iot-device, unmodified, at a hub that knows its devices by a CA alone: no
thumbprint is held, a chain to a verified CA counts, and a CN that is the device ID."""

from __future__ import annotations

import queue
from pathlib import Path
from typing import Any

import pytest
from azure.iot.device import exceptions
from sdk_clients import hub_client, run
from stories import CA, PATIENCE, PemDevice, Story, failed_check, pem_device

from labkit.cloud.hub import authentication
from labkit.pki import verdict


@pytest.fixture
def hub(story: Story) -> Story:
    """The hub has verified the company's CA, and no other."""
    trust(story, story.company)
    return story


def trust(story: Story, ca: CA, *, prove: bool = True) -> None:
    certificates = story.lab.hub().certificates
    uploaded = certificates.upload(ca.name.replace(" ", "-"), ca.certificate)
    if prove:
        certificates.verify(uploaded, ca.prove_possession(uploaded.verification_code))


def known(story: Story, directory: Path, name: str, *, cn: str = "", sends: int = 3) -> PemDevice:
    """An identity by CA in the hub, and a device whose certificate says ``cn``."""
    story.lab.hub().devices.create(name, ca=True)
    return pem_device(story, directory / "pem", cn or name, sends=sends)


def connected(story: Story, name: str, device: PemDevice) -> Any:
    options = {"websockets": False, "is_async": False, "connection_retry": False}
    client = hub_client(story, name, device, **options)
    run(client, "connect")
    return client


def refusal(story: Story, name: str, device: PemDevice) -> str:
    """The check that decided. The client learns no more than CONNACK 5."""
    with pytest.raises(exceptions.CredentialError):
        connected(story, name, device)
    return failed_check(story.lab, name)


def test_telemetry_and_twin_both_ways(hub: Story, tmp_path: Path) -> None:
    device = known(hub, tmp_path, "by-ca")
    client, patches = connected(hub, "by-ca", device), queue.Queue[Any]()
    try:
        client.on_twin_desired_properties_patch_received = patches.put
        client.send_message("hello")
        hub.lab.hub().update_twin("by-ca", desired={"interval": 5})
        assert patches.get(timeout=PATIENCE)["interval"] == 5
        client.patch_twin_reported_properties({"interval": 5})
        assert client.get_twin()["reported"]["interval"] == 5
    finally:
        client.shutdown()
    assert [message.text for message in hub.lab.hub().messages("by-ca")] == ["hello"]
    identity = hub.lab.hub().devices.get("by-ca")
    assert (identity.authentication, identity.thumbprint) == ("certificateAuthority", "")


def test_a_renewed_certificate_needs_no_change_in_the_hub(hub: Story, tmp_path: Path) -> None:
    for device in (
        known(hub, tmp_path, "renewed"),
        pem_device(hub, tmp_path / "pem", "renewed"),
    ):
        connected(hub, "renewed", device).shutdown()


def test_a_cn_that_differs_by_case_is_another_device(hub: Story, tmp_path: Path) -> None:
    """At DPS case does not count; at a hub it does."""
    device = known(hub, tmp_path, "Smart-Widget", cn="smart-widget")
    assert refusal(hub, "Smart-Widget", device) == authentication.COMMON_NAME


def test_a_ca_that_is_uploaded_but_not_verified_does_not_count(
    story: Story, tmp_path: Path
) -> None:
    """Verified at DPS it is, and a hub trusts for itself."""
    trust(story, story.company, prove=False)
    device = known(story, tmp_path, "unproven")
    assert refusal(story, "unproven", device) == verdict.ISSUER
    trust(story, story.company)
    connected(story, "unproven", device).shutdown()


def test_the_leaf_alone_does_not_reach_the_verified_ca(hub: Story, tmp_path: Path) -> None:
    """Pain points 1 and 2, at a hub: either cure lets it in."""
    device = known(hub, tmp_path, "leaf-only", sends=1)
    assert refusal(hub, "leaf-only", device) == verdict.ISSUER
    whole = pem_device(hub, tmp_path / "pem", "leaf-only")
    connected(hub, "leaf-only", whole).shutdown()
    trust(hub, hub.technician)
    connected(hub, "leaf-only", device).shutdown()
