"""The key types of the lab, by the names that people use, and keys made once of each."""

from __future__ import annotations

from pathlib import Path

import pytest
from complaints import refused

from labkit.errors import Conflict, TokenError
from labkit.hsm import Algorithm, TokenStore


@pytest.mark.parametrize("algorithm", list(Algorithm), ids=lambda a: a.value)
def test_a_key_is_made_once_and_of_the_algorithm_that_was_asked_for(
    tmp_path: Path, algorithm: Algorithm
) -> None:
    """Twice is harmless: the second time it is the same key. Another algorithm is a conflict,
    and the key that is there stays as it is."""
    store = TokenStore(tmp_path / "hsm")
    token = store.token("Company-X")
    key = token.ensure_key("root", algorithm)
    assert Algorithm.of(key.public_key()) is algorithm
    assert token.ensure_key("root", algorithm) is key
    other = Algorithm.P384 if algorithm is not Algorithm.P384 else Algorithm.P256
    with refused(Conflict, f"a key for {other.value}", f"one for {algorithm.value}"):
        token.ensure_key("root", other)
    assert token.key("root") is key
    store.close()


def test_an_algorithm_is_found_by_its_name() -> None:
    assert [Algorithm.named(a.value) for a in Algorithm] == list(Algorithm)
    assert Algorithm.named(Algorithm.P384) is Algorithm.P384


@pytest.mark.parametrize("name", ["P-521", "RSA-1024", "p256", "", None, ["P-256"]], ids=repr)
def test_an_algorithm_that_the_lab_lacks_is_told_with_those_it_has(name: object) -> None:
    with refused(TokenError, "no key type", "P-256 or P-384 or RSA-2048 or RSA-3072"):
        Algorithm.named(name)  # type: ignore[arg-type]
