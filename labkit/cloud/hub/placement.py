"""What DPS does in a hub: it gives a device an identity, and takes it away when the device moves.

Plain statements on a transaction that the caller has open: a registration is written whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import BindParameter, Connection, Table, bindparam, delete, insert, select, update

from labkit.cloud.hub.tables import DeviceIdentity, Twin
from labkit.cloud.prepared import Prepared
from labkit.cloud.store import new_etag

SELF_SIGNED, SAS = "selfSigned", "sas"


@dataclass(frozen=True, slots=True)
class Credentials:
    """By what a hub will know a device: thumbprints (SHA-256, hex), or keys (base64)."""

    thumbprint: str = ""
    secondary_thumbprint: str = ""
    primary_key: str = field(default="", repr=False)
    secondary_key: str = field(default="", repr=False)

    @property
    def authentication(self) -> str:
        """The registry's word for it."""
        return SAS if self.primary_key else SELF_SIGNED


@dataclass(frozen=True, slots=True)
class TwinState:
    """All that moves when a device's data moves."""

    tags: Mapping[str, Any] = field(default_factory=dict)
    desired: Mapping[str, Any] = field(default_factory=dict)
    reported: Mapping[str, Any] = field(default_factory=dict)
    desired_version: int = 1
    reported_version: int = 1
    stamps: Mapping[str, Any] = field(default_factory=dict)


NOBODY = Credentials()


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
    wanted = {**_values(credentials), "iot_edge": iot_edge}
    if found is None:
        made = {"hub": hub, "device_id": device_id, "created": now, "etag": new_etag()}
        _add_identity.rows(connection, **wanted, **made, enabled=True)
        _add_twin.rows(connection, **_twin_row(hub, device_id, twin or TwinState()))
        return
    if found != tuple(wanted[name] for name in _CREDENTIALS):
        connection.execute(_renew.values(etag=new_etag(), **wanted), at)
    if twin is not None:
        changes = _twins.c.changes + 1
        connection.execute(_change_twin.values(**_halves(twin), changes=changes), at)


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


def _values(credentials: Credentials) -> dict[str, Any]:
    return {
        "thumbprint": credentials.thumbprint,
        "secondary_thumbprint": credentials.secondary_thumbprint,
        "primary_key": credentials.primary_key,
        "secondary_key": credentials.secondary_key,
        "authentication": credentials.authentication,
    }
