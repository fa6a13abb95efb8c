"""Enrollments as the service API writes them (2021-10-01), both ways.

What comes in is checked to its last field. What goes out is what Azure was seen to send: of a
certificate only its ``info``, of symmetric keys nothing except in the answer to the PUT that set
them, and a primary certificate in the secondary place too, where that is empty.
"""

from __future__ import annotations

from typing import Any

from cryptography import x509

from labkit.cloud import codes
from labkit.cloud.dps.entries import (
    REFERENCES,
    Attestation,
    Capabilities,
    CustomAllocation,
    Enrollment,
    EnrollmentGroup,
    Entry,
    InitialTwin,
    KnownCertificate,
    Named,
    ReprovisionPolicy,
    SymmetricKeyAttestation,
    X509Attestation,
    X509Kind,
)
from labkit.cloud.dps.registrations import Registration
from labkit.cloud.refusals import Denial
from labkit.cloud.store import wire_etag
from labkit.errors import BadCertificate
from labkit.pki.reading import read_certificate
from labkit.trace import failed
from labkit.wire import azure_json
from labkit.wire.http.fields import FIELD, Fields, wrong

ENROLLMENT_ID, GROUP_ID = "registrationId", "enrollmentGroupId"
CA, TRUST_BUNDLE = "clientCertificateIssuancePolicy", "trustBundleId"
"""Fields that only the api-version 2021-11-01-preview has."""
_NAME_OF_CA = "certificateAuthorityName"
_X509, _SYMMETRIC = "x509", "symmetricKey"
_KINDS: tuple[X509Kind, ...] = ("clientCertificates", "signingCertificates", "caReferences")


# ---- in


def enrollment(said: Fields, id: str = "") -> Enrollment:
    """An individual enrollment out of its JSON; ``id`` is what the path names. Raises Denial."""
    return Enrollment(
        id=_id(said, ENROLLMENT_ID, id),
        attestation=_attestation(said),
        device_id=said.text("deviceId"),
        optional_device_information=said.raw("optionalDeviceInformation") or None,
        **_shared(said),
    )


def group(said: Fields, id: str = "") -> EnrollmentGroup:
    """An enrollment group out of its JSON; ``id`` is what the path names. Raises Denial."""
    named = _id(said, GROUP_ID, id)
    return EnrollmentGroup(id=named, attestation=_attestation(said), **_shared(said))


def _id(said: Fields, name: str, id: str) -> str:
    found = said.text(name, id)
    if id and found.lower() != id.lower():
        raise wrong(name, f"it is {found!r}, the path says {id!r}", "the same ID in both")
    return found


def _shared(said: Fields) -> dict[str, Any]:
    """The fields that both kinds of entry have."""
    capabilities = said.object("capabilities")
    policy, issuer = said.object("reprovisionPolicy"), said.object(CA)
    return {
        "capabilities": Capabilities(bool(capabilities and capabilities.flag("iotEdge", False))),
        "iot_hub_host_name": said.text("iotHubHostName"),
        "iot_hubs": said.texts("iotHubs"),
        "initial_twin": _initial_twin(said),
        "allocation_policy": said.text("allocationPolicy"),
        "custom_allocation": _custom_allocation(said),
        "reprovision_policy": _reprovision_policy(policy) if policy else ReprovisionPolicy(),
        "credential_policy": said.text("credentialPolicyName"),
        "certificate_authority": issuer.text(_NAME_OF_CA) if issuer else "",
        "trust_bundle": said.text(TRUST_BUNDLE),
        "provisioning_status": said.text("provisioningStatus", "enabled"),
        "etag": said.text("etag"),
    }


def _reprovision_policy(said: Fields) -> ReprovisionPolicy:
    return ReprovisionPolicy(
        said.flag("updateHubAssignment", True), said.flag("migrateDeviceData", True)
    )


def _initial_twin(said: Fields) -> InitialTwin | None:
    twin = said.object("initialTwin")
    if twin is None:
        return None
    properties = twin.object("properties")
    return InitialTwin(twin.raw("tags"), properties.raw("desired") if properties else {})


def _custom_allocation(said: Fields) -> CustomAllocation | None:
    found = said.object("customAllocationDefinition")
    if found is None:
        return None
    return CustomAllocation(found.text("webhookUrl"), found.text("apiVersion"))


def _attestation(said: Fields) -> Attestation:
    found = said.object("attestation")
    if found is None:
        raise wrong("attestation", "it is missing", "how the device proves who it is")
    kind = found.text("type")
    if kind == _SYMMETRIC:
        keys = found.object(_SYMMETRIC) or Fields({})
        return SymmetricKeyAttestation(keys.text("primaryKey"), keys.text("secondaryKey"))
    certificates = found.object(_X509)
    if kind != _X509 or certificates is None:
        served = f"{_X509} with its certificates, or {_SYMMETRIC}"
        raise wrong("attestation.type", f"it is {kind!r}", f"{served}; nothing else is served")
    return _certificates(certificates)


