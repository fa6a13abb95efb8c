"""Key pairs whose making was cut off: nothing half made is ever taken for a key."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from complaints import refused
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from kills import killed
from pkcs11 import Attribute, ObjectClass

from labkit.errors import NotFound, TokenError
from labkit.hsm import Algorithm, Token, TokenEcKey, TokenKey, TokenStore, pairs

VALUE, EC_POINT = 0x11, 0x181
PRIVATE, PUBLIC = ObjectClass.PRIVATE_KEY, ObjectClass.PUBLIC_KEY


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TokenStore]:
    opened = TokenStore(tmp_path / "hsm")
    yield opened
    opened.close()


def works(key: TokenKey) -> bool:
    """Whether its public half verifies what it signs; raises InvalidSignature otherwise."""
    if isinstance(key, TokenEcKey):
        algorithm = ec.ECDSA(hashes.SHA256())
        key.public_key().verify(key.sign(b"data", algorithm), b"data", algorithm)
    else:
        scheme, digest = padding.PKCS1v15(), hashes.SHA256()
        key.public_key().verify(key.sign(b"data", scheme, digest), b"data", scheme, digest)
    return True


def halves(token: Token) -> tuple[int, int]:
    """How many public and private keys lie in the token."""
    found = [token.session.get_objects({Attribute.CLASS: half}) for half in (PUBLIC, PRIVATE)]
    return len(list(found[0])), len(list(found[1]))


def again(store: TokenStore, tmp_path: Path) -> Token:
    """The token Company-X in a store that was opened again."""
    store.close()
    store.__init__(tmp_path / "hsm")  # type: ignore[misc]  # the fixture closes this one
    return store.token("Company-X")


# ---- cut off, as SoftHSM's files are then


def without(data: bytes, dropped: int) -> bytes:
    """A SoftHSM object file without one attribute: 8 bytes of generation, then for each its
    type, the kind of its value (1 a byte, 2 a number, 3 bytes with their length), the value."""

    def number(at: int) -> int:
        return int.from_bytes(data[at : at + 8], "big")

    kept, at = data[:8], 8
    while at < len(data):
        kind = number(at + 8)
        size = {1: 1, 2: 8}.get(kind) or 8 + number(at + 16)
        if number(at) != dropped:
            kept += data[at : at + 16 + size]
        at += 16 + size
    return kept


def cut_off(tmp_path: Path, attribute: int) -> None:
    """Takes an attribute out of the stored keys, as if it had never been written."""
    for path in (tmp_path / "hsm" / "tokens").glob("*/*.object"):
        if path.name != "token.object":
            path.write_bytes(without(path.read_bytes(), attribute))


def destroy(token: Token, half: ObjectClass) -> None:
    for found in pairs.stored(token.session, half, "ca"):
        found.destroy()


@pytest.mark.parametrize("left", [PUBLIC, PRIVATE])
@pytest.mark.parametrize("algorithm", [Algorithm.P256, Algorithm.RSA2048])
def test_half_a_pair_is_no_key_and_is_made_anew(
    store: TokenStore, tmp_path: Path, left: ObjectClass, algorithm: Algorithm
) -> None:
    token = store.token("Company-X")
    token.generate_key("ca", algorithm)
    destroy(token, PUBLIC if left is PRIVATE else PRIVATE)
    token = again(store, tmp_path)
    assert not token.has_key("ca")
    with refused(NotFound if left is PUBLIC else TokenError, "'ca'"):
        token.key("ca")
    assert works(token.ensure_key("ca"))
    assert halves(token) == (1, 1)


@pytest.mark.parametrize("attribute", [VALUE, EC_POINT])
def test_a_key_without_its_number_is_no_key_and_is_made_anew(
    store: TokenStore, tmp_path: Path, attribute: int
) -> None:
    store.token("Company-X").generate_key("ca")
    store.close()
    cut_off(tmp_path, attribute)
    token = again(store, tmp_path)
    with refused(TokenError, "damaged", "repeat the step"):
        token.key("ca")
    assert works(token.ensure_key("ca"))
    assert halves(token) == (1, 1)
    assert works(again(store, tmp_path).key("ca"))


def test_an_orphan_of_the_same_label_is_never_paired_with_a_later_key(
    store: TokenStore, tmp_path: Path
) -> None:
    """Whichever SoftHSM finds first: files lie in the order of their random names."""
    token = store.token("Company-X")
    for _ in range(12):
        pairs.generate(token.session, "ca", Algorithm.P256, keep=True)[1].destroy()
    pairs.generate(token.session, "ca", Algorithm.P256, keep=True)
    assert works(again(store, tmp_path).key("ca"))


def test_halves_of_two_pairs_with_one_id_are_no_key(store: TokenStore, tmp_path: Path) -> None:
    token = store.token("Company-X")
    token.generate_key("ca")
    token.generate_key("other")
    destroy(token, PUBLIC)
    own = pairs.stored(token.session, PRIVATE, "ca")[0]
    foreign = pairs.stored(token.session, PUBLIC, "other")[0]
    foreign[Attribute.ID] = own[Attribute.ID]
    assert not again(store, tmp_path).has_key("ca")


def test_leftovers_without_a_label_are_not_shown_and_are_swept(
    store: TokenStore, tmp_path: Path
) -> None:
    token = store.token("Company-X")
    public, private = pairs.generate(token.session, "", Algorithm.P256, keep=True)
    public.destroy()
    private[Attribute.ID] = b""
    assert token.key_labels == []
    token = again(store, tmp_path)
    token.generate_key("ca")
    assert halves(token) == (1, 1)


CLASS_ONLY = 32
"""A file's generation takes 8 bytes, the class as its first attribute 24."""


