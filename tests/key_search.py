"""Private keys where none should be: in files and in what a process prints."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path

from cryptography.hazmat.primitives.serialization import load_der_private_key

# A SEQUENCE whose first member is the INTEGER 0 or 1: PKCS#8, PKCS#1 and SEC 1 begin so.
SEQUENCE = re.compile(rb"\x30(?:[\x00-\x7f]|\x81.|\x82..)\x02\x01[\x00\x01]", re.DOTALL)
BASE64 = re.compile(rb"[A-Za-z0-9+/\r\n]{60,}={0,2}")


def keys_in(data: bytes) -> Iterator[str]:
    """Every private key in these bytes: in PEM, in DER, in base64 of DER."""
    if b"PRIVATE KEY-----" in data:
        yield "PEM"
    for found in SEQUENCE.finditer(data):
        if parses(data[found.start() :]):
            yield f"DER at {found.start()}"
    for run in BASE64.finditer(data):
        text = b"".join(run[0].split())
        decoded = base64.b64decode(text[: len(text) // 4 * 4], validate=False)
        if any(parses(decoded[m.start() :]) for m in SEQUENCE.finditer(decoded)):
            yield f"base64 at {run.start()}"


def parses(data: bytes) -> bool:
    """Whether a private key begins here; bytes may follow."""
    length, start = data[1], 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(data[2:start], "big")
    try:
        load_der_private_key(data[: start + length], None)
    except Exception:
        return False
    return True


def findings(folder: Path) -> dict[str, list[str]]:
    files = [p for p in folder.rglob("*") if p.is_file()]
    outside = (p for p in files if "tokens" not in p.relative_to(folder).parts)
    found = {str(p): list(keys_in(p.read_bytes())) for p in outside}
    return {path: what for path, what in found.items() if what}
