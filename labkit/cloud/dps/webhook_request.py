"""What a custom allocation's webhook is sent: the enrollment, the device, the linked hubs.

The shape is that of Azure documentation, DPS: custom allocation policies; dates as .NET
writes them.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from labkit.cloud.dps.entries import Enrollment, Entry, SymmetricKeyAttestation
from labkit.cloud.dps.registrations import Registration
from labkit.cloud.presented import Presented
from labkit.cloud.store import azure_time
from labkit.pki import chain


def body(entry: Entry, linked_hubs: Sequence[str], context: dict[str, Any]) -> dict[str, Any]:
    """The whole request. Secrets are left out: no key of an enrollment is in it."""
    name = "individualEnrollment" if isinstance(entry, Enrollment) else "enrollmentGroup"
    return {
        name: _entry(entry),
        "deviceRuntimeContext": context,
        "linkedHubs": list(linked_hubs),
    }


def runtime_context(
    registration_id: str, known: Registration | None, presented: Presented, payload: Any
) -> dict[str, Any]:
    """The device as it is now: what it shows, where it was, and what it says."""
    context: dict[str, Any] = {"registrationId": registration_id}
    if known is not None and known.assigned_hub:
        context["currentIotHubHostName"] = known.assigned_hub
        context["currentDeviceId"] = known.device_id
    if presented.leaf is not None:
        der = presented.leaf.public_bytes(Encoding.DER)
        context["x509"] = {"clientCertificate": b64encode(der).decode()}
    else:
        context["symmetricKey"] = {}
    if payload is not None:
        context["payload"] = payload
    return context


def _entry(entry: Entry) -> dict[str, Any]:
    custom, twin, policy = entry.custom_allocation, entry.initial_twin, entry.reprovision_policy
    said = {
        **_identity(entry),
        "attestation": _attestation(entry),
        "capabilities": {"iotEdge": entry.capabilities.iot_edge},
        "iotHubHostName": entry.iot_hub_host_name or None,
        "iotHubs": list(entry.iot_hubs) or None,
        "initialTwin": twin
        and {"tags": dict(twin.tags), "properties": {"desired": dict(twin.desired)}},
        "etag": f'"{entry.etag}"',
        "provisioningStatus": entry.provisioning_status,
        "reprovisionPolicy": {
            "updateHubAssignment": policy.update_hub_assignment,
            "migrateDeviceData": policy.migrate_device_data,
        },
        "allocationPolicy": entry.allocation_policy or None,
        "customAllocationDefinition": custom
        and {"webhookUrl": custom.webhook_url, "apiVersion": custom.api_version},
        "createdDateTimeUtc": azure_time(entry.created),
        "lastUpdatedDateTimeUtc": azure_time(entry.updated),
    }
    return {name: value for name, value in said.items() if value is not None}


def _identity(entry: Entry) -> dict[str, Any]:
    if not isinstance(entry, Enrollment):
        return {"enrollmentGroupId": entry.id}
    device = {"deviceId": entry.device_id} if entry.device_id else {}
    return {"registrationId": entry.id, **device}


def _attestation(entry: Entry) -> dict[str, Any]:
    found = entry.attestation
    if isinstance(found, SymmetricKeyAttestation):
        return {"type": "symmetricKey"}
    slots = {"primary": found.primary, "secondary": found.secondary}
    shown = {
        role: {"info": {"sha256Thumbprint": chain.thumbprint(slot)}}
        if isinstance(slot, x509.Certificate)
        else slot
        for role, slot in slots.items()
        if slot is not None
    }
    return {"type": "x509", "x509": {found.kind: shown}}
