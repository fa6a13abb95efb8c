"""What a hub remembers of its jobs: each job, and how far it is at each of its devices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select
from sqlalchemy.orm import Mapped, mapped_column

from labkit.cloud.store import Base

METHOD, UPDATE_TWIN = "scheduleDeviceMethod", "scheduleUpdateTwin"
SCHEDULED, QUEUED, RUNNING = "scheduled", "queued", "running"
COMPLETED, FAILED, CANCELLED = "completed", "failed", "cancelled"
OVER = (COMPLETED, FAILED, CANCELLED)
PENDING, CANCELED = "pending", "canceled"
"""Of a device's part; Azure writes a cancelled job with two l, a device's part with one."""


class JobRow(Base):
    """One job. ``request`` is the method that it calls, or the twin's patch; ``max_seconds`` how
    long it may run."""

    __tablename__ = "job"
    hub: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    condition: Mapped[str]
    request: Mapped[dict[str, Any]]
    created: Mapped[datetime]
    start: Mapped[datetime]
    max_seconds: Mapped[int]
    status: Mapped[str]
    end: Mapped[datetime | None] = mapped_column(default=None)
    reason: Mapped[str] = mapped_column(default="")


class DeviceJobRow(Base):
    """A job's part at one device. ``outcome`` is what came of it, ``error`` why nothing did."""

    __tablename__ = "device_job"
    hub: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(primary_key=True)
    device_id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    status: Mapped[str]
    created: Mapped[datetime]
    updated: Mapped[datetime]
    start: Mapped[datetime | None] = mapped_column(default=None)
    end: Mapped[datetime | None] = mapped_column(default=None)
    outcome: Mapped[dict[str, Any]] = mapped_column(default_factory=dict)
    error: Mapped[dict[str, Any]] = mapped_column(default_factory=dict)

    def __repr__(self) -> str:
        said = self.outcome or self.error or ""
        return f"<Job {self.job_id!r} at {self.device_id!r}: {self.status} {said}>".replace(
            " >", ">"
        )


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it stands: ``counts`` says at how many devices it has which status."""

    id: str
    kind: str
    condition: str
    request: Mapping[str, Any]
    status: str
    created: datetime
    start: datetime
    max_seconds: int
    end: datetime | None = None
    reason: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen."""
        return self.status in OVER

    @property
    def devices(self) -> int:
        """How many devices it is about; known once it runs."""
        return sum(self.counts.values())

    @property
    def done(self) -> int:
        """At how many devices it is over."""
        return sum(n for status, n in self.counts.items() if status not in (PENDING, RUNNING))

    def __repr__(self) -> str:
        found = [f"{number} {status}" for status, number in sorted(self.counts.items())]
        at = ", ".join(found) or "no devices"
        return f"<Job {self.id!r}: {self.kind}, {self.status}: {at}>"


def counts(connection: Connection, hub: str, job_id: str) -> dict[str, int]:
    """At how many devices a job has which status."""
    table = DeviceJobRow.__table__
    mine = (table.c.hub == hub) & (table.c.job_id == job_id)
    found = select(table.c.status, func.count()).where(mine).group_by(table.c.status)
    return {row[0]: row[1] for row in connection.execute(found)}


def snapshot(row: JobRow, counted: Mapping[str, int]) -> Job:
    """A row as a plain value."""
    return Job(
        row.job_id,
        row.kind,
        row.condition,
        row.request,
        row.status,
        row.created,
        row.start,
        row.max_seconds,
        row.end,
        row.reason,
        counted,
    )
