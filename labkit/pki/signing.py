"""Signatures over plain bytes: by a key in a token, checked with the public key alone.

Each begins with what it is for (a *purpose*, in words), so that what was signed for one thing is
never taken for another.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from labkit.hsm import TokenEcKey, TokenKey
from labkit.pki import request


def sign(key: TokenKey, purpose: str, data: bytes) -> bytes:
    """A signature over the purpose and the data: ECDSA (DER), or RSA PKCS#1 v1.5."""
    digest, signed = request.digest_for(key.public_key()), _framed(purpose, data)
    if isinstance(key, TokenEcKey):
        return key.sign(signed, ec.ECDSA(digest))
    return key.sign(signed, padding.PKCS1v15(), digest)


def verifies(public_key: object, purpose: str, data: bytes, signature: bytes) -> bool:
    """Whether the holder of this key signed the data for this purpose."""
    digest, signed = request.digest_for(public_key), _framed(purpose, data)
    try:
        if isinstance(public_key, ec.EllipticCurvePublicKey):
            public_key.verify(signature, signed, ec.ECDSA(digest))
        elif isinstance(public_key, rsa.RSAPublicKey):
            public_key.verify(signature, signed, padding.PKCS1v15(), digest)
        else:
            return False
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        return False
    return True


def _framed(purpose: str, data: bytes) -> bytes:
    return purpose.encode() + b"\0" + data
