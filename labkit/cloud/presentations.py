"""Which certificates each device sent the last time that it came, and what became of it."""

from __future__ import annotations

from datetime import datetime

from cryptography import x509
from sqlalchemy import select
from sqlalchemy.orm import Mapped, Session, mapped_column

from labkit.cloud.presented import Presented
from labkit.cloud.store import Base
from labkit.database import Database
from labkit.pki import chain


class Presentation(Base):
    """The last visit of a device to a service. ``chain_pem`` is what it sent, leaf first."""

    __tablename__ = "presentation"
    service: Mapped[str] = mapped_column(primary_key=True)
    device: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    accepted: Mapped[bool]
    chain_pem: Mapped[str]

    @property
    def chain(self) -> tuple[x509.Certificate, ...]:
        pem = self.chain_pem.encode()
        return tuple(x509.load_pem_x509_certificates(pem)) if pem else ()


def keep(
    session: Session, service: str, device: str, at: datetime, presented: Presented, accepted: bool
) -> None:
    """Replaces what was known of the device's last visit to this service."""
    session.merge(Presentation(service, device, at, accepted, chain.to_pem(presented.chain)))


def all_of(database: Database) -> list[Presentation]:
    """Every last visit, the newest first."""
    with database.read() as session:
        return list(session.scalars(select(Presentation).order_by(Presentation.at.desc())))
