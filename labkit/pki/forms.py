"""What a file is: told by its armour, by the shape of its DER, or by its first words.

People hand over what they have: PEM, DER, base64 without armour, a Windows text file, and just as
often a thing that is no certificate at all. Before anything is parsed, it is named; so an error
can say what the file is, what was wanted, and how to come from one to the other. Nothing here
raises for any bytes, but for private keys: those are refused before anything else is looked at.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from labkit.errors import BadCertificate
from labkit.pki import der

LARGEST = 256 * 1024
"""Bytes that are looked at at all."""

Readable: TypeAlias = bytes | str | Path
"""What people hand over: the bytes, the text, or the file."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of file: ``what`` it is called, and the ``cure`` for who wanted another.

    ``secret`` ones hold a private key. Those that can be wanted have ``wanted``, their forms,
    and ``look``, how to look into one.
    """

    what: str
    cure: str = ""
    secret: bool = False
    wanted: str = ""
    look: str = ""


CERTIFICATE = Kind(
    "a certificate",
    "hand over the request that the key's owner made: a certificate is what comes back for it",
    wanted="an X.509 certificate in PEM (BEGIN CERTIFICATE) or DER; a file as a Path",
    look="openssl x509 -in FILE -noout -text",
)
REQUEST = Kind(
    "a certificate signing request",
    "have a CA sign it: what comes back is the certificate",
    wanted="a PKCS#10 request in PEM (BEGIN CERTIFICATE REQUEST) or DER; a file as a Path",
    look="openssl req -in FILE -noout -text",
)
PKCS7 = Kind(
    "a PKCS#7 container (.p7b), which holds any number of certificates",
    "take them out: openssl pkcs7 -print_certs -in FILE (with -inform DER for a binary one)",
)
_TAKE_OUT = "hand over the certificate alone, and treat the key as seen by others: replace it"
PRIVATE_KEY = Kind("a private key", _TAKE_OUT, secret=True)
PKCS12 = Kind(
    "a PKCS#12 container (.p12, .pfx): a certificate together with its private key",
    "take out the certificates alone: openssl pkcs12 -in FILE -nokeys -out chain.pem",
    secret=True,
)
_KEY_STORE = Kind("a Java key store", "keytool -exportcert takes out a certificate", secret=True)
_PUBLIC_KEY = Kind("a public key", "a certificate is a public key that a CA has signed: ask it")
_TRUSTED = Kind(
    "openssl's own form of a certificate, with trust settings behind it",
    "make a plain one of it: openssl x509 -in FILE -out plain.pem",
)
_SSH = Kind("an SSH key", "SSH keys are no certificates: make a request with openssl req")
_REVOCATION = Kind("a list of revoked certificates (CRL)", "hand over the CA's certificate")
_PARAMETERS = Kind("parameters of a key, without any key", "hand over the certificate itself")
_OTHER = Kind("something else in armour")
_OTHER_DER = Kind("DER or BER of something else")
_WEB_PAGE = Kind(
    "a web page (HTML), as a server sends it for an error or a log-in",
    "download the file again, and look at what came",
)
_JSON = Kind("JSON", "take the certificate's text out of it")
_XML = Kind("XML", "take the certificate's text out of it")
_ARCHIVE = Kind("an archive", "unpack it, and hand over the file in it")
_DESCRIPTION = Kind(
    "what openssl prints about a certificate or request, without the thing itself",
    "hand over the file that was printed, or print it without -noout",
)
_ALTERED = Kind(
    "PEM whose BEGIN line was altered, as word processors and mail do with dashes",
    "it must begin with five plain hyphens: -----BEGIN",
)
_CUT_OFF = Kind("a part of a file", "hand over the whole file; copy it anew")
_PATH = Kind("the name of a file, as text", "hand over the file itself: Path(...)")

_LABELS = {
    "CERTIFICATE": CERTIFICATE,
    "X509 CERTIFICATE": CERTIFICATE,
    "TRUSTED CERTIFICATE": _TRUSTED,
    "CERTIFICATE REQUEST": REQUEST,
    "NEW CERTIFICATE REQUEST": REQUEST,
    "PKCS7": PKCS7,
    "CMS": PKCS7,
    "PKCS12": PKCS12,
    "PUBLIC KEY": _PUBLIC_KEY,
    "RSA PUBLIC KEY": _PUBLIC_KEY,
    "SSH2 PUBLIC KEY": _SSH,
    "X509 CRL": _REVOCATION,
    "EC PARAMETERS": _PARAMETERS,
    "DH PARAMETERS": _PARAMETERS,
}
_SHAPES = {
    der.CERTIFICATE: CERTIFICATE,
    der.REQUEST: REQUEST,
    der.REVOCATION_LIST: _REVOCATION,
    der.SIGNED_DATA: PKCS7,
    der.PFX: PKCS12,
    der.PRIVATE_KEY: PRIVATE_KEY,
    der.PUBLIC_KEY: _PUBLIC_KEY,
}
_WORDS = (
    (b"<!doctype html", _WEB_PAGE),
    (b"<html", _WEB_PAGE),
    (b"<?xml", _XML),
    (b"<", _XML),
    (b"{", _JSON),
    (b"[", _JSON),
    (b"ssh-", _SSH),
    (b"ecdsa-sha2-", _SSH),
    (b"sk-", _SSH),
    (b"---- begin ssh2 public key", _SSH),
    (b"putty-user-key-file", PRIVATE_KEY),
    (b"certificate:", _DESCRIPTION),
    (b"certificate request:", _DESCRIPTION),
    (b"pk\x03\x04", _ARCHIVE),
    (b"\x1f\x8b", _ARCHIVE),
    (b"\xfe\xed\xfe\xed", _KEY_STORE),
)

_UTF_16 = (b"\xff\xfe", b"\xfe\xff")  # byte order marks; ">" in Windows PowerShell writes one
_MARK = re.compile(rb"-----(BEGIN|END) ([A-Z0-9 ]{1,40})-----")
_PRIVATE = re.compile(rb"BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY")
_BEGIN = re.compile(rb"BEGIN [A-Z0-9 ]{0,40}(CERTIFICATE|PKCS7)")
_SUFFIXES = (b".pem", b".cer", b".crt", b".der", b".p7b", b".p7c", b".csr", b".pfx", b".p12")


@dataclass(frozen=True, slots=True)
class Block:
    """One thing in a file: what it is, its DER (empty where the base64 around it is damaged),
    and ``whole``: whether its end is there."""

    kind: Kind
    der: bytes
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Document:
    """A file that was handed over, opened but not parsed; ``wanted`` is what it should be."""

    wanted: Kind
    raw: bytes
    blocks: tuple[Block, ...]

    def unfit(self, found: str = "", cure: str = "") -> BadCertificate:
        """The error for a file that does not hold what is wanted: it says what the file is."""
        fault, kind = (found, None) if found else self._what_is()
        advice = kind.cure if kind and kind is not self.wanted else ""
        return _unfit(self.wanted, fault, cure or advice)

    def _what_is(self) -> tuple[str, Kind | None]:
        if not self.blocks:
            return _without_blocks(self.raw)
        wanted = [block for block in self.blocks if block.kind is self.wanted]
        block = min(wanted or self.blocks, key=lambda block: block.whole)
        if not block.whole:
            return f"{block.kind.what}, cut off before its end", _CUT_OFF
        damaged = not block.der or block.kind is self.wanted
        state = " whose content is damaged" if damaged else ""
        return f"{block.kind.what}{state}", block.kind


def open_document(data: Readable, wanted: Kind) -> Document:
    """What ``data`` holds, by kind. Raises BadCertificate for what cannot be opened at all, for
    more than :data:`LARGEST` bytes, and for anything with a private key in it."""
    given = _bytes_of(data, wanted)
    if len(given) > LARGEST:
        limit = "that is no certificate, however long its chain: hand over the right file"
        raise _unfit(wanted, f"more than {LARGEST} bytes", limit)
    raw = _plain(given)
    document = Document(wanted, raw, tuple(_blocks(raw)))
    secret = next((block.kind for block in document.blocks if block.kind.secret), None)
    if secret is None and _PRIVATE.search(raw):
        secret = PRIVATE_KEY
    if secret is None and not document.blocks:
        found = _without_blocks(raw)[1]
        secret = found if found and found.secret else None
    if secret is not None:
        raise _holds_private_key(secret)
    return document


def _bytes_of(data: Readable, wanted: Kind) -> bytes:
    if isinstance(data, Path):
        return _read(data, wanted)
    if isinstance(data, str):
        return data.encode(errors="replace")
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    holds = hasattr(data, "certificate") and wanted is CERTIFICATE
    plain = f"hand over {wanted.what} itself: its text, its bytes, or its file as a Path"
    cure = "hand over its .certificate" if holds else plain
    raise _unfit(wanted, f"a value of type {type(data).__name__}", cure)


def _read(path: Path, wanted: Kind) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(LARGEST + 1)
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL in it
        found = f"{path}: {getattr(error, 'strerror', None) or error}"
        raise _unfit(wanted, found, "name a file that is there and can be read") from error


def _plain(raw: bytes) -> bytes:
    """Without what editors and transports wrap around it: UTF-16, a byte order mark, line ends
    spelt out, one layer of base64."""
    if raw.startswith(_UTF_16):
        raw = raw.decode("utf-16", "replace").encode(errors="replace")
    raw = raw.removeprefix(b"\xef\xbb\xbf")
    if _MARK.search(raw):  # out of JSON or an environment variable
        return raw.replace(b"\\r", b"").replace(b"\\n", b"\n")
    inside = _decoded(raw)
    return inside if inside[:1] == b"\x30" or _MARK.search(inside) else raw


def _decoded(text: bytes) -> bytes:
    """The bytes that this base64 stands for, whatever blanks are in it; empty where it is none."""
    try:
        return base64.b64decode(b"".join(text.split()), validate=True)
    except binascii.Error:
        return b""


def _blocks(raw: bytes) -> Iterator[Block]:
    opened: re.Match[bytes] | None = None
    for mark in _MARK.finditer(raw):
        if mark[1] == b"BEGIN":
            if opened:
                yield _block(opened, b"", whole=False)
            opened = mark
        elif opened and opened[2] == mark[2]:
            yield _block(opened, raw[opened.end() : mark.start()])
            opened = None
    if opened:
        yield _block(opened, b"", whole=False)
    kind = _SHAPES.get(der.shape(raw))
    if kind or (raw[:1] == b"\x30" and der.extent(raw) == len(raw)):
        yield Block(kind or _OTHER_DER, raw, whole=der.extent(raw) <= len(raw))


def _block(opened: re.Match[bytes], content: bytes, *, whole: bool = True) -> Block:
    label = opened[2].decode()
    if "PRIVATE KEY" in label:
        return Block(PRIVATE_KEY, b"")
    inside, kind = _decoded(content), _LABELS.get(label, _OTHER)
    if kind in _SHAPES.values():  # the armour may lie: what is inside decides, where it is known
        kind = _SHAPES.get(der.shape(inside), kind)
    return Block(kind, inside, whole)


def _without_blocks(raw: bytes) -> tuple[str, Kind | None]:
    start = raw.lstrip()[:40].lower()
    if not start:
        return "nothing", None
    kind = next((kind for words, kind in _WORDS if start.startswith(words)), None)
    if kind is None and _BEGIN.search(raw):
        kind = _ALTERED
    if kind is None and len(raw) < 1000 and raw.strip().lower().endswith(_SUFFIXES):
        kind = _PATH
    if kind is None:
        return f"{len(raw)} bytes that are neither PEM nor DER", None
    return kind.what, kind


def _unfit(wanted: Kind, found: str, cure: str = "") -> BadCertificate:
    return BadCertificate(
        f"This is not {wanted.what} that can be read",
        expected=wanted.wanted,
        found=found,
        cure=cure or f"look at the file with: {wanted.look}",
    )


def _holds_private_key(kind: Kind) -> BadCertificate:
    return BadCertificate(
        "This holds a private key. It was not stored",
        expected="certificates and requests only: they are public",
        found=kind.what,
        cure=kind.cure,
    )
