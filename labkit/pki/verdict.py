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
from datetime import UTC, datetime
from functools import cached_property

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from labkit.pki import chain, policy
from labkit.trace import Check, failed, first_failure, passed

ISSUER = "its issuer is known"
SIGNATURE = "its issuer's key signed it"
VALIDITY = "the lab's clock is within its validity"
IS_CA = "its issuer may sign certificates"
PATH_LENGTH = "its issuer allows this many CAs below it"
PURPOSE = "it may be used for client authentication"
VERSION = "it is a certificate of version 3"
LENGTH = "the chain is no longer than any real one"
READABLE = "its extensions can be read"
USAGE = "its key may sign a TLS handshake"
LEAF = "it is a device's certificate and not a CA's"
ANCHOR = "it is a CA that is trusted"
VERIFIER = "the path validation of RFC 5280 accepts the chain"

_RFC = "RFC 5280, section 6.1"

LONGEST = 16
"""Certificates that are looked at; a longer chain is refused unread, for its checking could
take for ever."""


class Verdict:
    """The decision, and its explanation once it is asked for: that costs more than the decision."""

    def __init__(
        self,
        presented: Sequence[x509.Certificate],
        anchors: Sequence[x509.Certificate],
        at: datetime,
        path: Sequence[x509.Certificate],
        refusal: str,
    ) -> None:
        self._presented, self._anchors, self._at = presented, anchors, at
        self.accepted = not refusal
        self.path = tuple(path)
        self._refusal = refusal

    @property
    def checks(self) -> tuple[Check, ...]:
        """Every check in order. One of them failed exactly when the chain was not accepted."""
        return self._explained[0]

    @property
    def missing(self) -> x509.Name | None:
        """The name of the certificate that nobody presented, where that is the fault."""
        return self._explained[1]

    @cached_property
    def _explained(self) -> tuple[tuple[Check, ...], x509.Name | None]:
        if len(self._presented) > LONGEST:
            return (_too_long(self._presented),), None
        checks, missing = _explain(self._presented, self._anchors, self._at, self.path)
        if self._refusal and first_failure(checks) is None:
            about, cure = chain.subject(self._presented[0]), "issue the chain anew"
            checks.append(failed(VERIFIER, about, self._refusal, cure, source=_RFC))
        return tuple(checks), missing


def judge(
    presented: Sequence[x509.Certificate], anchors: Sequence[x509.Certificate], at: datetime
) -> Verdict:
    """Judges a client's chain, leaf first, at a moment, against the CAs that are trusted.

    ``presented`` must hold the leaf at least. Never raises for a bad chain. The verdict's
    ``path`` runs from the leaf to the anchor that was found; it is empty for a refused chain.
    """
    moment = at.astimezone(UTC).replace(microsecond=0)  # what a certificate can express
    if len(presented) > LONGEST:
        return Verdict(presented, anchors, moment, (), f"more than {LONGEST} certificates")
    path, refusal = policy.verify(presented, anchors, moment)
    if unsound := next((c for c in path if chain.fault(c)), None):
        # The verifier reads only the extensions that it needs; a broken one is broken all the same.
        path, refusal = [], f"{chain.subject(unsound)}: {chain.fault(unsound)}"
    return Verdict(presented, anchors, moment, path, refusal)


def may_issue(certificate: x509.Certificate, at: datetime) -> bool:
    """Whether it is a CA that may sign certificates, and valid at this moment."""
    moment = at.astimezone(UTC).replace(microsecond=0)
    sound = not chain.fault(certificate) and chain.is_ca(certificate)
    return sound and _has_key_cert_sign(certificate) and _is_valid(certificate, moment)


def _explain(
    presented: Sequence[x509.Certificate],
    anchors: Sequence[x509.Certificate],
    at: datetime,
    accepted: Sequence[x509.Certificate],
) -> tuple[list[Check], x509.Name | None]:
    """Walks up the path that was accepted; where none was, up the one that leads furthest."""
    leaf = presented[0]
    path = [leaf]
    if (unreadable := _unreadable(leaf)) is not None:
        return [unreadable], None
    checks = [_version(leaf), *_check_leaf(leaf), _validity(leaf, at)]
    pool = accepted or (*anchors, *presented)
    while path[-1] not in anchors:
        below = path[-1]
        issuer = _issuer_of(below, pool, path, at)
        if issuer is None:
            checks.append(_unknown_issuer(below))
            return checks, None if chain.is_self_signed(below) else below.issuer
        if (unreadable := _unreadable(issuer)) is not None:
            return [*checks, unreadable], None
        checks += [_version(issuer), *_check_link(below, issuer, cas_below=_cas_in(path))]
        checks.append(_validity(issuer, at))
        path.append(issuer)
    checks.append(passed(ANCHOR, chain.subject(path[-1]), "it is one of the trusted CAs"))
    return checks, None


