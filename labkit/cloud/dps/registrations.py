"""Registration records: which device was assigned to which hub."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Mapped, Session, mapped_column

from labkit import ids
from labkit.cloud.store import Base, new_etag
from labkit.database import Database
from labkit.errors import NotFound


class Registration(Base):
    """One record. ``key`` is the registration ID in lower case: it is compared without case."""

    __tablename__ = "registration"
    key: Mapped[str] = mapped_column(primary_key=True)
    registration_id: Mapped[str]
    group_id: Mapped[str]
    device_id: Mapped[str]
    assigned_hub: Mapped[str]
    status: Mapped[str]
    substatus: Mapped[str]
    created: Mapped[datetime]
    updated: Mapped[datetime]
    etag: Mapped[str]
    operation_id: Mapped[str] = mapped_column(index=True)

    def __repr__(self) -> str:
        return f"<Registration {self.registration_id!r}: {self.status} to {self.assigned_hub}>"


def assign(
    session: Session,
    registration_id: str,
    group_id: str,
    hub: str,
    operation_id: str,
    now: datetime,
) -> Registration:
    """Writes the record of an assignment: a new one, or the known device's, brought up to date."""
    row = session.get(Registration, ids.key(registration_id))
    if row is None:
        row = Registration(
            key=ids.key(registration_id),
            registration_id=registration_id,
            group_id=group_id,
            device_id=registration_id,
            assigned_hub=hub,
            status="assigned",
            substatus="initialAssignment",
            created=now,
            updated=now,
            etag=new_etag(),
            operation_id=operation_id,
        )
        session.add(row)
        return row
    row.group_id, row.assigned_hub = group_id, hub
    row.updated, row.etag, row.operation_id = now, new_etag(), operation_id
    return row


class Registrations:
    """The registration records of a DPS, for reading."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, registration_id: str) -> Registration:
        """Raises NotFound."""
        row = self.find(registration_id)
        if row is None:
            raise NotFound(
                f"{registration_id!r} has never been assigned",
                cure="let the device provision: widget.provision()",
            )
        return row

    def find(self, registration_id: str) -> Registration | None:
        """The record of this device, if it was ever assigned."""
        with self._database.read() as session:
            return session.get(Registration, ids.key(registration_id))

    def by_operation(self, registration_id: str, operation_id: str) -> Registration | None:
        """The record that the operation ended in."""
        row = self.find(registration_id)
        return row if row is not None and row.operation_id == operation_id else None

    def __iter__(self) -> Iterator[Registration]:
        with self._database.read() as session:
            return iter(list(session.scalars(select(Registration).order_by(Registration.key))))
