"""Is this chain good, now, for this purpose? And if not, why not?

Two parts that must agree. The *decision* is made by cryptography's verifier (RFC 5280 path
validation, built and fuzzed by others). It answers in one unhelpful sentence, so the
*explanation* walks the chain again, certificate by certificate, and says for each what was
looked at. Where our walk finds nothing wrong and the verifier still refuses, the last check
says so in the verifier's own words: the explanation never contradicts the decision.

    presented   leaf ── intermediate ── intermediate        any order behind the leaf
    anchors     CAs that are trusted already                 the top, or a level in between

Revocation lists are not consulted, because the services that this lab emulates do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from labkit.pki import chain
from labkit.trace import Check, failed, first_failure, passed

ISSUER = "its issuer is known"
SIGNATURE = "its issuer's key signed it"
VALIDITY = "the lab's clock is within its validity"
IS_CA = "its issuer may sign certificates"
PATH_LENGTH = "its issuer allows this many CAs below it"
PURPOSE = "it may be used for client authentication"
LENGTH = "the chain is no longer than any real one"
READABLE = "its extensions can be read"
LEAF = "it is a device's certificate and not a CA's"
ANCHOR = "it is a CA that is trusted"
VERIFIER = "the path validation of RFC 5280 accepts the chain"

_RFC = "RFC 5280, section 6.1"


LONGEST = 16
"""Certificates that are looked at; a longer chain is refused unread, for its checking could
take for ever."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """``path`` runs from the leaf to the anchor when accepted, else as far as it could be built.
    ``missing`` is the name of the certificate that nobody presented, where that is the fault."""

    accepted: bool
    checks: tuple[Check, ...]
    path: tuple[x509.Certificate, ...]
    missing: x509.Name | None = None


def judge(
    presented: Sequence[x509.Certificate], anchors: Sequence[x509.Certificate], at: datetime
) -> Verdict:
    """Judges a client's chain, leaf first, at a moment, against the CAs that are trusted.

    ``presented`` must hold the leaf at least. Never raises for a bad chain.
    """
    if len(presented) > LONGEST:
        return Verdict(False, (_too_long(presented),), tuple(presented[:1]))
    refusal = _verify(presented, anchors, at)
    checks, path, missing = _explain(presented, anchors, at)
    if refusal and first_failure(checks) is None:
        about = chain.title(presented[0].subject)
        checks.append(failed(VERIFIER, about, refusal, "issue the chain anew", source=_RFC))
    return Verdict(not refusal, tuple(checks), tuple(path), missing)


def _verify(
    presented: Sequence[x509.Certificate], anchors: Sequence[x509.Certificate], at: datetime
) -> str:
    """The decision: empty when accepted, else the verifier's own words."""
    if not anchors:
        return "there is no trusted CA at all"
    verifier = (
        PolicyBuilder()
        .store(Store(list(anchors)))
        .time(at.replace(tzinfo=None))
        .extension_policies(ca_policy=_ca_policy(), ee_policy=_leaf_policy())
        .build_client_verifier()
    )
    try:
        verifier.verify(presented[0], list(presented[1:]))
    except (VerificationError, ValueError) as error:
        return str(error)
    return ""


def _leaf_policy() -> ExtensionPolicy:
    """The default is the web's: it wants a SAN. A device has a CN."""
    return (
        ExtensionPolicy.permit_all()
        .may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _allows_client_auth)
        .may_be_present(x509.BasicConstraints, Criticality.AGNOSTIC, _is_no_ca)
    )


def _ca_policy() -> ExtensionPolicy:
    return (
        ExtensionPolicy.permit_all()
        .require_present(x509.BasicConstraints, Criticality.AGNOSTIC, None)
        .may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _may_sign)
    )


def _allows_client_auth(
    _: Policy, __: x509.Certificate, usage: x509.ExtendedKeyUsage | None
) -> None:
    if usage is not None and ExtendedKeyUsageOID.CLIENT_AUTH not in usage:
        raise ValueError("extended key usage without clientAuth")


def _is_no_ca(_: Policy, __: x509.Certificate, constraints: x509.BasicConstraints | None) -> None:
    if constraints is not None and constraints.ca:
        raise ValueError("a CA certificate in the place of a device's")


def _may_sign(_: Policy, __: x509.Certificate, usage: x509.KeyUsage | None) -> None:
    if usage is not None and not usage.key_cert_sign:
        raise ValueError("a CA without keyCertSign")


def _explain(
    presented: Sequence[x509.Certificate], anchors: Sequence[x509.Certificate], at: datetime
) -> tuple[list[Check], list[x509.Certificate], x509.Name | None]:
    leaf = presented[0]
    path = [leaf]
    if (fault := _unreadable(leaf)) is not None:
        return [fault], path, None
    checks = [*_check_leaf(leaf), _validity(leaf, at)]
    while path[-1] not in anchors:
        below = path[-1]
        issuer = _issuer_of(below, (*anchors, *presented), path)
        if issuer is None:
            checks.append(_unknown_issuer(below))
            return checks, path, None if chain.is_self_issued(below) else below.issuer
        if (fault := _unreadable(issuer)) is not None:
            return [*checks, fault], path, None
        checks += _check_link(below, issuer, cas_below=len(path) - 1)
        checks.append(_validity(issuer, at))
        path.append(issuer)
    checks.append(passed(ANCHOR, chain.title(path[-1].subject), "it is one of the trusted CAs"))
    return checks, path, None


