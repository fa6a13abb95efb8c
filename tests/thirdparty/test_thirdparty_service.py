"""The stand-in CA by itself, without network: accounts, API keys, profiles, what it signs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from first_boot_stories import csr_pem
from issuance_stories import new_key, rsa_key

from labkit.clock import Clock
from labkit.errors import BadRequest, Conflict, LabError, NotFound
from labkit.events import Events
from labkit.hsm import TokenStore
from labkit.pki import chain
from labkit.thirdparty import Account, CertificateService, Declined
from labkit.thirdparty.service import known_name


@pytest.fixture
def tokens(tmp_path: Path) -> Iterator[TokenStore]:
    store = TokenStore(tmp_path / "hsm")
    yield store
    store.close()


def opened(tmp_path: Path, tokens: TokenStore, name: str = "Trust & Co") -> CertificateService:
    clock = Clock()
    return CertificateService(name, tmp_path / "ca.db", tokens, clock, Events(clock))


@pytest.fixture
def service(tmp_path: Path, tokens: TokenStore) -> Iterator[CertificateService]:
    made = opened(tmp_path, tokens)
    yield made
    made.close()


@pytest.fixture
def account(service: CertificateService) -> Account:
    return service.account("Company-X")


def declined(service: CertificateService, key: str, profile: str, csr: str) -> Declined:
    with pytest.raises(Declined) as caught:
        service.issue(key, profile, csr)
    return caught.value


def test_its_cas_are_in_a_token_and_the_same_when_it_is_opened_again(
    service: CertificateService, tmp_path: Path, tokens: TokenStore
) -> None:
    """P-384, the issuing CA below the root and for no CA below it; the web root is another."""
    issuing, root = service.certificate, service.root
    assert chain.signed_by(issuing, root)
    assert all(isinstance(c.public_key(), ec.EllipticCurvePublicKey) for c in (issuing, root))
    constraints = issuing.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert constraints.path_length == 0
    assert service.issuing.key.attributes["NEVER_EXTRACTABLE"]
    service.close()
    again = opened(tmp_path, tokens)
    assert (again.certificate, again.root, again.web_root_pem) == (
        issuing,
        root,
        service.web_root_pem,
    )
    again.close()
    assert known_name(tmp_path / "ca.db") == "Trust & Co"
    with pytest.raises(Conflict):
        opened(tmp_path, tokens, "Another")


@pytest.mark.parametrize("name", ["", "x" * 25, "a\nb", 7])
def test_what_can_be_no_company_is_made_into_none(
    tmp_path: Path, tokens: TokenStore, name: Any
) -> None:
    with pytest.raises(LabError):
        opened(tmp_path, tokens, name)
    assert tokens.labels == []


def test_a_key_is_good_until_it_is_revoked_and_another_beside_it(
    service: CertificateService, account: Account
) -> None:
    account.profile("p")
    first, second = account.new_api_key(), account.new_api_key()
    assert service.profile(first, "P").name == service.profile(second, "p").name == "p"
    account.revoke_api_keys()
    assert declined(service, first, "p", csr_pem("a")).status == 401
    assert declined(service, "", "p", csr_pem("a")).status == 401


def test_an_account_has_profiles_of_its_own(service: CertificateService, account: Account) -> None:
    account.profile("p")
    other = service.account("Company-Y")
    assert declined(service, other.new_api_key(), "p", csr_pem("a")).status == 404
    assert other.profiles == []


@pytest.mark.parametrize(
    "settings",
    [
        {"days": 0},
        {"days": 5000},
        {"purposes": ()},
        {"purposes": ("codeSigning",)},
        {"keys": ()},
        {"keys": ("P-521",)},
        {"keys": "P-256"},
        {"days": "30"},
        {"days": True},
        {"common_names": ["smart-x-*"]},
        {"purposes": "clientAuth"},
        {"suspended": "no"},
        {"day": 30},
    ],
)
def test_what_can_be_no_profile_is_refused(account: Account, settings: dict[str, Any]) -> None:
    with pytest.raises(LabError):
        account.profile("p", **settings)
    account.profile("q")
    with pytest.raises(LabError):
        account.change_profile("q", **settings)


def test_a_profile_that_is_not_there_cannot_be_changed(account: Account) -> None:
    with pytest.raises(NotFound):
        account.change_profile("p", days=3)
    with pytest.raises(BadRequest):
        account.profile("")


def test_the_certificate_holds_what_the_profile_says_and_nothing_else(
    service: CertificateService, account: Account
) -> None:
    account.profile("p", purposes=("clientAuth", "serverAuth"), days=3)
    key = new_key()
    issued, *above = service.issue(account.new_api_key(), "p", csr_pem("a", key))
    assert above == [service.certificate, service.root]
    assert issued.public_key() == key.public_key()
    usage = issued.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
    assert account.certificates == [issued]


@pytest.mark.parametrize(
    ("settings", "csr", "status", "words"),
    [
        ({"suspended": True}, csr_pem("a"), 422, "suspended"),
        ({"common_names": "b*"}, csr_pem("a"), 422, "'b*'"),
        ({"common_names": "A"}, csr_pem("a"), 422, "'A'"),
        ({"keys": ("P-256",)}, csr_pem("a"), 422, "P-384"),
        ({"keys": ("P-256",)}, csr_pem("a", rsa_key()), 422, "RSA-2048"),
        ({}, "nothing", 400, "request"),
        ({}, "x" * 20_000, 400, "20,000 characters"),
    ],
)
def test_what_is_not_granted_says_what_and_how_to_cure_it(
    service: CertificateService,
    account: Account,
    settings: dict[str, Any],
    csr: str,
    status: int,
    words: str,
) -> None:
    account.profile("p", **settings)
    error = declined(service, account.new_api_key(), "p", csr)
    assert error.status == status
    assert words in error.message
    assert error.cures
    assert account.certificates == []


def test_a_ca_that_has_ended_signs_nothing(service: CertificateService, account: Account) -> None:
    account.profile("p")
    key = account.new_api_key()
    service.clock.advance(days=3700)
    assert declined(service, key, "p", csr_pem("a")).status == 503
