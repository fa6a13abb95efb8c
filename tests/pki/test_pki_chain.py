"""What certificates are called, and climbing from one to its issuer."""

from __future__ import annotations

import forge
import pytest
from complaints import refused
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from foreign_tools import openssl
from hypothesis import given
from hypothesis import strategies as st

from labkit.errors import BadCertificate
from labkit.pki import chain, reading
from labkit.pki.verdict import judge

ROOT = forge.ca("Company-X Root CA")
FACTORY = forge.ca("Factory-Y CA", ROOT)
TECHNICIAN = forge.ca("Technician-Z CA", FACTORY)
WIDGET = forge.device("smart-x-widget-001", TECHNICIAN)
ALL = [f.certificate for f in (WIDGET, TECHNICIAN, FACTORY, ROOT)]
PEM = WIDGET.certificate.public_bytes(Encoding.PEM)


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


# ---- a name that is none


def bit_string_cn() -> bytes:
    """A certificate whose CN is a BIT STRING, which no name can be built of."""
    der, common_name = TECHNICIAN.certificate.public_bytes(Encoding.DER), b"Technician-Z CA"
    text = bytes([0x0C, len(common_name)]) + common_name
    assert der.count(text) == 1
    return der.replace(text, bytes([0x03, len(common_name), 0]) + common_name[1:])


def test_a_cn_of_another_type_is_a_fault_and_never_a_traceback() -> None:
    """It came raw out of every function that asks a certificate for its name."""
    odd = x509.load_der_x509_certificate(bit_string_cn())
    assert chain.fault(odd) == "its subject cannot be read"
    assert chain.subject(odd) == "(a name that cannot be read)"
    verdict = judge([WIDGET.certificate, odd], [ROOT.certificate], forge.NOW)
    assert not verdict.accepted
    assert not judge([odd], [ROOT.certificate], forge.NOW).accepted
    assert any(check.failed for check in verdict.checks)
    with refused(BadCertificate, "breaks the standard"):
        reading.read_certificates(bit_string_cn())


@pytest.mark.filterwarnings("ignore")  # of a serial number that is negative now
def test_damage_is_told_in_words_of_ours_wherever_it_is() -> None:
    """The parser's own are its structures, written out: no answer to anybody."""
    whole = WIDGET.certificate.public_bytes(Encoding.DER)
    told = {told_of(whole, place) for place in range(len(whole))}
    assert "a certificate that breaks the standard: its issuer cannot be read" in told
    assert not [words for words in told if "{" in words or "Error" in words]


def told_of(whole: bytes, place: int) -> str:
    """What is said of a certificate with one byte turned over; nothing where it can be read."""
    damaged = bytearray(whole)
    damaged[place] ^= 0xFF
    try:
        reading.read_certificates(bytes(damaged))
    except BadCertificate as error:
        return error.found
    return ""
