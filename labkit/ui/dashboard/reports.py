"""What devices say of their operational certificates, read as any back end can read it: by a query
of their hubs. Nothing else of the lab is asked, and what makes no sense counts as not reported.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol

from labkit.device.operational import REPORTED

QUERY = f"SELECT deviceId, status, properties.reported.{REPORTED} FROM devices"
DAYS_SOON, DAYS_LATER = 3, 14
"""Days to expiry: up to so many it is soon, up to so many later; more is long."""

_FORM = "%Y-%m-%dT%H:%M:%SZ"
_DAY = timedelta(days=1)


class Band(StrEnum):
    """How long a certificate is valid still."""

    EXPIRED = "expired"
    SOON = f"{DAYS_SOON} days or fewer"
    LATER = f"{DAYS_SOON + 1} to {DAYS_LATER} days"
    LONG = f"more than {DAYS_LATER} days"
    UNKNOWN = "not reported"


class Queried(Protocol):
    """A hub, as far as it is asked."""

    name: str

    def query(self, text: str) -> list[dict[str, Any]]:
        """All rows of a query."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a device has said last. ``enabled`` is its identity in the ``hub``; both moments are
    None where it said nothing that can be read. ``renewals`` and ``failures`` count for ever."""

    device: str
    hub: str
    enabled: bool
    issued: datetime | None = None
    expires: datetime | None = None
    renewals: int = 0
    failures: int = 0

    def days_left(self, now: datetime) -> int | None:
        """Whole days, the last one counted; 0 and less once it is over, None where unknown."""
        return None if self.expires is None else math.ceil((self.expires - now) / _DAY)

    def band(self, now: datetime) -> Band:
        """How long it is valid still."""
        left = self.days_left(now)
        if left is None:
            return Band.UNKNOWN
        if left <= 0:
            return Band.EXPIRED
        if left <= DAYS_SOON:
            return Band.SOON
        return Band.LATER if left <= DAYS_LATER else Band.LONG


def reports(hubs: Iterable[Queried]) -> list[Report]:
    """What the devices of these hubs say, the first to expire first."""
    found = [_report(hub.name, row) for hub in hubs for row in hub.query(QUERY)]
    return sorted(found, key=_order)


def _order(report: Report) -> tuple[bool, float, str, str]:
    expires = report.expires.timestamp() if report.expires else 0.0
    return report.expires is None, expires, report.device, report.hub


def _report(hub: str, row: Mapping[str, Any]) -> Report:
    device, enabled = str(row["deviceId"]), row.get("status") == "enabled"
    said = row.get(REPORTED)
    if not isinstance(said, dict):
        return Report(device, hub, enabled)
    issued, expires = (_moment(said.get(name)) for name in ("issued", "expires"))
    if issued is None or expires is None:
        return Report(device, hub, enabled)
    counts = (_count(said.get(name)) for name in ("renewals", "failures"))
    return Report(device, hub, enabled, issued, expires, *counts)


def _moment(value: Any) -> datetime | None:
    try:
        return datetime.strptime(value, _FORM).replace(tzinfo=UTC)
    except (TypeError, ValueError):
        return None


def _count(value: Any) -> int:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return value if is_number and value >= 0 else 0