def _too_long(presented: Sequence[x509.Certificate]) -> Check:
    about = chain.title(presented[0].subject)
    why = f"{len(presented)} certificates were sent; at most {LONGEST} are looked at"
    return failed(LENGTH, about, why, "send the device's certificate and its issuers only")


def _unreadable(certificate: x509.Certificate) -> Check | None:
    try:
        _ = certificate.extensions
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        about, cure = chain.title(certificate.subject), "issue it again, with a tested profile"
        return failed(READABLE, about, str(error), cure, source="RFC 5280, section 4.2")
    return None


def _check_leaf(leaf: x509.Certificate) -> list[Check]:
    about = chain.title(leaf.subject)
    if chain.is_ca(leaf):
        return [
            failed(
                LEAF,
                about,
                "its basic constraints say CA:TRUE",
                "present the device's own certificate first, and the CAs behind it",
                source="RFC 5280, section 4.2.1.9",
            )
        ]
    return [passed(LEAF, about, "it is no CA"), _purpose(leaf, about)]


def _purpose(leaf: x509.Certificate, about: str) -> Check:
    try:
        usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return passed(PURPOSE, about, "it names no purposes, so any is allowed")
    if ExtendedKeyUsageOID.CLIENT_AUTH in usage:
        return passed(PURPOSE, about, "its extended key usage names clientAuth")
    return failed(
        PURPOSE,
        about,
        "its extended key usage does not name clientAuth",
        "issue it again with the device profile",
        source="RFC 5280, section 4.2.1.12",
    )


def _issuer_of(
    certificate: x509.Certificate,
    pool: Sequence[x509.Certificate],
    path: Sequence[x509.Certificate],
) -> x509.Certificate | None:
    """By signature where one fits; else by name, so that the signature can be shown to fail."""
    if chain.is_self_issued(certificate):
        return None
    named = [c for c in pool if c.subject == certificate.issuer and c not in path]
    signed = (c for c in named if chain.signed_by(certificate, c))
    return next(signed, named[0] if named else None)


def _unknown_issuer(certificate: x509.Certificate) -> Check:
    about = chain.title(certificate.subject)
    if chain.is_self_issued(certificate):
        return failed(
            ANCHOR,
            about,
            "the chain ends here, and it is none of the trusted CAs",
            f"make {about} a trusted CA",
            source=_RFC,
        )
    issuer = chain.title(certificate.issuer)
    return failed(
        ISSUER,
        about,
        f"it was issued by {issuer}, which was not presented and is no trusted CA",
        f"present {issuer} too",
        f"make {issuer} a trusted CA",
        source=_RFC,
    )


def _check_link(below: x509.Certificate, issuer: x509.Certificate, cas_below: int) -> list[Check]:
    about, above = chain.title(below.subject), chain.title(issuer.subject)
    return [
        passed(ISSUER, about, f"it was issued by {above}, which is at hand"),
        _signature(below, issuer, about, above),
        _may_issue(issuer, above),
        _path_length(issuer, above, cas_below),
    ]


def _signature(below: x509.Certificate, issuer: x509.Certificate, about: str, above: str) -> Check:
    if chain.signed_by(below, issuer):
        return passed(SIGNATURE, about, f"the signature verifies with the key of {above}")
    return failed(
        SIGNATURE,
        about,
        f"it names {above} as its issuer, but that key did not sign these bytes: "
        f"it was altered, or {above} was made again with another key",
        f"have {above} issue it again, or present the {above} that signed it",
        source=_RFC,
    )


def _may_issue(issuer: x509.Certificate, above: str) -> Check:
    if not chain.is_ca(issuer):
        why = "its basic constraints do not say CA:TRUE"
    elif not _has_key_cert_sign(issuer):
        why = "its key usage lacks keyCertSign"
    else:
        return passed(IS_CA, above, "it is a CA and may sign certificates")
    return failed(
        IS_CA, above, why, f"issue {above} again as a CA", source="RFC 5280, section 4.2.1.9"
    )


def _has_key_cert_sign(issuer: x509.Certificate) -> bool:
    try:
        usage = issuer.extensions.get_extension_for_class(x509.KeyUsage)
    except x509.ExtensionNotFound:
        return True
    return usage.value.key_cert_sign


def _path_length(issuer: x509.Certificate, above: str, cas_below: int) -> Check:
    limit = _path_limit(issuer)
    if limit is None or cas_below <= limit:
        allowed = "any number" if limit is None else str(limit)
        return passed(PATH_LENGTH, above, f"it allows {allowed} below it; there are {cas_below}")
    return failed(
        PATH_LENGTH,
        above,
        f"it allows {limit} CAs below it; there are {cas_below}",
        f"issue {above} again with a longer path length, or take a CA out of the chain",
        source="RFC 5280, section 4.2.1.9",
    )


def _path_limit(issuer: x509.Certificate) -> int | None:
    try:
        found = issuer.extensions.get_extension_for_class(x509.BasicConstraints)
    except x509.ExtensionNotFound:
        return None
    return found.value.path_length


def _validity(certificate: x509.Certificate, at: datetime) -> Check:
    about = chain.title(certificate.subject)
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if begin <= at <= end:
        return passed(VALIDITY, about, f"valid until {end:%Y-%m-%d}")
    early = at < begin
    why = f"not valid before {begin:%Y-%m-%d}" if early else f"it expired on {end:%Y-%m-%d}"
    cure = "wait, or correct the clock" if early else "renew it"
    return failed(VALIDITY, about, f"{why}; the lab's clock says {at:%Y-%m-%d}", cure, source=_RFC)