def _certificates(said: Fields) -> X509Attestation:
    kinds = [kind for kind in _KINDS if said.has(kind)]
    if len(kinds) != 1:
        why = f"it has {' and '.join(kinds) or 'none of its fields'}"
        raise wrong("attestation.x509", why, f"one of {', '.join(_KINDS)}")
    kind, slots = kinds[0], said.object(kinds[0])
    assert slots is not None, "it was just found"
    if kind == REFERENCES:
        return X509Attestation(kind, slots.text("primary") or None, slots.text("secondary") or None)
    return X509Attestation(kind, _slot(slots, "primary"), _slot(slots, "secondary"))


def _slot(said: Fields, name: str) -> Named:
    """A certificate, or what tells which one it is, as it was read from the service."""
    slot = said.object(name)
    if slot is None:
        return None
    if slot.has("certificate"):
        try:
            return read_certificate(slot.text("certificate"))
        except BadCertificate as error:
            raise no_certificate(slot.path("certificate"), error) from error
    info = slot.object("info") or Fields({})
    known = info.text("sha256Thumbprint") or info.text("sha1Thumbprint")
    return KnownCertificate(known) if known else None


def no_certificate(field: str, error: BadCertificate) -> Denial:
    """400004 for a field that holds something else than a certificate."""
    why = f"{field}: {error.message}; found: {error.found}"
    return Denial(codes.BAD_REQUEST, failed(FIELD, field, why, error.cure))


# ---- out


def entry_json(entry: Entry, *, secrets: bool = False) -> dict[str, Any]:
    """An entry as the service API answers it; ``secrets`` for the answer to a PUT."""
    found = _name_of(entry) | {
        "attestation": attestation_json(entry.attestation, secrets=secrets),
        "capabilities": {"iotEdge": entry.capabilities.iot_edge},
        "iotHubHostName": entry.iot_hub_host_name,
        "iotHubs": list(entry.iot_hubs),
        "initialTwin": entry.initial_twin and _twin_json(entry.initial_twin),
        "etag": wire_etag(entry.etag),
        "provisioningStatus": entry.provisioning_status,
        "reprovisionPolicy": {
            "updateHubAssignment": entry.reprovision_policy.update_hub_assignment,
            "migrateDeviceData": entry.reprovision_policy.migrate_device_data,
        },
        "allocationPolicy": entry.allocation_policy,
        "customAllocationDefinition": entry.custom_allocation
        and {
            "webhookUrl": entry.custom_allocation.webhook_url,
            "apiVersion": entry.custom_allocation.api_version,
        },
        "credentialPolicyName": entry.credential_policy,
        CA: entry.certificate_authority and {_NAME_OF_CA: entry.certificate_authority},
        TRUST_BUNDLE: entry.trust_bundle,
        "createdDateTimeUtc": azure_json.timestamp(entry.created),
        "lastUpdatedDateTimeUtc": azure_json.timestamp(entry.updated),
    }
    return {name: value for name, value in found.items() if value or value is False}


def enrollment_json(entry: Enrollment, record: Registration | None) -> dict[str, Any]:
    """What a GET of one individual enrollment shows: the entry, and how its device stands."""
    nothing = {"registrationId": entry.id, "status": "unassigned"}
    state = nothing if record is None else azure_json.registration(record)
    return {**entry_json(entry), "registrationState": state}


def attestation_json(attestation: Attestation, *, secrets: bool) -> dict[str, Any]:
    """How a device proves who it is: with the symmetric keys only where ``secrets`` says so."""
    if isinstance(attestation, X509Attestation):
        return {"type": _X509, _X509: {attestation.kind: _slots_json(attestation)}}
    if not secrets:
        return {"type": _SYMMETRIC}
    keys = {"primaryKey": attestation.primary_key, "secondaryKey": attestation.secondary_key}
    return {"type": _SYMMETRIC, _SYMMETRIC: keys}


def _name_of(entry: Entry) -> dict[str, Any]:
    if isinstance(entry, EnrollmentGroup):
        return {GROUP_ID: entry.id}
    return {
        ENROLLMENT_ID: entry.id,
        "deviceId": entry.device_id,
        "optionalDeviceInformation": entry.optional_device_information,
    }


def _twin_json(twin: InitialTwin) -> dict[str, Any]:
    tags = {"tags": dict(twin.tags)} if twin.tags else {}
    return {**tags, "properties": {"desired": dict(twin.desired)}}


def _slots_json(attestation: X509Attestation) -> dict[str, Any]:
    slots = {"primary": attestation.primary, "secondary": attestation.secondary}
    if attestation.kind != REFERENCES:
        slots["secondary"] = slots["secondary"] or slots["primary"]
    return {name: _slot_json(slot) for name, slot in slots.items() if slot is not None}


def _slot_json(slot: Named) -> Any:
    return (
        {"info": azure_json.certificate_info(slot)} if isinstance(slot, x509.Certificate) else slot
    )
