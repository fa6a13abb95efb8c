"""Enrollment groups: one entry for all devices whose chain holds a certain CA certificate, or
whose keys are derived from one key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cryptography import x509
from sqlalchemy import Connection, func, select

from labkit import ids
from labkit.clock import Clock
from labkit.cloud.dps import entry_tables as tables
from labkit.cloud.dps.book import EntryBook
from labkit.cloud.dps.entries import (
    ENABLED,
    MIGRATE,
    REFERENCES,
    SIGNING,
    Attestation,
    Capabilities,
    CustomAllocation,
    EnrollmentGroup,
    InitialTwin,
    ReprovisionPolicy,
    SymmetricKeyAttestation,
    X509Attestation,
)
from labkit.cloud.dps.limits import Limits
from labkit.cloud.refusals import Refusals
from labkit.cloud.trust import Trust
from labkit.database import Database
from labkit.errors import LabError
from labkit.events import Events
from labkit.pki import chain, reading
from labkit.pki.forms import Readable

__all__ = ["EnrollmentGroup", "EnrollmentGroups"]

_NOT_A_CA = "name the CA that signed the devices; one device alone wants an individual enrollment"


class _Groups:
    """All groups, by what a device may be recognised with."""

    def __init__(self, groups: tuple[EnrollmentGroup, ...]) -> None:
        self.by_thumbprint: dict[str, EnrollmentGroup] = {}
        self.by_reference: dict[str, EnrollmentGroup] = {}
        keys = []
        for group in groups:
            if isinstance(group.attestation, SymmetricKeyAttestation):
                keys.append(group)
                continue
            for certificate in group.attestation.certificates:
                self.by_thumbprint[chain.thumbprint(certificate)] = group
            for name in group.attestation.references:
                self.by_reference[ids.key(name)] = group
        self.with_keys = tuple(keys)


class EnrollmentGroups(EntryBook[EnrollmentGroup]):
    """The enrollment groups of a DPS."""

    noun, collection = "enrollment group", "enrollmentGroups"
    _table = tables.GROUPS

    def __init__(
        self,
        database: Database,
        clock: Clock,
        events: Events,
        refusals: Refusals,
        limits: Limits,
        trust: Trust,
    ) -> None:
        super().__init__(database, clock, events, refusals, limits)
        self._trust = trust
        self._kept: tuple[object, _Groups] = (None, _Groups(()))

    def create(
        self,
        group_id: str,
        *,
        signing: x509.Certificate | Readable | None = None,
        secondary: x509.Certificate | Readable | None = None,
        ca: str = "",
        secondary_ca: str = "",
        keys: SymmetricKeyAttestation | None = None,
        hub: str = "",
        hubs: tuple[str, ...] = (),
        allocation: str = "",
        webhook: CustomAllocation | None = None,
        reprovision: ReprovisionPolicy = MIGRATE,
        initial_twin: InitialTwin | None = None,
        iot_edge: bool = False,
        credential_policy: str = "",
        certificate_authority: str = "",
        trust_bundle: str = "",
        status: str = ENABLED,
    ) -> EnrollmentGroup:
        """A group for the devices below ``signing``, a root or intermediate CA; or below ``ca``,
        which is the name of one that was uploaded; or with keys derived from ``keys``.

        The same group again is harmless. Raises ServiceRefusal (409, a Conflict) where the ID
        or the certificate belongs to another entry, (400004) for what cannot be, BadCertificate
        where ``signing`` is no CA certificate.
        """
        attestation = _attestation(group_id, (signing, secondary), (ca, secondary_ca), keys)
        return self._create(
            EnrollmentGroup(
                group_id,
                attestation,
                capabilities=Capabilities(iot_edge),
                iot_hub_host_name=hub,
                iot_hubs=hubs,
                initial_twin=initial_twin,
                allocation_policy=allocation,
                custom_allocation=webhook,
                reprovision_policy=reprovision,
                credential_policy=credential_policy,
                certificate_authority=certificate_authority,
                trust_bundle=trust_bundle,
                provisioning_status=status,
            )
        )

    def deciding(self, path: Sequence[x509.Certificate]) -> EnrollmentGroup | None:
        """Walks the chain from the leaf up: the first certificate with an entry decides."""
        named = self.by_thumbprint()
        thumbprints = map(chain.thumbprint, path)
        return next((named[found] for found in thumbprints if found in named), None)

    def by_thumbprint(self) -> Mapping[str, EnrollmentGroup]:
        """The groups by the certificates that they name (SHA-256), those of references too."""
        groups = self._now()
        if not groups.by_reference:
            return groups.by_thumbprint
        uploaded = self._trust.now().thumbprints
        referred = groups.by_reference.items()
        return {
            **{uploaded[name]: group for name, group in referred if name in uploaded},
            **groups.by_thumbprint,
        }

    def with_keys(self) -> tuple[EnrollmentGroup, ...]:
        """The groups with symmetric keys."""
        return self._now().with_keys

    def _now(self) -> _Groups:
        """Every group, read once and again when one was changed: there are few of them, and each
        registration asks."""
        version, groups = self._kept
        if version is not self.version:
            version = self.version  # before the reading: a change meanwhile is read next time
            groups = _Groups(tuple(self))
            self._kept = version, groups
        return groups

    def _admits(self, entry: EnrollmentGroup) -> str:
        if isinstance(entry.attestation, SymmetricKeyAttestation):
            return "takes devices with keys derived from its own"
        return f"takes devices below {entry.proof}"

    def _check_quota(self, connection: Connection, before: EnrollmentGroup | None) -> None:
        if before is None:
            count = connection.execute(select(func.count()).select_from(self._table)).scalar_one()
            self._limits.check_quota("enrollment groups", count, self._limits.groups)


def _attestation(
    group_id: str,
    signing: tuple[x509.Certificate | Readable | None, x509.Certificate | Readable | None],
    references: tuple[str, str],
    keys: SymmetricKeyAttestation | None,
) -> Attestation:
    if not ids.is_valid(group_id):
        raise LabError(f"{group_id!r} cannot be the ID of an enrollment group", expected=ids.RULE)
    ways = (any(slot is not None for slot in signing), any(references), keys is not None)
    if sum(ways) != 1:
        raise LabError(
            f"Enrollment group {group_id!r} needs one way to know its devices",
            expected="signing=..., ca=..., or keys=SymmetricKeyAttestation()",
            found=f"{sum(ways)} of them",
        )
    if keys is not None:
        return keys
    if any(references):
        return X509Attestation(REFERENCES, *(name or None for name in references))
    primary, secondary = (
        reading.read_ca(slot, cure=_NOT_A_CA) if slot is not None else None for slot in signing
    )
    return X509Attestation(SIGNING, primary, secondary)
