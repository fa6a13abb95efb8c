"""Reading certificates out of what people hand over, and climbing from one to its issuer."""

from __future__ import annotations

import base64
import random

import forge
import pytest
from complaints import refused
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from foreign_tools import openssl
from hypothesis import given
from hypothesis import strategies as st

from labkit.errors import BadCertificate
from labkit.pki import chain

ROOT = forge.ca("Company-X Root CA")
FACTORY = forge.ca("Factory-Y CA", ROOT)
TECHNICIAN = forge.ca("Technician-Z CA", FACTORY)
WIDGET = forge.device("smart-x-widget-001", TECHNICIAN)
ALL = [f.certificate for f in (WIDGET, TECHNICIAN, FACTORY, ROOT)]

PEM = WIDGET.certificate.public_bytes(Encoding.PEM)
DER = WIDGET.certificate.public_bytes(Encoding.DER)
KEY = WIDGET.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
OLD_KEY = WIDGET.key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())


# ---- reading


@pytest.mark.parametrize(
    "data",
    [
        PEM,
        PEM.decode(),
        DER,
        base64.b64encode(DER),
        base64.b64encode(DER).decode(),
        base64.b64encode(PEM),
        base64.encodebytes(DER),
        PEM.replace(b"\n", b"\r\n"),
        b"Subject: CN=widget\nissued by the line\n" + PEM,
        b"\xef\xbb\xbf" + PEM,
    ],
    ids=[
        "PEM",
        "PEM text",
        "DER",
        "base64 of DER",
        "its text",
        "base64 of PEM",
        "base64 in lines",
        "CRLF",
        "words before",
        "byte order mark",
    ],
)
def test_every_usual_form_of_a_certificate_is_read(data: bytes | str) -> None:
    assert chain.read_certificate(data) == WIDGET.certificate


def test_a_bundle_keeps_its_order() -> None:
    mixed = random.Random(4).sample(ALL, len(ALL))
    assert chain.read_certificates(chain.to_pem(mixed)) == mixed


def test_a_bundle_is_refused_where_one_is_wanted_and_its_names_are_told() -> None:
    with refused(BadCertificate, "bundle of 4", "CN=Factory-Y CA"):
        chain.read_certificate(chain.to_pem(ALL))


@pytest.mark.parametrize(
    "data",
    [
        PEM + KEY,
        KEY + PEM,
        KEY,
        OLD_KEY,
        base64.b64encode(PEM + KEY),
        b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
        b"-----BEGIN RSA PRIVATE KEY-----",
    ],
    ids=["behind", "before", "alone", "SEC1", "in base64", "encrypted", "cut off"],
)
def test_a_private_key_is_refused_whole(data: bytes) -> None:
    with refused(BadCertificate, "private key", "not stored", "replace it"):
        chain.read_certificates(data)


def test_a_private_key_in_der_is_not_read_either() -> None:
    der = WIDGET.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    for data in (der, base64.b64encode(der)):
        with refused(BadCertificate):
            chain.read_certificates(data)


DAMAGED = PEM[:200] + b"!!" + PEM[202:]
REQUEST = b"-----BEGIN CERTIFICATE REQUEST-----\nMIIB\n-----END CERTIFICATE REQUEST-----\n"


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "nothing"),
        (b" \n\t", "nothing"),
        (b"hello", "neither PEM nor DER"),
        (DER[:-1], "neither PEM nor DER"),
        (DER + b"\0", "neither PEM nor DER"),
        (DAMAGED, "damaged"),
        (REQUEST, "BEGIN CERTIFICATE REQUEST"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "BEGIN PUBLIC KEY"),
        (b"x" * (chain.LARGEST + 1), "bytes"),
    ],
    ids=[
        "empty",
        "blank",
        "words",
        "cut DER",
        "DER and more",
        "damaged",
        "request",
        "public key",
        "too big",
    ],
)
def test_what_is_no_certificate_is_told_what_it_is(data: bytes, found: str) -> None:
    with refused(BadCertificate, found):
        chain.read_certificates(data)


def only_bad_certificate(data: bytes | str) -> None:
    try:
        found = chain.read_certificates(data)
    except BadCertificate:
        return
    assert found


@given(st.binary(max_size=400))
def test_arbitrary_bytes_never_raise_anything_else(data: bytes) -> None:
    only_bad_certificate(data)


@given(st.binary(max_size=60), st.sampled_from(["CERTIFICATE", "X509 CERTIFICATE", "TRUSTED"]))
def test_arbitrary_bytes_in_armour_never_raise_anything_else(data: bytes, kind: str) -> None:
    inside = base64.encodebytes(data).decode()
    only_bad_certificate(f"-----BEGIN {kind}-----\n{inside}-----END {kind}-----\n")


@given(st.text(st.characters(), max_size=60))
def test_arbitrary_text_never_raises_anything_else(text: str) -> None:
    """Lone surrogates too: a notebook may read a file with surrogateescape."""
    only_bad_certificate(text)


@given(st.integers(0, len(DER) - 1), st.integers(0, 255))
def test_a_certificate_with_any_byte_changed_never_raises_anything_else(
    place: int, value: int
) -> None:
    only_bad_certificate(DER[:place] + bytes([value]) + DER[place + 1 :])


def test_a_certificate_of_an_unknown_version_is_a_bad_certificate() -> None:
    """The library has an exception of its own for this, outside ValueError."""
    only_bad_certificate(forge.odd_certificates()["version 8"][0])


# ---- names and thumbprints


def test_thumbprints_are_what_openssl_prints() -> None:
    for name, ours in (
        ("-sha1", chain.thumbprint_sha1(WIDGET.certificate)),
        ("-sha256", chain.thumbprint(WIDGET.certificate)),
    ):
        shown = openssl("x509", "-noout", "-fingerprint", name, data=PEM)
        assert shown.split("=")[1].strip().replace(":", "") == ours


def test_a_name_without_cn_is_shown_whole_and_an_empty_one_said_to_be() -> None:
    assert chain.title(WIDGET.certificate.subject) == "CN=smart-x-widget-001"
    assert chain.title(forge.cn("")) == "(empty name)"
    assert chain.names([]) == "none"


# ---- climbing


@given(st.permutations(ALL[1:]))
def test_climbing_finds_the_way_in_any_order(pool: list[object]) -> None:
    assert chain.climb(ALL[0], pool) == ALL  # type: ignore[arg-type]


def test_climbing_stops_where_the_issuer_is_missing() -> None:
    assert chain.climb(ALL[0], [ALL[1], ALL[3]]) == ALL[:2]


def test_climbing_goes_by_signature_and_not_by_name() -> None:
    """An impostor of the same name is passed over."""
    impostor = forge.ca("Technician-Z CA", FACTORY).certificate
    assert chain.climb(ALL[0], [impostor, *ALL[1:]]) == ALL


def test_climbing_ends_even_where_two_cas_signed_each_other() -> None:
    first, second = forge.ca("A"), forge.ca("B")
    a_by_b = forge.ca("A", second, key=first.key).certificate
    b_by_a = forge.ca("B", first, key=second.key).certificate
    leaf = forge.device("widget", first).certificate
    assert chain.climb(leaf, [a_by_b, b_by_a]) == [leaf, a_by_b, b_by_a]
