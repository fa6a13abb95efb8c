"""The JSON that Azure's services speak."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from cryptography import x509

from labkit.cloud.dps.registrations import ASSIGNING, Operation, Registration
from labkit.cloud.hub.issuing import Begun
from labkit.cloud.hub.live import CertificateAnswer
from labkit.cloud.store import azure_time, wire_etag
from labkit.errors import ServiceRefusal

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
        body["registrationState"] = {**device_state(row), **_issued(found.chain)}
    return body


def _issued(chain: Sequence[bytes]) -> dict[str, Any]:
    """Base64 of DER, the device's own certificate first and the root last."""
    found = [b64encode(certificate).decode() for certificate in chain]
    return {"issuedCertificateChain": found} if found else {}


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
