"""Certificates that come with a registration: what a device orders, and who issues it.

    csr in the request ──> order ──> the issuer examines it ──> a commission
                                     or refuses                     │
    the device is assigned to a hub, which knows it by that <───────┤
    signed ──> on record, with the registration ──> told            ┘

Who issues is behind :class:`Issuer`: the Device Registry, by the credential policy that the
enrollment names.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from sqlalchemy import Connection

from labkit.cloud import codes
from labkit.cloud.dps import registrations
from labkit.cloud.dps.assignment import Wish
from labkit.cloud.dps.attestation import Attested
from labkit.cloud.dps.entries import Enrollment, Entry
from labkit.cloud.dps.registrations import ASSIGNED, Registration
from labkit.cloud.hub.credentials import Credentials
from labkit.cloud.refusals import Denial
from labkit.database import Database
from labkit.trace import Check, failed

FIRST_VERSION = "2025-07-01"
"""The api-version with which requests came in, without ``-preview``."""
VERSION = "the api-version knows certificate signing requests"
POLICY_NAMED = "the enrollment names a credential policy"

_DATE = re.compile(r"(\d{4}-\d{2}-\d{2})")
_SOURCE = "Azure documentation, IoT Hub: what is certificate management (DPS integration)"


@dataclass(frozen=True, slots=True)
class Order:
    """What a device wants to have signed: ``request`` is as it came, ``policy`` what its enrollment
    says. ``device_id`` is what the enrollment calls it in the hub, the registration ID where that
    is empty."""

    registration_id: str
    request: str
    policy: str
    device_id: str = ""


class Commission(Protocol):
    """An order that the issuer has examined, and will carry out."""

    @property
    def credentials(self) -> Credentials:
        """By what the hub is to know the device."""

    def check_hub(self, hub: str) -> None:
        """Raises Denial where nothing is issued for this hub."""

    def issue(self, device_id: str, hub: str) -> Callable[[Connection], int]:
        """Signs. What is returned puts it on record within a transaction, and gives its number."""


class Issuer(Protocol):
    """Who signs for devices."""

    def accept(self, order: Order) -> Commission:
        """Raises Denial for what is not signed; nothing has happened then."""

    def knows(self, registration_id: str) -> Credentials | None:
        """By what a hub knows a device that has a valid certificate of this issuer already."""

    def chain(self, number: int) -> tuple[bytes, ...]:
        """A certificate on record and its issuers up to the root, each in DER."""


class Issuance:
    """Certificates as one DPS gives them to its devices."""

    def __init__(self, database: Database, issuer: Issuer) -> None:
        self._database, self._issuer = database, issuer

    def accept(
        self, name: str, attested: Attested, wish: Wish, api_version: str
    ) -> tuple[Attested, Commission | None]:
        """Has the request of an admitted device examined, where it sent one.

        The hub is to know the device by what it gets now, or has got before: so its credentials
        are others then than those that it showed to DPS. Raises Denial.
        """
        entry = attested.entry
        assert entry is not None, "admitted by an entry"
        if wish.csr is not None:
            commission = self._commission(name, entry, wish.csr, api_version)
            return replace(attested, credentials=commission.credentials), commission
        known = self._issuer.knows(name) if entry.credential_policy else None
        return replace(attested, credentials=known or attested.credentials), None

    def _commission(self, name: str, entry: Entry, request: str, api_version: str) -> Commission:
        _check_version(name, api_version)
        if not entry.credential_policy:
            raise Denial(codes.CSR_REFUSED, _no_policy(name, entry))
        device_id = entry.device_id if isinstance(entry, Enrollment) else ""
        return self._issuer.accept(Order(name, request, entry.credential_policy, device_id))

    def fulfil(self, commission: Commission | None, record: Registration) -> Registration:
        """Has it signed for a device that was assigned, and puts that on record together with the
        registration: whoever reads the one finds the other."""
        if commission is None or record.status != ASSIGNED:
            return record
        hub = record.assigned_hub.partition(".")[0]
        keep = commission.issue(record.device_id, hub)
        with self._database.quick_write() as connection:
            latest = registrations.find(connection, record.registration_id)
            issued = replace(record, issued=keep(connection))
            if latest is not None and latest.operation_id == record.operation_id:
                registrations.save(connection, issued)
        return issued

    def chain(self, record: Registration) -> tuple[bytes, ...]:
        """What the registration brought: a certificate and its issuers, in DER; or nothing."""
        return self._issuer.chain(record.issued) if record.issued else ()


def _check_version(name: str, api_version: str) -> None:
    """Raises Denial for a version that is older than requests; one that says nothing is none."""
    said = _DATE.match(api_version)
    if said is None or said[1] >= FIRST_VERSION:
        return
    check = failed(
        VERSION,
        name,
        f"it is {api_version!r}, to which csr is an unknown field",
        f"say api-version={FIRST_VERSION}-preview",
        source="Azure REST API specifications, Microsoft.Devices device provisioning",
    )
    raise Denial(codes.CSR_REFUSED, check)


def _no_policy(name: str, entry: Entry) -> Check:
    noun = "individual enrollment" if isinstance(entry, Enrollment) else "enrollment group"
    return failed(
        POLICY_NAMED,
        name,
        f"{noun} {entry.id!r} names none, and the device sent a request to be signed",
        'name one in the enrollment: credential_policy="…", or credentialPolicyName in its JSON',
        "register without csr",
        source=_SOURCE,
    )
