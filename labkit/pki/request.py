"""Certificate signing requests (PKCS#10, RFC 2986): made by whoever has the key, checked by
whoever signs."""

from __future__ import annotations

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from labkit.errors import BadCertificate, BadRequest
from labkit.hsm import TokenKey
from labkit.pki import chain
from labkit.pki.chain import Readable

LONGEST_CN = 64
"""ub-common-name, RFC 5280, appendix A.1."""

_SMALLEST_RSA = 2048
_CURVES = (ec.SECP256R1, ec.SECP384R1)


def name(common_name: str, organization: str = "") -> x509.Name:
    """A subject of a CN and, before it, the organization where one is given.

    Raises BadRequest for a CN that no certificate can have.
    """
    if not isinstance(common_name, str):
        raise BadRequest(
            f"{common_name!r} cannot be a common name",
            expected="text",
            found=f"a value of type {type(common_name).__name__}",
        )
    octets = len(common_name.encode(errors="replace"))
    # The RFC counts characters, the library that encodes them bytes: both must be content.
    if not 0 < octets <= LONGEST_CN:
        more = f", which are {octets} bytes" if octets != len(common_name) else ""
        raise BadRequest(
            f"{common_name!r} cannot be a common name",
            expected=f"1 to {LONGEST_CN} characters (RFC 5280, ub-common-name), "
            "where one outside of ASCII counts as 2 to 4",
            found=f"{len(common_name)} characters{more}",
            cure="choose a shorter name" if octets else "choose a name",
        )
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization)] if organization else []
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def make(key: TokenKey, subject: x509.Name) -> x509.CertificateSigningRequest:
    """A request for ``subject``, signed with ``key``: the proof that its asker holds the key."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    return builder.sign(key, digest_for(key.public_key()))


def read(data: x509.CertificateSigningRequest | Readable) -> x509.CertificateSigningRequest:
    """The request in PEM or DER, or in a file of either. Raises BadCertificate."""
    if isinstance(data, x509.CertificateSigningRequest):
        return _readable(data)
    if isinstance(data, Path):
        raw = _bytes_of(data)
    elif isinstance(data, str | bytes | bytearray | memoryview):
        raw = data.encode(errors="replace") if isinstance(data, str) else bytes(data)
    else:
        raise _no_request(f"a value of type {type(data).__name__}")
    if b"PRIVATE KEY-----" in raw:
        raise _no_request("a private key, which was not kept", "hand over the request alone")
    try:
        armoured = b"-----BEGIN" in raw
        return _readable(x509.load_pem_x509_csr(raw) if armoured else x509.load_der_x509_csr(raw))
    except ValueError as error:
        raise _no_request(_kind(raw)) from error


def _bytes_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(chain.LARGEST)
    except OSError as error:
        raise _no_request(f"{path}: {error.strerror}", "name a file that can be read") from error


def _readable(request: x509.CertificateSigningRequest) -> x509.CertificateSigningRequest:
    """Parts are parsed when they are asked for: all that a signer asks for is asked for here."""
    try:
        _ = request.subject, request.extensions, request.signature_hash_algorithm
        request.public_key()
    except chain.UNREADABLE as error:
        raise _no_request(f"a request that breaks the standard: {error}") from error
    return request


def _kind(raw: bytes) -> str:
    if b"-----BEGIN CERTIFICATE-----" in raw:
        return "a certificate: that is what comes back for a request"
    return f"{len(raw)} bytes that are none" if raw.strip() else "nothing"


def _no_request(found: str, cure: str = "") -> BadCertificate:
    return BadCertificate(
        "This is not a certificate signing request that can be read",
        expected="a PKCS#10 request in PEM (BEGIN CERTIFICATE REQUEST) or DER; a file as a Path",
        found=found,
        cure=cure or "look at the file with: openssl req -in FILE -noout -text",
    )


def digest_for(public_key: object) -> hashes.SHA256 | hashes.SHA384:
    """The hash to sign with by a key of this kind: SHA-384 for P-384, else SHA-256."""
    big = isinstance(public_key, ec.EllipticCurvePublicKey) and public_key.key_size > 256
    return hashes.SHA384() if big else hashes.SHA256()


def check(request: x509.CertificateSigningRequest) -> None:
    """Raises BadRequest unless the request is signed by its own key, and that is strong enough."""
    subject = request.subject.rfc4514_string()
    if not request.is_signature_valid:
        raise BadRequest(
            f"The request for {subject} is not signed by the key that it holds",
            expected="a signature by the private key that belongs to the request's public key",
            found="a signature that does not verify",
            cure="make the request again on the device that has the key",
        )
    key = request.public_key()
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= _SMALLEST_RSA:
        return
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, _CURVES):
        return
    raise BadRequest(
        f"The request for {subject} asks for a key that this lab does not sign",
        expected=f"EC P-256 or P-384, or RSA of {_SMALLEST_RSA} bits or more",
        found=describe_key(key),
        cure="make a new key pair and a new request",
    )


def describe_key(key: object) -> str:
    """A public key's kind and size as people say it: ``P-256``, ``RSA-2048``."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key.curve.name.replace("secp256r1", "P-256").replace("secp384r1", "P-384")
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA-{key.key_size}"
    return type(key).__name__.removeprefix("_").removesuffix("PublicKey")
