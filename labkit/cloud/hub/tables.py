"""What a hub remembers."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKeyConstraint
from sqlalchemy.orm import Mapped, mapped_column

from labkit.cloud.hub.credentials import AUTHORITY, Credentials
from labkit.cloud.store import Base


class HubRow(Base):
    """A hub, by the first label of its host name, and whether and how it is linked to DPS.

    ``weight`` is its share of the devices that are spread evenly, ``latency`` the milliseconds
    that the lab declares from a device to it.
    """

    __tablename__ = "hub"
    name: Mapped[str] = mapped_column(primary_key=True)
    linked: Mapped[bool] = mapped_column(default=True)
    weight: Mapped[int] = mapped_column(default=1)
    latency: Mapped[float] = mapped_column(default=50.0)


class DeviceIdentity(Base):
    """A device as the hub knows it: by the thumbprints of its certificates (SHA-256 or SHA-1,
    upper-case hex), by a CA above it, or by its symmetric keys (base64). ``authentication`` is
    the registry's word for which.

    ``generation_id`` tells it from one of the same ID that was deleted before it;
    ``status_updated`` is when it was enabled or disabled last, if it ever was.
    """

    __tablename__ = "device_identity"
    __table_args__ = {"sqlite_with_rowid": False}  # noqa: RUF012  SQLAlchemy's own
    hub: Mapped[str] = mapped_column(primary_key=True)
    device_id: Mapped[str] = mapped_column(primary_key=True)
    thumbprint: Mapped[str]
    created: Mapped[datetime]
    etag: Mapped[str]
    enabled: Mapped[bool] = mapped_column(default=True)
    secondary_thumbprint: Mapped[str] = mapped_column(default="")
    authentication: Mapped[str] = mapped_column(default="selfSigned")
    primary_key: Mapped[str] = mapped_column(default="", repr=False)
    secondary_key: Mapped[str] = mapped_column(default="", repr=False)
    iot_edge: Mapped[bool] = mapped_column(default=False)
    generation_id: Mapped[str] = mapped_column(default="")
    status_reason: Mapped[str] = mapped_column(default="")
    status_updated: Mapped[datetime | None] = mapped_column(default=None)

    @property
    def credentials(self) -> Credentials:
        """By what it is known, as a plain value."""
        return Credentials(
            self.thumbprint,
            self.secondary_thumbprint,
            self.primary_key,
            self.secondary_key,
            by_authority=self.authentication == AUTHORITY,
        )

    def __repr__(self) -> str:
        state = "enabled" if self.enabled else "disabled"
        proof = f"by {self.credentials.proof}"
        return f"<Device identity {self.device_id!r} in {self.hub}: {proof}, {state}>"


class Message(Base):
    """One telemetry message. ``properties`` are the application's, ``system`` the hub's."""

    __tablename__ = "message"
    number: Mapped[int] = mapped_column(primary_key=True, init=False)
    hub: Mapped[str] = mapped_column(index=True)
    device_id: Mapped[str]
    at: Mapped[datetime]
    body: Mapped[bytes]
    properties: Mapped[dict[str, Any]]
    system: Mapped[dict[str, Any]]

    @property
    def text(self) -> str:
        """The body as text; bytes that are no UTF-8 are shown as replacement characters."""
        return self.body.decode(errors="replace")

    def __repr__(self) -> str:
        return f"<Message from {self.device_id}: {self.text}>"


def of_identity() -> tuple[ForeignKeyConstraint]:
    """Goes with the device's identity, when that is deleted or moves to another hub."""
    columns = ["device_identity.hub", "device_identity.device_id"]
    return (ForeignKeyConstraint(["hub", "device_id"], columns, ondelete="CASCADE"),)


class QueuedMessage(Base):
    """A cloud-to-device message that its device has not completed. ``expires`` is by the lab's
    clock; ``deliveries`` counts how often it was brought."""

    __tablename__ = "queued_message"
    __table_args__ = of_identity()
    number: Mapped[int] = mapped_column(primary_key=True, init=False)
    hub: Mapped[str] = mapped_column(index=True)
    device_id: Mapped[str]
    enqueued: Mapped[datetime]
    expires: Mapped[datetime]
    body: Mapped[bytes]
    properties: Mapped[dict[str, Any]]
    system: Mapped[dict[str, Any]]
    deliveries: Mapped[int] = mapped_column(default=0)

    @property
    def text(self) -> str:
        """The body as text; bytes that are no UTF-8 are shown as replacement characters."""
        return self.body.decode(errors="replace")

    def __repr__(self) -> str:
        return f"<Message to {self.device_id}, until {self.expires:%H:%M:%S}: {self.text}>"


class Subscriptions(Base):
    """What a device that keeps its session listens to, also when it connects again: the QoS
    granted for each subject."""

    __tablename__ = "subscriptions"
    __table_args__ = of_identity()
    hub: Mapped[str] = mapped_column(primary_key=True)
    device_id: Mapped[str] = mapped_column(primary_key=True)
    granted: Mapped[dict[str, Any]]


class Twin(Base):
    """A device twin's two halves, each with a version that counts its changes from 1, and the
    tags, which the device does not see. ``changes`` counts those of back ends; ``stamps`` holds
    the two halves' ``$metadata``."""

    __tablename__ = "twin"
    hub: Mapped[str] = mapped_column(primary_key=True)
    device_id: Mapped[str] = mapped_column(primary_key=True)
    desired: Mapped[dict[str, Any]]
    reported: Mapped[dict[str, Any]]
    desired_version: Mapped[int] = mapped_column(default=1)
    reported_version: Mapped[int] = mapped_column(default=1)
    tags: Mapped[dict[str, Any]] = mapped_column(default_factory=dict)
    changes: Mapped[int] = mapped_column(default=1)
    stamps: Mapped[dict[str, Any]] = mapped_column(default_factory=dict)

    @property
    def etag(self) -> str:
        """Changes whenever a back end changes tags or desired properties; what the device reports
        leaves it as it is. In Azure's form: base64 of a number."""
        return b64encode(self.changes.to_bytes(8, "big")).decode()

    @property
    def version(self) -> int:
        """Counts every change of the twin."""
        return self.changes + self.reported_version

    def to_json(self) -> dict[str, Any]:
        """As a device reads it."""
        return {
            "desired": {**self.desired, "$version": self.desired_version},
            "reported": {**self.reported, "$version": self.reported_version},
        }

    def to_service_json(self) -> dict[str, Any]:
        """As a back end reads it, without what belongs to the device's identity."""
        return {
            "deviceId": self.device_id,
            "etag": self.etag,
            "version": self.version,
            "tags": self.tags,
            "properties": {
                "desired": self._half("desired", self.desired, self.desired_version),
                "reported": self._half("reported", self.reported, self.reported_version),
            },
        }

    def _half(self, name: str, values: Mapping[str, Any], version: int) -> dict[str, Any]:
        return {**values, "$metadata": self.stamps.get(name, {}), "$version": version}

    def __repr__(self) -> str:
        return f"<Twin of {self.device_id!r} in {self.hub}, version {self.version}>"
