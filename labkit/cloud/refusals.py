"""Every no of the services: Azure's bare answer for the wire, the trace for the trainee."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

from cryptography import x509
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Mapped, mapped_column

from labkit.clock import Clock
from labkit.cloud import presentations
from labkit.cloud.presented import Presented
from labkit.cloud.store import Base
from labkit.database import Database
from labkit.errors import AzureError, Conflict, NotFound, ServiceRefusal
from labkit.events import Events
from labkit.pki import chain
from labkit.trace import Check, first_failure

KEPT = 1_000
"""Refusals kept in a workspace; the oldest make room."""

LONGEST_ID = 128
"""Characters of a device's name that are kept: Azure's limit. Strangers may claim any."""

LONGEST_TEXT = 1_000
"""Characters that are kept of a text that may repeat what a stranger wrote."""


class RefusedNotFound(ServiceRefusal, NotFound):
    """404: for those who catch either."""


class RefusedConflict(ServiceRefusal, Conflict):
    """409 or 412: for those who catch either."""


class Throttled(ServiceRefusal):
    """429: the client is asked to come back after ``retry_after`` seconds."""

    retry_after = 1


_KINDS = {404: RefusedNotFound, 409: RefusedConflict, 412: RefusedConflict, 429: Throttled}


class Denial(Exception):
    """A no that was found inside a transaction, which it takes back; :meth:`Refusals.told` then
    makes the refusal of it."""

    def __init__(
        self, error: AzureError, *checks: Check, info: Mapping[str, str] | None = None
    ) -> None:
        self.error, self.checks, self.retry_after, self.info = error, checks, 0, info
        super().__init__(error.message)


class Refusal(Base):
    """One refusal, as it is kept. ``presented`` is the chain in PEM, leaf first. A ``quiet`` one
    only answers somebody who asked for what is not there, or tells of a device by its name what is
    told without it as well: nobody wants it as the last of all. ``door`` is the service that did
    not admit the device (``dps``, or a hub's name), empty where it was refused something else;
    ``visits`` the number of the last visit by then: the lab's time may go back, that does not."""

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
    quiet: Mapped[bool] = mapped_column(default=False)
    door: Mapped[str] = mapped_column(default="")
    visits: Mapped[int] = mapped_column(default=0)

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
        *,
        quiet: bool = False,
        door: str = "",
    ) -> ServiceRefusal:
        """Keeps the refusal and returns it as the exception to raise; ``quiet`` is no event.
        ``door`` is for one that was not admitted: ``dps``, or the hub's name."""
        checks, device = tuple(map(_clipped, checks)), clipped(device, LONGEST_ID)
        row = self._row(service, device, (error.status, str(error.code)), error.message)
        row.quiet, row.door = quiet, door
        self._keep(row, checks, presented)
        kind = _KINDS.get(error.status, ServiceRefusal)
        refusal = kind(error, checks, tracking_id=row.tracking_id)
        said = f"{device or 'a client'} was refused, {refusal.message}"
        if not quiet:
            self._record(row, said, error.code, checks)
        return refusal

    @contextmanager
    def told(self, service: str, about: str) -> Iterator[None]:
        """Raises a :class:`Denial` from within as the refusal that it is."""
        try:
            yield
        except Denial as denial:
            raise self.of(denial, service, about) from None

    def of(
        self, denial: Denial, service: str, about: str, *, quiet: bool = False
    ) -> ServiceRefusal:
        """The refusal that a denial is: see :meth:`refuse`."""
        refusal = self.refuse(service, about, denial.error, denial.checks, quiet=quiet)
        refusal.info = denial.info
        if isinstance(refusal, Throttled):
            refusal.retry_after = denial.retry_after
        return refusal

    def note(
        self, service: str, message: str, check: Check, presented: Presented, device: str = ""
    ) -> None:
        """Keeps a failure that no service answered: status 0, and the service's name in capitals
        for a code. Without ``device`` it is of a client whose name is not known yet."""
        check = _clipped(check)
        row = self._row(service, device, (0, service.upper()), message)
        self._keep(row, (check,), presented)
        self._record(row, message, row.code, (check,))

    def note_of(self, service: str, device: str, message: str, checks: tuple[Check, ...]) -> None:
        """Keeps the same of a device whose name the lab knows by itself; quietly, for what was
        seen on the wire is noted already."""
        row = self._row(service, device, (0, service.upper()), message)
        row.quiet = True
        self._keep(row, tuple(map(_clipped, checks)), Presented())

    def since(self, number: int) -> list[Refusal]:
        """Those with a higher number, quiet ones too, the oldest first."""
        query = select(Refusal).where(Refusal.number > number).order_by(Refusal.number)
        with self._database.read() as session:
            return list(session.scalars(query))

    def newest(self) -> int:
        """The number of the last one, quiet or not; 0 before the first."""
        with self._database.read() as session:
            return session.scalar(select(func.max(Refusal.number))) or 0

    def find(self, tracking_id: str) -> Refusal:
        """The refusal of this tracking ID. Raises NotFound."""
        with self._database.read() as session:
            row = session.scalar(
                select(Refusal).where(Refusal.tracking_id == tracking_id.strip().lower())
            )
        if row is None:
            raise NotFound(
                f"No refusal has the tracking ID {tracking_id!r}",
                found=f"refusals in this workspace: {self.count()}",
                cure="ask for the last one instead: labkit explain --last",
            )
        return row

    def last(self, device: str = "", *, service: str = "") -> Refusal | None:
        """The most recent refusal, of one device or by one service where it is named."""
        return next(iter(self.recent(device, service=service, limit=1)), None)

    def recent(self, device: str = "", *, service: str = "", limit: int = 50) -> list[Refusal]:
        """The most recent first; quiet ones only where the device is named."""
        query = select(Refusal).order_by(Refusal.number.desc()).limit(limit)
        query = query.where(Refusal.device == device if device else ~Refusal.quiet)
        if service:
            query = query.where(Refusal.service == service)
        with self._database.read() as session:
            return list(session.scalars(query))

    def is_over(self, refusal: Refusal) -> bool:
        """Whether the service that did not admit the device has let it in since, with the same
        key. Another key says nothing: a device that was renewed, and one whose thief was refused,
        look alike to a service; nor does a token, of which none is kept."""
        shown, after = Presented(refusal.chain), refusal.visits
        return presentations.let_in(self._database, refusal.door, refusal.device, shown, after)

    def count(self) -> int:
        with self._database.read() as session:
            return session.scalar(select(func.count()).select_from(Refusal)) or 0

    def _row(self, service: str, device: str, answer: tuple[int, str], message: str) -> Refusal:
        status, code = answer
        return Refusal(
            tracking_id=str(uuid.uuid4()),
            at=self._clock.now(),
            service=service,
            device=device,
            status=status,
            code=code,
            message=message,
            presented="",
            trace=[],
        )

    def _keep(self, row: Refusal, checks: tuple[Check, ...], presented: Presented) -> None:
        row.presented = chain.to_pem(presented.chain)
        row.trace = [check.to_json() for check in checks]
        with self._database.write() as session:
            row.visits = presentations.newest(session)
            session.add(row)
            session.flush()
            session.execute(delete(Refusal).where(Refusal.number <= row.number - KEPT))

    def _record(self, row: Refusal, said: str, code: int | str, checks: tuple[Check, ...]) -> None:
        failure = first_failure(checks)
        self._events.record(
            row.service,
            "refused",
            f"{said.rstrip('.')}: {failure.why}" if failure else said,
            device=row.device,
            tracking_id=row.tracking_id,
            code=code,
        )


def clipped(text: str, longest: int = LONGEST_TEXT) -> str:
    """The beginning of a text; three dots stand for what is left out."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _clipped(check: Check) -> Check:
    cures = tuple(map(clipped, check.cures))
    return replace(check, about=clipped(check.about), why=clipped(check.why), cures=cures)
