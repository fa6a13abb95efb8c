"""What the inspector tells of one node of the picture: facts in words, and the bytes on demand."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from labkit.pki import chain
from labkit.pki.request import describe_key

_OPENSSL_SECONDS = 10

_PURPOSES = {
    ExtendedKeyUsageOID.CLIENT_AUTH: "prove who a client is (clientAuth)",
    ExtendedKeyUsageOID.SERVER_AUTH: "prove who a server is (serverAuth)",
}
_USES = {
    "digital_signature": "sign data and handshakes",
    "key_cert_sign": "sign certificates",
    "crl_sign": "sign revocation lists",
    "key_encipherment": "encrypt keys",
    "key_agreement": "agree on keys",
}


@dataclass(frozen=True, slots=True)
class Inspection:
    """``facts`` are pairs of a label and a value; ``certificate`` is what the node stands for,
    where it stands for one."""

    title: str
    kind: str
    facts: tuple[tuple[str, str], ...]
    certificate: x509.Certificate | None = None

    @property
    def pem(self) -> str:
        return chain.to_pem([self.certificate]) if self.certificate else ""

    @property
    def openssl(self) -> str:
        """What ``openssl x509 -text`` prints, or why it cannot."""
        if self.certificate is None:
            return ""
        if shutil.which("openssl") is None:
            return "openssl is not installed on this machine"
        done = subprocess.run(
            ["openssl", "x509", "-noout", "-text"],
            input=self.pem,
            capture_output=True,
            text=True,
            timeout=_OPENSSL_SECONDS,
        )
        return done.stdout or done.stderr


def certificate_facts(certificate: x509.Certificate) -> Iterator[tuple[str, str]]:
    """A certificate decoded, its extensions in words."""
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    own = " (itself)" if chain.is_self_signed(certificate) else ""
    yield "subject", certificate.subject.rfc4514_string()
    yield "issued by", certificate.issuer.rfc4514_string() + own
    yield "valid", f"{begin:%Y-%m-%d} to {end:%Y-%m-%d}"
    yield "key", describe_key(certificate.public_key())
    yield from _extensions(certificate)
    yield "serial number", f"{certificate.serial_number:X}"
    yield "SHA-1 thumbprint", chain.thumbprint_sha1(certificate)
    yield "SHA-256 thumbprint", chain.thumbprint(certificate)


def _extensions(certificate: x509.Certificate) -> Iterator[tuple[str, str]]:
    for extension in certificate.extensions:
        words = _in_words(extension.value)
        if words:
            yield _names(extension.oid), words + (" (critical)" if extension.critical else "")


def _names(oid: x509.ObjectIdentifier) -> str:
    return {
        ExtensionOID.BASIC_CONSTRAINTS: "may be a CA",
        ExtensionOID.KEY_USAGE: "its key may",
        ExtensionOID.EXTENDED_KEY_USAGE: "it may be used to",
        ExtensionOID.SUBJECT_KEY_IDENTIFIER: "its key's name",
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER: "its signer's key's name",
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME: "other names",
    }.get(oid, f"extension {oid.dotted_string}")


def _in_words(value: x509.ExtensionType) -> str:
    if isinstance(value, x509.BasicConstraints):
        return _constraints(value)
    if isinstance(value, x509.KeyUsage):
        return ", ".join(words for name, words in _USES.items() if getattr(value, name))
    if isinstance(value, x509.ExtendedKeyUsage):
        return ", ".join(_PURPOSES.get(oid, oid.dotted_string) for oid in value)
    if isinstance(value, x509.SubjectKeyIdentifier):
        return value.digest.hex()
    if isinstance(value, x509.AuthorityKeyIdentifier):
        return (value.key_identifier or b"").hex()
    if isinstance(value, x509.SubjectAlternativeName):
        return ", ".join(str(name.value) for name in value)
    return "present"


def _constraints(value: x509.BasicConstraints) -> str:
    if not value.ca:
        return "no"
    if value.path_length is None:
        return "yes, with any number of CAs below it"
    return f"yes, with at most {value.path_length} CAs below it"
