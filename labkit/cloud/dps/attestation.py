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
    """The outcome: ``group`` and no ``refusal``, or a ``refusal`` as Azure words it."""

    checks: tuple[Check, ...]
    refusal: AzureError | None = None
    group: EnrollmentGroup | None = None


def attest(
    registration_id: str,
    presented: Presented,
    verified: Sequence[x509.Certificate],
    groups: EnrollmentGroups,
    at: datetime,
) -> Attested:
    """Judges a device's chain against the verified CAs and the enrollment groups."""
    checks = own_certificate(registration_id, presented)
    leaf = presented.leaf
    if leaf is None or first_failure(checks):
        return _stop(checks, codes.UNAUTHORIZED)
    found = verdict.judge(presented.chain, verified, at)
    checks += [_in_azure_words(check, found) for check in found.checks]
    if not found.accepted:
        return _stop(checks, _refusal_for(checks))
    about = chain.subject(leaf)
    beyond = chain.climb(found.path[-1], [*presented.chain, *verified])[1:]
    return _entry(checks, about, [*found.path, *beyond], groups)


def own_certificate(registration_id: str, presented: Presented) -> list[Check]:
    """Whether the certificate that was sent is one for this registration ID."""
    if presented.leaf is None:
        return [no_certificate(registration_id)]
    about = chain.subject(presented.leaf)
    return [
        passed(POSSESSION, about, "it signed the TLS handshake with that key (CertificateVerify)"),
        _registration_id(registration_id, presented.leaf, about),
    ]


def _entry(
    checks: list[Check], about: str, path: list[x509.Certificate], groups: EnrollmentGroups
) -> Attested:
    group = groups.deciding(path)
    if group is None:
        names = chain.names(path)
        checks.append(
            failed(
                ENTRY,
                about,
                f"no enrollment names any of {names}",
                f"create an enrollment group for one of the CAs of this chain: "
                f"{chain.names(path[1:])}",
                source=_ATTESTATION,
            )
        )
        return _stop(checks, codes.UNAUTHORIZED)
    signing = chain.subject(group.certificate)
    checks.append(passed(ENTRY, signing, f"enrollment group {group.id!r} names it and decides"))
    if not group.enabled:
        checks.append(
            failed(
                ENABLED,
                group.id,
                f"enrollment group {group.id!r} is disabled",
                "enable it, or enroll the device on its own",
                source=_ATTESTATION,
            )
        )
        return _stop(checks, codes.UNAUTHORIZED)
    checks.append(passed(ENABLED, group.id, f"enrollment group {group.id!r} is enabled"))
    return Attested(tuple(checks), group=group)


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


def _in_azure_words(check: Check, found: verdict.Verdict) -> Check:
    """The verdict knows nothing of Azure; here are the cures that a trainee can carry out."""
    if not check.failed:
        return check
    if check.name == verdict.ISSUER and found.missing is not None:
        return replace(check, cures=_missing(chain.title(found.missing)), source=_ATTESTATION)
    if check.name == verdict.ANCHOR:
        cure = f"upload {check.about} to DPS and prove possession of its key"
        return replace(check, cures=(cure,), source=_ATTESTATION)
    return check


def _missing(issuer: str) -> tuple[str, str]:
    """Both are right (sdk-csharp #1010); the first keeps a single root in DPS."""
    return (
        f"let the device send {issuer} too: put the whole chain, its own certificate first, "
        "into the device's certificate file",
        f"upload {issuer} itself to DPS, prove possession of its key, and let an enrollment "
        "group name it: then it need not be sent",
    )


def _refusal_for(checks: Sequence[Check]) -> AzureError:
    names = {check.name for check in checks if check.failed}
    unreached = names & {verdict.ISSUER, verdict.ANCHOR}
    return codes.CA_NOT_FOUND if unreached else codes.INVALID_CERTIFICATE
