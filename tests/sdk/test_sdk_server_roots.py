"""Microsoft's SDK, unmodified, with old and new trust stores, while the service's root changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from azure.iot.device import exceptions
from azure.iot.device.common import transport_exceptions
from sdk_clients import dps_client, hub_client, run
from stories import PemDevice, Story, pem_device


def at_dps(story: Story, device: PemDevice, roots: str, *, is_async: bool) -> Any:
    """What registering with these roots comes to."""
    client = dps_client(
        story, device.name, device, websockets=False, is_async=is_async, roots=roots
    )
    return run(client, "register")


@pytest.mark.parametrize("is_async", [False, True])
def test_the_old_root_fails_in_tls_and_the_bundle_passes_before_and_after(
    story: Story, tmp_path: Path, is_async: bool
) -> None:
    device = pem_device(story, tmp_path / "pem", "foreign-widget")
    server = story.lab.server
    old, new = server.root_pem, server.new_root()
    bundle = server.trust_bundle
    for roots in (old, bundle):
        assert at_dps(story, device, roots, is_async=is_async).status == "assigned"
    server.switch_root(new)
    for roots in (new.pem, bundle):
        assert at_dps(story, device, roots, is_async=is_async).status == "assigned"
    with pytest.raises(exceptions.ClientError) as caught:
        at_dps(story, device, old, is_async=is_async)
    assert isinstance(caught.value.__cause__, transport_exceptions.TlsExchangeAuthError)
    server.switch_root(server.roots[0])
    server.switch_root(new, cross_signed=True)
    assert at_dps(story, device, old, is_async=is_async).status == "assigned"


def test_a_connection_to_the_hub_outlives_each_roll_and_comes_back(
    story: Story, tmp_path: Path
) -> None:
    """The SDK reconnects by itself: with the bundle to the new chain."""
    device = pem_device(story, tmp_path / "pem", "foreign-widget")
    server = story.lab.server
    assert at_dps(story, device, server.root_pem, is_async=False).status == "assigned"
    server.new_root()
    client = hub_client(
        story, device.name, device, websockets=False, is_async=False, roots=server.trust_bundle
    )
    client.connect()
    try:
        for roll in (
            server.roll_leaf,
            server.roll_issuing_ca,
            lambda: server.switch_root(server.roots[-1]),
        ):
            roll()
            client.send_message("still here")
        client.disconnect()
        client.connect()
        client.send_message("here again")
    finally:
        client.shutdown()
    said = [message.text for message in story.lab.hub().messages(device.name)]
    assert said == ["still here"] * 3 + ["here again"]
