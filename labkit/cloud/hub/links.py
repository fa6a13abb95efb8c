"""The hubs that are linked to DPS, and how devices are spread over them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy import (
    Column,
    Connection,
    Float,
    String,
    Table,
    bindparam,
    delete,
    insert,
    select,
    update,
)

from labkit import ids
from labkit.cloud.hub.names import DOMAIN, hub_label, label_of
from labkit.cloud.hub.tables import HubRow
from labkit.cloud.prepared import Prepared
from labkit.cloud.store import Base
from labkit.database import Database
from labkit.errors import LabError, NotFound
from labkit.events import Events

_HEAVIEST = 1_000


@dataclass(frozen=True, slots=True)
class LinkedHub:
    """``weight`` is its share where devices are spread evenly; ``latency`` the milliseconds that
    the lab declares from devices to it."""

    name: str
    weight: int
    latency: float

    @property
    def host_name(self) -> str:
        return f"{self.name}.{DOMAIN}"


_hubs: Table = HubRow.__table__  # type: ignore[assignment]
_linked = Prepared(
    select(_hubs.c.name, _hubs.c.weight, _hubs.c.latency).where(_hubs.c.linked).order_by("name")
)
_latencies = Table(
    "declared_latency",
    Base.metadata,
    Column("device", String, primary_key=True),
    Column("hub", String, primary_key=True),
    Column("milliseconds", Float, nullable=False),
)
_of_device = select(_latencies.c.hub, _latencies.c.milliseconds).where(
    _latencies.c.device == bindparam("of")
)


class LinkedHubs:
    """The hubs that DPS may assign devices to: iterate, :meth:`link`, :meth:`unlink`."""

    def __init__(self, database: Database, events: Events) -> None:
        self._database, self._events = database, events

    def __iter__(self) -> Iterator[LinkedHub]:
        with self._database.quick_read() as connection:
            return iter(self.read(connection))

    def read(self, connection: Connection) -> tuple[LinkedHub, ...]:
        """The linked hubs in the order of their names, within a transaction."""
        return tuple(LinkedHub(*row) for row in _linked.rows(connection))

    def get(self, name: str) -> LinkedHub:
        """By its name with or without the domain. Raises NotFound."""
        label = label_of(name)
        found = {hub.name: hub for hub in self}
        if label not in found:
            linked = ", ".join(found) or "none"
            raise NotFound(f"No hub {name!r} is linked to DPS", found=f"linked: {linked}")
        return found[label]

    def link(self, name: str, *, weight: int = 1, latency: float = 50.0) -> LinkedHub:
        """Links a hub of the lab, or changes how it is linked. Raises LabError, NotFound."""
        if not 0 <= weight <= _HEAVIEST or latency < 0:
            raise LabError(
                f"{name!r} cannot be linked so",
                expected=f"a weight from 0 to {_HEAVIEST} and a latency in milliseconds",
                found=f"weight={weight}, latency={latency}",
            )
        values = {"linked": True, "weight": weight, "latency": latency}
        label = self._change(name, values)
        self._events.record("dps", "linked", f"{label} is linked to DPS with weight {weight}")
        return LinkedHub(label, weight, latency)

    def unlink(self, name: str) -> None:
        """Assigns no more devices to it; those that it has stay. Raises NotFound."""
        label = self._change(name, {"linked": False})
        self._events.record("dps", "unlinked", f"{label} is not linked to DPS any more")

    def declare_latency(self, device: str, name: str, milliseconds: float) -> None:
        """How far a hub is from one device, by its registration ID. Raises NotFound."""
        label = self.get(name).name
        key = ids.key(device)
        same = (_latencies.c.device == key) & (_latencies.c.hub == label)
        with self._database.quick_write() as connection:
            connection.execute(delete(_latencies).where(same))
            row = {"device": key, "hub": label, "milliseconds": milliseconds}
            connection.execute(insert(_latencies), row)

    def latencies(self, device: str) -> dict[str, float]:
        """Milliseconds from this device to each linked hub, by the hub's name."""
        with self._database.quick_read() as connection:
            declared = connection.execute(_of_device, {"of": ids.key(device)}).all()
        return {hub.name: hub.latency for hub in self} | {
            row.hub: row.milliseconds for row in declared
        }

    def _change(self, name: str, values: Mapping[str, object]) -> str:
        label = hub_label(name)
        with self._database.quick_write() as connection:
            changed = connection.execute(
                update(_hubs).where(_hubs.c.name == label).values(**values)
            ).rowcount
        if not changed:
            raise NotFound(f"There is no hub {name!r}", cure="open the lab with hubs=(...)")
        return label