def _cas_in(path: Sequence[x509.Certificate]) -> int:
    """The CAs between an issuer and the leaf; those that are self-issued do not count
    (RFC 5280, 4.2.1.9)."""
    return sum(certificate.subject != certificate.issuer for certificate in path[1:])


def _too_long(presented: Sequence[x509.Certificate]) -> Check:
    about = chain.subject(presented[0])
    why = f"{len(presented)} certificates were sent; at most {LONGEST} are looked at"
    return failed(LENGTH, about, why, "send the device's certificate and its issuers only")


def _unreadable(certificate: x509.Certificate) -> Check | None:
    if not (problem := chain.fault(certificate)):
        return None
    about, cure = chain.subject(certificate), "issue it again, with a tested profile"
    return failed(READABLE, about, problem, cure, source="RFC 5280, section 4")


def _version(certificate: x509.Certificate) -> Check:
    about = chain.subject(certificate)
    if certificate.version is x509.Version.v3:
        return passed(VERSION, about, "it is of version 3")
    return failed(
        VERSION,
        about,
        "it is of version 1, which has no extensions: nothing says what it may be used for",
        "issue it again with extensions: openssl x509 -req makes version 1 unless -extfile names "
        "some, such as basicConstraints=CA:FALSE",
        source="RFC 5280, section 4.1.2.1",
    )


def _check_leaf(leaf: x509.Certificate) -> list[Check]:
    about = chain.subject(leaf)
    if chain.is_ca(leaf):
        return [
            failed(
                LEAF,
                about,
                "its basic constraints say CA:TRUE",
                "present the device's own certificate first, and the CAs behind it",
                "issue the device's certificate with CA:FALSE: openssl req -x509 makes a CA "
                "unless it is told otherwise",
                source="RFC 5280, section 4.2.1.9",
            )
        ]
    return [passed(LEAF, about, "it is no CA"), _usage(leaf, about), _purpose(leaf, about)]


def _usage(leaf: x509.Certificate, about: str) -> Check:
    try:
        usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return passed(USAGE, about, "it names no key usage, so any is allowed")
    if usage.digital_signature:
        return passed(USAGE, about, "its key usage names digitalSignature")
    return failed(
        USAGE,
        about,
        "its key usage does not name digitalSignature",
        "issue it again with digitalSignature, or without any key usage",
        source="RFC 5280, section 4.2.1.3",
    )


def _purpose(certificate: x509.Certificate, about: str) -> Check:
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return passed(PURPOSE, about, "it names no purposes, so any is allowed")
    if ExtendedKeyUsageOID.CLIENT_AUTH in usage:
        return passed(PURPOSE, about, "its extended key usage names clientAuth")
    return failed(
        PURPOSE,
        about,
        "its extended key usage does not name clientAuth",
        "issue it again with clientAuth, or without any extended key usage",
        source="RFC 5280, section 4.2.1.12",
    )


def _issuer_of(
    certificate: x509.Certificate,
    pool: Sequence[x509.Certificate],
    path: Sequence[x509.Certificate],
    at: datetime,
) -> x509.Certificate | None:
    """The best of those that carry its issuer's name: one that really signed it before one that
    did not, and of several one that is valid now. A wrong one serves to show what is wrong."""
    if chain.is_self_signed(certificate):
        return None
    named = [c for c in pool if _name_of(c) == certificate.issuer and c not in path]
    ranked = sorted(
        named, key=lambda c: (not chain.signed_by(certificate, c), not _is_valid(c, at))
    )
    return next(iter(ranked), None)


def _name_of(certificate: x509.Certificate) -> x509.Name | None:
    try:
        return certificate.subject
    except ValueError:
        return None


def _is_valid(certificate: x509.Certificate, at: datetime) -> bool:
    try:
        return certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc
    except ValueError:
        return False


def _unknown_issuer(certificate: x509.Certificate) -> Check:
    about = chain.subject(certificate)
    if chain.is_self_signed(certificate):
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
    about, above = chain.subject(below), chain.subject(issuer)
    return [
        passed(ISSUER, about, f"it was issued by {above}, which is at hand"),
        _signature(below, issuer, about, above),
        _may_issue(issuer, above),
        _purpose(issuer, above),
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
    about = chain.subject(certificate)
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if begin <= at <= end:
        return passed(VALIDITY, about, f"valid until {end:%Y-%m-%d}")
    early = at < begin
    why = f"not valid before {begin:%Y-%m-%d}" if early else f"it expired on {end:%Y-%m-%d}"
    cure = "wait, or correct the clock" if early else "renew it"
    return failed(VALIDITY, about, f"{why}; the lab's clock says {at:%Y-%m-%d}", cure, source=_RFC)
