"""Keys that sign inside their token and serve cryptography's own builders."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from foreign_tools import openssl
from pkcs11.exceptions import PKCS11Error

from labkit.hsm import Algorithm, Token, TokenStore
from labkit.pki import request

HASHES = [hashes.SHA256(), hashes.SHA384(), hashes.SHA512()]
CURVES = [Algorithm.P256, Algorithm.P384]


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Token]:
    store = TokenStore(tmp_path_factory.mktemp("keys") / "hsm")
    token = store.token("Company-X")
    for algorithm in Algorithm:
        token.generate_key(algorithm.value, algorithm)
    yield token
    store.close()


@pytest.mark.parametrize("digest", HASHES, ids=lambda h: h.name)
@pytest.mark.parametrize("algorithm", CURVES)
def test_an_ecdsa_signature_verifies_under_every_hash(
    token: Token, algorithm: Algorithm, digest: hashes.HashAlgorithm
) -> None:
    """SHA-512 on P-256 too: a digest longer than the curve's order is cut, FIPS 186-5, 6.4.1."""
    key: Any = token.key(algorithm.value)
    key.public_key().verify(key.sign(b"data", ec.ECDSA(digest)), b"data", ec.ECDSA(digest))


@pytest.mark.parametrize("digest", HASHES, ids=lambda h: h.name)
@pytest.mark.parametrize("algorithm", CURVES)
def test_a_digest_made_elsewhere_is_signed_as_it_is(
    token: Token, algorithm: Algorithm, digest: hashes.HashAlgorithm
) -> None:
    key: Any = token.key(algorithm.value)
    hashed = hashlib.new(digest.name, b"data").digest()
    signature = key.sign(hashed, ec.ECDSA(Prehashed(digest)))
    key.public_key().verify(signature, b"data", ec.ECDSA(digest))


@pytest.mark.parametrize("digest", HASHES, ids=lambda h: h.name)
def test_rsa_signs_by_pkcs1_and_by_pss(token: Token, digest: hashes.HashAlgorithm) -> None:
    key: Any = token.key("RSA-2048")
    pss = padding.PSS(padding.MGF1(digest), padding.PSS.DIGEST_LENGTH)
    for scheme in (padding.PKCS1v15(), pss):
        key.public_key().verify(key.sign(b"data", scheme, digest), b"data", scheme, digest)


def test_pss_takes_the_salt_length_that_it_is_given(token: Token) -> None:
    key: Any = token.key("RSA-2048")
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), 20)
    signature = key.sign(b"data", pss, hashes.SHA256())
    key.public_key().verify(signature, b"data", pss, hashes.SHA256())


@pytest.mark.parametrize("algorithm", Algorithm)
def test_the_public_key_is_of_the_kind_that_was_asked_for(
    token: Token, algorithm: Algorithm
) -> None:
    key: Any = token.key(algorithm.value)
    assert key.key_size == algorithm.bits
    assert request.describe_key(key.public_key()) == algorithm.value


@pytest.mark.parametrize("algorithm", Algorithm)
def test_openssl_finds_a_request_signed_in_the_token_good(
    token: Token, algorithm: Algorithm
) -> None:
    csr = request.make(token.key(algorithm.value), request.name("smart-x-widget-001"))
    shown = openssl("req", "-verify", "-noout", "-subject", data=csr.public_bytes(Encoding.PEM))
    assert "verify OK" in shown
    assert "CN = smart-x-widget-001" in shown


@pytest.mark.parametrize("algorithm", Algorithm)
def test_the_private_number_is_not_to_be_had(token: Token, algorithm: Algorithm) -> None:
    key: Any = token.key(algorithm.value)
    with pytest.raises(UnsupportedAlgorithm, match="never leaves its token"):
        key.private_numbers()
    with pytest.raises(UnsupportedAlgorithm, match="never leaves its token"):
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    assert key.attributes == {
        "SENSITIVE": True,
        "EXTRACTABLE": False,
        "ALWAYS_SENSITIVE": True,
        "NEVER_EXTRACTABLE": True,
        "LOCAL": True,
    }


def test_keys_are_for_signing_only(token: Token) -> None:
    elliptic, big = token.key("P-256"), token.key("RSA-2048")
    assert isinstance(elliptic, ec.EllipticCurvePrivateKey)
    assert isinstance(big, rsa.RSAPrivateKey)
    with pytest.raises(UnsupportedAlgorithm):
        elliptic.exchange(ec.ECDH(), elliptic.public_key())
    with pytest.raises(UnsupportedAlgorithm):
        big.decrypt(b"x" * 256, padding.PKCS1v15())


def test_a_copy_is_the_same_key(token: Token) -> None:
    key = token.key("P-256")
    assert copy.copy(key) is key
    assert copy.deepcopy(key) is key


def test_a_stored_key_is_found_with_its_public_half(tmp_path: Path) -> None:
    first = TokenStore(tmp_path / "hsm")
    made = {a: first.token("T").generate_key(a.value, a).public_key() for a in CURVES}
    first.close()
    second = TokenStore(tmp_path / "hsm")
    assert {a: second.token("T").key(a.value).public_key() for a in CURVES} == made
    second.close()


def test_a_key_that_was_destroyed_signs_no_more_and_leaves_its_label_free(token: Token) -> None:
    old = token.ensure_key("passing")
    token.destroy_key("passing")
    token.destroy_key("passing")
    assert "passing" not in token.key_labels
    with pytest.raises(PKCS11Error):
        old.sign(b"", ec.ECDSA(hashes.SHA256()))  # type: ignore[union-attr, arg-type]
    assert token.ensure_key("passing").public_key() != old.public_key()
