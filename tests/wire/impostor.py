"""Who sends a certificate that is not theirs, or none that could be anybody's."""

from __future__ import annotations

import forge
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

_HASHES = {"sha256": hashes.SHA256, "sha384": hashes.SHA384, "sha512": hashes.SHA512}


class Signer:
    """Signs a handshake, for sslcontext. By default with a key that is nobody's."""

    def __init__(self, key: ec.EllipticCurvePrivateKey | None = None) -> None:
        self._key = key or forge.new_key()

    def sign(self, digest: bytes, *, hash: str, **_: object) -> bytes:
        return self._key.sign(digest, ec.ECDSA(Prehashed(_HASHES[hash]())))


def client_hello() -> bytes:
    """Of TLS 1.2, with one cipher suite (ECDHE-ECDSA-AES128-GCM-SHA256): in that version a
    client's Certificate message travels in clear, so that any bytes can be sent as one."""
    extensions = (
        b"\x00\x0a\x00\x04\x00\x02\x00\x17"  # supported groups: secp256r1
        b"\x00\x0b\x00\x02\x01\x00"  # point formats: uncompressed
        b"\x00\x0d\x00\x04\x00\x02\x04\x03"  # signatures: ecdsa_secp256r1_sha256
    )
    body = b"\x03\x03" + bytes(32) + b"\0" + b"\x00\x02\xc0\x2b" + b"\x01\x00"
    return _record(1, body + len(extensions).to_bytes(2, "big") + extensions)


def certificate_message(der: bytes) -> bytes:
    """These bytes as a client's only certificate."""
    entry = len(der).to_bytes(3, "big") + der
    return _record(11, len(entry).to_bytes(3, "big") + entry)


SERVER_HELLO_DONE = b"\x0e\x00\x00\x00"


def _record(kind: int, body: bytes) -> bytes:
    message = bytes([kind]) + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x03" + len(message).to_bytes(2, "big") + message
