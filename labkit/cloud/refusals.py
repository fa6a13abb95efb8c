"""Every no of the services: Azure's bare answer for the wire, the trace for the trainee."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from cryptography import x509
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Mapped, mapped_column

from labkit.clock import Clock
from labkit.cloud.presented import Presented
from labkit.cloud.store import Base
from labkit.database import Database
from labkit.errors import AzureError, NotFound, ServiceRefusal
from labkit.events import Events
from labkit.pki import chain
from labkit.trace import Check, first_failure

KEPT = 1_000
"""Refusals kept in a workspace; the oldest make room."""


class Refusal(Base):
    """One refusal, as it is kept. ``presented`` is the chain in PEM, leaf first."""

    __tablename__ = "refusal"
    number: Mapped[int] = mapped_column(primary_key=True, init=False)
    tracking_id: Mapped[str] = mapped_column(unique=True)
    at: Mapped[datetime]
    service: Mapped[str]
    device: Mapped[str] = mapped_column(index=True)
    status: Mapped[int]
    code: Mapped[str]
    message: Mapped[str]
    presented: Mapped[str]
    trace: Mapped[list[Any]]

    @property
    def checks(self) -> tuple[Check, ...]:
        return tuple(Check.from_json(item) for item in self.trace)

    @property
    def chain(self) -> tuple[x509.Certificate, ...]:
        pem = self.presented.encode()
        return tuple(x509.load_pem_x509_certificates(pem)) if pem else ()


class Refusals:
    """The book of refusals of one lab's cloud."""

    def __init__(self, database: Database, clock: Clock, events: Events) -> None:
        self._database, self._clock, self._events = database, clock, events

    def refuse(
        self,
        service: str,
        device: str,
        error: AzureError,
        checks: tuple[Check, ...],
        presented: Presented = Presented(),  # noqa: B008  frozen
    ) -> ServiceRefusal:
        """Keeps the refusal and returns it as the exception to raise."""
        refusal = ServiceRefusal(error, checks, tracking_id=str(uuid.uuid4()))
        row = Refusal(
            tracking_id=refusal.tracking_id,
            at=self._clock.now(),
            service=service,
            device=device,
            status=error.status,
            code=str(error.code),
            message=error.message,
            presented=chain.to_pem(presented.chain),
            trace=[check.to_json() for check in checks],
        )
        with self._database.write() as session:
            session.add(row)
            session.flush()
            session.execute(delete(Refusal).where(Refusal.number <= row.number - KEPT))
        self._record(service, device, refusal)
        return refusal

    def find(self, tracking_id: str) -> Refusal:
        """The refusal of this tracking ID. Raises NotFound."""
        with self._database.read() as session:
            row = session.scalar(
                select(Refusal).where(Refusal.tracking_id == tracking_id.strip().lower())
            )
        if row is None:
            raise NotFound(
                f"No refusal has the tracking ID {tracking_id!r}",
                found=f"{self.count()} refusals in this workspace",
                cure="ask for the last one instead: labkit explain --last",
            )
        return row

    def last(self, device: str = "") -> Refusal | None:
        """The most recent refusal, of one device where it is named."""
        return next(iter(self.recent(device, limit=1)), None)

    def recent(self, device: str = "", *, limit: int = 50) -> list[Refusal]:
        """The most recent first."""
        query = select(Refusal).order_by(Refusal.number.desc()).limit(limit)
        if device:
            query = query.where(Refusal.device == device)
        with self._database.read() as session:
            return list(session.scalars(query))

    def count(self) -> int:
        with self._database.read() as session:
            return session.scalar(select(func.count()).select_from(Refusal)) or 0

    def _record(self, service: str, device: str, refusal: ServiceRefusal) -> None:
        failure = first_failure(refusal.checks)
        why = f": {failure.why}" if failure else ""
        self._events.record(
            service,
            "refused",
            f"{device or 'a client'} was refused, {refusal.message}{why}",
            device=device,
            tracking_id=refusal.tracking_id,
            code=refusal.error.code,
        )
