"""Enrollments as plain values: what a back end puts into DPS, and what it reads out of it.

The names are the service API's (2021-10-01), in the spelling of Python. A field that is empty
was not given; the service fills in what it must (keys, ETag, times).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeAlias

from cryptography import x509

from labkit.cloud.dps import webhook_url
from labkit.cloud.hub import limits
from labkit.pki import chain

HASHED, GEO_LATENCY, STATIC, CUSTOM = "hashed", "geoLatency", "static", "custom"
ALLOCATION_POLICIES = (HASHED, GEO_LATENCY, STATIC, CUSTOM)
ENABLED, DISABLED = "enabled", "disabled"

X509Kind: TypeAlias = Literal["clientCertificates", "signingCertificates", "caReferences"]
CLIENT: Final = "clientCertificates"
SIGNING: Final = "signingCertificates"
REFERENCES: Final = "caReferences"
UNSET = datetime.min.replace(tzinfo=UTC)
"""The times of an entry that the service has not seen yet."""


@dataclass(frozen=True, slots=True)
class KnownCertificate:
    """A certificate that a back end names by its ``info`` alone, as it read it from the service:
    the entry keeps the one that it has. ``thumbprint`` is SHA-256 or SHA-1, in hex."""

    thumbprint: str


Named: TypeAlias = x509.Certificate | KnownCertificate | str | None
"""A certificate, one that the entry has already, or (``caReferences``) the name of one that was
uploaded to DPS. None where the slot is empty."""


@dataclass(frozen=True, slots=True)
class X509Attestation:
    """Which certificates prove a device. Either of the two suffices; one must be there.

    ``clientCertificates``: the device's own; ``signingCertificates``: a CA above it;
    ``caReferences``: the same, by its name among ``dps.certificates``.
    """

    kind: X509Kind
    primary: Named = None
    secondary: Named = None

    @property
    def certificates(self) -> tuple[x509.Certificate, ...]:
        """Those that are named by themselves, the primary one first."""
        slots = (self.primary, self.secondary)
        return tuple(slot for slot in slots if isinstance(slot, x509.Certificate))

    @property
    def references(self) -> tuple[str, ...]:
        """The names of uploaded CA certificates, the primary one first."""
        return tuple(slot for slot in (self.primary, self.secondary) if isinstance(slot, str))


@dataclass(frozen=True, slots=True)
class SymmetricKeyAttestation:
    """Two keys in base64, 16 to 64 bytes each; the service makes those that are empty, and keeps
    the ones that it has. Of a group, each device's key is derived from them."""

    primary_key: str = field(default="", repr=False)
    secondary_key: str = field(default="", repr=False)


Attestation: TypeAlias = X509Attestation | SymmetricKeyAttestation


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What the device's identity may do in the hub."""

    iot_edge: bool = False


@dataclass(frozen=True, slots=True)
class InitialTwin:
    """What a device's twin begins with."""

    tags: Mapping[str, Any] = field(default_factory=dict)
    desired: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fault(self) -> tuple[str, str]:
        """The first section that no hub would keep, and why; two empty texts where each would
        do."""
        sections = (
            ("tags", self.tags, limits.LARGEST_TAGS),
            ("properties.desired", self.desired, limits.LARGEST_SECTION),
        )
        found = ((name, limits.fault_of_whole(what, largest)) for name, what, largest in sections)
        return next((pair for pair in found if pair[1]), ("", ""))


@dataclass(frozen=True, slots=True)
class CustomAllocation:
    """The webhook that chooses the hub, and the API version of what it is sent. The URL may have
    a function's key in its query, and so its :func:`repr` has none."""

    webhook_url: str
    api_version: str

    def __repr__(self) -> str:
        return f"<Custom allocation by {webhook_url.shown(self.webhook_url)}, {self.api_version}>"


@dataclass(frozen=True, slots=True)
class ReprovisionPolicy:
    """What happens when a known device registers again.

    =============== ================= ====================================================
    update (hub)    migrate (data)    then
    =============== ================= ====================================================
    yes             yes               the hub is chosen anew, the twin moves along: default
    yes             no                the hub is chosen anew, the twin begins anew
    no              (either)          the device stays where it is
    =============== ================= ====================================================
    """

    update_hub_assignment: bool = True
    migrate_device_data: bool = True


MIGRATE = ReprovisionPolicy()
RESET = ReprovisionPolicy(migrate_device_data=False)
NEVER = ReprovisionPolicy(update_hub_assignment=False, migrate_device_data=False)


@dataclass(frozen=True, slots=True)
class _Entry:
    id: str
    attestation: Attestation
    capabilities: Capabilities = Capabilities()
    iot_hub_host_name: str = ""
    iot_hubs: tuple[str, ...] = ()
    initial_twin: InitialTwin | None = None
    allocation_policy: str = ""
    custom_allocation: CustomAllocation | None = None
    reprovision_policy: ReprovisionPolicy = MIGRATE
    credential_policy: str = ""
    certificate_authority: str = ""
    trust_bundle: str = ""
    provisioning_status: str = ENABLED
    etag: str = ""
    created: datetime = UNSET
    updated: datetime = UNSET

    @property
    def enabled(self) -> bool:
        """Whether it admits devices; a disabled one keeps them out."""
        return self.provisioning_status == ENABLED

    @property
    def certificate(self) -> x509.Certificate | None:
        """The certificate that it names first; None for symmetric keys and CA references."""
        if isinstance(self.attestation, SymmetricKeyAttestation):
            return None
        return next(iter(self.attestation.certificates), None)

    @property
    def proof(self) -> str:
        """What a device has to show, for people: the names of certificates, or a key."""
        if isinstance(self.attestation, SymmetricKeyAttestation):
            return "a symmetric key"
        names = [*map(chain.subject, self.attestation.certificates)]
        if len(names) > len(set(names)):
            return f"{names[0]}, by one of two certificates"
        return " or ".join((*names, *map(repr, self.attestation.references)))


@dataclass(frozen=True, slots=True)
class Enrollment(_Entry):
    """An individual enrollment: one device. ``id`` is its registration ID.

    ``device_id`` is its name in the hub, the registration ID where it is empty.
    ``allocation_policy`` is one of :data:`ALLOCATION_POLICIES`, or empty for the service's own.
    ``iot_hub_host_name`` and ``iot_hubs`` are host names; empty means all that are linked.
    ``credential_policy`` is the one under which the Device Registry signs what devices ask for,
    ``certificate_authority`` the one of another company that does so: one of the two at most.
    ``trust_bundle`` is what devices are to trust once they are provisioned.
    """

    device_id: str = ""
    optional_device_information: Mapping[str, Any] | None = None

    def __repr__(self) -> str:
        return f"<Enrollment {self.id!r}: {self.proof}, {self.provisioning_status}>"


@dataclass(frozen=True, slots=True)
class EnrollmentGroup(_Entry):
    """One entry for all devices below a CA certificate, or with keys derived from one key."""

    def __repr__(self) -> str:
        return f"<Enrollment group {self.id!r}: {self.proof}, {self.provisioning_status}>"


Entry: TypeAlias = Enrollment | EnrollmentGroup


@dataclass(frozen=True, slots=True)
class BulkError:
    """Why one entry of a bulk operation was refused: Azure's code and text."""

    id: str
    code: int
    status: str


@dataclass(frozen=True, slots=True)
class BulkResult:
    """``errors`` is empty exactly when all entries were taken."""

    errors: tuple[BulkError, ...] = ()

    @property
    def is_successful(self) -> bool:
        return not self.errors
