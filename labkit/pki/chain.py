"""Certificates in a row: who issued whom, and reading them out of what people hand over."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from labkit.errors import BadCertificate

LARGEST = 256 * 1024
"""Bytes of certificate input that are looked at at all."""

_PRIVATE = re.compile(rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----")
UNREADABLE = (
    ValueError,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    UnsupportedAlgorithm,
)
"""What the parser raises for a certificate that breaks the standard."""
_ARMOUR = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----")


def common_name(certificate: x509.Certificate | x509.CertificateSigningRequest) -> str:
    """The CN of the subject; empty where it has none."""
    return name_cn(certificate.subject)


def name_cn(name: x509.Name) -> str:
    """The CN in a name; empty where it has none."""
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[-1].value) if found else ""


def title(name: x509.Name) -> str:
    """A name for people: ``CN=Technician-Z CA``, or the whole name where it has no CN."""
    return f"CN={name_cn(name)}" if name_cn(name) else name.rfc4514_string() or "(empty name)"


def subject(certificate: x509.Certificate) -> str:
    """The subject's :func:`title`; says so where its bytes are no name at all."""
    try:
        return title(certificate.subject)
    except ValueError:
        return "(a name that cannot be read)"


def thumbprint(certificate: x509.Certificate) -> str:
    """SHA-256 of the DER encoding, 64 upper-case hex digits."""
    return certificate.fingerprint(hashes.SHA256()).hex().upper()


def thumbprint_sha1(certificate: x509.Certificate) -> str:
    """SHA-1 of the DER encoding, 40 upper-case hex digits, as Azure's portal shows it."""
    return certificate.fingerprint(hashes.SHA1()).hex().upper()


def to_pem(certificates: Iterable[x509.Certificate]) -> str:
    """One PEM block after the other."""
    return "".join(c.public_bytes(Encoding.PEM).decode() for c in certificates)


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


def fault(certificate: x509.Certificate) -> str:
    """What cannot be read in it, in the reader's words; empty for a sound one.

    Parts are parsed when they are asked for, so a broken one may come as far as TLS lets it.
    """
    try:
        _ = certificate.subject, certificate.issuer, certificate.extensions
        _ = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        certificate.public_key()
    except UNREADABLE as error:
        return str(error) or type(error).__name__
    return ""


@lru_cache(maxsize=4096)  # asked again and again of the same few, and the answer never changes
def signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether ``issuer`` carries the name and the key that ``certificate`` was signed with."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (*UNREADABLE, TypeError, InvalidSignature):
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


Readable: TypeAlias = bytes | str | Path
"""Certificates as people hand them over: the bytes, the text, or the file."""


def read_certificates(data: Readable) -> list[x509.Certificate]:
    """The certificates in PEM (one or a bundle), DER, or base64 of either, in their order.

    Raises BadCertificate, which says what the bytes are. A private key among them is refused
    whole: whoever uploads one must learn of it, and nothing of it may be kept.
    """
    raw = _read(data) if isinstance(data, Path) else _to_bytes(data)
    if len(raw) > LARGEST:
        raise _bad(f"{len(raw)} bytes", cure=f"at most {LARGEST} bytes are read")
    raw = _without_base64(raw)
    if _PRIVATE.search(raw):
        raise BadCertificate(
            "This holds a private key. It was not stored",
            expected="certificates only: they are public",
            found="a PEM block BEGIN ... PRIVATE KEY",
            cure="hand over the certificate alone, and treat the key as seen by others: replace it",
        )
    try:
        found = x509.load_pem_x509_certificates(raw) if _ARMOUR.search(raw) else [_der(raw)]
    except (ValueError, x509.InvalidVersion) as error:
        raise _bad(_what_is(raw)) from error
    for certificate in found:
        if problem := fault(certificate):
            raise _bad(f"a certificate that breaks the standard: {problem}")
    return found


def read_certificate(data: x509.Certificate | Readable) -> x509.Certificate:
    """The one certificate in ``data``. Raises BadCertificate where there are more."""
    if isinstance(data, x509.Certificate):
        return data
    if not isinstance(data, str | bytes | bytearray | memoryview | Path):
        holds_one = isinstance(getattr(data, "certificate", None), x509.Certificate)
        raise _bad(
            f"a value of type {type(data).__name__}",
            cure="hand over its .certificate" if holds_one else "",
        )
    found = read_certificates(data)
    if len(found) != 1:
        raise _bad(
            f"a bundle of {len(found)}: {', '.join(title(c.subject) for c in found)}",
            cure="hand over just the one that is wanted",
        )
    return found[0]


def read_ca(data: x509.Certificate | Readable, *, cure: str) -> x509.Certificate:
    """The one CA certificate in ``data``. Raises BadCertificate, which advises ``cure``."""
    certificate = read_certificate(data)
    if not is_ca(certificate):
        raise BadCertificate(
            f"{subject(certificate)} is no CA certificate",
            expected="a certificate whose basic constraints say CA:TRUE",
            found="one that may not sign others",
            cure=cure,
        )
    return certificate


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(LARGEST + 1)
    except OSError as error:
        raise BadCertificate(
            f"{path} cannot be read", expected="a certificate file", found=error.strerror or ""
        ) from error


def _to_bytes(data: bytes | str) -> bytes:
    return data.encode(errors="replace") if isinstance(data, str) else bytes(data)


def _der(raw: bytes) -> x509.Certificate:
    return x509.load_der_x509_certificate(raw)


def _bad(found: str, cure: str = "") -> BadCertificate:
    return BadCertificate(
        "This is not a certificate that can be read",
        expected="an X.509 certificate in PEM (BEGIN CERTIFICATE) or DER",
        found=found,
        cure=cure or "look at the file with: openssl x509 -in FILE -noout -text",
    )


def _without_base64(raw: bytes) -> bytes:
    """ARM sends a certificate as base64 of its PEM or DER; unwrap that one layer."""
    if _ARMOUR.search(raw) or raw[:1] == b"\x30":
        return raw
    try:
        return base64.b64decode(b"".join(raw.split()), validate=True)
    except binascii.Error:
        return raw


def _what_is(raw: bytes) -> str:
    if not raw.strip():
        return "nothing"
    armour = _ARMOUR.search(raw)
    if armour is None:
        return f"{len(raw)} bytes that are neither PEM nor DER"
    kind = armour[1].decode()
    if kind == "CERTIFICATE":
        return "a PEM block BEGIN CERTIFICATE whose content is damaged"
    return f"a PEM block BEGIN {kind}"


def names(certificates: Sequence[x509.Certificate]) -> str:
    """``CN=a, CN=b`` for people."""
    return ", ".join(map(subject, certificates)) or "none"
