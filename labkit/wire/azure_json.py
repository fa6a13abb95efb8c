"""The JSON that Azure's services speak."""

from __future__ import annotations

import json
from base64 import b64encode
from datetime import UTC, datetime
from typing import Any

from labkit.cloud.dps.registrations import Registration
from labkit.errors import ServiceRefusal


def read_object(data: bytes) -> dict[str, Any] | None:
    """The JSON object in ``data``; None for anything else. JSON knows no NaN and no Infinity."""
    try:
        found = json.loads(data, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def dumps(value: Any) -> bytes:
    """Compact JSON in UTF-8."""
    return json.dumps(value, separators=(",", ":")).encode()


def timestamp(moment: datetime) -> str:
    """As .NET writes it: seven digits behind the point, and Z."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}0Z"


def refusal(error: ServiceRefusal, now: datetime) -> dict[str, Any]:
    """The body of every error of DPS, and of the hub over MQTT."""
    return {
        "errorCode": error.error.code,
        "trackingId": error.tracking_id,
        "message": error.error.message,
        "timestampUtc": timestamp(now),
    }


def registration(row: Registration) -> dict[str, Any]:
    """An operation that has ended in an assignment. The Python SDK hangs when ``deviceId``,
    ``assignedHub`` or ``substatus`` is missing."""
    return {
        "operationId": row.operation_id,
        "status": row.status,
        "registrationState": {
            "x509": {"enrollmentGroupId": row.group_id},
            "registrationId": row.registration_id,
            "createdDateTimeUtc": timestamp(row.created),
            "assignedHub": row.assigned_hub,
            "deviceId": row.device_id,
            "status": row.status,
            "substatus": row.substatus,
            "lastUpdatedDateTimeUtc": timestamp(row.updated),
            "etag": b64encode(f'"{row.etag}"'.encode()).decode(),
        },
    }
