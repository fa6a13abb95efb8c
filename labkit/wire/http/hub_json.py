"""A hub's objects as its service API writes and reads them (2021-04-12)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from labkit.cloud.hub import job_tables, jobs
from labkit.cloud.hub.credentials import SELF_SIGNED, Credentials
from labkit.cloud.hub.documents import presence_json, thumbprints
from labkit.cloud.hub.job_tables import Job
from labkit.cloud.hub.jobs import Plan
from labkit.cloud.hub.live import Presence
from labkit.cloud.hub.methods import USUAL_WAIT
from labkit.cloud.hub.registry import Wanted
from labkit.cloud.hub.tables import DeviceIdentity
from labkit.cloud.store import azure_time
from labkit.wire.http.fields import Fields, wrong

_STATES = ("enabled", "disabled")


# ---- devices


def device_json(
    identity: DeviceIdentity, presence: Presence | None, queued: int, *, secrets: bool
) -> dict[str, Any]:
    """An identity; its keys are told to those only who may write the registry."""
    keys = {
        "primaryKey": identity.primary_key or None,
        "secondaryKey": identity.secondary_key or None,
    }
    return {
        "deviceId": identity.device_id,
        "generationId": identity.generation_id,
        "etag": identity.etag,
        **presence_json(presence),
        "connectionStateUpdatedTime": azure_time(presence.since if presence else None),
        "status": "enabled" if identity.enabled else "disabled",
        "statusReason": identity.status_reason or None,
        "statusUpdatedTime": azure_time(identity.status_updated),
        "cloudToDeviceMessageCount": queued,
        "authentication": {
            "type": identity.authentication,
            "symmetricKey": keys if secrets else dict.fromkeys(keys),
            "x509Thumbprint": thumbprints(identity),
        },
        "capabilities": {"iotEdge": identity.iot_edge},
        "parentScopes": [],
    }


def wanted(said: Fields, device_id: str) -> Wanted:
    """What a request says that an identity is to be. Raises Denial."""
    status = said.text("status", "enabled").lower()
    if status not in _STATES:
        raise wrong(said.path("status"), f"it is {status[:20]!r}", " or ".join(_STATES))
    authentication = said.object("authentication") or Fields({})
    capabilities = said.object("capabilities") or Fields({})
    return Wanted(
        device_id,
        _kind(authentication),
        _credentials(authentication),
        status == "enabled",
        said.text("statusReason"),
        capabilities.flag("iotEdge", False),
    )


def _kind(said: Fields) -> str:
    """Old clients name no type beside thumbprints (azure-iothub writes it itself)."""
    named = said.text("type")
    return named or (SELF_SIGNED if said.has("x509Thumbprint") else "")


def _credentials(said: Fields) -> Credentials:
    x509 = said.object("x509Thumbprint") or Fields({})
    keys = said.object("symmetricKey") or Fields({})
    return Credentials(
        x509.text("primaryThumbprint"),
        x509.text("secondaryThumbprint"),
        keys.text("primaryKey"),
        keys.text("secondaryKey"),
    )


# ---- methods


def method(said: Fields) -> dict[str, Any]:
    """A direct method, with the timeouts that it is called with."""
    return {
        "methodName": said.text("methodName"),
        "payload": said.any("payload"),
        "responseTimeoutInSeconds": said.number("responseTimeoutInSeconds", int(USUAL_WAIT)),
        "connectTimeoutInSeconds": said.number("connectTimeoutInSeconds", 0),
    }


# ---- twins


def twin_patch(said: Fields) -> dict[str, Any]:
    """The two parts of a twin that a back end may write; None where one is not named."""
    properties = said.object("properties") or Fields({})
    return {
        "tags": said.raw("tags") if said.has("tags") else None,
        "desired": properties.raw("desired") if properties.has("desired") else None,
    }


# ---- jobs


def plan(said: Fields, job_id: str) -> Plan:
    """A job to be. Raises Denial."""
    kind, request = said.text("type"), {}
    if kind == job_tables.METHOD:
        request = method(said.object("cloudToDeviceMethod") or Fields({}))
    elif kind == job_tables.UPDATE_TWIN:
        patch = twin_patch(said.object("updateTwin") or Fields({}))
        request = {name: part for name, part in patch.items() if part is not None}
    seconds = said.number("maxExecutionTimeInSeconds", 0) or jobs.USUAL_SECONDS
    return Plan(job_id, kind, said.text("queryCondition"), request, _start(said), seconds)


def _start(said: Fields) -> datetime | None:
    text = said.text("startTime")
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text[:64])
    except ValueError:
        raise wrong(said.path("startTime"), "it is no date", "a date of ISO 8601") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def job_json(job: Job) -> dict[str, Any]:
    """A job, and at how many devices it is how far."""
    counted = {
        "deviceCount": job.devices,
        "failedCount": job.counts.get(job_tables.FAILED, 0),
        "succeededCount": job.counts.get(job_tables.COMPLETED, 0),
        "runningCount": job.counts.get(job_tables.RUNNING, 0),
        "pendingCount": job.counts.get(job_tables.PENDING, 0),
    }
    is_method = job.kind == job_tables.METHOD
    patch = {"tags": job.request.get("tags"), "desired": job.request.get("desired")}
    twin = {"etag": "*", "tags": patch["tags"], "properties": {"desired": patch["desired"] or {}}}
    return {
        "jobId": job.id,
        "createdTime": azure_time(job.created),
        "startTime": azure_time(job.start),
        **({"endTime": azure_time(job.end)} if job.end else {}),
        "maxExecutionTimeInSeconds": job.max_seconds,
        "type": job.kind,
        **({"cloudToDeviceMethod": job.request} if is_method else {"updateTwin": twin}),
        "status": job.status,
        **({"failureReason": job.reason, "statusMessage": job.reason} if job.reason else {}),
        "queryCondition": job.condition,
        "deviceJobStatistics": counted,
    }
