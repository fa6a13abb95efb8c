"""Is this chain good, now, for this purpose? And if not, why not?

Two parts that must agree. The *decision* is made by cryptography's verifier (RFC 5280 path
validation, built and fuzzed by others). It answers in one unhelpful sentence, so the
*explanation* walks the chain again, certificate by certificate, and says for each what was
looked at: not only up to the first fault but to the end of the path. Where our walk finds
nothing wrong and the verifier still refuses, the last check says so in the verifier's own
words: the explanation never contradicts the decision.

    presented   leaf ── intermediate ── intermediate        any order behind the leaf
    anchors     CAs that are trusted already                 the top, or a level in between

Revocation lists are not consulted, because the services that this lab emulates do not; of a
certificate that names one, a check says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cached_property, lru_cache

from cryptography import x509

from labkit.pki import chain, checks, policy
from labkit.pki.checks import (
    ANCHOR,
    CRITICAL,
    IS_CA,
    ISSUER,
    LEAF,
    PATH_LENGTH,
    PURPOSE,
    READABLE,
    REVOCATION,
    SIGNATURE,
    STRENGTH,
    USAGE,
    VALIDITY,
    VERSION,
)
from labkit.trace import Check, failed, first_failure, passed

__all__ = [
    "ANCHOR",
    "CRITICAL",
    "DEPTH",
    "ISSUER",
    "IS_CA",
    "LEAF",
    "LENGTH",
    "LONGEST",
    "PATH_LENGTH",
    "PURPOSE",
    "READABLE",
    "REVOCATION",
    "SIGNATURE",
    "STRENGTH",
    "USAGE",
    "VALIDITY",
    "VERIFIER",
    "VERSION",
    "Verdict",
    "judge",
    "may_issue",
]

LENGTH = "the chain is no longer than any real one"
DEPTH = "not too many CAs are between it and a trusted one"
VERIFIER = "the path validation of RFC 5280 accepts the chain"

LONGEST = 16
"""Certificates that are looked at; a longer chain is refused unread, for its checking could
take for ever."""


class Verdict:
    """The decision, and its explanation once it is asked for: that costs more than the decision.

    ``accepted`` is the decision, ``path`` the way that was accepted, from the leaf to the anchor
    (empty for a refused chain).
    """

    def __init__(
        self,
        presented: Sequence[x509.Certificate],
        anchors: Sequence[x509.Certificate],
        at: datetime,
        purpose: policy.Purpose,
        outcome: tuple[Sequence[x509.Certificate], str],
    ) -> None:
        self._presented, self._anchors = presented, anchors
        self._at, self._purpose = at, purpose
        path, self._refusal = outcome
        self.accepted, self.path = not self._refusal, tuple(path)

    @property
    def checks(self) -> tuple[Check, ...]:
        """Every check in order, of every certificate on the path; the first that failed decides.
        One of them failed exactly when the chain was not accepted."""
        return self._explained[0]

    @property
    def missing(self) -> x509.Name | None:
        """The name of the certificate that nobody presented, where that is the fault."""
        return self._explained[1]

    @property
    def signed_itself(self) -> bool:
        """Whether the leaf did, as a root does."""
        leaf = self._presented[0]
        return _has_names(leaf) and chain.is_self_signed(leaf)

    @property
    def alone(self) -> bool:
        """Whether the leaf signed itself and is no CA: no CA has a part in it."""
        return self.signed_itself and not chain.is_ca(self._presented[0])

    @cached_property
    def _explained(self) -> tuple[tuple[Check, ...], x509.Name | None]:
        if len(self._presented) > LONGEST:
            return (_too_long(self._presented),), None
        walk = _Walk(self.path or (*self._anchors, *self._presented), self._anchors, self._at)
        found = walk.up_from(self._presented[0], self._purpose)
        if self._refusal and first_failure(found) is None:
            about, cure = chain.subject(self._presented[0]), "issue the chain anew"
            found.append(failed(VERIFIER, about, self._refusal, cure, source=checks.RFC))
        return tuple(found), walk.missing


def judge(
    presented: Sequence[x509.Certificate],
    anchors: Sequence[x509.Certificate],
    at: datetime,
    purpose: policy.Purpose = policy.CLIENT,
) -> Verdict:
    """Judges a chain, leaf first, at a moment, against the CAs that are trusted, for a purpose.

    ``presented`` must hold the leaf at least. Never raises for a bad chain.
    """
    moment = at.astimezone(UTC).replace(microsecond=0)  # what a certificate can express
    if len(presented) > LONGEST:
        refusal = f"more than {LONGEST} certificates"
        return Verdict(presented, anchors, moment, purpose, ([], refusal))
    path, refusal = policy.verify(presented, anchors, moment, purpose)
    # The verifier reads only the extensions that it needs; a broken one is broken all the same.
    if path and (fault := _fault_of(tuple(path[:1])) or _fault_of(tuple(path[1:]))):
        path, refusal = [], fault
    return Verdict(presented, anchors, moment, purpose, (path, refusal))


def may_issue(certificate: x509.Certificate, at: datetime) -> bool:
    """Whether it is a CA that may sign certificates, and valid at this moment."""
    moment = at.astimezone(UTC).replace(microsecond=0)
    sound = not chain.fault(certificate) and chain.is_ca(certificate)
    return sound and checks.has_key_cert_sign(certificate) and checks.is_valid(certificate, moment)


@lru_cache(maxsize=1024)  # the same CAs come with every device, and a device again
def _fault_of(certificates: tuple[x509.Certificate, ...]) -> str:
    return next(filter(None, map(chain.fault, certificates)), "")


class _Walk:
    """From the leaf up the path that was accepted; where none was, up the one that leads
    furthest. ``missing`` is the name of the issuer at which it had to stop, if it had to."""

    def __init__(
        self,
        pool: Sequence[x509.Certificate],
        anchors: Sequence[x509.Certificate],
        at: datetime,
    ) -> None:
        self._pool, self._anchors, self._at = pool, anchors, at
        self.missing: x509.Name | None = None

    def up_from(self, leaf: x509.Certificate, purpose: policy.Purpose) -> list[Check]:
        """Every check of every certificate on the way."""
        path, found = [leaf], list(checks.of_leaf(leaf, self._at, purpose))
        while path[-1] not in self._anchors:
            below, cas_below = path[-1], _cas_in(path)
            if not _has_names(below):
                return found  # whoever issued it cannot be looked for
            issuer = self._issuer_of(below, path)
            if issuer is None:
                self.missing = None if chain.is_self_signed(below) else below.issuer
                return [*found, _unknown_issuer(below)]
            found += checks.of_issuer(below, issuer, cas_below, self._at, purpose)
            path.append(issuer)
        if _cas_in(path[:-1]) > policy.DEEPEST:
            found.append(_too_deep(path))
        return [*found, passed(ANCHOR, chain.subject(path[-1]), "it is one of the trusted CAs")]

    def _issuer_of(
        self, certificate: x509.Certificate, path: Sequence[x509.Certificate]
    ) -> x509.Certificate | None:
        """The best of those that carry its issuer's name: one that really signed it before one
        that did not, of several one that leads to a trusted CA, and of those one that is valid
        now. A wrong one serves to show what is wrong."""
        if chain.is_self_signed(certificate):
            return None
        named = [c for c in self._pool if c not in path and _is_named(c, certificate.issuer)]
        return min(named, key=lambda c: self._badness(certificate, c), default=None)

    def _badness(
        self, below: x509.Certificate, issuer: x509.Certificate
    ) -> tuple[bool, bool, bool]:
        reaches = any(c in self._anchors for c in chain.climb(issuer, self._pool))
        signed, valid = chain.signed_by(below, issuer), checks.is_valid(issuer, self._at)
        return not signed, not reaches, not valid


def _cas_in(path: Sequence[x509.Certificate]) -> int:
    """The CAs between an issuer and the leaf; those that are self-issued do not count
    (RFC 5280, 4.2.1.9)."""
    return sum(certificate.subject != certificate.issuer for certificate in path[1:])


def _has_names(certificate: x509.Certificate) -> bool:
    try:
        _ = certificate.issuer, certificate.subject
    except chain.UNREADABLE:
        return False
    return True


def _is_named(certificate: x509.Certificate, name: x509.Name) -> bool:
    return _has_names(certificate) and certificate.subject == name


def _too_long(presented: Sequence[x509.Certificate]) -> Check:
    about = chain.subject(presented[0])
    why = f"{len(presented)} certificates were sent; at most {LONGEST} are looked at"
    return failed(LENGTH, about, why, "send the device's certificate and its issuers only")


def _too_deep(path: Sequence[x509.Certificate]) -> Check:
    return failed(
        DEPTH,
        chain.subject(path[0]),
        f"{_cas_in(path[:-1])} CAs are between it and {chain.subject(path[-1])}; at most "
        f"{policy.DEEPEST} are followed",
        "make a CA in between a trusted one",
        "take CAs out of the chain",
        source=checks.RFC,
    )


def _unknown_issuer(certificate: x509.Certificate) -> Check:
    about = chain.subject(certificate)
    if chain.is_self_signed(certificate):
        return failed(
            ANCHOR,
            about,
            "the chain ends here, and it is none of the trusted CAs",
            f"make {about} a trusted CA",
            source=checks.RFC,
        )
    issuer = chain.title(certificate.issuer)
    return failed(
        ISSUER,
        about,
        f"it was issued by {issuer}, which was not presented and is no trusted CA",
        f"present {issuer} too",
        f"make {issuer} a trusted CA",
        source=checks.RFC,
    )
