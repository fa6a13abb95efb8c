"""The JSON that Azure's services speak."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from cryptography import x509

from labkit.cloud.dps.issuance import AUTHORITY
from labkit.cloud.dps.registrations import ASSIGNING, Operation, Registration
from labkit.cloud.dps.trust_bundles import TrustBundle
from labkit.cloud.hub.issuing import Begun
from labkit.cloud.hub.live import CertificateAnswer
from labkit.cloud.store import azure_time, wire_etag
from labkit.errors import ServiceRefusal
from labkit.pki import chain

# Made once: json.dumps makes one for each call that has options.
_writer = json.JSONEncoder(separators=(",", ":"))


def dumps(value: Any) -> bytes:
    """Compact JSON in UTF-8."""
    return _writer.encode(value).encode()


def timestamp(moment: datetime) -> str:
    """As .NET writes it: seven digits behind the point, and Z."""
    return azure_time(moment)


def distinguished_name(name: x509.Name) -> str:
    """A name as .NET writes it: its last part first, with a blank behind each comma."""
    return ", ".join(part.rfc4514_string() for part in reversed(name.rdns))


def serial_number(certificate: x509.Certificate) -> str:
    """As .NET writes it: the number's bytes in upper-case hex."""
    digits = f"{certificate.serial_number:X}"
    return digits.zfill(len(digits) + len(digits) % 2)


def refusal(error: ServiceRefusal, now: datetime) -> dict[str, Any]:
    """The body of every error of DPS, and of the hub over MQTT."""
    return {
        "errorCode": error.error.code,
        "trackingId": error.tracking_id,
        "message": error.error.message,
        "timestampUtc": timestamp(now),
    }


def begun(found: Begun) -> dict[str, Any]:
    """What a device is told whose request for a certificate is on record."""
    return {"correlationId": found.correlation_id, "operationExpires": timestamp(found.expires)}


def issued(found: CertificateAnswer) -> dict[str, Any]:
    """What it is told then: base64 of DER, the device's own certificate first and the root last."""
    certificates = [b64encode(certificate).decode() for certificate in found.chain]
    return {"correlationId": found.correlation_id, "certificates": certificates}


def credential_refusal(error: ServiceRefusal, now: datetime) -> dict[str, Any]:
    """The body of an error of those requests: one field more than others have."""
    return {**refusal(error, now), "info": error.info}


def operation(found: Operation) -> dict[str, Any]:
    """What a device is told of its registration: all of it, once there is an outcome."""
    body: dict[str, Any] = {"operationId": found.operation_id, "status": found.status}
    row = found.registration
    if row is not None and found.status == ASSIGNING:
        state = {"registrationId": row.registration_id, "status": found.status}
        body["registrationState"] = state
    elif row is not None:
        bundle = {"trustBundle": trust_bundle(found.trust_bundle)} if found.trust_bundle else {}
        body["registrationState"] = {**device_state(row), **_issued(row, found.chain), **bundle}
    return body


def _issued(row: Registration, certificates: Sequence[bytes]) -> dict[str, Any]:
    """The device's own certificate first and the root last: base64 of DER each, or PEM of all,
    as the version has it that knows the issuer."""
    if not certificates:
        return {}
    if row.issued_by == AUTHORITY:
        found = map(x509.load_der_x509_certificate, certificates)
        return {"issuedClientCertificate": chain.to_pem(found)}
    return {"issuedCertificateChain": [b64encode(der).decode() for der in certificates]}


def trust_bundle(found: TrustBundle) -> dict[str, Any]:
    """A trust bundle, as back ends and devices see it."""
    return {
        "certificates": [
            {"certificate": chain.to_pem([each]), "metadata": certificate_info(each)}
            for each in found.certificates
        ],
        "id": found.id,
        "createdDateTime": timestamp(found.stamp.created),
        "lastModifiedDateTime": timestamp(found.stamp.updated),
        "etag": wire_etag(found.stamp.etag),
    }


def certificate_info(certificate: x509.Certificate) -> dict[str, Any]:
    """What Azure tells of a certificate."""
    return {
        "subjectName": distinguished_name(certificate.subject),
        "sha1Thumbprint": chain.thumbprint_sha1(certificate),
        "sha256Thumbprint": chain.thumbprint(certificate),
        "issuerName": distinguished_name(certificate.issuer),
        "notBeforeUtc": f"{certificate.not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ}",
        "notAfterUtc": f"{certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}",
        "serialNumber": serial_number(certificate),
        "version": certificate.version.value + 1,
    }


def device_state(row: Registration) -> dict[str, Any]:
    """A registration as its device sees it: also which group let it in, and what a webhook had
    for it."""
    through = {"enrollmentGroupId": row.group_id} if row.group_id else {}
    shown = {row.attestation: through, **registration(row)}
    return shown if row.payload is None else {**shown, "payload": row.payload}


def registration(row: Registration) -> dict[str, Any]:
    """A registration as back ends see it. The Python device SDK hangs when ``deviceId``,
    ``assignedHub`` or ``substatus`` of an assignment is missing; without a hub there are none."""
    place = {
        "assignedHub": row.assigned_hub,
        "deviceId": row.device_id,
        "substatus": row.substatus,
        "errorCode": row.error_code,
        "errorMessage": row.error_message,
    }
    return {
        "registrationId": row.registration_id,
        "createdDateTimeUtc": timestamp(row.created),
        "status": row.status,
        **{name: value for name, value in place.items() if value},
        "lastUpdatedDateTimeUtc": timestamp(row.updated),
        "etag": wire_etag(row.etag),
    }
