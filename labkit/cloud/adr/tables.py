"""What the Device Registry remembers. No row of a CA or of a certificate is ever deleted: what was
signed once is known for good."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from cryptography import x509
from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from labkit.cloud.hub.tables import of_identity
from labkit.cloud.store import Base


class NamespaceRow(Base):
    """A namespace. ``uuid`` tells it from one of the same name that was deleted before."""

    __tablename__ = "adr_namespace"
    name: Mapped[str] = mapped_column(primary_key=True)
    uuid: Mapped[str] = mapped_column(unique=True)
    created: Mapped[datetime]


class CaRow(Base):
    """A CA of a namespace: its root, where ``policy`` is empty, or the issuing CA of a policy.

    ``days`` is how long what a policy signs is valid; ``token`` and ``key`` are labels; ``retired``
    is the moment in which the credential or policy was deleted.
    """

    __tablename__ = "adr_ca"
    __table_args__ = (Index("adr_ca_by_policy", "namespace", "policy"),)
    number: Mapped[int] = mapped_column(primary_key=True)
    namespace: Mapped[str]
    policy: Mapped[str]
    days: Mapped[int]
    token: Mapped[str]
    key: Mapped[str]
    der: Mapped[bytes]
    issuer: Mapped[int | None]
    created: Mapped[datetime]
    updated: Mapped[datetime]
    etag: Mapped[str]
    retired: Mapped[datetime | None] = mapped_column(default=None)

    @property
    def certificate(self) -> x509.Certificate:
        return x509.load_der_x509_certificate(self.der)


class Signer(NamedTuple):
    """Of the CA of a policy what it takes to sign: see :class:`CaRow`. Each request reads it."""

    number: int
    namespace: str
    policy: str
    days: int
    token: str
    key: str


class LinkRow(Base):
    """A service that belongs to a namespace, ``dps`` or a hub's name: to one at the most."""

    __tablename__ = "adr_link"
    service: Mapped[str] = mapped_column(primary_key=True)
    namespace: Mapped[str] = mapped_column(index=True)


class CertificateRow(Base):
    """A certificate that was issued, and the request that it answers. ``device`` is the
    registration ID in lower case, ``public_key`` the SHA-256 of the key that was certified."""

    __tablename__ = "adr_certificate"
    __table_args__ = (
        Index("adr_certificate_by_device", "device", "ca", "public_key"),
        Index("adr_certificate_by_identity", "hub", "device_id"),
    )
    number: Mapped[int] = mapped_column(primary_key=True, init=False)
    ca: Mapped[int]
    device: Mapped[str]
    registration_id: Mapped[str]
    device_id: Mapped[str]
    hub: Mapped[str]
    public_key: Mapped[str]
    der: Mapped[bytes]
    request: Mapped[bytes]
    at: Mapped[datetime]
    ends: Mapped[datetime]


class RenewalRow(Base):
    """A certificate that a device has asked its hub for, until it has the answer: one at a time.

    ``request`` is the CSR as it came. At first nothing is decided; then ``number`` is that of the
    certificate that was issued, or ``failure`` says why none was: status, code, message, tracking
    ID. ``expires`` is by the lab's clock: nobody waits for it longer.
    """

    __tablename__ = "adr_renewal"
    __table_args__ = of_identity()
    hub: Mapped[str] = mapped_column(primary_key=True)
    device_id: Mapped[str] = mapped_column(primary_key=True)
    request_id: Mapped[str]
    correlation_id: Mapped[str]
    request: Mapped[str]
    expires: Mapped[datetime]
    number: Mapped[int] = mapped_column(default=0)
    failure: Mapped[dict[str, Any]] = mapped_column(default_factory=dict)

    @property
    def is_decided(self) -> bool:
        """Whether there is an answer to be brought."""
        return bool(self.number or self.failure)
