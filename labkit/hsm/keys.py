"""Private keys that sign inside their token and serve cryptography's own builders.

They subclass cryptography's abstract keys, because its certificate, CSR and OCSP builders
ask for the type. Everything that would need the private number raises: it is not here.
"""

from __future__ import annotations

import hashlib
import math
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from pkcs11 import MGF, Attribute, KeyType, Mechanism
from pkcs11.util.ec import encode_named_curve_parameters

from labkit.errors import TokenError
from labkit.hsm.library import LOCK

if TYPE_CHECKING:
    from labkit.hsm.tokens import Token


class Algorithm(Enum):
    """The key types of the lab; the value is what a person calls them."""

    P256 = "P-256"
    P384 = "P-384"
    RSA2048 = "RSA-2048"
    RSA3072 = "RSA-3072"

    @property
    def curve(self) -> ec.EllipticCurve | None:
        return {Algorithm.P256: ec.SECP256R1(), Algorithm.P384: ec.SECP384R1()}.get(self)

    @property
    def bits(self) -> int:
        return int(self.value.split("-")[1])

    @classmethod
    def named(cls, name: Algorithm | str) -> Algorithm:
        """The algorithm that a person calls ``name``. Raises TokenError for one unknown here."""
        if isinstance(name, Algorithm):
            return name
        known = {algorithm.value: algorithm for algorithm in cls}
        if not isinstance(name, str) or name not in known:
            raise TokenError(
                f"{name!r} is no key type of this lab",
                expected=" or ".join(known),
                cure="choose one of these",
            )
        return known[name]

    @classmethod
    def of(cls, public_key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey) -> Algorithm:
        """The algorithm of a key that one of the lab's tokens made."""
        kind = "P" if isinstance(public_key, ec.EllipticCurvePublicKey) else "RSA"
        return cls(f"{kind}-{public_key.key_size}")


_CURVES: dict[bytes, ec.EllipticCurve] = {
    encode_named_curve_parameters(c.name): c for a in Algorithm if (c := a.curve) is not None
}
# DigestInfo without its digest (RFC 8017, 9.2, note 1): CKM_RSA_PKCS signs digest-info as given.
_DIGEST_INFO = {
    "sha256": bytes.fromhex("3031300d060960864801650304020105000420"),
    "sha384": bytes.fromhex("3041300d060960864801650304020205000430"),
    "sha512": bytes.fromhex("3051300d060960864801650304020305000440"),
}
_PSS = {
    "sha256": (Mechanism.SHA256, MGF.SHA256),
    "sha384": (Mechanism.SHA384, MGF.SHA384),
    "sha512": (Mechanism.SHA512, MGF.SHA512),
}


class _InToken:
    """What both kinds of key share: a handle, a token, and a refusal to be taken out."""

    def __init__(self, token: Token, label: str, handle: Any) -> None:
        self.token, self.label = token, label
        self._handle = handle

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.label!r} in token {self.token.label!r}>"

    def _sign_raw(self, data: bytes, **mechanism: Any) -> bytes:
        with LOCK:
            _ = self.token.session  # raises when closed
            signature: bytes = self._handle.sign(data, **mechanism)
        return signature

    @property
    def attributes(self) -> dict[str, bool]:
        """What the token itself says of this key: SENSITIVE, EXTRACTABLE and their history."""
        wanted = ("SENSITIVE", "EXTRACTABLE", "ALWAYS_SENSITIVE", "NEVER_EXTRACTABLE", "LOCAL")
        with LOCK:
            _ = self.token.session
            return {name: self._handle[Attribute[name]] for name in wanted}

    def private_numbers(self) -> NoReturn:
        raise UnsupportedAlgorithm(f"{self!r} never leaves its token")

    def private_bytes(self, *_: Any, **__: Any) -> NoReturn:
        raise UnsupportedAlgorithm(f"{self!r} never leaves its token")

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, _memo: Any) -> Any:
        return self


