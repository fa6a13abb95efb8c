"""Microsoft's device SDK for Python, made in all its forms, and a lab where it finds port 443."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from azure.iot.device import X509, IoTHubDeviceClient, ProvisioningDeviceClient
from azure.iot.device import aio as sdk_aio
from stories import PATIENCE, PemDevice, Story, found_again, open_lab

from labkit.errors import PortTaken
from labkit.wire.ports import Ports

HUB = "contoso-hub.azure-devices.net"


@contextmanager
def story_on_443(told: Path, place: Path, untested: str) -> Iterator[Story]:
    """The first lesson, in a lab whose HTTPS is on 443: some clients know no other port. Where
    it may not be bound, the test is skipped and says what was not tested."""
    shutil.copytree(told, place)
    try:
        opened = open_lab(place, ports=Ports(https=443))
    except PortTaken as error:
        pytest.skip(f"NOT TESTED: {untested}. {error.message}")
    with opened:
        yield found_again(opened)


def run(client: Any, method: str, *arguments: Any) -> Any:
    """Calls a client's method, and waits for it as its kind wants."""
    found = getattr(client, method)(*arguments)
    return asyncio.run(within(found)) if asyncio.iscoroutine(found) else found


async def within(coroutine: Any) -> Any:
    """Its result, which has to come."""
    return await asyncio.wait_for(coroutine, PATIENCE * 2)


def dps_client(
    story: Story,
    name: str,
    proof: PemDevice | str,
    *,
    websockets: bool,
    is_async: bool,
    roots: str = "",
) -> Any:
    """For DPS; ``proof`` is a certificate with its key, or a symmetric key. ``roots`` (PEM) is its
    trust store, if not what the lab has clients trust."""
    kind = sdk_aio.ProvisioningDeviceClient if is_async else ProvisioningDeviceClient
    common = {
        "provisioning_host": story.lab.listener.host,
        "registration_id": name,
        "id_scope": story.lab.dps.id_scope,
        "server_verification_cert": roots or story.lab.server.trust_bundle,
        "websockets": websockets,
    }
    if isinstance(proof, str):
        return kind.create_from_symmetric_key(symmetric_key=proof, **common)
    x509 = X509(cert_file=str(proof.chain_file), key_file=str(proof.key_file))
    return kind.create_from_x509_certificate(x509=x509, **common)


def hub_client(
    story: Story,
    name: str,
    proof: PemDevice | str,
    *,
    websockets: bool,
    is_async: bool,
    roots: str = "",
    **options: Any,
) -> Any:
    """For the hub."""
    kind = sdk_aio.IoTHubDeviceClient if is_async else IoTHubDeviceClient
    common = {
        "gateway_hostname": story.lab.listener.host,
        "server_verification_cert": roots or story.lab.server.trust_bundle,
        "websockets": websockets,
        **options,
    }
    if isinstance(proof, str):
        return kind.create_from_symmetric_key(proof, HUB, name, **common)
    x509 = X509(cert_file=str(proof.chain_file), key_file=str(proof.key_file))
    return kind.create_from_x509_certificate(x509, HUB, name, **common)
