"""A key that is carried between tokens: it works, it is remembered, and it is never in the open."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from complaints import refused
from pkcs11 import ObjectClass

from labkit.errors import Conflict, TokenError
from labkit.hsm import Algorithm, TokenStore, pairs, transport


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TokenStore]:
    opened = TokenStore(tmp_path / "hsm")
    yield opened
    opened.close()


@pytest.mark.parametrize("algorithm", Algorithm)
def test_a_copy_signs_what_the_original_verifies(store: TokenStore, algorithm: Algorithm) -> None:
    """From token to token to token, for each kind of key that the lab knows."""
    first = transport.generate(store.token("A"), "a", algorithm)
    second = transport.carry(first, store.token("B"), "b", extractable=True)
    third = transport.carry(second, store.token("C"), "c", extractable=False)
    assert third.public_key() == first.public_key()
    for key in (first, second, third):
        pairs._verify(key, b"the same key")


def test_the_token_itself_remembers_which_key_was_born_where(store: TokenStore) -> None:
    """SoftHSM keeps the history, and nobody can rewrite it: LOCAL, and NEVER_EXTRACTABLE."""
    first = transport.generate(store.token("A"), "a")
    second = transport.carry(first, store.token("B"), "b", extractable=True)
    last = transport.carry(second, store.token("C"), "c", extractable=False)
    kept = store.token("A").generate_key("own")
    history = {
        key.label: tuple(key.attributes[name] for name in ("LOCAL", "NEVER_EXTRACTABLE"))
        for key in (first, second, last, kept)
    }
    assert history == {"a": (True, False), "b": (False, False), "c": (False, False)} | {
        "own": (True, True)
    }
    assert all(key.attributes["SENSITIVE"] for key in (first, second, last, kept))
    assert not last.attributes["EXTRACTABLE"]


def test_a_copy_at_its_end_goes_no_further(store: TokenStore) -> None:
    first = transport.generate(store.token("A"), "a")
    last = transport.carry(first, store.token("B"), "b", extractable=False)
    with refused(TokenError, "never leaves token 'B'", "sign a request"):
        transport.carry(last, store.token("C"), "c", extractable=True)
    assert store.token("C").key_labels == []


def test_a_key_that_was_born_to_stay_cannot_be_carried(store: TokenStore) -> None:
    key = store.token("A").generate_key("a")
    with refused(TokenError, "not extractable"):
        transport.carry(key, store.token("B"), "b", extractable=False)
    with refused(Conflict, "never leaves its token"):
        transport.generate(store.token("A"), "a")


def test_twice_is_harmless_and_another_key_is_a_conflict(store: TokenStore) -> None:
    first = transport.generate(store.token("A"), "a")
    assert transport.generate(store.token("A"), "a") is first
    copy = transport.carry(first, store.token("B"), "b", extractable=True)
    assert transport.carry(first, store.token("B"), "b", extractable=True) is copy
    other = transport.generate(store.token("A"), "other")
    with refused(Conflict, "another key"):
        transport.carry(other, store.token("B"), "b", extractable=True)


def test_the_wrapping_key_is_gone_afterwards(store: TokenStore) -> None:
    """Of the way from A to B nothing is left in either token but the two halves of the key."""
    first = transport.generate(store.token("A"), "a")
    transport.carry(first, store.token("B"), "b", extractable=True)
    for label in "AB":
        found = [each.object_class for each in store.token(label).session.get_objects()]
        assert sorted(found) == [ObjectClass.PUBLIC_KEY, ObjectClass.PRIVATE_KEY]


def test_a_copy_that_was_cut_off_is_made_anew(store: TokenStore) -> None:
    """Killed between the halves: the public one is there, and no private one."""
    first = transport.generate(store.token("A"), "a")
    transport._copy_public(first, store.token("B"), "b", b"12345678")
    copy = transport.carry(first, store.token("B"), "b", extractable=True)
    pairs._verify(copy, b"whole")
    assert len(list(store.token("B").session.get_objects())) == 2
