"""Certificates of any shape, right or wrong, with keys in memory. For tests only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from labkit.pki import profiles

NOW = datetime(2027, 3, 1, 9, tzinfo=UTC)
"""The moment at which forged certificates are judged, unless a test says otherwise."""

CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH
_UNKNOWN = x509.ObjectIdentifier("1.3.6.1.4.1.99999.1")


def cn(common_name: str) -> x509.Name:
    if not common_name:
        return x509.Name([])
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def key_id(key: ec.EllipticCurvePrivateKey) -> x509.SubjectKeyIdentifier:
    """openssl picks among issuers of one name by it."""
    return x509.SubjectKeyIdentifier.from_public_key(key.public_key())


@dataclass
class Forged:
    """A certificate with its key, which can issue others. ``days``: from when to when, from NOW."""

    name: str
    issuer: Forged | None = None
    ca: bool | None = False
    path_length: int | None = None
    usage: tuple[str, ...] | None = ("digital_signature",)
    purposes: Sequence[x509.ObjectIdentifier] = ()
    days: tuple[float, float] = (-1, 365)
    unknown_critical: bool = False
    key: ec.EllipticCurvePrivateKey = field(default_factory=new_key)
    subject: x509.Name | None = None

    def __post_init__(self) -> None:
        signer = self.issuer or self
        self.subject = self.subject if self.subject is not None else cn(self.name)
        assert signer.subject is not None
        self.certificate = self._builder(signer.subject).sign(signer.key, hashes.SHA256())

    def _builder(self, issuer: x509.Name) -> x509.CertificateBuilder:
        assert self.subject is not None
        builder = (
            x509.CertificateBuilder()
            .subject_name(self.subject)
            .issuer_name(issuer)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW + timedelta(days=self.days[0]))
            .not_valid_after(NOW + timedelta(days=self.days[1]))
            .add_extension(key_id(self.key), critical=False)
        )
        if self.issuer is not None:
            above = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
                key_id(self.issuer.key)
            )
            builder = builder.add_extension(above, critical=False)
        if self.ca is not None:
            constraints = x509.BasicConstraints(self.ca, self.path_length if self.ca else None)
            builder = builder.add_extension(constraints, critical=True)
        if self.usage is not None:
            builder = builder.add_extension(profiles.key_usage(*self.usage), critical=True)
        if self.purposes:
            builder = builder.add_extension(x509.ExtendedKeyUsage(self.purposes), critical=False)
        if self.unknown_critical:
            unknown = x509.UnrecognizedExtension(_UNKNOWN, b"\x05\x00")
            builder = builder.add_extension(unknown, critical=True)
        return builder


CA_USAGE = ("key_cert_sign", "crl_sign", "digital_signature")


def ca(name: str, issuer: Forged | None = None, **options: object) -> Forged:
    """A CA; a root where it has no issuer."""
    wanted = {"ca": True, "usage": CA_USAGE, "days": (-10, 3650), **options}
    return Forged(name, issuer, **wanted)  # type: ignore[arg-type]


def device(name: str, issuer: Forged | None, **options: object) -> Forged:
    """A device's certificate; self-signed where it has no issuer."""
    return Forged(name, issuer, **{"purposes": (CLIENT,), **options})  # type: ignore[arg-type]


def tampered(certificate: x509.Certificate) -> x509.Certificate:
    """The same with one bit of its signature turned."""
    der = bytearray(certificate.public_bytes(Encoding.DER))
    der[-5] ^= 1
    return x509.load_der_x509_certificate(bytes(der))


# ---- bytes that no builder makes


def sequence(*parts: bytes) -> bytes:
    body = b"".join(parts)
    length = len(body)
    if length < 128:
        return b"\x30" + bytes([length]) + body
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return b"\x30" + bytes([0x80 | len(octets)]) + octets + body


def rewritten(forged: Forged, old: bytes, new: bytes) -> bytes:
    """DER of a certificate whose signed part had ``old`` replaced by ``new`` (of equal length),
    and was then signed again: what a client may send who is not bound by a builder."""
    assert len(old) == len(new)
    body = forged.certificate.tbs_certificate_bytes
    assert old in body
    body = body.replace(old, new)
    der = forged.certificate.public_bytes(Encoding.DER)
    algorithm = bytes.fromhex("300a06082a8648ce3d040302")  # ecdsa-with-SHA256
    assert algorithm in der
    signature = (forged.issuer or forged).key.sign(body, ec.ECDSA(hashes.SHA256()))
    bits = b"\x00" + signature
    return sequence(body, algorithm, b"\x03" + bytes([len(bits)]) + bits)


def odd_certificates() -> dict[str, tuple[bytes, ec.EllipticCurvePrivateKey]]:
    """Self-signed certificates that OpenSSL lets through TLS and that readers stumble over."""
    plain = device("odd-widget", None)
    # Two key usages: the extended one's OID (2.5.29.37) is made that of key usage (2.5.29.15).
    doubled = device("odd-widget", None)
    return {
        "version 8": (
            rewritten(plain, b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x07"),
            plain.key,
        ),
        "name that is not UTF-8": (
            rewritten(plain, b"\x0c\x0aodd-widget", b"\x0c\x0a\xff\xfe\xff-widget"),
            plain.key,
        ),
        "extension twice": (rewritten(doubled, b"\x55\x1d\x25", b"\x55\x1d\x0f"), doubled.key),
        "extension that cannot be read": (
            rewritten(plain, b"\x55\x1d\x25\x04\x0c\x30", b"\x55\x1d\x25\x04\x0c\x05"),
            plain.key,
        ),
    }


def with_broken_extension(forged: Forged, issuer: Forged) -> x509.Certificate:
    """The same certificate with CRL distribution points that are no ASN.1: a verifier that does
    not need them does not look."""
    broken = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.31"), b"nonsense")
    assert issuer.subject is not None
    builder = forged._builder(issuer.subject).add_extension(broken, critical=False)
    return builder.sign(issuer.key, hashes.SHA256())
