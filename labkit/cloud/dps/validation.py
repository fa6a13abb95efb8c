"""What an enrollment may say, whoever sends it. Each finding is a Denial that names the field."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from types import NoneType
from typing import TypeVar

from cryptography import x509
from sqlalchemy import Connection, Table, bindparam, func, select

from labkit import ids
from labkit.cloud import codes
from labkit.cloud.adr import names
from labkit.cloud.certificates import CaCertificateRow
from labkit.cloud.dps import entry_tables as tables
from labkit.cloud.dps import webhook_url
from labkit.cloud.dps.entries import (
    ALLOCATION_POLICIES,
    CLIENT,
    CUSTOM,
    DISABLED,
    ENABLED,
    REFERENCES,
    SIGNING,
    Attestation,
    Enrollment,
    EnrollmentGroup,
    InitialTwin,
    KnownCertificate,
    Named,
    ReprovisionPolicy,
    SymmetricKeyAttestation,
    X509Attestation,
)
from labkit.cloud.hub import limits
from labkit.cloud.refusals import Denial
from labkit.cloud.store import new_sas_key
from labkit.pki import chain
from labkit.trace import failed

E = TypeVar("E", Enrollment, EnrollmentGroup)

ONE_ENTRY = "no other entry names this certificate"
_SHORTEST_KEY, _LONGEST_KEY = 16, 64
_TWO_ENTRIES = "Azure documentation, DPS concepts: X.509 certificate attestation"

_using = select(tables.CERTIFICATES.c.book, tables.CERTIFICATES.c.key).where(
    tables.CERTIFICATES.c.thumbprint == bindparam("wanted")
)
_referring = select(tables.CERTIFICATES.c.book, tables.CERTIFICATES.c.key).where(
    func.lower(tables.CERTIFICATES.c.reference) == bindparam("wanted")
)
_uploaded = select(CaCertificateRow.name, CaCertificateRow.der).where(
    CaCertificateRow.service == "dps"
)


def check_entry(entry: Enrollment | EnrollmentGroup) -> None:
    """Raises Denial (400004) for the first field that cannot be."""
    individual = isinstance(entry, Enrollment)
    name = "registrationId" if individual else "enrollmentGroupId"
    if not ids.is_valid(entry.id):
        raise _wrong(entry.id, name, f"{entry.id!r}", ids.RULE)
    named = entry.device_id if isinstance(entry, Enrollment) else ""
    if named and not limits.is_device_id(named):
        raise _wrong(entry.id, "deviceId", repr(named), limits.DEVICE_ID_RULE)
    if entry.provisioning_status not in (ENABLED, DISABLED):
        wanted = f"{ENABLED} or {DISABLED}"
        raise _wrong(entry.id, "provisioningStatus", entry.provisioning_status, wanted)
    _check_types(entry)
    _check_issuers(entry)
    _check_twin(entry)
    _check_allocation(entry)
    _check_attestation(entry, individual)


def _check_types(entry: Enrollment | EnrollmentGroup) -> None:
    """What comes over the wire has them; in Python one thing is soon handed over for another."""
    attestations = X509Attestation, SymmetricKeyAttestation
    hubs = (entry.iot_hub_host_name, *entry.iot_hubs)
    host = "the hub's .host_name"
    fields: tuple[tuple[str, object, type | tuple[type, ...], str], ...] = (
        ("attestation", entry.attestation, attestations, "X509Attestation(CLIENT, certificate)"),
        ("initialTwin", entry.initial_twin, (InitialTwin, NoneType), "InitialTwin(desired={…})"),
        ("reprovisionPolicy", entry.reprovision_policy, ReprovisionPolicy, "MIGRATE, RESET, NEVER"),
        *(("iotHubHostName", hub, str, host) for hub in hubs),
    )
    for name, found, kinds, wanted in fields:
        if not isinstance(found, kinds):
            raise _wrong(entry.id, name, f"a value of type {type(found).__name__}", wanted)


def _check_issuers(entry: Enrollment | EnrollmentGroup) -> None:
    """Whether what it names can be one, not whether there is such a one: that may come later."""
    policy, authority, bundle = (
        entry.credential_policy,
        entry.certificate_authority,
        entry.trust_bundle,
    )
    if policy and not names.is_policy(policy):
        raise _wrong(entry.id, "credentialPolicyName", repr(policy), names.POLICY_RULE)
    if authority and not ids.is_valid(authority):
        raise _wrong(entry.id, "clientCertificateIssuancePolicy", repr(authority), ids.RULE)
    if bundle and not ids.is_valid(bundle):
        raise _wrong(entry.id, "trustBundleId", repr(bundle), ids.RULE)
    if policy and authority:
        found = f"beside the credential policy {policy!r}"
        wanted = "one of the two: a device's certificate is issued by one side"
        raise _wrong(entry.id, "clientCertificateIssuancePolicy", found, wanted)


def _check_twin(entry: Enrollment | EnrollmentGroup) -> None:
    """Here, and not when a device comes: then nobody would see the mistake."""
    section, why = entry.initial_twin.fault if entry.initial_twin is not None else ("", "")
    if why:
        wanted = "what a twin may hold: see Azure's documents on tags and properties"
        raise _wrong(entry.id, f"initialTwin.{section}", why, wanted)


def _check_allocation(entry: Enrollment | EnrollmentGroup) -> None:
    if entry.allocation_policy not in ("", *ALLOCATION_POLICIES):
        wanted = ", ".join(ALLOCATION_POLICIES)
        raise _wrong(entry.id, "allocationPolicy", entry.allocation_policy, wanted)
    if entry.allocation_policy == CUSTOM:
        _check_webhook(entry)


def _check_webhook(entry: Enrollment | EnrollmentGroup) -> None:
    name, custom = "customAllocationDefinition", entry.custom_allocation
    if custom is None:
        wanted = "the webhook that chooses the hub: webhookUrl and apiVersion"
        raise _wrong(entry.id, name, "none", wanted)
    if why := webhook_url.fault(custom.webhook_url):
        raise _wrong(entry.id, f"{name}.webhookUrl", why, webhook_url.RULE)
    if not custom.api_version:
        wanted = "the version of the request that the webhook takes, such as 2021-10-01"
        raise _wrong(entry.id, f"{name}.apiVersion", "missing", wanted)


def _check_attestation(entry: Enrollment | EnrollmentGroup, individual: bool) -> None:
    found = entry.attestation
    if isinstance(found, SymmetricKeyAttestation):
        for name, key in (("primaryKey", found.primary_key), ("secondaryKey", found.secondary_key)):
            if key and not _is_key(key):
                wanted = f"{_SHORTEST_KEY} to {_LONGEST_KEY} bytes in base64"
                raise _wrong(entry.id, name, "another text", wanted)
        return
    kinds = (CLIENT,) if individual else (SIGNING, REFERENCES)
    if found.kind not in kinds:
        raise _wrong(entry.id, "attestation.x509", found.kind, " or ".join(kinds))
    _check_slots(entry.id, found)
    if found.primary is None and found.secondary is None:
        raise _wrong(entry.id, f"attestation.x509.{found.kind}", "no certificate", "one at least")
    if not individual:
        _check_signing(entry.id, found)


def _check_slots(entry_id: str, found: X509Attestation) -> None:
    kinds: tuple[type, ...] = (str,)
    wanted = "the name under which DPS has the CA"
    if found.kind != REFERENCES:
        kinds, wanted = (x509.Certificate, KnownCertificate), "the certificate: its .certificate"
    for slot in (found.primary, found.secondary):
        if slot is not None and not isinstance(slot, kinds):
            why = f"a value of type {type(slot).__name__}"
            raise _wrong(entry_id, f"attestation.x509.{found.kind}", why, wanted)


def _check_signing(entry_id: str, found: X509Attestation) -> None:
    for certificate in found.certificates:
        if not chain.is_ca(certificate):
            why = f"{chain.subject(certificate)}, which is no CA certificate"
            wanted = "the CA that signed the devices; one device wants an individual enrollment"
            raise _wrong(entry_id, "attestation.x509.signingCertificates", why, wanted)


def _is_key(text: str) -> bool:
    try:
        length = len(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        return False
    return _SHORTEST_KEY <= length <= _LONGEST_KEY


def _wrong(entry_id: str, field: str, found: str, wanted: str) -> Denial:
    check = failed(f"the field {field} is right", entry_id, f"it is {found}", f"send {wanted}")
    return Denial(codes.BAD_REQUEST, check)


def completed(entry: E, before: Enrollment | EnrollmentGroup | None) -> E:
    """The entry with what was left out: keys and certificates that it had before, else new keys.

    Raises Denial (400004) for a certificate that is named by its thumbprint and not known.
    """
    had = before.attestation if before is not None else None
    return replace(entry, attestation=_completed(entry.id, entry.attestation, had))


def _completed(entry_id: str, wanted: Attestation, had: Attestation | None) -> Attestation:
    if isinstance(wanted, SymmetricKeyAttestation):
        known = had if isinstance(had, SymmetricKeyAttestation) else None
        return SymmetricKeyAttestation(
            wanted.primary_key or (known.primary_key if known else new_sas_key()),
            wanted.secondary_key or (known.secondary_key if known else new_sas_key()),
        )
    kept = had.certificates if isinstance(had, X509Attestation) else ()
    primary, secondary = (
        _resolved(entry_id, slot, kept) for slot in (wanted.primary, wanted.secondary)
    )
    return X509Attestation(wanted.kind, primary, secondary)


def _resolved(entry_id: str, slot: Named, kept: tuple[x509.Certificate, ...]) -> Named:
    if not isinstance(slot, KnownCertificate):
        return slot
    wanted = slot.thumbprint.upper()
    for certificate in kept:
        if wanted in (chain.thumbprint(certificate), chain.thumbprint_sha1(certificate)):
            return certificate
    found = "the thumbprint of a certificate that this entry does not have" if wanted else "missing"
    raise _wrong(entry_id, "certificate", found, "the certificate, in PEM or base64 of its DER")


def refuse_second_use(
    connection: Connection, table: Table, entry: Enrollment | EnrollmentGroup
) -> None:
    """A certificate may be in one entry only, or the walk could not tell which decides.

    Raises Denial (409).
    """
    if isinstance(entry.attestation, SymmetricKeyAttestation):
        return
    rows = connection.execute(_uploaded).all()
    uploaded = {ids.key(row.name): x509.load_der_x509_certificate(row.der) for row in rows}
    for certificate in entry.attestation.certificates:
        names_of_it = [name for name, ca in uploaded.items() if ca == certificate]
        users = _users(connection, [certificate], names_of_it)
        _refuse_others(table, entry, chain.subject(certificate), users)
    for name in entry.attestation.references:
        it = [ca for key, ca in uploaded.items() if key == ids.key(name)]
        users = _users(connection, it, [ids.key(name)])
        _refuse_others(table, entry, f"the CA certificate {name!r}", users)


def _users(
    connection: Connection, certificates: Sequence[x509.Certificate], references: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """The entries that name one of these certificates, by itself or by the name under which it is
    uploaded."""
    asked = [(_using, chain.thumbprint(certificate)) for certificate in certificates]
    for query, wanted in [*asked, *((_referring, name) for name in references)]:
        yield from ((row.book, row.key) for row in connection.execute(query, {"wanted": wanted}))


def _refuse_others(
    table: Table,
    entry: Enrollment | EnrollmentGroup,
    what: str,
    users: Iterable[tuple[str, str]],
) -> None:
    for book, key in users:
        if (book, key) == (table.name, ids.key(entry.id)):
            continue
        noun = "enrollment group" if book == tables.GROUPS.name else "the individual enrollment"
        check = failed(
            ONE_ENTRY,
            entry.id,
            f"{what} belongs to an entry already: {noun} {key!r} uses it",
            f"use {key!r}, or sign these devices by a CA of their own",
            source=_TWO_ENTRIES,
        )
        raise Denial(codes.ENROLLMENT_EXISTS, check)
