"""Certificates by profile, whatever the request asks for."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from complaints import refused
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from foreign_tools import openssl, openssl_verify

from labkit.clock import Clock
from labkit.errors import BadRequest
from labkit.hsm import Algorithm, Token, TokenStore
from labkit.pki import authority, chain, profiles, request
from labkit.pki.authority import Authority
from labkit.pki.profiles import Profile

FIVE_MINUTES = timedelta(minutes=5)


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Token]:
    store = TokenStore(tmp_path_factory.mktemp("authority") / "hsm")
    yield store.token("Company-X")
    store.close()


@pytest.fixture
def clock() -> Clock:
    clock = Clock()
    clock.set(datetime(2027, 3, 1, 9, tzinfo=UTC))
    return clock


@pytest.fixture
def root(token: Token, clock: Clock) -> Authority:
    key, subject = token.ensure_key("root"), request.name("Company-X Root CA", "Company-X")
    return Authority(key, [authority.self_sign(key, subject, clock)], clock)


def csr_of(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, **more: bool
) -> x509.CertificateSigningRequest:
    builder = x509.CertificateSigningRequestBuilder().subject_name(request.name("widget"))
    if "ca" in more:
        constraints = x509.BasicConstraints(ca=more["ca"], path_length=None)
        builder = builder.add_extension(constraints, critical=True)
    return builder.sign(key, hashes.SHA256())


def new_csr(**more: bool) -> x509.CertificateSigningRequest:
    return csr_of(ec.generate_private_key(ec.SECP256R1()), **more)


# ---- what certificates hold


def test_a_root_is_a_self_signed_ca(root: Authority) -> None:
    assert chain.is_ca(root.certificate)
    assert chain.is_self_signed(root.certificate)
    assert chain.signed_by(root.certificate, root.certificate)


def test_openssl_reads_a_device_certificate_as_it_is_meant(root: Authority) -> None:
    device = root.sign_request(new_csr(), profiles.DEVICE)
    text = openssl("x509", "-noout", "-text", data=device.public_bytes(Encoding.PEM))
    for words in ("CA:FALSE", "TLS Web Client Authentication", "Digital Signature"):
        assert words in text
    assert "X509v3 Authority Key Identifier" in text
    assert "Certificate Sign" not in text


def test_openssl_accepts_what_an_authority_issues(
    root: Authority, clock: Clock, tmp_path: Path
) -> None:
    device = root.sign_request(new_csr(), profiles.DEVICE)
    assert openssl_verify(tmp_path, [device], [root.certificate], clock.now()) == ""


@pytest.mark.parametrize(
    ("profile", "ca", "usage", "purposes"),
    [
        (profiles.PUBLIC_ROOT, True, {"key_cert_sign", "crl_sign", "digital_signature"}, []),
        (profiles.ISSUING_CA, True, {"key_cert_sign", "crl_sign", "digital_signature"}, []),
        (profiles.ROOT_CA, True, {"key_cert_sign", "crl_sign", "digital_signature"}, []),
        (profiles.INTERMEDIATE_CA, True, {"key_cert_sign", "crl_sign", "digital_signature"}, []),
        (profiles.DEVICE, False, {"digital_signature"}, [ExtendedKeyUsageOID.CLIENT_AUTH]),
        (profiles.SERVER, False, {"digital_signature"}, [ExtendedKeyUsageOID.SERVER_AUTH]),
        (profiles.VERIFICATION, False, {"digital_signature"}, []),
    ],
    ids=lambda value: value.name if isinstance(value, Profile) else "",
)
def test_each_profile_grants_just_its_own(
    root: Authority,
    profile: Profile,
    ca: bool,
    usage: set[str],
    purposes: list[x509.ObjectIdentifier],
) -> None:
    made = root.sign_request(new_csr(), profile)
    found = made.extensions.get_extension_for_class(x509.KeyUsage)
    names = ("digital_signature", "key_cert_sign", "crl_sign", "key_agreement", "key_encipherment")
    assert {name for name in names if getattr(found.value, name)} == usage
    assert found.critical
    assert chain.is_ca(made) is ca
    named = [
        list(extension.value)
        for extension in made.extensions
        if isinstance(extension.value, x509.ExtendedKeyUsage)
    ]
    assert named == ([purposes] if purposes else [])


@pytest.mark.parametrize("algorithm", list(Algorithm), ids=lambda a: a.value)
def test_an_authority_signs_with_any_kind_of_key(
    token: Token, clock: Clock, tmp_path: Path, algorithm: Algorithm
) -> None:
    label = f"root {algorithm.value}"
    key = token.generate_key(label, algorithm)
    signer = Authority(key, [authority.self_sign(key, request.name(label), clock)], clock)
    device = signer.sign_request(new_csr(), profiles.DEVICE)
    assert openssl_verify(tmp_path, [device], [signer.certificate], clock.now()) == ""
    assert isinstance(device.signature_hash_algorithm, type(request.digest_for(key.public_key())))


# ---- validity


def test_validity_is_by_the_labs_clock_backdated_a_little(root: Authority, clock: Clock) -> None:
    device = root.sign_request(new_csr(), profiles.DEVICE)
    now = clock.now()
    later = datetime(2027, 6, 1, tzinfo=UTC)
    assert device.not_valid_before_utc <= now
    assert abs(device.not_valid_after_utc - now - timedelta(days=365)) < FIVE_MINUTES
    clock.set(later)
    second = root.sign_request(new_csr(), profiles.DEVICE)
    assert abs(second.not_valid_before_utc - later + FIVE_MINUTES) < FIVE_MINUTES


def test_nothing_outlives_its_issuer(root: Authority, clock: Clock) -> None:
    """RFC 5280, 6.1: a chain is as good as its shortest part."""
    clock.advance(days=3650 - 30)
    for profile in (profiles.DEVICE, profiles.INTERMEDIATE_CA):
        made = root.sign_request(new_csr(), profile)
        assert made.not_valid_after_utc <= root.certificate.not_valid_after_utc


def test_an_expired_authority_refuses_to_sign(root: Authority, clock: Clock) -> None:
    clock.advance(days=3651)
    with refused(BadRequest, "cannot sign", "2037"):
        root.sign_request(new_csr(), profiles.DEVICE)


def test_an_authority_that_is_not_valid_yet_says_just_that(root: Authority, clock: Clock) -> None:
    """Moving the clock back before the CA was made is no expiry."""
    clock.set(datetime(2001, 1, 1, tzinfo=UTC))
    with refused(BadRequest) as caught:
        root.sign_request(new_csr(), profiles.DEVICE)
    assert "expired" not in str(caught.error)


def test_nothing_begins_before_its_issuer(root: Authority, clock: Clock) -> None:
    clock.set(root.certificate.not_valid_before_utc + timedelta(seconds=1))
    made = root.sign_request(new_csr(), profiles.DEVICE)
    assert made.not_valid_before_utc >= root.certificate.not_valid_before_utc


@pytest.mark.parametrize("year", [1951, 8999])
def test_a_root_can_be_made_wherever_the_clock_may_be_set(token: Token, year: int) -> None:
    clock = Clock()
    clock.set(datetime(year, 1, 1, tzinfo=UTC))
    made = authority.self_sign(token.ensure_key("root"), request.name("Old Root CA"), clock)
    assert made.not_valid_after_utc > clock.now()


def test_a_profile_may_last_as_long_as_one_says(root: Authority, clock: Clock) -> None:
    short = profiles.DEVICE.lasting(timedelta(days=30))
    made = root.sign_request(new_csr(), short)
    assert abs(made.not_valid_after_utc - clock.now() - timedelta(days=30)) < FIVE_MINUTES
    assert short.lasting(profiles.DEVICE.lifetime) == profiles.DEVICE, "nothing else changes"


@pytest.mark.parametrize("lifetime", [timedelta(), timedelta(days=-1), timedelta(days=40000)])
def test_no_certificate_lasts_no_time_or_for_ever(lifetime: timedelta) -> None:
    with refused(BadRequest, "can last"):
        profiles.DEVICE.lasting(lifetime)


# ---- serial numbers


def test_serial_numbers_are_random_positive_and_of_20_octets_at_most(root: Authority) -> None:
    """RFC 5280, 4.1.2.2. Each of the 159 bits below the sign is 0 in one and 1 in another of
    100 serials, unless a bit is stuck: that happens by chance once in 2 to the 92nd."""
    key, subject = new_csr().public_key(), request.name("widget")
    serials = [root.issue(key, subject, profiles.DEVICE).serial_number for _ in range(100)]
    assert len(set(serials)) == len(serials)
    assert all(0 < serial < 2**159 for serial in serials)
    ones, zeros = 0, 0
    for serial in serials:
        ones, zeros = ones | serial, zeros | ~serial
    assert ones & (2**159 - 1) == 2**159 - 1
    assert zeros & (2**159 - 1) == 2**159 - 1


# ---- path length


@pytest.mark.parametrize(
    ("profile", "number"), [(profiles.DEVICE, 0), (profiles.ROOT_CA, -1)], ids=["device", "-1"]
)
def test_only_a_ca_has_a_path_length_and_none_below_0(profile: Profile, number: int) -> None:
    with refused(BadRequest, "path length"):
        profile.limited_to(number)


def test_a_limited_profile_is_granted_as_far_as_the_issuer_may(
    root: Authority, token: Token, clock: Clock
) -> None:
    wide = root.sign_request(new_csr(), profiles.INTERMEDIATE_CA.limited_to(3))
    assert path_length(wide) == 3
    two = ca_below(root, token, clock, "two for limits", 2)
    asked_too_much = two.sign_request(new_csr(), profiles.INTERMEDIATE_CA.limited_to(3))
    asked_less = two.sign_request(new_csr(), profiles.INTERMEDIATE_CA.limited_to(0))
    assert (path_length(asked_too_much), path_length(asked_less)) == (1, 0)


def test_a_self_signed_ca_may_be_limited_too(token: Token, clock: Clock) -> None:
    profile = profiles.PUBLIC_ROOT.limited_to(1)
    made = authority.self_sign(token.ensure_key("root"), request.name("Root"), clock, profile)
    assert path_length(made) == 1
    years = (made.not_valid_after_utc - clock.now()) / timedelta(days=365.25)
    assert round(years) == 25


def ca_below(issuer: Authority, token: Token, clock: Clock, label: str, room: int) -> Authority:
    profile = Profile(label, timedelta(days=100), ("key_cert_sign",), is_ca=True, path_length=room)
    key = token.ensure_key(label)
    made = issuer.sign_request(request.make(key, request.name(label)), profile)
    return Authority(key, [made, *issuer.chain], clock)


def path_length(certificate: x509.Certificate) -> int | None:
    found = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    return found.value.path_length


def test_path_length_shrinks_by_one_at_each_level(
    root: Authority, token: Token, clock: Clock
) -> None:
    two = ca_below(root, token, clock, "two", 2)
    one = two.sign_request(new_csr(), profiles.INTERMEDIATE_CA)
    assert (path_length(two.certificate), path_length(one)) == (2, 1)


def test_an_authority_of_path_length_0_signs_devices_only(
    root: Authority, token: Token, clock: Clock
) -> None:
    zero = ca_below(root, token, clock, "zero", 0)
    with refused(BadRequest, "may sign no further CA", "path length 0"):
        zero.sign_request(new_csr(), profiles.INTERMEDIATE_CA)
    assert not chain.is_ca(zero.sign_request(new_csr(), profiles.DEVICE))


# ---- what a request may change


def test_a_request_is_checked_for_the_profile_that_is_granted(root: Authority) -> None:
    with refused(BadRequest, "No device certificate", "asks to be a CA", "CA:TRUE"):
        root.sign_request(new_csr(ca=True), profiles.DEVICE)
    assert chain.is_ca(root.sign_request(new_csr(ca=True), profiles.INTERMEDIATE_CA))
    assert not chain.is_ca(root.sign_request(new_csr(ca=False), profiles.DEVICE))


def test_a_request_changes_nothing_of_the_profile(root: Authority) -> None:
    """Names, purposes and usages that a device asks for itself are not granted."""
    greedy = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(request.name("widget"))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("example.com")]), critical=False)
        .add_extension(profiles.key_usage("data_encipherment"), critical=True)
        .sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    )
    asked = {e.oid for e in root.sign_request(greedy, profiles.DEVICE).extensions}
    plain = {e.oid for e in root.sign_request(new_csr(), profiles.DEVICE).extensions}
    assert asked == plain
    usage = root.sign_request(greedy, profiles.DEVICE).extensions.get_extension_for_class(
        x509.KeyUsage
    )
    assert not usage.value.data_encipherment


def test_names_in_the_server_certificate_are_subject_alternatives(root: Authority) -> None:
    names = [x509.DNSName("contoso-hub.azure-devices.net")]
    made = root.issue(new_csr().public_key(), request.name("hub"), profiles.SERVER, names=names)
    found = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert found.get_values_for_type(x509.DNSName) == ["contoso-hub.azure-devices.net"]
