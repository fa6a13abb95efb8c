"""Every profile with every algorithm, judged by pkilint, which others wrote after RFC 5280."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cryptography import x509
from linter import beside, by_itself

from labkit.clock import Clock
from labkit.hsm import Algorithm, Token, TokenStore
from labkit.pki import profiles, request
from labkit.pki.authority import Authority, self_sign
from labkit.pki.profiles import Profile

BELOW_A_CA = (
    profiles.ISSUING_CA,
    profiles.INTERMEDIATE_CA,
    profiles.INTERMEDIATE_CA.limited_to(0),
    profiles.INTERMEDIATE_CA.limited_to(3),
    profiles.DEVICE,
    profiles.SERVER,
    profiles.VERIFICATION,
)
SELF_SIGNED = (profiles.PUBLIC_ROOT, profiles.ROOT_CA, profiles.DEVICE)
ALGORITHMS = tuple(Algorithm)
SERVER_NAMES = (x509.DNSName("contoso-hub.azure-devices.net"),)
CODE = "0F" * 24


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Token]:
    store = TokenStore(tmp_path_factory.mktemp("lint") / "hsm")
    yield store.token("Company-X")
    store.close()


def authority(token: Token, algorithm: Algorithm) -> Authority:
    key, clock = token.ensure_key(f"root {algorithm.value}", algorithm), Clock()
    subject = request.name("Company-X Root CA", "Company-X")
    return Authority(key, [self_sign(key, subject, clock)], clock)


@pytest.mark.parametrize("profile", SELF_SIGNED, ids=lambda p: p.name)
@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda a: a.value)
def test_self_signed_certificates_are_without_error(
    token: Token, profile: Profile, algorithm: Algorithm
) -> None:
    key = token.ensure_key(f"root {algorithm.value}", algorithm)
    made = self_sign(key, request.name("Company-X", "Company-X"), Clock(), profile)
    assert by_itself(made) == []


@pytest.mark.parametrize("profile", BELOW_A_CA, ids=lambda p: f"{p.name} {p.path_length}")
@pytest.mark.parametrize("issuer", ALGORITHMS, ids=lambda a: f"signed {a.value}")
@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda a: a.value)
def test_issued_certificates_are_without_error(
    token: Token, profile: Profile, issuer: Algorithm, algorithm: Algorithm
) -> None:
    """By itself, and beside its issuer's: names, key identifiers and signature fit."""
    signer = authority(token, issuer)
    key = token.ensure_key(f"subject {algorithm.value}", algorithm)
    csr = request.make(key, request.name(CODE if profile is profiles.VERIFICATION else "widget"))
    names = SERVER_NAMES if profile is profiles.SERVER else ()
    made = signer.sign_request(csr, profile, names=names)
    assert by_itself(made) == []
    assert beside(signer.certificate, made) == []


def test_the_linter_finds_what_is_wrong(token: Token) -> None:
    """A negative control: a CA certificate without critical basic constraints, and one beside
    an issuer that is not its own."""
    key = token.ensure_key("root P-256", Algorithm.P256)
    good = self_sign(key, request.name("CA"), Clock())
    loose = (
        x509.CertificateBuilder()
        .issuer_name(good.subject)
        .subject_name(good.subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(good.not_valid_before_utc)
        .not_valid_after(good.not_valid_after_utc)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=False)
        .sign(key, request.digest_for(key.public_key()))
    )
    assert any("basic_constraints" in error for error in by_itself(loose))
    signer, other = authority(token, Algorithm.P256), authority(token, Algorithm.P384)
    made = signer.issue(key.public_key(), good.subject, profiles.DEVICE)
    assert beside(signer.certificate, made) == []
    assert any("signature" in error for error in beside(other.certificate, made))