class TokenEcKey(_InToken, ec.EllipticCurvePrivateKey):
    """An EC private key in a token. ECDSA only."""

    def __init__(self, token: Token, label: str, handle: Any, public: Any) -> None:
        super().__init__(token, label, handle)
        self._public = _ec_public_key(public)
        self._octets = math.ceil(self._public.key_size / 8)

    def public_key(self) -> ec.EllipticCurvePublicKey:
        return self._public

    @property
    def curve(self) -> ec.EllipticCurve:
        return self._public.curve

    @property
    def key_size(self) -> int:
        return self._public.key_size

    def exchange(self, algorithm: ec.ECDH, peer_public_key: ec.EllipticCurvePublicKey) -> NoReturn:
        raise UnsupportedAlgorithm(f"{self!r} is for signing only")

    def sign(self, data: Any, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        """The DER signature of ``data``: what X.509, TLS and openssl mean by an ECDSA signature."""
        return der_signature(self.sign_bare(data, signature_algorithm))

    def sign_bare(
        self, data: Any, signature_algorithm: ec.EllipticCurveSignatureAlgorithm
    ) -> bytes:
        """The signature of ``data`` as the token gives it: CKM_ECDSA takes a digest and answers
        r ‖ s, two numbers of the curve's length in a row."""
        digest = _digest(data, signature_algorithm.algorithm)
        # FIPS 186-5, 6.4.1: the leftmost bits. Tokens disagree on digests longer than the order.
        return self._sign_raw(digest[: self._octets], mechanism=Mechanism.ECDSA)


class TokenRsaKey(_InToken, rsa.RSAPrivateKey):
    """An RSA private key in a token. PKCS#1 v1.5 and PSS signatures only."""

    def __init__(self, token: Token, label: str, handle: Any, public: Any) -> None:
        super().__init__(token, label, handle)
        self._public = _rsa_public_key(public)

    def public_key(self) -> rsa.RSAPublicKey:
        return self._public

    @property
    def key_size(self) -> int:
        return self._public.key_size

    def decrypt(self, ciphertext: bytes, padding: padding.AsymmetricPadding) -> NoReturn:
        raise UnsupportedAlgorithm(f"{self!r} is for signing only")

    def sign(self, data: Any, padding_: padding.AsymmetricPadding, algorithm: Any) -> bytes:
        """The signature of ``data`` under PKCS#1 v1.5 or PSS."""
        digest, name = _digest(data, algorithm), _hash_of(algorithm).name
        if isinstance(padding_, padding.PKCS1v15):
            return self._sign_raw(_DIGEST_INFO[name] + digest, mechanism=Mechanism.RSA_PKCS)
        if isinstance(padding_, padding.PSS):
            given = padding_._salt_length
            salt = given if isinstance(given, int) else len(digest)
            return self._sign_raw(
                digest, mechanism=Mechanism.RSA_PKCS_PSS, mechanism_param=(*_PSS[name], salt)
            )
        raise UnsupportedAlgorithm(f"padding {padding_.name}")


def der_signature(bare: bytes) -> bytes:
    """r ‖ s as the DER sequence of two integers that X.509 wants (RFC 3279, section 2.2.3)."""
    half = len(bare) // 2
    r, s = bare[:half], bare[half:]
    return encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big"))


TokenKey: TypeAlias = TokenEcKey | TokenRsaKey


class KeyPlace(NamedTuple):
    """Where a key is: SoftHSM's configuration file, the labels of token and key, the PIN."""

    configuration: str
    token: str
    key: str
    pin: str

    def __repr__(self) -> str:  # without the PIN
        return f"<Key {self.key!r} in token {self.token!r}>"


def wrap(token: Token, label: str, public: Any, private: Any) -> TokenKey:
    """The adapter for a PKCS#11 key pair. Call it under the lock."""
    kind = TokenEcKey if private.key_type is KeyType.EC else TokenRsaKey
    return kind(token, label, private, public)


def _hash_of(algorithm: Any) -> hashes.HashAlgorithm:
    chosen: hashes.HashAlgorithm = (
        algorithm._algorithm if isinstance(algorithm, Prehashed) else algorithm
    )
    return chosen


def _digest(data: Any, algorithm: Any) -> bytes:
    if isinstance(algorithm, Prehashed):
        return bytes(data)
    # Not by cryptography: its own OpenSSL pushes the token's code out of the caches, which costs
    # more than the hash itself. hashlib has the system's, as SoftHSM does.
    return hashlib.new(algorithm.name, data).digest()


def _ec_public_key(public: Any) -> ec.EllipticCurvePublicKey:
    """CKA_EC_POINT is the point wrapped in a DER OCTET STRING (PKCS#11 v2.40, 2.3.3)."""
    point: bytes = public[Attribute.EC_POINT]
    curve = _CURVES[public[Attribute.EC_PARAMS]]
    length = 1 + 2 * math.ceil(curve.key_size / 8)
    return ec.EllipticCurvePublicKey.from_encoded_point(curve, point[-length:])


def _rsa_public_key(public: Any) -> rsa.RSAPublicKey:
    exponent = int.from_bytes(public[Attribute.PUBLIC_EXPONENT], "big")
    modulus = int.from_bytes(public[Attribute.MODULUS], "big")
    return rsa.RSAPublicNumbers(exponent, modulus).public_key()
