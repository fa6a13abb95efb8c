"""What attackers have tried: counted, and kept in a file of its own. No service knows of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, TypeAlias

from sqlalchemy import delete, select
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, mapped_column

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
        return "DPS" if self.service == DPS else self.service

    def __repr__(self) -> str:
        told = f"<{self.attacker} as {self.device!r} at {self.where}: {self.outcome}"
        told += f", {self.answer}" if self.answer else ""
        return told + (", and the device was cut off>" if self.displaced else ">")


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

    def all(self, attacker: str = "") -> list[Attempt]:
        """Those of one attacker, or of all, in the order in which they ended."""
        mine = [Attempt.attacker == attacker] if attacker else []
        with self._database.read() as session:
            return list(session.scalars(select(Attempt).where(*mine).order_by(Attempt.number)))


def counted(attempts: Sequence[Attempt]) -> tuple[int, int]:
    """How many got in, and how many did not."""
    inside = sum(attempt.got_in for attempt in attempts)
    return inside, len(attempts) - inside
