"""Microsoft's service SDKs, unmodified: enrollments over the service API, certificates over ARM."""

from __future__ import annotations

import base64
import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.core import MatchConditions
from azure.core.credentials import AccessToken, AzureNamedKeyCredential, AzureSasCredential
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)
from azure.iot.deviceprovisioning import DeviceProvisioningClient, generate_sas_token
from azure.mgmt.iothub import IotHubClient
from azure.mgmt.iothubprovisioningservices import IotDpsClient
from sdk_clients import dps_client
from stories import Story, pem_device

from labkit.pki import chain
from labkit.serve import description

_numbers = itertools.count()


@pytest.fixture
def name() -> str:
    return f"sdk-entry-{next(_numbers)}"


@pytest.fixture(autouse=True)
def trusted(shared: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    """These SDKs are told by the environment whom to trust."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(shared.lab.server.root_file))


@pytest.fixture
def dps(shared: Story) -> Iterator[Any]:
    connection = description(shared.lab)["dps"]["connectionString"]
    with DeviceProvisioningClient.from_connection_string(connection) as client:
        yield client


def symmetric(name: str, **more: Any) -> dict[str, Any]:
    """With keys that the service makes."""
    keys = {"primaryKey": None, "secondaryKey": None}
    attestation = {"type": "symmetricKey", "symmetricKey": keys}
    return {"registrationId": name, "attestation": attestation, **more}


def ids(found: Any, field: str = "registrationId") -> list[str]:
    return [entry[field] for entry in found]


# ---- enrollments


def test_an_enrollment_from_its_making_to_its_deletion(dps: Any, name: str) -> None:
    twin = {"properties": {"desired": {"key": "value"}}}
    made = dps.enrollment.create_or_update(
        id=name,
        enrollment=symmetric(name, allocationPolicy="geoLatency", initialTwin=twin),
    )
    assert (made["registrationId"], made["initialTwin"]) == (name, twin)
    keys = dps.enrollment.get_attestation_mechanism(id=name)["symmetricKey"]
    assert keys == made["attestation"]["symmetricKey"]
    assert len(base64.b64decode(keys["primaryKey"])) == 32
    read = dps.enrollment.get(id=name)
    assert read["etag"] == made["etag"]
    read["provisioningStatus"] = "disabled"
    changed = dps.enrollment.create_or_update(id=name, enrollment=read, if_match=read["etag"])
    assert changed["provisioningStatus"] == "disabled"
    assert name in ids(dps.enrollment.query(query_specification={"query": "SELECT *"}))
    with pytest.raises(HttpResponseError) as stale:
        dps.enrollment.delete(id=name, if_match=read["etag"])
    assert stale.value.status_code == 412
    dps.enrollment.delete(id=name, if_match="*")
    with pytest.raises(ResourceNotFoundError):
        dps.enrollment.get(id=name)


def test_the_same_enrollment_without_if_match_exists_already(dps: Any, name: str) -> None:
    dps.enrollment.create_or_update(id=name, enrollment=symmetric(name))
    with pytest.raises(ResourceExistsError):
        dps.enrollment.create_or_update(id=name, enrollment=symmetric(name))


def test_pages_follow_one_another(dps: Any, name: str) -> None:
    entries = [symmetric(f"{name}-{n:02}") for n in range(7)]
    done = dps.enrollment.run_bulk_operation(
        bulk_operation={"mode": "create", "enrollments": entries}
    )
    assert done == {"errors": [], "isSuccessful": True}
    query = dps.enrollment.query(query_specification={"query": "select *"}, top=3)
    pages = [ids(page) for page in query.by_page()]
    assert all(len(page) <= 3 for page in pages)
    found = [entry for page in pages for entry in page if entry.startswith(f"{name}-")]
    assert found == [f"{name}-{n:02}" for n in range(7)]
    deleted = dps.enrollment.run_bulk_operation(
        bulk_operation={"mode": "delete", "enrollments": entries}
    )
    assert deleted["isSuccessful"]


def test_a_group_by_its_signing_certificate(shared: Story, dps: Any, name: str) -> None:
    ca = shared.technician.certificate
    slot = {"primary": {"certificate": chain.to_pem([ca])}}
    attestation = {"type": "x509", "x509": {"signingCertificates": slot}}
    group = {"enrollmentGroupId": name, "attestation": attestation}
    made = dps.enrollment_group.create_or_update(id=name, enrollment_group=group)
    shown = made["attestation"]["x509"]["signingCertificates"]["primary"]
    assert set(shown) == {"info"}
    assert shown["info"]["sha256Thumbprint"] == chain.thumbprint(ca)
    found = dps.enrollment_group.query(query_specification={"query": "SELECT *"})
    assert name in ids(found, "enrollmentGroupId")
    widget = shared.technician.make_device(f"of-{name}")
    widget.provision()
    (state,) = dps.device_registration_state.query(id=name)
    assert (state["registrationId"], state["status"]) == (f"of-{name}", "assigned")
    dps.enrollment_group.delete(id=name)
    assert dps.device_registration_state.get(id=f"of-{name}")["status"] == "assigned"
    dps.device_registration_state.delete(id=f"of-{name}", if_match=state["etag"])
    with pytest.raises(ResourceNotFoundError):
        dps.device_registration_state.get(id=f"of-{name}")


def test_an_individual_x509_enrollment_admits_its_device(
    shared: Story, dps: Any, name: str, tmp_path: Path
) -> None:
    device = pem_device(shared, tmp_path / "pem", name)
    slots = {"primary": {"certificate": chain.to_pem(device.chain[:1])}}
    attestation = {"type": "x509", "x509": {"clientCertificates": slots}}
    entry = {"registrationId": name, "attestation": attestation, "deviceId": f"{name}-in-hub"}
    dps.enrollment.create_or_update(id=name, enrollment=entry)
    client = dps_client(shared, name, device, websockets=False, is_async=False)
    assert client.register().registration_state.device_id == f"{name}-in-hub"
    state = dps.enrollment.get(id=name)["registrationState"]
    assert (state["status"], state["deviceId"]) == ("assigned", f"{name}-in-hub")


def test_its_three_ways_to_sign_in(shared: Story, name: str) -> None:
    policy = shared.lab.cloud.policies("dps").owner
    host = f"{shared.lab.listener.host}:{shared.lab.listener.https_port}"
    token = generate_sas_token(host, policy.name, policy.secondary_key)
    for credential in (
        AzureNamedKeyCredential(policy.name, policy.primary_key),
        AzureSasCredential(token),
    ):
        client = DeviceProvisioningClient(f"https://{host}", credential)
        assert list(client.enrollment.query(query_specification={"query": "SELECT *"})) is not None
    wrong = DeviceProvisioningClient(host, AzureNamedKeyCredential(policy.name, "bm90IGl0"))
    with pytest.raises(ClientAuthenticationError):
        wrong.enrollment.get(id=name)


# ---- certificates


class AnyToken:
    """A credential as ARM's clients want one; the lab takes any."""

    def get_token(self, *_: str, **__: Any) -> AccessToken:
        return AccessToken("any", int(time.time()) + 3600)


def test_a_ca_is_uploaded_and_proven_to_dps(shared: Story, name: str) -> None:
    arm = description(shared.lab)["arm"]
    client = IotDpsClient(AnyToken(), arm["subscriptionId"], base_url=arm["endpoint"])
    of = {
        "resource_group_name": arm["resourceGroup"],
        "provisioning_service_name": arm["provisioningService"],
    }
    resource = client.iot_dps_resource.get(**of)
    assert resource.properties.id_scope == shared.lab.dps.id_scope
    ca = shared.factory
    pem = chain.to_pem([ca.certificate]).encode()
    body = {"properties": {"certificate": base64.b64encode(pem).decode()}}
    made = client.dps_certificate.create_or_update(
        certificate_name=name, certificate_description=body, **of
    )
    assert made.properties.thumbprint == chain.thumbprint_sha1(ca.certificate)
    assert made.properties.expiry == ca.certificate.not_valid_after_utc
    matching = {"match_condition": MatchConditions.IfNotModified}
    asked = client.dps_certificate.generate_verification_code(
        certificate_name=name, etag=made.etag, **matching, **of
    )
    proof = ca.prove_possession(asked.properties.verification_code)
    request = {"certificate": base64.b64encode(chain.to_pem([proof]).encode()).decode()}
    proven = client.dps_certificate.verify_certificate(
        certificate_name=name, request=request, etag=asked.etag, **matching, **of
    )
    assert proven.properties.is_verified
    listed = client.dps_certificate.list(**of)
    assert name in [entry.name for entry in listed.value]
    client.dps_certificate.delete(certificate_name=name, etag=proven.etag, **matching, **of)
    with pytest.raises(ResourceNotFoundError):
        client.dps_certificate.get(certificate_name=name, **of)


def test_a_ca_is_uploaded_and_proven_to_a_hub(shared: Story, name: str) -> None:
    arm = description(shared.lab)["arm"]
    client = IotHubClient(AnyToken(), arm["subscriptionId"], base_url=arm["endpoint"])
    of = {"resource_group_name": arm["resourceGroup"], "resource_name": "contoso-hub"}
    resource = client.iot_hub_resource.get(**of)
    assert resource.properties.host_name == "contoso-hub.azure-devices.net"
    pem = chain.to_pem([shared.factory.certificate]).encode()
    body = {"properties": {"certificate": base64.b64encode(pem).decode()}}
    made = client.certificates.create_or_update(
        certificate_name=name, certificate_description=body, **of
    )
    assert made.name == name
    assert not made.properties.is_verified
    assert [entry.name for entry in client.certificates.list_by_iot_hub(**of).value] == [name]
