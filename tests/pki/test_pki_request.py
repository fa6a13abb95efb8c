"""Requests: what a good one holds, and what each refusal says.

Where openssl can make the request, openssl makes it, as somebody outside of the lab would.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from complaints import refused
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from foreign_tools import openssl
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.errors import BadCertificate, BadRequest, LabError
from labkit.hsm import Algorithm, TokenStore
from labkit.pki import possession, profiles, request
from labkit.pki.profiles import Profile
from labkit.trace import Outcome

KEY = ec.generate_private_key(ec.SECP256R1())
ASKS = st.sampled_from([profiles.DEVICE, profiles.SERVER, profiles.INTERMEDIATE_CA])


def csr_for(
    subject: x509.Name | str = "widget", *wanted: x509.ExtensionType
) -> x509.CertificateSigningRequest:
    name = subject if isinstance(subject, x509.Name) else request.name(subject)
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    for extension in wanted:
        builder = builder.add_extension(extension, critical=True)
    return builder.sign(KEY, hashes.SHA256())


def name_of(*parts: tuple[x509.ObjectIdentifier, str]) -> x509.Name:
    """Also a name that the library would not let one build."""
    return x509.Name([x509.NameAttribute(oid, text, _validate=False) for oid, text in parts])


@pytest.fixture(scope="module")
def made_by_openssl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("requests")


def openssl_csr(folder: Path, *options: str) -> x509.CertificateSigningRequest:
    openssl(
        "req", "-new", "-nodes", "-keyout", folder / "key", "-out", folder / "csr", *options
    )  # fmt: skip
    return request.read(folder / "csr")


def outcomes(csr: x509.CertificateSigningRequest, profile: Profile) -> dict[str, Outcome]:
    return {check.name: check.outcome for check in request.examine(csr, profile)}


def only_failure(
    csr: x509.CertificateSigningRequest, profile: Profile = profiles.DEVICE
) -> tuple[str, str]:
    """The one check that failed, and why; and that check() says the same."""
    failures = [check for check in request.examine(csr, profile) if check.failed]
    (failure,) = failures
    assert failure.cures
    with refused(BadRequest, failure.why, failure.cures[0]):
        request.check(csr, profile)
    return failure.name, failure.why


# ---- good requests


@pytest.mark.parametrize("algorithm", list(Algorithm), ids=lambda a: a.value)
def test_a_token_signs_requests_that_openssl_verifies(tmp_path: Path, algorithm: Algorithm) -> None:
    store = TokenStore(tmp_path / "hsm")
    key = store.token("widget").generate_key("identity", algorithm)
    csr = request.make(key, request.name("widget"))
    store.close()
    told = openssl("req", "-verify", "-noout", "-text", data=csr.public_bytes(Encoding.PEM))
    assert "verify OK" in told
    checks = request.examine(csr, profiles.DEVICE)
    assert all(check.passed for check in checks)
    assert algorithm.value in next(check.why for check in checks if check.name == request.KEY)


def test_a_request_asks_for_what_its_profile_holds(tmp_path: Path) -> None:
    """As those who sign for strangers like to see; the device's own requests ask for nothing."""
    store = TokenStore(tmp_path / "hsm")
    key = store.token("Company-X").generate_key("ca")
    wanted = profiles.INTERMEDIATE_CA.limited_to(2)
    asked = request.make(key, request.name("Company-X CA", "Company-X"), wanted)
    silent = request.make(key, request.name("Company-X CA"))
    store.close()
    told = openssl("req", "-noout", "-text", data=asked.public_bytes(Encoding.PEM))
    assert "CA:TRUE, pathlen:2" in told
    assert "Certificate Sign" in told
    assert not list(silent.extensions)
    request.check(asked, wanted, organization="Company-X")


@pytest.mark.parametrize(
    "options",
    [
        ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
        ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384", "-sha384"),
        ("-newkey", "rsa:2048"),
        ("-newkey", "rsa:3072", "-sha512"),
        ("-newkey", "rsa:2048", "-sigopt", "rsa_padding_mode:pss"),
    ],
    ids=" ".join,
)
def test_requests_of_openssl_are_good(made_by_openssl: Path, options: tuple[str, ...]) -> None:
    csr = openssl_csr(made_by_openssl, "-subj", "/CN=widget", *options)
    assert set(outcomes(csr, profiles.DEVICE).values()) == {Outcome.PASSED}


