"""Certificates that come with a registration: what a device orders, and who issues it.

    a request in the registration ──> order ──> the issuer examines it ──> a commission
                                                or refuses                     │
    a hub is chosen ──> signed for the device there, or denied <───────────────┘
          on record <──┘ in one transaction with identity and registration ──> told

Who issues is behind :class:`Issuer`. The field of the request tells which it is:

    csr                    2025-07-01   the Device Registry, by the enrollment's credential policy
    clientCertificateCsr   2021-11-01   the certificate authority that the enrollment names
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import Connection

from labkit.cloud import codes
from labkit.cloud.dps.assignment import Wish
from labkit.cloud.dps.attestation import Attested
from labkit.cloud.dps.entries import Enrollment, Entry
from labkit.cloud.dps.registrations import Registration
from labkit.cloud.hub.credentials import Credentials
from labkit.cloud.refusals import Denial
from labkit.steps import Steps, done
from labkit.trace import Check, failed

FIRST_VERSION = "2025-07-01"
"""The api-version with which ``csr`` came in, without ``-preview``."""
AUTHORITY_VERSION = "2021-11-01"
"""The only one that knows certificate authorities, trust bundles and ``clientCertificateCsr``."""
REGISTRY, AUTHORITY = "registry", "authority"
"""Who has issued a certificate."""
VERSION = "the api-version knows certificate signing requests"
POLICY_NAMED = "the enrollment names a credential policy"
AUTHORITY_NAMED = "the enrollment names a certificate authority"

_DATE = re.compile(r"(\d{4}-\d{2}-\d{2})")
_SOURCE = "Azure documentation, IoT Hub: what is certificate management (DPS integration)"
_SPECIFICATION = "Azure REST API specifications, Microsoft.Devices device provisioning"


@dataclass(frozen=True, slots=True)
class Order:
    """What a device wants to have signed: ``request`` is as it came, ``issuer`` what its enrollment
    names: a policy, or an authority. ``device_id`` is what the enrollment calls it in the hub, the
    registration ID where that is empty."""

    registration_id: str
    request: str
    issuer: str
    device_id: str = ""


@dataclass(frozen=True, slots=True)
class Carried:
    """An order that was carried out. The hub is to know the device by ``credentials``; ``keep``
    puts the certificate on record within a transaction and gives its number, 0 for none."""

    credentials: Credentials
    keep: Callable[[Connection], int]


class Commission(Protocol):
    """An order that the issuer has examined, and will carry out."""

    @property
    def by(self) -> str:
        """Whose it is: :data:`REGISTRY` or :data:`AUTHORITY`; empty where nothing is ordered."""

    def carry_out(self, device_id: str, hub: str) -> Steps[Carried]:
        """Signs for a device of this hub, where that is not done yet. Raises Denial where nothing
        is issued for it, TryAgain where the issuer has too much to do."""


@dataclass(frozen=True, slots=True)
class NothingOrdered:
    """The commission of a device that wants no certificate."""

    credentials: Credentials

    by = ""

    def carry_out(self, device_id: str, hub: str) -> Steps[Carried]:
        """The hub knows it by what it has."""
        return done(Carried(self.credentials, lambda _: 0))


class Issuer(Protocol):
    """Who signs for devices."""

    def accept(self, order: Order) -> Steps[Commission]:
        """Raises Denial for what is not signed; nothing has happened then."""

    def knows(self, registration_id: str) -> Credentials | None:
        """By what a hub knows a device that has a valid certificate of this issuer already."""

    def chain(self, number: int) -> tuple[bytes, ...]:
        """A certificate on record and its issuers up to the root, each in DER."""


class Issuance:
    """Certificates as one DPS gives them to its devices."""

    def __init__(self, registry: Issuer, authority: Issuer) -> None:
        self._issuers = {REGISTRY: registry, AUTHORITY: authority}

    def accept(
        self, name: str, attested: Attested, wish: Wish, api_version: str
    ) -> Steps[Commission]:
        """Has the request of an admitted device examined, where it sent one.

        Where it sent none, the hub goes on to know it by what it has got before: so its
        credentials are others then than those that it showed to DPS. Raises Denial.
        """
        entry = attested.entry
        assert entry is not None, "admitted by an entry"
        if (wanted := _wanted(name, entry, wish, api_version)) is not None:
            issuer, order = wanted
            return self._issuers[issuer].accept(order)
        return done(NothingOrdered(self._known(name, entry) or attested.credentials))

    def _known(self, name: str, entry: Entry) -> Credentials | None:
        """By what a hub knows a device that has a certificate of the entry's issuer."""
        if entry.credential_policy:
            return self._issuers[REGISTRY].knows(name)
        return self._issuers[AUTHORITY].knows(name) if entry.certificate_authority else None

    def chain(self, record: Registration) -> tuple[bytes, ...]:
        """What the registration brought: a certificate and its issuers, in DER; or nothing."""
        return self._issuers[record.issued_by].chain(record.issued) if record.issued else ()


