"""After a whole story, no private key is anywhere but in the tokens."""

from __future__ import annotations

import base64
from pathlib import Path

import forge
import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from key_search import findings, keys_in
from stories import Story

from labkit.errors import BadCertificate, ProvisioningFailed

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
