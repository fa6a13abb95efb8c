"""Microsoft's service SDK in its asynchronous form, unmodified: it has a transport of its own."""

from __future__ import annotations

import asyncio
import base64
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)
from azure.iot.deviceprovisioning.aio import DeviceProvisioningClient
from sdk_clients import within
from stories import Story

from labkit.pki import chain
from labkit.serve import description

Play = Callable[[Any], Awaitable[None]]
KEYED = {"type": "symmetricKey", "symmetricKey": {"primaryKey": None, "secondaryKey": None}}

_numbers = itertools.count()


@pytest.fixture
def name() -> str:
    return f"aio-entry-{next(_numbers)}"


def played(story: Story, play: Play) -> None:
    """Runs ``play`` with a client that trusts the lab: aiohttp does not ask the environment."""

    async def whole() -> None:
        connection = description(story.lab)["dps"]["connectionString"]
        trust = {"connection_verify": str(story.lab.server.root_file)}
        async with DeviceProvisioningClient.from_connection_string(connection, **trust) as client:
            await play(client)

    asyncio.run(within(whole()))


def test_an_enrollment_from_its_making_to_its_deletion(shared: Story, name: str) -> None:
    async def play(dps: Any) -> None:
        entry = {"registrationId": name, "attestation": KEYED}
        made = await dps.enrollment.create_or_update(id=name, enrollment=entry)
        keys = (await dps.enrollment.get_attestation_mechanism(id=name))["symmetricKey"]
        assert keys == made["attestation"]["symmetricKey"]
        assert len(base64.b64decode(keys["primaryKey"])) == 32
        with pytest.raises(ResourceExistsError):
            await dps.enrollment.create_or_update(id=name, enrollment=entry)
        read = await dps.enrollment.get(id=name)
        read["provisioningStatus"] = "disabled"
        etag = read["etag"]
        changed = await dps.enrollment.create_or_update(id=name, enrollment=read, if_match=etag)
        assert changed["provisioningStatus"] == "disabled"
        with pytest.raises(HttpResponseError) as stale:
            await dps.enrollment.delete(id=name, if_match=etag)
        assert stale.value.status_code == 412
        await dps.enrollment.delete(id=name, if_match="*")
        with pytest.raises(ResourceNotFoundError):
            await dps.enrollment.get(id=name)

    played(shared, play)


def test_pages_and_many_at_once(shared: Story, name: str) -> None:
    async def play(dps: Any) -> None:
        entries = [{"registrationId": f"{name}-{n:02}", "attestation": KEYED} for n in range(7)]

        async def bulk(mode: str) -> Any:
            said = {"mode": mode, "enrollments": entries}
            return await dps.enrollment.run_bulk_operation(bulk_operation=said)

        assert (await bulk("create"))["isSuccessful"]
        codes = {error["errorCode"] for error in (await bulk("create"))["errors"]}
        assert codes == {409201}
        found = []
        query = await dps.enrollment.query(query_specification={"query": "SELECT *"}, top=3)
        async for page in query.by_page():
            ids = [entry["registrationId"] async for entry in page]
            assert len(ids) <= 3
            found += [id for id in ids if id.startswith(f"{name}-")]
        assert found == [f"{name}-{n:02}" for n in range(7)]
        assert (await bulk("delete"))["isSuccessful"]

    played(shared, play)


def test_a_group_and_the_registrations_that_came_through_it(shared: Story, name: str) -> None:
    async def play(dps: Any) -> None:
        pem = chain.to_pem([shared.technician.certificate])
        slots = {"signingCertificates": {"primary": {"certificate": pem}}}
        attestation = {"type": "x509", "x509": slots}
        group = {"enrollmentGroupId": name, "attestation": attestation}
        await dps.enrollment_group.create_or_update(id=name, enrollment_group=group)
        await asyncio.to_thread(widget.provision)
        query = await dps.device_registration_state.query(id=name)
        found = [state async for state in query]
        assert [state["registrationId"] for state in found] == [widget.name]
        state = await dps.device_registration_state.get(id=widget.name)
        assert state == found[0]
        await dps.device_registration_state.delete(id=widget.name, if_match=state["etag"])
        with pytest.raises(ResourceNotFoundError):
            await dps.device_registration_state.get(id=widget.name)
        await dps.enrollment_group.delete(id=name)

    widget = shared.technician.make_device(f"of-{name}")
    played(shared, play)


def test_another_key_is_an_authentication_error(shared: Story, name: str) -> None:
    async def ask() -> None:
        listener = shared.lab.listener
        credential = AzureNamedKeyCredential("provisioningserviceowner", "bm90IGl0")
        trust = {"connection_verify": str(shared.lab.server.root_file)}
        endpoint = f"https://{listener.host}:{listener.https_port}"
        async with DeviceProvisioningClient(endpoint, credential, **trust) as client:
            await client.enrollment.get(id=name)

    with pytest.raises(ClientAuthenticationError):
        asyncio.run(within(ask()))
