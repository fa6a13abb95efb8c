"""What attackers have tried: counted, and kept in a file of its own. No service knows of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, TypeAlias

from sqlalchemy import case, delete, func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, mapped_column

from labkit import ids
from labkit.database import COLUMN_TYPES, Database

KEPT: Final = 10_000
"""Attempts kept in a workspace; the oldest make room."""

DPS: Final = "dps"
"""What :attr:`Attempt.service` says of DPS; of a hub it says the hub's name."""

Outcome: TypeAlias = Literal["got in", "refused", "ended in TLS", "not reached"]
GOT_IN: Final = "got in"


class _Base(MappedAsDataclass, DeclarativeBase):
    type_annotation_map: ClassVar[dict[Any, Any]] = {**COLUMN_TYPES}


class Attempt(_Base, repr=False):
    """One attempt of an ``attacker`` to be a ``device``.

    ``at`` and ``ended`` are the lab's time, ``service`` is ``dps`` or a hub's name, ``outcome`` an
    :data:`Outcome`. ``answer`` is all that came back, and ``tracking_id`` finds the reason; both
    are empty for one who got in. ``displaced``: it ended the true device's connection.
    """

    __tablename__ = "attempt"
    number: Mapped[int] = mapped_column(primary_key=True, init=False)
    attacker: Mapped[str] = mapped_column(index=True)
    device: Mapped[str]
    service: Mapped[str]
    at: Mapped[datetime]
    ended: Mapped[datetime]
    outcome: Mapped[str]
    answer: Mapped[str] = mapped_column(default="")
    tracking_id: Mapped[str] = mapped_column(default="")
    displaced: Mapped[bool] = mapped_column(default=False)

    @property
    def got_in(self) -> bool:
        """Whether the service took the attacker for the device."""
        return self.outcome == GOT_IN

    @property
    def where(self) -> str:
        """The service, as people call it."""
        return _where(self.service)

    def __repr__(self) -> str:
        told = f"<{self.attacker} as {self.device!r} at {self.where}: {self.outcome}"
        told += f", {self.answer}" if self.answer else ""
        return told + (", and the device was cut off>" if self.displaced else ">")


@dataclass(frozen=True, slots=True)
class Tally:
    """How often somebody got in as a device at a service, how often not, and how it went last."""

    device: str
    service: str
    got_in: int
    kept_out: int
    last_got_in: bool

    @property
    def where(self) -> str:
        """The service, as people call it."""
        return _where(self.service)

    @property
    def words(self) -> str:
        """``got in 3``, ``kept out 2``, or ``got in 3 of 5``."""
        if not self.got_in:
            return f"kept out {self.kept_out}"
        count = f"{self.got_in} of {self.got_in + self.kept_out}" if self.kept_out else self.got_in
        return f"{GOT_IN} {count}"

    def __add__(self, later: Tally) -> Tally:
        """The two as one: of another device at the same door."""
        return Tally(
            later.device,
            later.service,
            self.got_in + later.got_in,
            self.kept_out + later.kept_out,
            later.last_got_in,
        )


def _where(service: str) -> str:
    return "DPS" if service == DPS else service


class Attempts:
    """The book of attempts of one workspace. ``path`` is the database's file."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path, _Base.metadata)

    def close(self) -> None:
        self._database.close()

    def add(self, attempt: Attempt) -> Attempt:
        """Kept when this returns."""
        with self._database.write() as session:
            session.add(attempt)
            session.flush()
            session.execute(delete(Attempt).where(Attempt.number <= attempt.number - KEPT))
        return attempt

    def last(self, service: str, device: str) -> Attempt | None:
        """The newest attempt to be a device at a service."""
        here = Attempt.service == service, func.lower(Attempt.device) == ids.key(device)
        with self._database.read() as session:
            newest = select(Attempt).where(*here).order_by(Attempt.number.desc()).limit(1)
            return session.scalar(newest)

    def attackers(self) -> list[str]:
        """Who has tried anything, sorted."""
        with self._database.read() as session:
            return sorted(session.scalars(select(Attempt.attacker).distinct()))

    def tallies(self, attacker: str) -> list[Tally]:
        """What one attacker tried, counted for each service and device, in the order of first
        attempts."""
        inside = func.sum(case((Attempt.outcome == GOT_IN, 1), else_=0))
        counted = (
            select(Attempt.device, Attempt.service, func.count(), inside, func.max(Attempt.number))
            .where(Attempt.attacker == attacker)
            .group_by(Attempt.device, Attempt.service)
            .order_by(func.min(Attempt.number))
        )
        with self._database.read() as session:
            rows = session.execute(counted).all()
            last = select(Attempt.number, Attempt.outcome).where(
                Attempt.number.in_([row[4] for row in rows])
            )
            outcomes = dict(session.execute(last).all())
        return [
            Tally(device, service, got_in, count - got_in, outcomes[number] == GOT_IN)
            for device, service, count, got_in, number in rows
        ]

    def all(self, attacker: str = "") -> list[Attempt]:
        """Those of one attacker, or of all, in the order in which they ended."""
        mine = [Attempt.attacker == attacker] if attacker else []
        with self._database.read() as session:
            return list(session.scalars(select(Attempt).where(*mine).order_by(Attempt.number)))
