"""Certificate signing requests (PKCS#10, RFC 2986): made by whoever has the key, checked by
whoever signs."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from labkit.errors import BadRequest
from labkit.hsm import TokenKey

LONGEST_CN = 64
"""ub-common-name, RFC 5280, appendix A.1."""

_SMALLEST_RSA = 2048
_CURVES = (ec.SECP256R1, ec.SECP384R1)


def name(common_name: str, organization: str = "") -> x509.Name:
    """A subject of a CN and, before it, the organization where one is given."""
    if not 0 < len(common_name) <= LONGEST_CN:
        raise BadRequest(
            f"{common_name!r} cannot be a common name",
            expected=f"1 to {LONGEST_CN} characters (RFC 5280, ub-common-name)",
            found=f"{len(common_name)} characters",
        )
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization)] if organization else []
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def make(key: TokenKey, subject: x509.Name) -> x509.CertificateSigningRequest:
    """A request for ``subject``, signed with ``key``: the proof that its asker holds the key."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    return builder.sign(key, digest_for(key.public_key()))


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
