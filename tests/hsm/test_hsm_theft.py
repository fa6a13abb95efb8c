"""What a thief gets: from the token nothing, from its files nothing without the PIN."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from foreign_tools import openssl

from labkit.errors import NotFound, TokenError
from labkit.hsm import Algorithm, TokenStore, transport
from labkit.hsm.keys import der_signature
from labkit.hsm.theft import Thief, take_out

SHA256 = ec.ECDSA(hashes.SHA256())


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("theft")


@pytest.fixture(scope="module")
def store(workspace: Path) -> Iterator[TokenStore]:
    opened = TokenStore(workspace / "hsm")
    opened.token("Company-X").generate_key("root")
    opened.token("Factory-Y")
    yield opened
    opened.close()


def pins(workspace: Path) -> dict[str, str]:
    found: dict[str, str] = json.loads((workspace / "hsm" / "pins.json").read_text())["Company-X"]
    return found


@pytest.mark.parametrize("algorithm", [Algorithm.P384, Algorithm.RSA2048])
def test_the_token_itself_refuses_both_ways_out(store: TokenStore, algorithm: Algorithm) -> None:
    key = store.token("Company-X").ensure_key(algorithm.value, algorithm)
    with pytest.raises(TokenError) as refusal:
        take_out(key)
    assert refusal.value.found == (
        "C_GetAttributeValue: CKR_ATTRIBUTE_SENSITIVE; C_WrapKey: CKR_KEY_UNEXTRACTABLE"
    )


def test_a_key_that_was_made_to_be_carried_comes_out_wrapped(store: TokenStore) -> None:
    key = transport.generate(store.token("Company-X"), "carried")
    assert len(take_out(key)) > 32
    assert store.token("Company-X").key("carried").public_key() == key.public_key()


def test_trying_leaves_nothing_in_the_token(store: TokenStore) -> None:
    """The wrapping key is of the session, and is destroyed."""
    token = store.token("Company-X")
    before = len(list(token.session.get_objects()))
    with pytest.raises(TokenError):
        take_out(token.key("root"))
    assert len(list(token.session.get_objects())) == before


def test_the_files_open_with_the_owner_s_pin_only(store: TokenStore, workspace: Path) -> None:
    thief = Thief(workspace)
    with pytest.raises(TokenError) as refusal:
        thief.log_in("Company-X", "1234")
    assert refusal.value.found == "CKR_PIN_INCORRECT"
    assert "root" in thief.log_in("Company-X", pins(workspace)["user"])
    with pytest.raises(NotFound, match="There is no token 'Nobody'"):
        thief.log_in("Nobody", "1234")


def test_the_officer_s_pin_is_not_the_user_s(store: TokenStore, workspace: Path) -> None:
    """Each opens its own role; the officer sees no private key."""
    thief, found = Thief(workspace), pins(workspace)
    for pin, officer in ((found["so"], False), (found["user"], True)):
        with pytest.raises(TokenError, match="does not open"):
            thief.log_in("Company-X", pin, officer=officer)
    assert thief.log_in("Company-X", found["so"], officer=True) == []


def test_slots_are_counted_anew_and_labels_stay(store: TokenStore, workspace: Path) -> None:
    thief, token = Thief(workspace), store.token("Company-X")
    assert set(thief.slots) == set(store.labels)
    assert thief.slots["Company-X"] != token.slot
    with pytest.raises(TokenError) as refusal:
        thief.open_slot(token.slot)
    assert refusal.value.found == "CKR_SLOT_ID_INVALID (0x3)"
    thief.open_slot(thief.slots["Company-X"])


def test_the_owner_notices_nothing(store: TokenStore, workspace: Path) -> None:
    """The lab's own sessions go on, whatever is done to the copies."""
    key: Any = store.token("Company-X").key("root")
    Thief(workspace).log_in("Company-X", pins(workspace)["user"])
    key.public_key().verify(key.sign(b"data", SHA256), b"data", SHA256)


def test_the_copies_are_deleted_also_after_a_refusal(
    store: TokenStore, workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    thief = Thief(workspace)
    assert thief.slots
    with pytest.raises(TokenError):
        thief.log_in("Company-X", "1234")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("algorithm", [Algorithm.P256, Algorithm.P384])
def test_a_bare_signature_is_the_same_one_in_another_spelling(
    store: TokenStore, algorithm: Algorithm, tmp_path: Path
) -> None:
    """Nobody who wants DER takes it; put into DER, openssl does."""
    key: Any = store.token("Company-X").ensure_key(algorithm.value, algorithm)
    bare = key.sign_bare(b"data", SHA256)
    assert len(bare) == 2 * key.key_size // 8
    with pytest.raises(InvalidSignature):
        key.public_key().verify(bare, b"data", SHA256)
    (tmp_path / "data").write_bytes(b"data")
    (tmp_path / "signature").write_bytes(der_signature(bare))
    (tmp_path / "public").write_bytes(_pem(key.public_key()))
    verified = openssl(
        *("dgst", "-sha256", "-verify", tmp_path / "public"),
        *("-signature", tmp_path / "signature", tmp_path / "data"),
    )
    assert "Verified OK" in verified


def _pem(public_key: Any) -> bytes:
    pem: bytes = public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem
