"""What DPS does in a hub: it gives a device an identity, and takes it away when the device moves.

Plain statements on a transaction that the caller has open: a registration is written whole.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import BindParameter, Connection, Table, bindparam, delete, insert, select, update

from labkit.cloud.hub.credentials import Credentials
from labkit.cloud.hub.tables import DeviceIdentity, Twin
from labkit.cloud.prepared import Prepared
from labkit.cloud.store import new_etag


@dataclass(frozen=True, slots=True)
class TwinState:
    """All that moves when a device's data moves."""

    tags: Mapping[str, Any] = field(default_factory=dict)
    desired: Mapping[str, Any] = field(default_factory=dict)
    reported: Mapping[str, Any] = field(default_factory=dict)
    desired_version: int = 1
    reported_version: int = 1
    stamps: Mapping[str, Any] = field(default_factory=dict)


_identities: Table = DeviceIdentity.__table__  # type: ignore[assignment]
_twins: Table = Twin.__table__  # type: ignore[assignment]
_HUB: BindParameter[str] = bindparam("at_hub")
_DEVICE: BindParameter[str] = bindparam("of_device")
_CREDENTIALS = (
    "thumbprint",
    "secondary_thumbprint",
    "primary_key",
    "secondary_key",
    "authentication",
    "iot_edge",
)
_find_identity = Prepared(
    select(*(_identities.c[name] for name in _CREDENTIALS)).where(
        _identities.c.hub == _HUB, _identities.c.device_id == _DEVICE
    )
)
_find_twin = select(_twins).where(_twins.c.hub == _HUB, _twins.c.device_id == _DEVICE)
_add_identity, _add_twin = Prepared(insert(_identities)), Prepared(insert(_twins))
_renew = update(_identities).where(_identities.c.hub == _HUB, _identities.c.device_id == _DEVICE)
_forget_identity = delete(_identities).where(
    _identities.c.hub == _HUB, _identities.c.device_id == _DEVICE
)
_change_twin = update(_twins).where(_twins.c.hub == _HUB, _twins.c.device_id == _DEVICE)
_forget_twin = delete(_twins).where(_twins.c.hub == _HUB, _twins.c.device_id == _DEVICE)


def place(
    connection: Connection,
    hub: str,
    device_id: str,
    credentials: Credentials,
    now: datetime,
    *,
    iot_edge: bool = False,
    twin: TwinState | None = None,
) -> None:
    """Makes the identity of a device that DPS assigns to ``hub``, or renews its credentials.

    A disabled identity stays disabled. ``twin`` replaces the twin; without it, what is there
    stays.
    """
    at = {"at_hub": hub, "of_device": device_id}
    found = _find_identity.first(connection, **at)
    wanted = {**credential_values(credentials), "iot_edge": iot_edge}
    if found is None:
        add(connection, hub, device_id, {**wanted, "created": now}, twin or TwinState())
        return
    if found != tuple(wanted[name] for name in _CREDENTIALS):
        connection.execute(_renew.values(etag=new_etag(), **wanted), at)
    if twin is not None:
        changes = _twins.c.changes + 1
        connection.execute(_change_twin.values(**_halves(twin), changes=changes), at)


def add(
    connection: Connection, hub: str, device_id: str, values: Mapping[str, Any], twin: TwinState
) -> None:
    """A new identity and its twin. ``values`` are what is known of it: its credentials, and when
    it was made."""
    row = {
        "hub": hub,
        "device_id": device_id,
        "etag": new_etag(),
        "generation_id": new_generation(),
        "enabled": True,
        "status_reason": "",
        "status_updated": None,
    }
    _add_identity.rows(connection, **{**row, **values})
    _add_twin.rows(connection, **_twin_row(hub, device_id, twin))


def new_generation() -> str:
    """What no identity of the same ID had before: Azure's are of eighteen digits."""
    return f"{10**17 + secrets.randbelow(9 * 10**17)}"


def remove(connection: Connection, hub: str, device_id: str) -> TwinState | None:
    """Takes the identity away and gives back its twin; None where there was none."""
    at = {"at_hub": hub, "of_device": device_id}
    found = connection.execute(_find_twin, at).first()
    connection.execute(_forget_identity, at)
    connection.execute(_forget_twin, at)
    if found is None:
        return None
    row = found._mapping
    names = ("tags", "desired", "reported", "desired_version", "reported_version", "stamps")
    return TwinState(**{name: row[name] for name in names})


def _twin_row(hub: str, device_id: str, twin: TwinState) -> dict[str, Any]:
    return {"hub": hub, "device_id": device_id, "changes": 1, **_halves(twin)}


def _halves(twin: TwinState) -> dict[str, Any]:
    return {
        "tags": twin.tags,
        "desired": twin.desired,
        "reported": twin.reported,
        "desired_version": twin.desired_version,
        "reported_version": twin.reported_version,
        "stamps": twin.stamps,
    }


def credential_values(credentials: Credentials) -> dict[str, Any]:
    """Credentials as columns of an identity."""
    return {
        "thumbprint": credentials.thumbprint,
        "secondary_thumbprint": credentials.secondary_thumbprint,
        "primary_key": credentials.primary_key,
        "secondary_key": credentials.secondary_key,
        "authentication": credentials.authentication,
    }
