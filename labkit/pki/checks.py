"""What is looked at in each certificate of a chain, one rule a check.

They name what is wrong; whether the chain is good is decided in :mod:`labkit.pki.policy`. The
names are constants, because whoever shows or mends a fault asks for it by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtensionOID

from labkit.pki import chain
from labkit.pki.policy import CLIENT, Purpose
from labkit.trace import Check, failed, passed

ISSUER = "its issuer is known"
SIGNATURE = "its issuer's key signed it"
VALIDITY = "the lab's clock is within its validity"
IS_CA = "its issuer may sign certificates"
PATH_LENGTH = "its issuer allows this many CAs below it"
PURPOSE = CLIENT.rule
VERSION = "it is a certificate of version 3"
READABLE = "its extensions can be read"
CRITICAL = "what it calls critical is understood"
STRENGTH = "its signature is of a kind that is taken"
USAGE = "its key may sign a TLS handshake"
LEAF = "it is a device's certificate and not a CA's"
ANCHOR = "it is a CA that is trusted"
REVOCATION = "its revocation (CRL, OCSP) is not asked for"

RFC = "RFC 5280, section 6.1"

_UNDERSTOOD = frozenset(
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.NAME_CONSTRAINTS,
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
        ExtensionOID.SUBJECT_KEY_IDENTIFIER,
        ExtensionOID.AUTHORITY_INFORMATION_ACCESS,
    }
)
_HASHES = frozenset({"sha256", "sha384", "sha512"})
_CURVES = frozenset({"secp256r1", "secp384r1", "secp521r1"})
_RSA_BITS = 2048


def of_leaf(leaf: x509.Certificate, at: datetime, purpose: Purpose) -> Iterator[Check]:
    """Whatever can be wrong with a device's (or a server's) certificate by itself."""
    about = chain.subject(leaf)
    if problem := chain.fault(leaf):
        yield _unreadable(about, problem)
    else:
        yield from _form(leaf, about)
        yield _is_no_ca(leaf, about)
        yield _usage(leaf, about)
        yield _purpose(leaf, about, purpose)
    yield from validity(leaf, at)
    yield from _revocation(leaf, about)


def of_issuer(
    below: x509.Certificate,
    issuer: x509.Certificate,
    cas_below: int,
    at: datetime,
    purpose: Purpose,
) -> Iterator[Check]:
    """Whatever can be wrong with a CA on the path, and with its signature on what is below.

    ``cas_below`` counts the CAs between it and the leaf.
    """
    about, above = chain.subject(below), chain.subject(issuer)
    problem = chain.fault(issuer)
    yield from [_unreadable(above, problem)] if problem else _form(issuer, above)
    yield passed(ISSUER, about, f"it was issued by {above}, which is at hand")
    yield signature(below, issuer)
    if not problem:
        yield _may_issue(issuer, above)
        yield _purpose(issuer, above, purpose)
        yield _path_length(issuer, above, cas_below)
    yield from validity(issuer, at)
    yield from _revocation(issuer, above)


def _unreadable(about: str, problem: str) -> Check:
    cure = "issue it again, with a tested profile"
    return failed(READABLE, about, problem, cure, source="RFC 5280, section 4")


def _form(certificate: x509.Certificate, about: str) -> Iterator[Check]:
    """Its version; and what it calls critical, which is told only where it is the fault."""
    yield _version(certificate, about)
    critical = (e for e in certificate.extensions if e.critical)
    if strange := [_called(e.value) for e in critical if e.oid not in _UNDERSTOOD]:
        yield failed(
            CRITICAL,
            about,
            f"it marks {', '.join(strange)} as critical, which this path validation does not know",
            "issue it again without that extension, or with it not critical",
            source="RFC 5280, section 4.2",
        )


def _called(extension: x509.ExtensionType) -> str:
    known = not isinstance(extension, x509.UnrecognizedExtension)
    return type(extension).__name__ if known else extension.oid.dotted_string


def _version(certificate: x509.Certificate, about: str) -> Check:
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


def _is_no_ca(leaf: x509.Certificate, about: str) -> Check:
    if not chain.is_ca(leaf):
        return passed(LEAF, about, "it is no CA")
    return failed(
        LEAF,
        about,
        "its basic constraints say CA:TRUE",
        "present the device's own certificate first, and the CAs behind it",
        "issue the device's certificate with CA:FALSE: openssl req -x509 makes a CA "
        "unless it is told otherwise",
        source="RFC 5280, section 4.2.1.9",
    )


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


def _purpose(certificate: x509.Certificate, about: str, purpose: Purpose) -> Check:
    try:
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return passed(purpose.rule, about, "it names no purposes, so any is allowed")
    if purpose.allows(usages):
        return passed(purpose.rule, about, f"its extended key usage names {purpose.name}")
    return failed(
        purpose.rule,
        about,
        f"its extended key usage does not name {purpose.name}",
        f"issue it again with {purpose.name}, or without any extended key usage",
        source="RFC 5280, section 4.2.1.12",
    )


def signature(below: x509.Certificate, issuer: x509.Certificate) -> Check:
    """Whether the issuer's key signed these bytes, with an algorithm that is taken."""
    about, above = chain.subject(below), chain.subject(issuer)
    if why := weakness(below, issuer):
        return failed(
            STRENGTH,
            about,
            why,
            "issue it again with an RSA key of 2048 bits or more, or one on the curve P-256, "
            "P-384 or P-521, and SHA-256 or better",
            source="CA/Browser Forum Baseline Requirements, section 7.1.3",
        )
    if chain.signed_by(below, issuer):
        return passed(SIGNATURE, about, f"the signature verifies with the key of {above}")
    return failed(
        SIGNATURE,
        about,
        f"it names {above} as its issuer, but that key did not sign these bytes: "
        f"it was altered, or {above} was made again with another key",
        f"have {above} issue it again, or present the {above} that signed it",
        source=RFC,
    )


