"""Individual enrollments: an entry for one device."""

from __future__ import annotations

from cryptography import x509
from sqlalchemy import Connection, bindparam, select

from labkit import ids
from labkit.cloud.dps import entry_tables as tables
from labkit.cloud.dps.book import EntryBook
from labkit.cloud.dps.entries import (
    CLIENT,
    ENABLED,
    MIGRATE,
    Attestation,
    Capabilities,
    CustomAllocation,
    Enrollment,
    InitialTwin,
    ReprovisionPolicy,
    SymmetricKeyAttestation,
    X509Attestation,
)
from labkit.cloud.prepared import Prepared
from labkit.errors import LabError
from labkit.pki import chain
from labkit.pki.forms import Readable
from labkit.pki.reading import read_certificate

_table = tables.ENROLLMENTS
_naming = select(tables.CERTIFICATES.c.key).where(
    tables.CERTIFICATES.c.thumbprint == bindparam("thumbprint"),
    tables.CERTIFICATES.c.book == _table.name,
)
_deciding = Prepared(
    select(_table)
    .where((_table.c.key == bindparam("wanted")) | _table.c.key.in_(_naming))
    .order_by(_table.c.key != bindparam("wanted"))
    .limit(1)
)
"""The entry of an ID; without one, the entry that names a certificate."""


class Enrollments(EntryBook[Enrollment]):
    """The individual enrollments of a DPS."""

    noun, collection = "individual enrollment", "enrollments"
    _table = tables.ENROLLMENTS

    def create(
        self,
        registration_id: str,
        *,
        certificate: x509.Certificate | Readable | None = None,
        secondary: x509.Certificate | Readable | None = None,
        keys: SymmetricKeyAttestation | None = None,
        device_id: str = "",
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
    ) -> Enrollment:
        """An entry for one device, which proves itself by its own ``certificate`` (self-signed or
        not) or by ``keys``; ``SymmetricKeyAttestation()`` lets the service make them.

        The same entry again is harmless. Raises ServiceRefusal (409, a Conflict) where the ID or
        the certificate belongs to another, (400004) for what cannot be, BadCertificate.
        """
        return self._create(
            Enrollment(
                registration_id,
                _attestation(registration_id, certificate, secondary, keys),
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
                device_id=device_id,
            )
        )

    def deciding(
        self, connection: Connection, registration_id: str, leaf: x509.Certificate | None
    ) -> Enrollment | None:
        """The entry of this ID; without one, the entry that names this very certificate, under
        whatever ID. Within a transaction."""
        thumbprint = chain.thumbprint(leaf) if leaf is not None else ""
        wanted = ids.key(registration_id)
        row = _deciding.first(connection, wanted=wanted, thumbprint=thumbprint)
        return self.of_row(connection, row) if row is not None else None

    def _admits(self, entry: Enrollment) -> str:
        return f"takes the device that has {entry.proof}"


def _attestation(
    registration_id: str,
    certificate: x509.Certificate | Readable | None,
    secondary: x509.Certificate | Readable | None,
    keys: SymmetricKeyAttestation | None,
) -> Attestation:
    if keys is not None and certificate is None and secondary is None:
        return keys
    if keys is not None or (certificate is None and secondary is None):
        raise LabError(
            f"Enrollment {registration_id!r} needs one way to know the device",
            expected="certificate=..., or keys=SymmetricKeyAttestation()",
            found="both" if keys is not None else "neither",
        )
    primary, other = (
        read_certificate(slot) if slot is not None else None for slot in (certificate, secondary)
    )
    return X509Attestation(CLIENT, primary, other)
