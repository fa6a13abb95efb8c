"""Where enrollments are kept: a table for each kind of entry, and one of their certificates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Connection,
    Index,
    LargeBinary,
    String,
    Table,
    bindparam,
    delete,
    insert,
    select,
)

from labkit import ids
from labkit.cloud.dps.entries import (
    CUSTOM,
    DISABLED,
    ENABLED,
    Attestation,
    Capabilities,
    CustomAllocation,
    Enrollment,
    EnrollmentGroup,
    Entry,
    InitialTwin,
    ReprovisionPolicy,
    SymmetricKeyAttestation,
    X509Attestation,
)
from labkit.cloud.prepared import Prepared
from labkit.cloud.store import Base
from labkit.database import UtcDateTime
from labkit.pki import chain

SYMMETRIC_KEY = "symmetricKey"


def _entry_table(name: str) -> Table:
    """``key`` is the ID in lower case; ``options`` is all that only a whole entry is read for;
    ``custom`` marks those that ask a webhook."""
    return Table(
        name,
        Base.metadata,
        Column("key", String, primary_key=True),
        Column("id", String, nullable=False),
        Column("attestation", String, nullable=False),
        Column("primary_key", String, nullable=False),
        Column("secondary_key", String, nullable=False),
        Column("options", JSON, nullable=False),
        Column("custom", Boolean, nullable=False, index=True),
        Column("enabled", Boolean, nullable=False),
        Column("etag", String, nullable=False),
        Column("created", UtcDateTime, nullable=False),
        Column("updated", UtcDateTime, nullable=False),
    )


ENROLLMENTS, GROUPS = _entry_table("enrollment"), _entry_table("enrollment_group")

CERTIFICATES = Table(
    "entry_certificate",
    Base.metadata,
    Column("book", String, primary_key=True),
    Column("key", String, primary_key=True),
    Column("role", String, primary_key=True),
    Column("thumbprint", String, nullable=False),
    Column("reference", String, nullable=False),
    Column("der", LargeBinary, nullable=False),
    Index("entry_certificate_by_thumbprint", "thumbprint"),
)
"""What an entry names: a certificate (SHA-256 and DER), or the name of an uploaded one.
``book`` is the name of the entry's table, ``role`` ``primary`` or ``secondary``."""

_of_entry = Prepared(
    select(CERTIFICATES.c.role, CERTIFICATES.c.reference, CERTIFICATES.c.der).where(
        CERTIFICATES.c.book == bindparam("in_book"), CERTIFICATES.c.key == bindparam("of_key")
    )
)
_forget = delete(CERTIFICATES).where(
    CERTIFICATES.c.book == bindparam("in_book"), CERTIFICATES.c.key == bindparam("of_key")
)
_add = insert(CERTIFICATES)


def read(connection: Connection, table: Table, row: tuple[Any, ...]) -> Entry:
    """The entry of a whole row of :data:`ENROLLMENTS` or :data:`GROUPS`."""
    values = dict(zip(table.columns.keys(), row, strict=True))
    common = {
        "id": values["id"],
        "attestation": _attestation(connection, table, values),
        "provisioning_status": ENABLED if values["enabled"] else DISABLED,
        "etag": values["etag"],
        "created": values["created"],
        "updated": values["updated"],
        **_options(values["options"]),
    }
    if table is GROUPS:
        return EnrollmentGroup(**common)
    options = values["options"]
    information = options["optional_device_information"]
    return Enrollment(
        **common, device_id=options["device_id"], optional_device_information=information
    )


def _options(options: Mapping[str, Any]) -> dict[str, Any]:
    twin, custom = options["initial_twin"], options["custom_allocation"]
    return {
        "capabilities": Capabilities(options["iot_edge"]),
        "iot_hub_host_name": options["iot_hub_host_name"],
        "iot_hubs": tuple(options["iot_hubs"]),
        "initial_twin": InitialTwin(*twin) if twin is not None else None,
        "allocation_policy": options["allocation_policy"],
        "custom_allocation": CustomAllocation(*custom) if custom is not None else None,
        "reprovision_policy": ReprovisionPolicy(*options["reprovision_policy"]),
        "credential_policy": options["credential_policy"],
        "certificate_authority": options["certificate_authority"],
        "trust_bundle": options["trust_bundle"],
    }


def _attestation(connection: Connection, table: Table, values: Mapping[str, Any]) -> Attestation:
    kind = values["attestation"]
    if kind == SYMMETRIC_KEY:
        return SymmetricKeyAttestation(values["primary_key"], values["secondary_key"])
    slots: dict[str, Any] = {}
    found = _of_entry.rows(connection, in_book=table.name, of_key=values["key"])
    for role, reference, der in found:
        slots[role] = reference or x509.load_der_x509_certificate(der)
    return X509Attestation(kind, **slots)


def row_of(entry: Entry) -> dict[str, Any]:
    """The columns of an entry, its certificates left out."""
    policy = entry.reprovision_policy
    twin, custom = entry.initial_twin, entry.custom_allocation
    options: dict[str, Any] = {
        "iot_edge": entry.capabilities.iot_edge,
        "iot_hub_host_name": entry.iot_hub_host_name,
        "iot_hubs": list(entry.iot_hubs),
        "initial_twin": [dict(twin.tags), dict(twin.desired)] if twin is not None else None,
        "allocation_policy": entry.allocation_policy,
        "custom_allocation": [custom.webhook_url, custom.api_version] if custom else None,
        "reprovision_policy": [policy.update_hub_assignment, policy.migrate_device_data],
        "credential_policy": entry.credential_policy,
        "certificate_authority": entry.certificate_authority,
        "trust_bundle": entry.trust_bundle,
    }
    if isinstance(entry, Enrollment):
        options["device_id"] = entry.device_id
        options["optional_device_information"] = entry.optional_device_information
    return {
        "key": ids.key(entry.id),
        "id": entry.id,
        **_attestation_row(entry.attestation),
        "options": options,
        "custom": entry.allocation_policy == CUSTOM,
        "enabled": entry.enabled,
        "etag": entry.etag,
        "created": entry.created,
        "updated": entry.updated,
    }


def _attestation_row(found: Attestation) -> dict[str, str]:
    if isinstance(found, SymmetricKeyAttestation):
        keys = {"primary_key": found.primary_key, "secondary_key": found.secondary_key}
        return {"attestation": SYMMETRIC_KEY, **keys}
    return {"attestation": found.kind, "primary_key": "", "secondary_key": ""}


def write_certificates(connection: Connection, table: Table, entry: Entry) -> None:
    """Puts the entry's certificates and references in place of those that it had."""
    forget_certificates(connection, table, ids.key(entry.id))
    if rows := list(_certificate_rows(table, entry)):
        connection.execute(_add, rows)


def forget_certificates(connection: Connection, table: Table, key: str) -> None:
    """Takes away what the entry names."""
    connection.execute(_forget, {"in_book": table.name, "of_key": key})


def _certificate_rows(table: Table, entry: Entry) -> Iterable[dict[str, Any]]:
    if isinstance(entry.attestation, SymmetricKeyAttestation):
        return
    slots = {"primary": entry.attestation.primary, "secondary": entry.attestation.secondary}
    for role, slot in slots.items():
        row = {"book": table.name, "key": ids.key(entry.id), "role": role}
        if isinstance(slot, x509.Certificate):
            der = slot.public_bytes(Encoding.DER)
            yield {**row, "thumbprint": chain.thumbprint(slot), "reference": "", "der": der}
        elif isinstance(slot, str):
            yield {**row, "thumbprint": "", "reference": slot, "der": b""}
