"""Enrollment groups: one entry for all devices whose chain holds a certain CA certificate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import delete, select
from sqlalchemy.orm import Mapped, mapped_column

from labkit import ids
from labkit.clock import Clock
from labkit.cloud.store import Base, new_etag
from labkit.database import Database
from labkit.errors import Conflict, LabError, NotFound
from labkit.events import Events
from labkit.pki import chain, reading
from labkit.pki.forms import Readable

_NOT_A_CA = "name the CA that signed the devices; one device alone wants an individual enrollment"


class EnrollmentGroup(Base):
    """One entry. ``key`` is the ID in lower case: Azure compares IDs without regard to case.
    ``signing`` is the CA certificate (DER) that a chain must hold, found by ``thumbprint``."""

    __tablename__ = "enrollment_group"
    key: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[str]
    signing: Mapped[bytes]
    thumbprint: Mapped[str] = mapped_column(unique=True)
    created: Mapped[datetime]
    updated: Mapped[datetime]
    etag: Mapped[str]
    enabled: Mapped[bool] = mapped_column(default=True)

    def __repr__(self) -> str:
        state = "enabled" if self.enabled else "disabled"
        return f"<Enrollment group {self.id!r}: {chain.subject(self.certificate)}, {state}>"

    @property
    def certificate(self) -> x509.Certificate:
        """The signing certificate."""
        return x509.load_der_x509_certificate(self.signing)


class EnrollmentGroups:
    """The enrollment groups of a DPS."""

    def __init__(self, database: Database, clock: Clock, events: Events) -> None:
        self._database, self._clock, self._events = database, clock, events

    def create(self, group_id: str, *, signing: x509.Certificate | Readable) -> EnrollmentGroup:
        """An enabled group for the devices below ``signing``, a root or intermediate CA.

        The same group again is harmless. Raises Conflict where the ID or the certificate
        belongs to another entry, BadCertificate where ``signing`` is no CA certificate.
        """
        certificate = reading.read_ca(signing, cure=_NOT_A_CA)
        _check_id(group_id)
        existing = self._find(group_id)
        if existing is not None:
            return self._again(existing, certificate)
        self._refuse_second_use(certificate)
        now, key = self._clock.now(), ids.key(group_id)
        der, thumbprint = certificate.public_bytes(Encoding.DER), chain.thumbprint(certificate)
        group = EnrollmentGroup(key, group_id, der, thumbprint, now, now, new_etag())
        with self._database.write() as session:
            session.add(group)
        self._events.record(
            "dps",
            "enrollment group",
            f"Enrollment group {group_id!r} takes devices below {chain.subject(certificate)}",
        )
        return group

    def get(self, group_id: str) -> EnrollmentGroup:
        """Raises NotFound."""
        found = self._find(group_id)
        if found is None:
            known = ", ".join(group.id for group in self) or "none yet"
            raise NotFound(f"There is no enrollment group {group_id!r}", found=f"groups: {known}")
        return found

    def enable(self, group_id: str) -> EnrollmentGroup:
        """Admits its devices again. Raises NotFound."""
        return self._switch(group_id, enabled=True)

    def disable(self, group_id: str) -> EnrollmentGroup:
        """Admits no device any more; hub identities stay as they are. Raises NotFound."""
        return self._switch(group_id, enabled=False)

    def _switch(self, group_id: str, *, enabled: bool) -> EnrollmentGroup:
        key = self.get(group_id).key
        with self._database.write() as session:
            group = session.get_one(EnrollmentGroup, key)
            group.enabled, group.etag, group.updated = enabled, new_etag(), self._clock.now()
        state = "enabled" if enabled else "disabled"
        self._events.record("dps", state, f"Enrollment group {group.id!r} was {state}")
        return group

    def delete(self, group_id: str) -> None:
        """Takes the entry away; registrations and hub identities stay. Raises NotFound."""
        group = self.get(group_id)
        with self._database.write() as session:
            session.execute(delete(EnrollmentGroup).where(EnrollmentGroup.key == group.key))
        text = f"Enrollment group {group.id!r} was deleted"
        self._events.record("dps", "deleted", text, what="enrollment group", name=group.id)

    def __iter__(self) -> Iterator[EnrollmentGroup]:
        with self._database.read() as session:
            return iter(
                list(session.scalars(select(EnrollmentGroup).order_by(EnrollmentGroup.key)))
            )

    def deciding(self, path: Sequence[x509.Certificate]) -> EnrollmentGroup | None:
        """Walks the chain from the leaf up: the first certificate with an entry decides."""
        order = [chain.thumbprint(certificate) for certificate in path]
        query = select(EnrollmentGroup).where(EnrollmentGroup.thumbprint.in_(order))
        with self._database.read() as session:
            found = {group.thumbprint: group for group in session.scalars(query)}
        return next((found[thumbprint] for thumbprint in order if thumbprint in found), None)

    def _find(self, group_id: str) -> EnrollmentGroup | None:
        with self._database.read() as session:
            return session.get(EnrollmentGroup, ids.key(group_id))

    def _again(self, existing: EnrollmentGroup, wanted: x509.Certificate) -> EnrollmentGroup:
        if existing.certificate != wanted:
            raise Conflict(
                f"An enrollment group {existing.id!r} exists already",
                found=f"its signing certificate is {chain.subject(existing.certificate)}, "
                f"SHA-1 {chain.thumbprint_sha1(existing.certificate)}",
                cure="choose another ID, or delete the group first",
            )
        self._events.record("dps", "again", f"Enrollment group {existing.id!r} was there already")
        return existing

    def _refuse_second_use(self, certificate: x509.Certificate) -> None:
        """A certificate may be in one entry only, or the walk could not tell which decides."""
        other = self.deciding([certificate])
        if other is not None:
            raise Conflict(
                f"{chain.subject(certificate)} belongs to an entry already",
                expected="a certificate that no other enrollment uses",
                found=f"enrollment group {other.id!r} uses it",
                cure=f"use {other.id!r}, or sign these devices by a CA of their own",
            )


def _check_id(group_id: str) -> None:
    if not ids.is_valid(group_id):
        raise LabError(f"{group_id!r} cannot be the ID of an enrollment group", expected=ids.RULE)