def knows_authorities(api_version: str) -> bool:
    """Whether it is the version that knows certificate authorities and trust bundles."""
    said = _DATE.match(api_version)
    return said is not None and said[1] == AUTHORITY_VERSION


def _wanted(name: str, entry: Entry, wish: Wish, api_version: str) -> tuple[str, Order] | None:
    """Whom to ask for what; None where nothing is wanted. Raises Denial."""
    device_id = entry.device_id if isinstance(entry, Enrollment) else ""
    if wish.csr is not None:
        _check_version(name, api_version)
        if not entry.credential_policy:
            raise Denial(codes.CSR_REFUSED, _no_policy(name, entry))
        return REGISTRY, Order(name, wish.csr, entry.credential_policy, device_id)
    if wish.client_csr is not None:
        _check_authority_version(name, api_version)
        if not entry.certificate_authority:
            raise Denial(codes.CSR_REFUSED, _no_authority(name, entry))
        return AUTHORITY, Order(name, wish.client_csr, entry.certificate_authority, device_id)
    return None


def _check_version(name: str, api_version: str) -> None:
    """Raises Denial for a version that is older than ``csr``; one that says nothing is none."""
    said = _DATE.match(api_version)
    if said is not None and said[1] < FIRST_VERSION:
        raise _unknown_field(name, api_version, "csr", FIRST_VERSION)


def _check_authority_version(name: str, api_version: str) -> None:
    """Raises Denial for any version but the one; one that says nothing is none."""
    if _DATE.match(api_version) and not knows_authorities(api_version):
        raise _unknown_field(name, api_version, "clientCertificateCsr", AUTHORITY_VERSION)


def _unknown_field(name: str, api_version: str, field: str, wanted: str) -> Denial:
    why = f"it is {api_version!r}, to which {field} is an unknown field"
    cure = f"say api-version={wanted}-preview"
    check = failed(VERSION, name, why, cure, source=_SPECIFICATION)
    return Denial(codes.CSR_REFUSED, check)


def _noun(entry: Entry) -> str:
    return "individual enrollment" if isinstance(entry, Enrollment) else "enrollment group"


def _no_authority(name: str, entry: Entry) -> Check:
    return failed(
        AUTHORITY_NAMED,
        name,
        f"{_noun(entry)} {entry.id!r} names none, and the device sent a request to be signed",
        'name one in the enrollment: certificate_authority="…", or '
        "clientCertificateIssuancePolicy in its JSON",
        "register without clientCertificateCsr",
        source=_SPECIFICATION,
    )


def _no_policy(name: str, entry: Entry) -> Check:
    return failed(
        POLICY_NAMED,
        name,
        f"{_noun(entry)} {entry.id!r} names none, and the device sent a request to be signed",
        'name one in the enrollment: credential_policy="…", or credentialPolicyName in its JSON',
        "register without csr",
        source=_SOURCE,
    )