# ---- each refusal


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (("-newkey", "rsa:1024"), "RSA-1024"),
        (("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-192"), "secp192r1"),
        (("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-224"), "secp224r1"),
        (("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-521"), "secp521r1"),
        (("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp256k1"), "secp256k1"),
        (("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:brainpoolP256r1"), "brainpoolP256r1"),
        (("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:sect163k1"), "1.3.132.0.1"),
        (("-newkey", "ed25519"), "Ed25519"),
        (("-newkey", "ed448"), "Ed448"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_weak_or_unknown_key_is_refused_by_name(
    made_by_openssl: Path, options: tuple[str, ...], found: str
) -> None:
    csr = openssl_csr(made_by_openssl, "-subj", "/CN=widget", *options)
    name, why = only_failure(csr)
    assert (name, found in why, "does not sign" in why) == (request.KEY, True, True)


@pytest.mark.parametrize("digest", ["md5", "sha1", "sha224"])
def test_a_hash_that_no_longer_protects_is_refused(made_by_openssl: Path, digest: str) -> None:
    """The signature is not judged then: the library verifies no SHA-1, and its "no" would tell
    the trainee to look for another key."""
    csr = openssl_csr(made_by_openssl, "-subj", "/CN=widget", "-newkey", "rsa:2048", f"-{digest}")
    name, why = only_failure(csr)
    assert (name, digest.upper() in why) == (request.HASH, True)
    assert outcomes(csr, profiles.DEVICE)[request.SIGNATURE] is Outcome.NOT_REACHED


def test_a_request_signed_by_another_key_is_refused() -> None:
    """Whoever asks shows that they hold the key: a damaged signature shows nothing."""
    der = bytearray(csr_for().public_bytes(Encoding.DER))
    der[-3] ^= 1
    name, why = only_failure(x509.load_der_x509_csr(bytes(der)))
    assert (name, "not signed by the key" in why) == (request.SIGNATURE, True)


def test_a_request_altered_after_it_was_signed_is_refused() -> None:
    der = csr_for("widget-001").public_bytes(Encoding.DER).replace(b"widget-001", b"widget-002")
    assert only_failure(x509.load_der_x509_csr(der))[0] == request.SIGNATURE


def test_a_device_that_asks_to_be_a_ca_is_refused() -> None:
    for extension, word in (
        (x509.BasicConstraints(ca=True, path_length=None), "CA:TRUE"),
        (profiles.key_usage("key_cert_sign"), "keyCertSign"),
    ):
        csr = csr_for("widget", extension)
        name, why = only_failure(csr)
        assert (name, word in why, "asks to be a CA" in why) == (request.RANK, True, True)
        request.check(csr, profiles.INTERMEDIATE_CA)


def test_a_device_may_say_that_it_is_none() -> None:
    """openssl's usual configuration asks for CA:FALSE."""
    request.check(csr_for("widget", x509.BasicConstraints(ca=False, path_length=None)))


def test_nobody_becomes_a_ca_who_asked_not_to_be_one() -> None:
    csr = csr_for("Factory-Y CA", x509.BasicConstraints(ca=False, path_length=None))
    name, why = only_failure(csr, profiles.INTERMEDIATE_CA)
    assert (name, "CA:FALSE" in why) == (request.RANK, True)


CN, O, C = NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME, NameOID.COUNTRY_NAME  # noqa: E741


@pytest.mark.filterwarnings("ignore:Attribute's length")
@pytest.mark.parametrize(
    ("parts", "found"),
    [
        ([], "no common names"),
        ([(O, "Company-X")], "no common names"),
        ([(CN, "a"), (CN, "b")], "2 common names"),
        ([(CN, "")], "CN is empty"),
        ([(CN, "x" * 65)], "CN has 65 characters, of 64"),
        ([(O, "x" * 65), (CN, "a")], "O has 65 characters, of 64"),
        ([(C, "DEU"), (CN, "a")], "C has 3 characters, of 2"),
        ([(CN, "a\nb")], "cannot be printed"),
        ([(CN, "a\0b")], "cannot be printed"),
    ],
)
def test_a_subject_must_be_such_as_a_certificate_can_have(
    parts: list[tuple[x509.ObjectIdentifier, str]], found: str
) -> None:
    name, why = only_failure(csr_for(name_of(*parts)), profiles.SERVER)
    assert (name, found in why) == (request.NAME, True), why


@pytest.mark.filterwarnings("ignore:Attribute's length")
def test_a_foreign_common_name_may_have_64_characters_of_any_script() -> None:
    """The library that builds names counts bytes; the RFC, and who reads them, characters."""
    request.check(csr_for(name_of((CN, "ü" * 64))), profiles.SERVER)


def test_a_subject_has_few_parts_each_of_a_length() -> None:
    """Bounded as a whole: 2,000 parts of 64 characters were 142 KB in every certificate."""
    common_name, unit = (NameOID.COMMON_NAME, "w"), NameOID.ORGANIZATIONAL_UNIT_NAME
    request.check(csr_for(name_of(common_name, *[(unit, "u")] * 31)))
    with refused(BadRequest, "2001 parts, of 32 at most"):
        request.check(csr_for(name_of(common_name, *[(unit, "u" * 64)] * 2000)))
    with refused(BadRequest, "256 characters, of 255 at most"):
        request.check(csr_for(name_of(common_name, (NameOID.STREET_ADDRESS, "s" * 256))))


@pytest.mark.parametrize("spelled", [str.upper, str.lower])
def test_no_device_is_called_like_a_verification_code(spelled: Callable[[str], str]) -> None:
    """Else its certificate would prove the possession of its CA's key for whoever uploaded it."""
    csr = csr_for(spelled(possession.new_code()))
    with refused(BadRequest, "form of a verification code", "prove_possession"):
        request.check(csr, profiles.DEVICE)
    request.check(csr, profiles.VERIFICATION)


@pytest.mark.parametrize("common_name", ["my widget", "widget.", "wïdget", "a/b"])
def test_a_devices_common_name_is_a_registration_id(common_name: str) -> None:
    csr = csr_for(common_name)
    assert only_failure(csr)[0] == request.REGISTRATION
    request.check(csr, profiles.INTERMEDIATE_CA)


@pytest.mark.parametrize(
    ("organization", "told"), [("", "no organization"), ("Company-Y", "O=Company-Y")]
)
def test_the_organization_is_the_applicants_where_the_signer_asks(
    organization: str, told: str
) -> None:
    csr = csr_for(request.name("Company-X CA", organization))
    with refused(BadRequest, told, "the applicant is Company-X"):
        request.check(csr, profiles.INTERMEDIATE_CA, organization="Company-X")
    request.check(csr, profiles.INTERMEDIATE_CA)
    good = csr_for(request.name("Company-X CA", "Company-X"))
    request.check(good, profiles.INTERMEDIATE_CA, organization="Company-X")


def test_every_fault_of_a_request_is_told_and_the_first_decides(made_by_openssl: Path) -> None:
    csr = openssl_csr(
        made_by_openssl, "-newkey", "rsa:1024", "-sha1", "-subj", "/CN=my widget",
        "-addext", "basicConstraints=critical,CA:TRUE",
    )  # fmt: skip
    failures = [check.name for check in request.examine(csr) if check.failed]
    assert failures == [request.KEY, request.HASH, request.RANK, request.REGISTRATION]
    with refused(BadRequest, request.KEY, "RSA-1024"):
        request.check(csr)


# ---- requests that cannot be read


def broken() -> x509.CertificateSigningRequest:
    """Key usage that is no ASN.1: the library reads extensions when they are asked for."""
    nonsense = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.15"), b"nonsense")
    return csr_for("widget", nonsense)


def test_extensions_that_cannot_be_read_are_a_fault() -> None:
    csr = broken()
    with refused(BadCertificate, "breaks the standard", "openssl req -new"):
        request.read(csr.public_bytes(Encoding.DER))
    first, *rest = request.examine(csr)
    assert (first.name, first.outcome) == (request.READABLE, Outcome.FAILED)
    assert first.why == "its extensions cannot be read"
    assert {check.outcome for check in rest} == {Outcome.NOT_REACHED}
    with refused(BadRequest, request.READABLE):
        request.check(csr)


PEM = csr_for().public_bytes(Encoding.PEM)
DER = csr_for().public_bytes(Encoding.DER)


@pytest.mark.parametrize(
    "data",
    [
        PEM,
        PEM.decode(),
        DER,
        base64.b64encode(DER),
        PEM.replace(b"\n", b"\r\n"),
        b"\xef\xbb\xbf" + PEM,
        PEM.decode().encode("utf-16"),
        b"Certificate Request:\n    Data: ...\n" + PEM,
        PEM.replace(b"CERTIFICATE REQUEST", b"NEW CERTIFICATE REQUEST"),
    ],
    ids=["PEM", "text", "DER", "base64", "CRLF", "BOM", "UTF-16", "words before", "old armour"],
)
def test_every_usual_form_of_a_request_is_read(data: bytes | str) -> None:
    assert request.read(data).public_key() == KEY.public_key()


def test_what_is_no_request_is_told_what_it_is() -> None:
    certificate = b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"
    for data, found, cure in (
        (certificate, "a certificate", "is what comes back for it"),
        (PEM + PEM, "2 requests in one file", "openssl req"),
        (PEM[:100], "a certificate signing request, cut off", "the whole file"),
        (DER[:-1] + b"\0\0", "a certificate signing request", "openssl req"),
        ("widget.csr", "the name of a file", "Path"),
        (b"", "nothing", "openssl req"),
    ):
        with refused(BadCertificate, "not a certificate signing request", cure) as caught:
            request.read(data)
        assert found in caught.error.found
    with refused(BadCertificate, "holds a private key"):
        request.read(PEM + b"-----BEGIN EC PRIVATE KEY-----")


# ---- bytes of any kind


def only_lab_errors(data: bytes, profile: Profile = profiles.DEVICE) -> None:
    """To read, to examine and to check: each answers in the house's own words."""
    try:
        csr = request.read(data)
        assert request.examine(csr, profile)
        request.check(csr, profile)
    except LabError as error:
        told = error.found, error.cure
    else:
        return
    assert all(told), told


@given(st.binary(max_size=300))
def test_arbitrary_bytes_never_raise_anything_else(data: bytes) -> None:
    only_lab_errors(data)


RICH = csr_for(
    name_of((O, "Company-X"), (C, "DE"), (CN, "widget")),
    x509.BasicConstraints(ca=True, path_length=1),
    profiles.key_usage("digital_signature"),
    x509.SubjectAlternativeName([x509.DNSName("widget.local")]),
).public_bytes(Encoding.DER)


@given(st.integers(0, len(RICH) - 1), st.integers(0, 255), ASKS)
@settings(max_examples=400)
def test_a_request_with_any_byte_changed_never_raises_anything_else(
    place: int, value: int, profile: Profile
) -> None:
    only_lab_errors(RICH[:place] + bytes([value]) + RICH[place + 1 :], profile)


@given(st.integers(0, len(RICH)), st.integers(0, len(RICH)), st.binary(max_size=20))
@settings(max_examples=200)
def test_a_request_with_a_part_replaced_never_raises_anything_else(
    start: int, end: int, other: bytes
) -> None:
    only_lab_errors(RICH[:start] + other + RICH[end:])


@given(st.text(st.characters(), max_size=80), st.text(st.characters(), max_size=80))
def test_any_text_is_a_name_or_a_bad_request(common_name: str, organization: str) -> None:
    try:
        made = request.name(common_name, organization)
    except BadRequest:
        return
    assert csr_for(made).subject == made


@pytest.mark.parametrize("length", [0, 65])
def test_a_common_name_has_1_to_64_characters(length: int) -> None:
    with refused(BadRequest, "common name", f"{length} characters"):
        request.name("x" * length)
    assert request.name("x" * 64)


@pytest.fixture(autouse=True, scope="module")
def _no_files_are_left(made_by_openssl: Path) -> Iterator[None]:
    """openssl writes a private key beside each request: to be gone with the test."""
    yield
    (made_by_openssl / "key").unlink(missing_ok=True)
