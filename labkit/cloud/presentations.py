"""Which certificates each device sent the last time that it came, and what became of it.

Anybody may come under any device's name. So what a device itself sent, and what others were
refused with under its name, are two books:

    accepted, or refused with the key of the last accepted visit ──> presentation, one a device
    refused, otherwise ────────────────────────────────────────────> attempt, the newest few
"""

from __future__ import annotations

from datetime import datetime

from cryptography import x509
from sqlalchemy import Connection, Table, bindparam, delete, func, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.orm import Mapped, Session, mapped_column

from labkit.cloud.prepared import Prepared
from labkit.cloud.presented import Presented
from labkit.cloud.store import Base
from labkit.database import Database
from labkit.pki import chain

ATTEMPTS_KEPT = 200
"""Refused visits that no known device can be held to; the oldest make room."""


class Presentation(Base):
    """The last visit of a device to a service. ``chain_pem`` is what it sent, leaf first; ``at``
    is the lab's time, which may go back; ``seen`` counts visits and never does."""

    __tablename__ = "presentation"
    service: Mapped[str] = mapped_column(primary_key=True)
    device: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    accepted: Mapped[bool]
    chain_pem: Mapped[str]
    seen: Mapped[int] = mapped_column(index=True)

    @property
    def chain(self) -> tuple[x509.Certificate, ...]:
        pem = self.chain_pem.encode()
        return tuple(x509.load_pem_x509_certificates(pem)) if pem else ()


class _Attempt(Base):
    """The last refused visit under a name, by somebody who is not known to be that device."""

    __tablename__ = "attempt"
    number: Mapped[int] = mapped_column(primary_key=True, init=False)
    service: Mapped[str] = mapped_column(index=True)
    device: Mapped[str] = mapped_column(index=True)
    at: Mapped[datetime]
    chain_pem: Mapped[str]
    seen: Mapped[int] = mapped_column(index=True)

    def as_presentation(self) -> Presentation:
        return Presentation(self.service, self.device, self.at, False, self.chain_pem, self.seen)


_presentations: Table = Presentation.__table__  # type: ignore[assignment]
_attempts: Table = _Attempt.__table__  # type: ignore[assignment]
_NEWEST = func.max(
    func.coalesce(select(func.max(_presentations.c.seen)).scalar_subquery(), 0),
    func.coalesce(select(func.max(_attempts.c.seen)).scalar_subquery(), 0),
)
_SEEN = select(1 + _NEWEST).scalar_subquery()
_VISIT = ("service", "device", "at", "chain_pem")
_came = insert(_presentations).values(
    {name: bindparam(name) for name in (*_VISIT, "accepted")} | {"seen": _SEEN}
)
_keep = Prepared(
    _came.on_conflict_do_update(
        index_elements=["service", "device"],
        set_={name: _came.excluded[name] for name in ("at", "chain_pem", "accepted", "seen")},
    )
)
"""In place, and not by REPLACE: that would move the row, and half of its pages with it."""
_try = Prepared(
    insert(_attempts).values({name: bindparam(name) for name in _VISIT} | {"seen": _SEEN})
)
_known = Prepared(
    select(_presentations.c.chain_pem).where(
        _presentations.c.service == bindparam("at_service"),
        _presentations.c.device == bindparam("of_device"),
    )
)
_forget = Prepared(
    delete(_attempts).where(
        _attempts.c.service == bindparam("at_service"),
        _attempts.c.device == bindparam("of_device"),
    )
)
_newest = select(_attempts.c.number).order_by(_attempts.c.number.desc()).limit(ATTEMPTS_KEPT)
_prune = Prepared(delete(_attempts).where(_attempts.c.number.not_in(_newest)))


def keep(
    connection: Connection,
    service: str,
    device: str,
    at: datetime,
    presented: Presented,
    accepted: bool,
) -> None:
    """Replaces what was known of the device's last visit to this service, or of the last that
    was refused under its name."""
    visit = {"service": service, "device": device, "at": at, "chain_pem": _pem(presented)}
    if accepted or _is_the_device(connection, service, device, presented):
        _keep.rows(connection, **visit, accepted=accepted)
        return
    _forget.rows(connection, at_service=service, of_device=device)
    _try.rows(connection, **visit)
    _prune.rows(connection)


def _is_the_device(connection: Connection, service: str, device: str, presented: Presented) -> bool:
    row = _known.first(connection, at_service=service, of_device=device)
    return row is not None and _same_key(row[0], presented)


def _pem(presented: Presented) -> str:
    return chain.to_pem(presented.chain)


def all_of(database: Database) -> list[Presentation]:
    """The last visit of each device to each service, the newest first. An attempt counts where
    nothing else is known under its name."""
    with database.read() as session:
        found = list(session.scalars(select(Presentation)))
        tried = [attempt.as_presentation() for attempt in session.scalars(select(_Attempt))]
    known = {(visit.service, visit.device) for visit in found}
    found += [visit for visit in tried if (visit.service, visit.device) not in known]
    return sorted(found, key=lambda visit: visit.seen, reverse=True)


def attempts(database: Database) -> list[Presentation]:
    """The last refused visit under each name by somebody who did not have the key of the
    device's last accepted visit: a stranger, a thief, or a device nobody knows. Newest first."""
    with database.read() as session:
        rows = session.scalars(select(_Attempt).order_by(_Attempt.number.desc()))
        return [row.as_presentation() for row in rows]


def newest(session: Session) -> int:
    """The number (``seen``) of the last visit of all; 0 before the first."""
    return session.scalar(select(_NEWEST)) or 0


def let_in(database: Database, service: str, device: str, presented: Presented, after: int) -> bool:
    """Whether the device's last visit to the service was accepted with the key of this chain, and
    came behind the visit of the number ``after``."""
    with database.read() as session:
        visit = session.get(Presentation, (service, device))
    if visit is None or not visit.accepted or visit.seen <= after:
        return False
    return _same_key(visit.chain_pem, presented)


def _same_key(known_pem: str, presented: Presented) -> bool:
    """The handshake proved that the visitor has the leaf's key: who has the device's is it."""
    if presented.leaf is None or not known_pem:
        return False
    try:
        known = x509.load_pem_x509_certificate(known_pem.encode())
        return presented.leaf.public_key() == known.public_key()
    except Exception:  # a key of a kind, or in a form, that cannot be read
        return False
