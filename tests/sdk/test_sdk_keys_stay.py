"""After a whole story, no private key is anywhere but in the tokens."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path

import forge
import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from stories import Story

from labkit.errors import BadCertificate, ProvisioningFailed

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


FORMS = [
    (Encoding.PEM, PrivateFormat.PKCS8),
    (Encoding.PEM, PrivateFormat.TraditionalOpenSSL),
    (Encoding.DER, PrivateFormat.PKCS8),
    (Encoding.DER, PrivateFormat.TraditionalOpenSSL),
]


@pytest.mark.parametrize(("encoding", "kind"), FORMS)
@pytest.mark.parametrize("wrapped", [False, True], ids=["as it is", "in base64"])
def test_the_search_finds_a_key_that_was_left_lying(
    tmp_path: Path, encoding: Encoding, kind: PrivateFormat, wrapped: bool
) -> None:
    """A search that finds nothing must be shown to find something."""
    data = forge.new_key().private_bytes(encoding, kind, NoEncryption())
    if wrapped and encoding is Encoding.DER:
        data = base64.b64encode(data)
    (tmp_path / "dump.bin").write_bytes(b"some bytes before\0" + data + b"\0and behind")
    assert findings(tmp_path)


def test_no_file_outside_of_the_tokens_holds_a_private_key(story: Story) -> None:
    lab, whole = story.lab, story.widget.chain
    story.widget.install_chain(whole[:1])
    with pytest.raises(ProvisioningFailed):
        story.widget.provision()
    lab.explain()
    story.widget.install_chain(whole)
    story.widget.provision()
    story.widget.connect().send({"temperature": 21.5})
    key = forge.new_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(BadCertificate):
        lab.dps.certificates.upload("leaky", key)
    assert findings(lab.path) == {}
    lab.close()
    assert findings(lab.path) == {}


def test_the_tokens_hold_their_keys_encrypted(story: Story) -> None:
    """Not even there in the clear: SoftHSM encrypts each object under its token's PIN."""
    for path in (story.lab.path / "hsm" / "tokens").rglob("*"):
        if path.is_file():
            assert list(keys_in(path.read_bytes())) == []
