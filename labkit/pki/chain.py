"""Certificates in a row: what they are called, and who issued whom."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from operator import attrgetter, methodcaller
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

T = TypeVar("T")

UNREADABLE = (
    ValueError,
    TypeError,  # of a CN that is a BIT STRING
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    UnsupportedAlgorithm,
)
"""What the parser raises for a certificate that breaks the standard."""


@lru_cache(maxsize=1024)  # of a device's own, and of its request, by each who looks at it
def common_name(certificate: x509.Certificate | x509.CertificateSigningRequest) -> str:
    """The CN of the subject; empty where it has none."""
    return name_cn(certificate.subject)


def name_cn(name: x509.Name) -> str:
    """The CN in a name; empty where it has none."""
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[-1].value) if found else ""


def title(name: x509.Name) -> str:
    """A name for people: ``CN=Technician-Z CA``, or the whole name where it has no CN."""
    found = name_cn(name)
    return f"CN={found}" if found else name.rfc4514_string() or "(empty name)"


@lru_cache(maxsize=1024)  # said of each CA with every device
def subject(certificate: x509.Certificate) -> str:
    """The subject's :func:`title`; says so where its bytes are no name at all."""
    try:
        return title(certificate.subject)
    except UNREADABLE:
        return "(a name that cannot be read)"


@lru_cache(maxsize=1024)  # of each CA with every device, and of a device's own more than once
def thumbprint(certificate: x509.Certificate) -> str:
    """SHA-256 of the DER encoding, 64 upper-case hex digits."""
    return certificate.fingerprint(hashes.SHA256()).hex().upper()


def thumbprint_sha1(certificate: x509.Certificate) -> str:
    """SHA-1 of the DER encoding, 40 upper-case hex digits, as Azure's portal shows it."""
    return certificate.fingerprint(hashes.SHA1()).hex().upper()


def to_pem(certificates: Iterable[x509.Certificate]) -> str:
    """One PEM block after the other."""
    return "".join(map(_pem, certificates))


@lru_cache(maxsize=1024)  # each visit of a device is kept with the chain that it sent
def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()


def is_self_signed(certificate: x509.Certificate) -> bool:
    """Whether its own key signed it: a root. A CA that changes its key signs the new one with
    the old under the same name (RFC 4210, 4.4): that is self-issued and no root."""
    return certificate.subject == certificate.issuer and signed_by(certificate, certificate)


def is_ca(certificate: x509.Certificate) -> bool:
    """Whether its basic constraints say CA:TRUE."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    except (x509.ExtensionNotFound, *UNREADABLE):
        return False
    return found.value.ca


_PARTS: Mapping[str, Callable[[x509.Certificate], object]] = {
    "subject": attrgetter("subject"),
    "issuer": attrgetter("issuer"),
    "extensions": attrgetter("extensions"),
    "validity": attrgetter("not_valid_before_utc", "not_valid_after_utc"),
    "public key": methodcaller("public_key"),
}
"""What a certificate is read for."""


def fault(certificate: x509.Certificate) -> str:
    """Which part of it cannot be read; empty for a sound one."""
    return unread(certificate, _PARTS)


def unread(thing: T, parts: Mapping[str, Callable[[T], object]]) -> str:
    """Which of these parts cannot be read in it; empty where all can.

    Parts are parsed when they are asked for, so a broken one may come as far as TLS lets it. Of
    bytes out of place the parser knows no more than their place in its own tables: that is no
    answer to anybody. What it knows by name (an extension, a curve) is told.
    """
    for part, read in parts.items():
        try:
            read(thing)
        except UNREADABLE as error:
            told = "" if isinstance(error, ValueError | TypeError) else f": {error}"
            return f"its {part} cannot be read{told}"
    return ""


@lru_cache(maxsize=4096)  # asked again and again of the same few, and the answer never changes
def signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether ``issuer`` carries the name and the key that ``certificate`` was signed with."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (*UNREADABLE, InvalidSignature):
        return False
    return True


def climb(leaf: x509.Certificate, pool: Iterable[x509.Certificate]) -> list[x509.Certificate]:
    """From ``leaf`` upwards through ``pool``, in any order, as far as signatures lead.

    A cross-signed CA has several issuers: the first in ``pool`` whose signature fits is taken.
    """
    candidates = list(pool)
    path = [leaf]
    while not is_self_signed(path[-1]):
        above = (c for c in candidates if c not in path and signed_by(path[-1], c))
        issuer = next(above, None)
        if issuer is None:
            break
        path.append(issuer)
    return path


def names(certificates: Sequence[x509.Certificate]) -> str:
    """``CN=a, CN=b`` for people."""
    return ", ".join(map(subject, certificates)) or "none"
