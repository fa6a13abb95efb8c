"""The documents that queries are of: device twins with their identities, and jobs at devices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import func, select

from labkit.cloud.hub.job_tables import DeviceJobRow
from labkit.cloud.hub.live import Connections, Presence
from labkit.cloud.hub.tables import DeviceIdentity, QueuedMessage, Twin
from labkit.cloud.store import azure_time
from labkit.database import Database

_CHUNK = 500
"""Documents that are read at a time."""


class Documents:
    """The documents of one hub, each with the key by which they are ordered."""

    def __init__(self, hub: str, database: Database, connections: Connections) -> None:
        self._hub, self._database, self._connections = hub, database, connections

    def twins(self, after: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
        """In the order of device IDs, from behind one of them on."""
        while found := self._twins(after):
            queued = self._queued(found[0][0].device_id, found[-1][0].device_id)
            for identity, twin in found:
                after = identity.device_id
                yield after, self._document(identity, twin, queued.get(after, 0))

    def twin(self, device_id: str) -> dict[str, Any] | None:
        """That of one device, if there is one."""
        wanted = self._joined().where(DeviceIdentity.device_id == device_id)
        with self._database.read() as session:
            found = session.execute(wanted).first()
        if found is None:
            return None
        (identity, twin), queued = found, self._queued(device_id, device_id)
        return self._document(identity, twin, queued.get(device_id, 0))

    def jobs(self, after: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
        """What jobs are or were at devices, in the order of job and device."""
        start = tuple(after.split("\n", 1)) if after else ("", "")
        table = DeviceJobRow
        while True:
            behind = (table.job_id > start[0]) | (
                (table.job_id == start[0]) & (table.device_id > start[1])
            )
            wanted = select(table).where(table.hub == self._hub, behind)
            with self._database.read() as session:
                ordered = wanted.order_by(table.job_id, table.device_id).limit(_CHUNK)
                rows = list(session.scalars(ordered))
            if not rows:
                return
            for row in rows:
                start = row.job_id, row.device_id
                yield "\n".join(start), device_job(row)

    def _joined(self) -> Any:
        same = (Twin.hub == DeviceIdentity.hub) & (Twin.device_id == DeviceIdentity.device_id)
        found = select(DeviceIdentity, Twin).join(Twin, same)
        return found.where(DeviceIdentity.hub == self._hub).order_by(DeviceIdentity.device_id)

    def _twins(self, after: str) -> list[tuple[DeviceIdentity, Twin]]:
        wanted = self._joined().where(DeviceIdentity.device_id > after).limit(_CHUNK)
        with self._database.read() as session:
            return [(identity, twin) for identity, twin in session.execute(wanted)]

    def _queued(self, first: str, last: str) -> dict[str, int]:
        """How many messages wait for each device of a range of IDs that has any."""
        named = QueuedMessage.device_id
        mine = select(named, func.count()).where(
            QueuedMessage.hub == self._hub, named.between(first, last)
        )
        with self._database.read() as session:
            return {row[0]: row[1] for row in session.execute(mine.group_by(named))}

    def _document(self, identity: DeviceIdentity, twin: Twin, queued: int) -> dict[str, Any]:
        presence = self._connections.presence(self._hub, identity.device_id)
        own = twin.to_service_json()
        front = {name: own.pop(name) for name in ("deviceId", "etag")}
        return {
            **front,
            **_of_identity(identity, presence),
            "cloudToDeviceMessageCount": queued,
        } | own


def presence_json(presence: Presence | None) -> dict[str, Any]:
    """Whether a device is connected, and when it was heard of last."""
    connected = presence is not None and presence.connected
    return {
        "connectionState": "Connected" if connected else "Disconnected",
        "lastActivityTime": azure_time(presence.last_activity if presence else None),
    }


def _of_identity(identity: DeviceIdentity, presence: Presence | None) -> dict[str, Any]:
    """What a twin shows of its device's identity."""
    return {
        "deviceEtag": identity.etag,
        "status": "enabled" if identity.enabled else "disabled",
        **({"statusReason": identity.status_reason} if identity.status_reason else {}),
        "statusUpdateTime": azure_time(identity.status_updated),
        **presence_json(presence),
        "authenticationType": identity.authentication,
        "x509Thumbprint": thumbprints(identity),
        "modelId": "",
        "capabilities": {"iotEdge": identity.iot_edge},
    }


def thumbprints(identity: DeviceIdentity) -> dict[str, str | None]:
    """The two slots; null where they are empty."""
    return {
        "primaryThumbprint": identity.thumbprint or None,
        "secondaryThumbprint": identity.secondary_thumbprint or None,
    }


def device_job(row: DeviceJobRow) -> dict[str, Any]:
    """A job's part at one device, as a back end reads it."""
    known = {
        "startTimeUtc": row.start and azure_time(row.start),
        "endTimeUtc": row.end and azure_time(row.end),
        "outcome": row.outcome,
        "error": row.error,
    }
    return {
        "deviceId": row.device_id,
        "jobId": row.job_id,
        "jobType": row.kind,
        "status": row.status,
        "createdDateTimeUtc": azure_time(row.created),
        "lastUpdatedDateTimeUtc": azure_time(row.updated),
        **{name: value for name, value in known.items() if value},
    }
