"""Who may register? The presented chain against the enrollments, explained step by step.

The order of the questions is the order in which the answers explain a failure best:

    whose certificate is it? ── does the chain reach a verified CA? ── which entry decides?
    ── is that entry enabled?
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from cryptography import x509

from labkit import ids
from labkit.cloud import codes
from labkit.cloud.certificates import CaCertificates
from labkit.cloud.dps.enrollment_groups import EnrollmentGroup, EnrollmentGroups
from labkit.cloud.presented import Presented
from labkit.errors import AzureError
from labkit.pki import chain, verdict
from labkit.trace import Check, failed, first_failure, not_reached, passed

POSSESSION = "the device holds the private key of the certificate that it sent"
REGISTRATION_ID = "the registration ID is the CN of that certificate"
ENTRY = "an enrollment names a certificate of the chain"
ENABLED = "that enrollment is enabled"

_ATTESTATION = "Azure documentation, DPS concepts: X.509 certificate attestation"


@dataclass(frozen=True, slots=True)
class Attested:
    """The outcome: ``group`` and nothing else, or a ``refusal`` as Azure words it and the
    ``checks`` that explain it."""

    checks: tuple[Check, ...] = ()
    refusal: AzureError | None = None
    group: EnrollmentGroup | None = None


def attest(
    registration_id: str,
    presented: Presented,
    certificates: CaCertificates,
    groups: EnrollmentGroups,
    at: datetime,
) -> Attested:
    """Judges a device's chain against the verified CAs and the enrollment groups."""
    checks = own_certificate(registration_id, presented)
    leaf = presented.leaf
    if leaf is None or first_failure(checks):
        return _stop(checks, codes.UNAUTHORIZED)
    verified = certificates.verified()
    found = verdict.judge(presented.chain, verified, at)
    if not found.accepted:
        checks += [_in_azure_words(check, found, certificates) for check in found.checks]
        return _stop(checks, _refusal_for(checks))
    path = [*found.path, *_beyond(found.path[-1], presented, verified, at)]
    group = groups.deciding(path)
    if group is not None and group.enabled:
        return Attested(group=group)
    checks += [*found.checks, *_entry(path, group)]
    return _stop(checks, codes.UNAUTHORIZED)


def _beyond(
    anchor: x509.Certificate,
    presented: Presented,
    verified: Sequence[x509.Certificate],
    at: datetime,
) -> list[x509.Certificate]:
    """The verifier stops at the first CA that is trusted; a group may name one above it. What
    lies above counts as far as a verified CA vouches for it, through CAs that may sign now."""
    pool = [ca for ca in (*verified, *presented.chain) if verdict.may_issue(ca, at)]
    above = chain.climb(anchor, pool)[1:]
    vouched = [place for place, ca in enumerate(above, 1) if ca in verified]
    return above[: max(vouched, default=0)]


def _entry(path: Sequence[x509.Certificate], group: EnrollmentGroup | None) -> list[Check]:
    """Why no enrollment admits a chain that is sound."""
    about = chain.subject(path[0])
    if group is None:
        why = f"no enrollment names any of {chain.names(path)}"
        cure = f"create an enrollment group for one of its CAs: {chain.names(path[1:])}"
        return [failed(ENTRY, about, why, cure, source=_ATTESTATION)]
    signing = chain.subject(group.certificate)
    return [
        passed(ENTRY, signing, f"enrollment group {group.id!r} names it and decides"),
        failed(
            ENABLED,
            group.id,
            f"enrollment group {group.id!r} is disabled",
            "enable it, or enroll the device on its own",
            source=_ATTESTATION,
        ),
    ]


def own_certificate(registration_id: str, presented: Presented) -> list[Check]:
    """Whether the certificate that was sent is one for this registration ID."""
    if presented.leaf is None:
        return [no_certificate(registration_id)]
    about = chain.subject(presented.leaf)
    return [
        passed(POSSESSION, about, "it signed the TLS handshake with that key (CertificateVerify)"),
        _registration_id(registration_id, presented.leaf, about),
    ]


def _stop(checks: list[Check], refusal: AzureError) -> Attested:
    """Adds the questions that were never asked, so that the list is whole."""
    asked = {check.name for check in checks}
    rest = [not_reached(name) for name in (REGISTRATION_ID, ENTRY, ENABLED) if name not in asked]
    return Attested((*checks, *rest), refusal)


def no_certificate(registration_id: str) -> Check:
    """The failed check of a client that sent no certificate in TLS."""
    return failed(
        POSSESSION,
        registration_id,
        "the client sent no certificate in the TLS handshake",
        "give the client its certificate chain and key: with the Python SDK, "
        "create_from_x509_certificate(x509=X509(cert_file, key_file), ...)",
        source=_ATTESTATION,
    )


def _registration_id(registration_id: str, leaf: x509.Certificate, about: str) -> Check:
    common_name = chain.common_name(leaf)
    if ids.same(common_name, registration_id):
        return passed(REGISTRATION_ID, about, f"both are {common_name!r}")
    return failed(
        REGISTRATION_ID,
        about,
        f"the device asks as {registration_id!r}, its certificate says {common_name!r}",
        f"register as {common_name!r}",
        f"issue a certificate with CN={registration_id}",
        source=_ATTESTATION,
    )


def _in_azure_words(check: Check, found: verdict.Verdict, certificates: CaCertificates) -> Check:
    """The verdict knows nothing of Azure; here are the cures that a trainee can carry out."""
    if not check.failed:
        return check
    if check.name == verdict.VALIDITY:
        cures = (*check.cures, "move the lab's clock: lab.clock, labkit clock reset")
        return replace(check, cures=cures)
    if check.name == verdict.ISSUER and found.missing is not None:
        cures = _missing(found.missing, certificates)
        return replace(check, cures=cures, source=_ATTESTATION)
    if check.name == verdict.ANCHOR:
        cure = f"upload {check.about} to DPS and prove possession of its key"
        return replace(check, cures=(cure,), source=_ATTESTATION)
    return check


def _missing(name: x509.Name, certificates: CaCertificates) -> tuple[str, ...]:
    """Both ways are right (sdk-csharp #1010); the first keeps a single root in DPS."""
    issuer = chain.title(name)
    for entry in certificates:
        if entry.certificate.subject == name and not entry.is_verified:
            cure = (
                f"prove possession of {issuer}: it is uploaded as {entry.name!r}, and counts "
                "only when it is verified"
            )
            return (cure,)
    itself = (
        f"upload {issuer} itself to DPS, prove possession of its key, and let an enrollment "
        "group name it: then it need not be sent"
    )
    if not certificates.verified():  # to send more helps only where it leads to a trusted CA
        return (itself,)
    return (
        f"let the device send {issuer} too, and whatever is between it and a CA that DPS trusts: "
        "put the whole chain, its own certificate first, into the device's certificate file",
        itself,
    )


def _refusal_for(checks: Sequence[Check]) -> AzureError:
    names = {check.name for check in checks if check.failed}
    unreached = names & {verdict.ISSUER, verdict.ANCHOR}
    return codes.CA_NOT_FOUND if unreached else codes.INVALID_CERTIFICATE
