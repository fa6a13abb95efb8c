"""Who may register? What a device presented against the enrollments, explained step by step.

The order of the questions is the order in which the answers explain a failure best. With X.509:

    whose certificate is it? ─┬─ an individual enrollment has this ID: is it enabled, does it name
                              │  this certificate, and does the chain hold?
                              └─ none has: does the chain reach a verified CA? which group decides,
                                 leaf to root? is it enabled?

With symmetric keys: :mod:`labkit.cloud.dps.symmetric_keys`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from cryptography import x509

from labkit import ids
from labkit.cloud import codes
from labkit.cloud.certificates import CaCertificates
from labkit.cloud.cures import Place, cured
from labkit.cloud.dps import mismatch
from labkit.cloud.dps.enrollment_groups import EnrollmentGroups
from labkit.cloud.dps.entries import (
    Enrollment,
    EnrollmentGroup,
    Entry,
    SymmetricKeyAttestation,
    X509Attestation,
)
from labkit.cloud.hub.credentials import NOBODY, Credentials
from labkit.cloud.presented import Presented
from labkit.errors import AzureError
from labkit.pki import chain, verdict
from labkit.trace import Check, failed, first_failure, not_reached, passed

POSSESSION = "the device holds the private key of the certificate that it sent"
REGISTRATION_ID = "the registration ID is the CN of that certificate"
ENTRY = "an enrollment names a certificate of the chain"
ENABLED = "that enrollment is enabled"
OWN_ENTRY = "the individual enrollment of this ID names the certificate that was sent"

_ATTESTATION = "Azure documentation, DPS concepts: X.509 certificate attestation"
_DISENROLL = "Azure documentation, DPS: how to disenroll or revoke a device"


@dataclass(frozen=True, slots=True)
class Attested:
    """The outcome: the ``entry`` that admits the device and the ``credentials`` for its hub; or a
    ``refusal`` as Azure words it and the ``checks`` that explain it. ``entry`` is there with a
    refusal too where a disabled one decided."""

    checks: tuple[Check, ...] = ()
    refusal: AzureError | None = None
    entry: Entry | None = None
    credentials: Credentials = NOBODY


def attest(
    registration_id: str,
    presented: Presented,
    individual: Enrollment | None,
    certificates: CaCertificates,
    verified: Sequence[x509.Certificate],
    groups: EnrollmentGroups,
    at: datetime,
) -> Attested:
    """Judges a device's chain against its individual enrollment, or the verified CAs and the
    enrollment groups. ``individual`` is the enrollment of this registration ID, or
    the one that names the leaf."""
    checks = own_certificate(registration_id, presented)
    leaf = presented.leaf
    if leaf is None or first_failure(checks):
        return _stop(checks, codes.UNAUTHORIZED)
    if individual is not None:
        if not ids.same(individual.id, registration_id):
            checks.append(_of_another(individual, leaf, registration_id))
            return _stop(checks, codes.INVALID_CERTIFICATE)
        return _individually(individual, presented, certificates, verified, at, checks)
    found = verdict.judge(presented.chain, verified, at)
    if not found.accepted:
        checks += [_in_azure_words(check, found, certificates) for check in found.checks]
        return _stop(checks, _refusal_for(checks))
    path = [*found.path, *_beyond(found.path[-1], presented, verified, at)]
    group = groups.deciding(path[1:])
    if group is not None and group.enabled:
        return Attested(entry=group, credentials=Credentials(chain.thumbprint(leaf)))
    checks += found.checks
    if group is not None:
        return _switched_off(checks, group, f"it names {_named_in(path, group)} and decides")
    renewed = _renewed(path, groups)
    checks.append(_no_entry(path, renewed))
    return _stop(checks, codes.SIGNING_MISMATCH if renewed else codes.UNAUTHORIZED)


def _beyond(
    anchor: x509.Certificate,
    presented: Presented,
    verified: Sequence[x509.Certificate],
    at: datetime,
) -> list[x509.Certificate]:
    """The verifier stops at the first CA that is trusted; a group may name one above it. What
    lies above counts as far as a verified CA vouches for it, through CAs that may sign now."""
    if chain.is_self_signed(anchor):
        return []
    pool = [ca for ca in (*verified, *presented.chain) if verdict.may_issue(ca, at)]
    above = chain.climb(anchor, pool)[1:]
    vouched = [place for place, ca in enumerate(above, 1) if ca in verified]
    return above[: max(vouched, default=0)]


# ---- a device with an entry of its own


def _individually(
    entry: Enrollment,
    presented: Presented,
    certificates: CaCertificates,
    verified: Sequence[x509.Certificate],
    at: datetime,
    checks: list[Check],
) -> Attested:
    if not entry.enabled:
        why = "there is one of this registration ID: it decides, and no group is asked"
        return _switched_off(checks, entry, why)
    own = _own_entry(entry, presented.chain)
    checks.append(own)
    if own.failed:
        return _stop(checks, codes.INVALID_CERTIFICATE)
    checks += _own_chain(presented, certificates, verified, at)
    if first_failure(checks):
        return _stop(checks, _refusal_for(checks))
    return Attested(entry=entry, credentials=_credentials(entry))


def _of_another(entry: Enrollment, leaf: x509.Certificate, registration_id: str) -> Check:
    return failed(
        OWN_ENTRY,
        chain.subject(leaf),
        f"it belongs to individual enrollment {entry.id!r}, and the device registers as "
        f"{registration_id!r}: a certificate is in one entry only",
        f"make the enrollment under the ID {registration_id!r}, which is the CN, and delete "
        f"{entry.id!r}",
        source=_ATTESTATION,
    )


def _own_entry(entry: Enrollment, sent: Sequence[x509.Certificate]) -> Check:
    leaf, named = sent[0], entry.attestation
    about = chain.subject(leaf)
    if isinstance(named, SymmetricKeyAttestation):
        return failed(
            OWN_ENTRY,
            about,
            f"individual enrollment {entry.id!r} wants a symmetric key, and no certificate",
            "put the device's certificate into its enrollment",
            "delete the enrollment: then a group may admit the device",
            source=_ATTESTATION,
        )
    if leaf in named.certificates:
        role = "primary" if leaf == named.primary else "secondary"
        return passed(OWN_ENTRY, about, f"it is the {role} certificate of {entry.id!r}")
    return failed(OWN_ENTRY, about, *mismatch.explained(named, sent), source=_ATTESTATION)


def _own_chain(
    presented: Presented,
    certificates: CaCertificates,
    verified: Sequence[x509.Certificate],
    at: datetime,
) -> list[Check]:
    """The checks that fail for a certificate that the enrollment names: none when it is sound.

    Self-signed, it is its own root: that the entry names it is all the trust that it needs, and
    whether it says CA:TRUE does not count (``openssl req -x509`` says so unless told otherwise).
    Signed by a CA, it needs its chain like any other.
    """
    leaf = presented.chain[0]
    alone = chain.is_self_signed(leaf)
    sent = presented.chain[:1] if alone else presented.chain
    found = verdict.judge(sent, [leaf] if alone else verified, at)
    if found.accepted:
        return []
    checks = [_in_azure_words(check, found, certificates, entered=True) for check in found.checks]
    if alone:
        checks = [check for check in checks if check.name != verdict.LEAF]
    return checks if first_failure(checks) else []


def _credentials(entry: Enrollment) -> Credentials:
    """Both certificates of the entry: the device may change to the other one at any time."""
    assert isinstance(entry.attestation, X509Attestation)
    primary, secondary = (
        chain.thumbprint(slot) if isinstance(slot, x509.Certificate) else ""
        for slot in (entry.attestation.primary, entry.attestation.secondary)
    )
    return Credentials(primary, secondary)


# ---- the walk over the groups


def _named_in(path: Sequence[x509.Certificate], group: EnrollmentGroup) -> str:
    """The certificate by which the group was found."""
    named = (
        ()
        if isinstance(group.attestation, SymmetricKeyAttestation)
        else (group.attestation.certificates)
    )
    found = next((chain.subject(c) for c in path if c in named), "")
    return found or "a CA certificate that was uploaded"


def _switched_off(checks: list[Check], entry: Entry, why: str) -> Attested:
    """The entry that decides is disabled."""
    noun = "individual enrollment" if isinstance(entry, Enrollment) else "enrollment group"
    either = (
        "enable it"
        if isinstance(entry, Enrollment)
        else "enable it, or enroll the device on its own"
    )
    disabled = failed(
        ENABLED, entry.id, f"{noun} {entry.id!r} is disabled", either, source=_DISENROLL
    )
    checks = [*checks, passed(ENTRY, entry.id, f"{noun} {entry.id!r}: {why}"), disabled]
    return Attested(tuple(checks), codes.UNAUTHORIZED, entry)


def _renewed(
    path: Sequence[x509.Certificate], groups: EnrollmentGroups
) -> tuple[EnrollmentGroup, x509.Certificate] | None:
    """The group that names another certificate of the same name: a CA that was issued again."""
    names = {certificate.subject for certificate in path[1:]}
    for group in groups:
        if isinstance(group.attestation, SymmetricKeyAttestation):
            continue
        for certificate in group.attestation.certificates:
            if certificate.subject in names:
                return group, certificate
    return None


def _no_entry(
    path: Sequence[x509.Certificate], renewed: tuple[EnrollmentGroup, x509.Certificate] | None
) -> Check:
    """Why no enrollment admits a chain that is sound."""
    about = chain.subject(path[0])
    if renewed is not None:
        group, certificate = renewed
        name = chain.subject(certificate)
        return failed(
            ENTRY,
            group.id,
            f"this enrollment group names a {name}, but not the one in the chain: it was issued "
            "again, and the thumbprints differ",
            f"put the {name} of the chain into group {group.id!r}, as primary or as secondary",
            f"install the chain with the old {name} in the device",
            source=_ATTESTATION,
        )
    why = f"no enrollment names any of {chain.names(path)}"
    cure = f"create an enrollment group for one of its CAs: {chain.names(path[1:])}"
    return failed(ENTRY, about, why, cure, source=_ATTESTATION)


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
    """Adds the questions that were never asked, so that the list is whole. A device with an entry
    of its own is not looked for in others, and that entry is enabled."""
    asked = {check.name for check in checks}
    rest = [not_reached(name) for name in (REGISTRATION_ID, ENTRY, ENABLED) if name not in asked]
    rest = [] if OWN_ENTRY in asked else rest
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


def _in_azure_words(
    check: Check, found: verdict.Verdict, certificates: CaCertificates, *, entered: bool = False
) -> Check:
    """``entered``: an individual enrollment names the device already, and only trust is lacking."""
    further = "" if entered else ", and let an enrollment group name it"
    return _without_anchor(
        cured(check, found, Place("DPS", certificates, _ATTESTATION, further)), found
    )


def _without_anchor(check: Check, found: verdict.Verdict) -> Check:
    """A device that has signed its own certificate: nobody can vouch for that one, so DPS has to
    be told of it. ``openssl req -x509`` makes a CA of it, and in an entry even that is taken."""
    if check.failed and check.name == verdict.LEAF and found.signed_itself:
        cure = "create an individual enrollment with this very certificate: then it may say CA:TRUE"
        return replace(check, cures=(*check.cures, cure))
    if not (check.failed and check.name == verdict.ANCHOR and found.alone):
        return check
    why = "it signed itself, so no CA vouches for it, and no individual enrollment named it"
    cure = "create an individual enrollment with this very certificate: then it needs no CA"
    return replace(check, why=why, cures=(cure,), source=_ATTESTATION)


def _refusal_for(checks: Sequence[Check]) -> AzureError:
    names = {check.name for check in checks if check.failed}
    unreached = names & {verdict.ISSUER, verdict.ANCHOR}
    return codes.CA_NOT_FOUND if unreached else codes.INVALID_CERTIFICATE