@pytest.mark.parametrize("size", [0, 8, CLASS_ONLY])
def test_an_object_that_is_hardly_begun_is_cleared_away(
    store: TokenStore, tmp_path: Path, size: int
) -> None:
    """Without a label it is no half of any key, and without a class no listing works any more."""
    store.token("Company-X").generate_key("ca")
    for path in (tmp_path / "hsm" / "tokens").glob("*/*.object"):
        if path.name != "token.object":
            path.write_bytes(path.read_bytes()[:size])
    token = again(store, tmp_path)
    assert list(token.session.get_objects()) == []
    token.generate_key("other")
    assert halves(token) == (1, 1)
    assert len(list((tmp_path / "hsm" / "tokens").glob("*/*.object"))) == 3


def test_a_sweep_leaves_other_keys_and_passing_keys_alone(store: TokenStore) -> None:
    token = store.token("Company-X")
    other = token.generate_key("other")
    with token.passing_key("ca") as passing:
        token.generate_key("ca")
        assert works(passing)
    assert works(other)
    assert token.key_labels == ["ca", "other"]


# ---- cut off in earnest

MAKE = """
import sys
from pathlib import Path
from labkit.hsm import TokenStore
token = TokenStore(Path(sys.argv[1])).token("Company-X")
print("ready", flush=True)
for number in range(10_000):
    token.ensure_key(f"key-{sys.argv[2]}-{number}")
    print(number, flush=True)
"""


def test_keys_after_kill_9_are_whole_or_made_anew(tmp_path: Path) -> None:
    """And nothing else lies in the token: no half without its other half, named or not."""
    chance, whole = random.Random(), 0
    for round_ in range(8):
        made = len(killed(MAKE, chance.uniform(0.02, 0.2), tmp_path / "hsm", round_))
        store = TokenStore(tmp_path / "hsm")
        token = store.token("Company-X")
        try:
            for number in range(made):
                assert works(token.key(f"key-{round_}-{number}")), "it was acknowledged"
            assert works(token.ensure_key(f"key-{round_}-{made}")), "it was cut off, perhaps"
            whole += made + 1
            assert halves(token) == (whole, whole)
        finally:
            store.close()


def test_a_pair_of_another_tool_without_label_and_id_is_not_swept(
    store: TokenStore, tmp_path: Path
) -> None:
    """``pkcs11-tool --keypairgen`` gives neither, unless it is told to."""
    token = store.token("Company-X")
    for half in pairs.generate(token.session, "", Algorithm.P256, keep=True):
        half[Attribute.ID] = b""
    left, _ = pairs.generate(token.session, "", Algorithm.P256, keep=True)
    left[Attribute.ID] = b""
    token = again(store, tmp_path)
    found = [list(token.session.get_objects({Attribute.CLASS: c})) for c in (PUBLIC, PRIVATE)]
    assert [len(each) for each in found] == [1, 2], "the half pair lost its public half only"
    ((public,), privates) = found
    assert any(pairs._checked(token, "", public, private) for private in privates)
