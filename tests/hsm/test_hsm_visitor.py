"""Another process at the tokens of a workspace; here another instance of SoftHSM, which knows as
little of the first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from labkit.errors import NotFound
from labkit.hsm import Algorithm, KeyPlace, TokenEcKey, TokenStore
from labkit.hsm.visitor import Visitor

SHA384 = ec.ECDSA(hashes.SHA384())


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TokenStore]:
    made = TokenStore(tmp_path / "hsm")
    yield made
    made.close()


@pytest.fixture
def visitor() -> Iterator[Visitor]:
    made = Visitor()
    yield made
    made.close()


def place(store: TokenStore, token: str, key: str) -> KeyPlace:
    store.token(token).ensure_key(key, Algorithm.P384)
    return store.place(token, key)


def signs(visitor: Visitor, store: TokenStore, at: KeyPlace) -> None:
    """The visitor's signature is good by the public key that the owner has."""
    key, known = visitor.key(at), store.key(at).public_key()
    assert isinstance(key, TokenEcKey)
    assert isinstance(known, ec.EllipticCurvePublicKey)
    known.verify(key.sign(b"data", SHA384), b"data", SHA384)


def test_a_visitor_signs_with_the_key_in_its_token(store: TokenStore, visitor: Visitor) -> None:
    at = place(store, "ADR contoso", "policy 1")
    signs(visitor, store, at)
    assert visitor.key(at) is visitor.key(at)


def test_what_is_made_later_is_found_too(store: TokenStore, visitor: Visitor) -> None:
    """SoftHSM shows no token that another process has made since it was loaded."""
    first = place(store, "ADR contoso", "policy 1")
    signs(visitor, store, first)
    signs(visitor, store, place(store, "ADR contoso", "policy 2"))
    signs(visitor, store, place(store, "ADR fabrikam", "policy 1"))
    signs(visitor, store, first)


def test_what_is_not_there_is_not_made(store: TokenStore, visitor: Visitor) -> None:
    at = place(store, "ADR contoso", "policy 1")
    for other in (at._replace(key="policy 9"), at._replace(token="ADR nobody")):
        with pytest.raises(NotFound):
            visitor.key(other)
    assert store.token("ADR contoso").key_labels == ["policy 1"]
    assert "ADR nobody" not in store.labels
    signs(visitor, store, at)


def test_no_pin_is_shown(store: TokenStore) -> None:
    at = place(store, "ADR contoso", "policy 1")
    assert at.pin
    assert at.pin not in repr(at)
