"""The shape of DER: enough to tell a certificate from a private key without parsing either.

Each of the usual structures begins with a SEQUENCE, and the tags of its first members tell which
it is:

    SEQUENCE { SEQUENCE { [0] …, or INTEGER, SEQUENCE, SEQUENCE, … }, SEQUENCE, BIT STRING }
                                                              a certificate, a request, a CRL
    SEQUENCE { INTEGER 3, SEQUENCE …                          PKCS#12 (RFC 7292)
    SEQUENCE { INTEGER, SEQUENCE, OCTET STRING …              PKCS#8 (RFC 5958)
    SEQUENCE { INTEGER 1, OCTET STRING …                      an EC private key (RFC 5915)
    SEQUENCE { INTEGER, INTEGER, INTEGER …                    an RSA private key (RFC 8017)
    SEQUENCE { SEQUENCE, OCTET STRING }                       PKCS#8, encrypted
    SEQUENCE { SEQUENCE, BIT STRING }                         a public key (RFC 5280)
    SEQUENCE { OBJECT IDENTIFIER signedData …                 PKCS#7 (RFC 5652)

Damaged and cut-off ones keep their shape, so that an error can still name them.
"""

from __future__ import annotations

from collections.abc import Iterator

CERTIFICATE = "certificate"
REQUEST = "request"
REVOCATION_LIST = "revocation list"
SIGNED_DATA = "signed data"
PFX = "PFX"
PRIVATE_KEY = "private key"
PUBLIC_KEY = "public key"
UNKNOWN = "unknown"

_INTEGER, _BITS, _OCTETS, _OID, _SEQUENCE, _CONTEXT_0 = 0x02, 0x03, 0x04, 0x06, 0x30, 0xA0
_TIMES = {0x17, 0x18}
_SIGNED_DATA = bytes.fromhex("2a864886f70d010702")  # 1.2.840.113549.1.7.2
_LOOKED_AT = 7
_BEGINNINGS = (
    (bytes([_INTEGER, _SEQUENCE, _OCTETS]), PRIVATE_KEY),
    (bytes([_INTEGER, _OCTETS]), PRIVATE_KEY),
    (bytes([_INTEGER] * 3), PRIVATE_KEY),
    (bytes([_INTEGER] * 2), PUBLIC_KEY),
    (bytes([_SEQUENCE, _OCTETS]), PRIVATE_KEY),
    (bytes([_SEQUENCE, _BITS]), PUBLIC_KEY),
)


def shape(raw: bytes) -> str:
    """Which of the structures above the bytes begin like; :data:`UNKNOWN` for any other."""
    members = _members(raw)
    tags = bytes(tag for tag, _ in members)
    if members and members[0] == (_OID, _SIGNED_DATA):
        return SIGNED_DATA
    if tags[:2] == bytes([_INTEGER, _SEQUENCE]) and members[0][1] == b"\x03":
        return PFX
    for beginning, found in _BEGINNINGS:
        if tags.startswith(beginning):
            return found
    return _signed(members[0][1]) if tags[:1] == bytes([_SEQUENCE]) else UNKNOWN


def extent(raw: bytes) -> int:
    """How many bytes the outermost structure says that it has; 0 where it says nothing."""
    header = _header(raw, 0)
    return header[1] + header[2] if header else 0


def _signed(content: bytes) -> str:
    """What is signed: the first member of certificate, request and CRL tells them apart."""
    tags = bytes(tag for tag, _ in _walk(content))
    if tags[:1] == bytes([_CONTEXT_0]):
        return CERTIFICATE
    if _TIMES & set(tags[:4]):
        return REVOCATION_LIST
    plain = bytes([_INTEGER, _SEQUENCE, _SEQUENCE])
    if tags in (plain, plain + bytes([_CONTEXT_0])):
        return REQUEST
    return CERTIFICATE if tags.startswith(plain) else UNKNOWN


def _members(raw: bytes) -> list[tuple[int, bytes]]:
    outer = _header(raw, 0)
    if outer is None or outer[0] != _SEQUENCE:
        return []
    _, start, length = outer
    return list(_walk(raw[start : start + length]))


def _walk(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of the first few members, as far as they can be followed."""
    place = 0
    for _ in range(_LOOKED_AT):
        header = _header(content, place)
        if header is None:
            return
        tag, start, length = header
        yield tag, content[start : start + length]
        place = start + length


def _header(raw: bytes, place: int) -> tuple[int, int, int] | None:
    """Tag, start and length of what begins at ``place``. BER's indefinite length reaches to the
    end of what there is."""
    if place + 2 > len(raw):
        return None
    tag, first = raw[place], raw[place + 1]
    start = place + 2
    if first < 0x80:
        return tag, start, first
    if first == 0x80:
        return tag, start, len(raw) - start
    octets = first & 0x7F
    if octets > 4 or start + octets > len(raw):
        return None
    return tag, start + octets, int.from_bytes(raw[start : start + octets], "big")
