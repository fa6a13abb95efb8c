"""Microsoft's client for the Device Registry, generated from the specification, unmodified."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.mgmt.deviceregistry import DeviceRegistryMgmtClient
from stories import Story

from labkit.serve import description


class AnyToken:
    """Who somebody is in Azure is no subject of the lab."""

    def get_token(self, *_: str, **__: Any) -> AccessToken:
        return AccessToken("whatever", 4_000_000_000)


@pytest.fixture
def registry(story: Story, monkeypatch: pytest.MonkeyPatch) -> Iterator[DeviceRegistryMgmtClient]:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(story.lab.server.root_file))
    arm = description(story.lab)["arm"]
    with DeviceRegistryMgmtClient(
        AnyToken(),  # type: ignore[arg-type]
        arm["subscriptionId"],
        base_url=arm["endpoint"],
        polling_interval=0,
    ) as client:
        yield client


def test_a_pki_is_made_synchronised_and_taken_away(
    story: Story, registry: DeviceRegistryMgmtClient
) -> None:
    """Every operation on namespaces, credentials and policies that the lab serves, with the pollers
    that wait for its end."""
    group = {"resource_group_name": "lab"}
    of = {**group, "namespace_name": "contoso"}
    resource: Any = {"location": "local"}
    hub = "/subscriptions/s/resourceGroups/lab/providers/Microsoft.Devices/IotHubs/contoso-hub"
    endpoint = {"endpointType": "Microsoft.Devices/IotHubs", "resourceId": hub, "address": "hub"}
    linking = {**resource, "properties": {"messaging": {"endpoints": {"hub": endpoint}}}}
    made = registry.namespaces.begin_create_or_replace(resource=linking, **of).result()
    assert made.properties.provisioning_state == "Succeeded"
    assert made.properties.uuid
    registry.credentials.begin_create_or_update(resource=resource, **of).result()
    assert registry.credentials.get(**of).name == "default"
    days = {
        "certificateAuthorityConfiguration": {"keyType": "ECC"},
        "leafCertificateConfiguration": {"validityPeriodInDays": 10},
    }
    policy = registry.policies.begin_create_or_update(
        policy_name="mypolicy",
        resource={**resource, "properties": {"certificate": days}},
        **of,
    ).result()
    shown = policy.properties.certificate
    kept = story.lab.registry.namespaces.get("contoso").policies.get("mypolicy")
    end = shown.certificate_authority_configuration.validity_not_after
    assert end == kept.certificate.not_valid_after_utc
    assert shown.leaf_certificate_configuration.validity_period_in_days == 10
    registry.credentials.begin_synchronize(**of).result()
    assert [ca.certificate for ca in story.lab.hub().certificates] == [kept.certificate]
    listed = registry.policies.list_by_resource_group(**of)
    assert [one.name for one in listed] == ["mypolicy"]
    assert [one.name for one in registry.namespaces.list_by_resource_group(**group)] == ["contoso"]
    assert [one.name for one in registry.namespaces.list_by_subscription()] == ["contoso"]
    with pytest.raises(HttpResponseError, match="in use"):
        registry.credentials.begin_delete(**of).result()
    registry.policies.begin_delete(policy_name="mypolicy", **of).result()
    registry.credentials.begin_delete(**of).result()
    story.lab.registry.namespaces.get("contoso").unlink("contoso-hub")
    registry.namespaces.begin_delete(**of).result()
    with pytest.raises(ResourceNotFoundError):
        registry.namespaces.get(**of)