def weakness(below: x509.Certificate, issuer: x509.Certificate) -> str:
    """Why no such signature is taken, whoever made it; empty for a usual one."""
    return _weak_key(issuer) or _weak_hash(below)


def _weak_key(issuer: x509.Certificate) -> str:
    about = chain.subject(issuer)
    try:
        key = issuer.public_key()
    except chain.UNREADABLE:
        return f"the key of {about} is of a kind that nobody here can read"
    if isinstance(key, rsa.RSAPublicKey):
        weak = key.key_size < _RSA_BITS
        return f"the RSA key of {about} has {key.key_size} bits only" if weak else ""
    if isinstance(key, ec.EllipticCurvePublicKey):
        known = key.curve.name in _CURVES
        return "" if known else f"the key of {about} is on the curve {key.curve.name}"
    return f"the key of {about} is neither RSA nor on one of the usual elliptic curves"


def _weak_hash(below: x509.Certificate) -> str:
    try:
        algorithm = below.signature_hash_algorithm
    except chain.UNREADABLE:
        return "its signature is of an unknown kind"
    name = algorithm.name if algorithm else "no hash of its own"
    return "" if name in _HASHES else f"it is signed over {name.upper()}"


def _may_issue(issuer: x509.Certificate, above: str) -> Check:
    if not chain.is_ca(issuer):
        why = "its basic constraints do not say CA:TRUE"
    elif not has_key_cert_sign(issuer):
        why = "its key usage lacks keyCertSign"
    else:
        return passed(IS_CA, above, "it is a CA and may sign certificates")
    return failed(
        IS_CA, above, why, f"issue {above} again as a CA", source="RFC 5280, section 4.2.1.9"
    )


def has_key_cert_sign(issuer: x509.Certificate) -> bool:
    """Whether its key usage, where it has one, lets it sign certificates."""
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


def is_valid(certificate: x509.Certificate, at: datetime) -> bool:
    """Whether this moment is within its validity; never for dates that cannot be read."""
    try:
        return certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc
    except chain.UNREADABLE:
        return False


def validity(certificate: x509.Certificate, at: datetime) -> Iterator[Check]:
    """One check of its validity; none where its dates cannot be read."""
    about = chain.subject(certificate)
    try:
        begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    except chain.UNREADABLE:
        return
    if begin <= at <= end:
        yield passed(VALIDITY, about, f"valid until {end:%Y-%m-%d}")
        return
    early = at < begin
    why = f"not valid before {begin:%Y-%m-%d}" if early else f"it expired on {end:%Y-%m-%d}"
    cure = "wait, or correct the clock" if early else "renew it"
    yield failed(VALIDITY, about, f"{why}; the lab's clock says {at:%Y-%m-%d}", cure, source=RFC)


def _revocation(certificate: x509.Certificate, about: str) -> Iterator[Check]:
    """Said only of a certificate that invites the question: nobody here follows the address."""
    if where := revocation_addresses(certificate):
        why = f"it names {', '.join(where)}; nobody asks there, and a revoked one is still taken"
        yield passed(REVOCATION, about, why, source="RFC 5280, section 6.3")


def revocation_addresses(certificate: x509.Certificate) -> list[str]:
    """Where it says that its revocation could be asked for: CRL distribution points and OCSP."""
    try:
        extensions = certificate.extensions
    except chain.UNREADABLE:
        return []
    found: list[x509.GeneralName] = []
    for extension in extensions:
        value = extension.value
        if isinstance(value, x509.CRLDistributionPoints | x509.FreshestCRL):
            found += [name for point in value for name in point.full_name or ()]
        elif isinstance(value, x509.AuthorityInformationAccess):
            ocsp = AuthorityInformationAccessOID.OCSP
            found += [d.access_location for d in value if d.access_method == ocsp]
    return [str(name.value) for name in found]
