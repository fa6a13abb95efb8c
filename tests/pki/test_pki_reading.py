"""Reading certificates and chains out of what people hand over; and naming what is none.

Where openssl can make a file, openssl makes it.
"""

from __future__ import annotations

import base64
import random
from pathlib import Path

import forge
import pytest
from complaints import refused
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from foreign_tools import openssl, run
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.errors import BadCertificate
from labkit.pki import chain, der, forms, reading

ROOT = forge.ca("Company-X Root CA")
FACTORY = forge.ca("Factory-Y CA", ROOT)
TECHNICIAN = forge.ca("Technician-Z CA", FACTORY)
WIDGET = forge.device("smart-x-widget-001", TECHNICIAN)
ALL = [f.certificate for f in (WIDGET, TECHNICIAN, FACTORY, ROOT)]

PEM = WIDGET.certificate.public_bytes(Encoding.PEM)
DER = WIDGET.certificate.public_bytes(Encoding.DER)
KEY = WIDGET.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
OLD_KEY = WIDGET.key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
PUBLIC = WIDGET.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
SSH = WIDGET.key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
SSH_KEY = WIDGET.key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files as openssl writes them."""
    made = tmp_path_factory.mktemp("files")
    (made / "chain.pem").write_text(chain.to_pem(ALL))
    (made / "widget.pem").write_bytes(PEM)
    (made / "widget.key").write_bytes(KEY)
    bundle = ("crl2pkcs7", "-nocrl", "-certfile", made / "chain.pem")
    openssl(*bundle, "-out", made / "chain.p7b")
    openssl(*bundle, "-outform", "DER", "-out", made / "chain.p7c")
    one = ("crl2pkcs7", "-nocrl", "-certfile", made / "widget.pem")
    openssl(*one, "-out", made / "one.p7b")
    openssl("x509", "-in", made / "widget.pem", "-text", "-out", made / "text.pem")
    openssl("x509", "-in", made / "widget.pem", "-trustout", "-out", made / "trusted.pem")
    described = openssl("x509", "-in", made / "widget.pem", "-text", "-noout")
    (made / "text.txt").write_text(described)
    take = ("pkcs12", "-export", "-in", made / "chain.pem", "-inkey", made / "widget.key")
    openssl(*take, "-passout", "pass:secret", "-out", made / "widget.p12")
    request = ("req", "-new", "-key", made / "widget.key", "-subj", "/CN=widget")
    openssl(*request, "-out", made / "widget.csr")
    openssl(*request, "-outform", "DER", "-out", made / "widget.csr.der")
    openssl("ecparam", "-name", "prime256v1", "-out", made / "parameters.pem")
    encrypted = ("pkcs8", "-topk8", "-in", made / "widget.key", "-passout", "pass:secret")
    openssl(*encrypted, "-outform", "DER", "-out", made / "encrypted.der")
    return made


# ---- one certificate


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
        PEM.decode().encode("utf-16"),
        "\ufeff".encode("utf-16-be") + PEM.decode().encode("utf-16-be"),
        PEM.replace(b"\n", b"\\n"),
        b"".join(b"    " + line + b"\n" for line in PEM.splitlines()),
        PEM.replace(b" CERTIFICATE-", b" X509 CERTIFICATE-"),
        PUBLIC + PEM,
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
        "UTF-16",
        "UTF-16, big end first",
        "line ends spelt out",
        "indented",
        "old armour",
        "public key before",
    ],
)
def test_every_usual_form_of_a_certificate_is_read(data: bytes | str) -> None:
    assert reading.read_certificate(data) == WIDGET.certificate


@pytest.mark.parametrize("name", ["widget.pem", "text.pem"])
def test_files_of_openssl_are_read(folder: Path, name: str) -> None:
    """Also with openssl's description before the armour."""
    assert reading.read_certificate(folder / name) == WIDGET.certificate


def test_a_bundle_is_refused_where_one_is_wanted_and_its_names_are_told() -> None:
    with refused(BadCertificate, "bundle of 4", "CN=Factory-Y CA"):
        reading.read_certificate(chain.to_pem(ALL))


def test_a_container_is_refused_where_one_is_wanted_even_with_one_in_it(folder: Path) -> None:
    """Such places stand for portals and services, and these take no PKCS#7."""
    with refused(BadCertificate, "PKCS#7", "-print_certs"):
        reading.read_certificate(folder / "one.p7b")
    assert reading.read_certificates(folder / "one.p7b") == [WIDGET.certificate]


def test_a_ca_is_told_from_a_device() -> None:
    assert reading.read_ca(PEM_OF_ROOT, cure="") == ROOT.certificate
    with refused(BadCertificate, "CN=smart-x-widget-001 is no CA", "upload the CA"):
        reading.read_ca(PEM, cure="upload the CA")


PEM_OF_ROOT = ROOT.certificate.public_bytes(Encoding.PEM)


# ---- bundles


def test_a_bundle_keeps_its_order() -> None:
    mixed = random.Random(4).sample(ALL, len(ALL))
    assert reading.read_certificates(chain.to_pem(mixed)) == mixed


@pytest.mark.parametrize("name", ["chain.p7b", "chain.p7c"])
def test_a_pkcs7_container_holds_what_openssl_put_into_it(folder: Path, name: str) -> None:
    assert set(reading.read_certificates(folder / name)) == set(ALL)
    assert reading.chain_of(folder / name) == tuple(ALL)


def test_a_pkcs7_container_without_armour_is_read(folder: Path) -> None:
    inside = base64.b64encode((folder / "chain.p7c").read_bytes())
    assert set(reading.read_certificates(inside)) == set(ALL)


def test_a_pkcs7_container_in_the_armour_of_a_certificate_is_read(folder: Path) -> None:
    """The armour's label is only a label."""
    text = (folder / "chain.p7b").read_bytes().replace(b" PKCS7-", b" CERTIFICATE-")
    assert set(reading.read_certificates(text)) == set(ALL)


@given(st.permutations([*ALL, ALL[1]]))
@settings(max_examples=30)
def test_a_chain_is_put_in_order_and_duplicates_are_dropped(
    given: list[x509.Certificate],
) -> None:
    assert reading.chain_of(chain.to_pem(given)) == tuple(ALL)
    assert reading.chain_of(given) == tuple(ALL)


@given(st.integers(1, 4), st.integers(0, 3))
def test_any_stretch_of_a_chain_is_a_chain(length: int, start: int) -> None:
    """A chain may end below its root, and may begin with a CA."""
    part = ALL[start : start + length]
    if part:
        assert reading.chain_of(part[::-1]) == tuple(part)


def test_a_stranger_in_a_bundle_is_named() -> None:
    stranger = forge.ca("Stranger CA").certificate
    with refused(BadCertificate, "not one chain", "leads to CN=Stranger CA") as caught:
        reading.chain_of([stranger, *ALL])
    assert "CN=smart-x-widget-001, CN=Technician-Z CA" in caught.error.found


def test_a_namesake_with_another_key_does_not_belong() -> None:
    """The key decides and not the name: a CA that was made again under its old name."""
    again = forge.ca("Technician-Z CA", FACTORY).certificate
    with refused(BadCertificate, "leads to CN=Technician-Z CA"):
        reading.chain_of([*ALL, again])


def test_two_devices_are_not_one_chain() -> None:
    other = forge.device("smart-x-widget-002", TECHNICIAN).certificate
    with refused(BadCertificate, "leads to CN=smart-x-widget-002"):
        reading.chain_of([*ALL, other])


def test_a_gap_in_a_chain_is_named() -> None:
    """Factory-Y's certificate is missing, so the root above it seems not to belong."""
    with refused(BadCertificate, "of the last, CN=Factory-Y CA, is not there", "add the issuer"):
        reading.chain_of([ALL[0], ALL[1], ALL[3]])


def test_a_cross_signed_ca_is_followed_to_the_root_that_is_there() -> None:
    """
    Other Root ── Technician-Z CA' ─┐
    (not there)                     ├── widget
    Root ── Factory-Y ── Technician-Z CA
    """
    other = forge.ca("Other Root")
    crossed = forge.ca("Technician-Z CA", other, key=TECHNICIAN.key).certificate
    assert reading.chain_of([crossed, *ALL]) == tuple(ALL)
    both = reading.chain_of([crossed, other.certificate, *ALL])
    assert both == (WIDGET.certificate, crossed, other.certificate)


def test_two_cas_that_signed_each_other_end_too() -> None:
    first, second = forge.ca("A"), forge.ca("B")
    a_by_b = forge.ca("A", second, key=first.key).certificate
    b_by_a = forge.ca("B", first, key=second.key).certificate
    assert reading.chain_of([a_by_b, b_by_a]) == (a_by_b, b_by_a)


def test_a_trust_store_is_no_chain() -> None:
    """Bounded: the search for a chain tries each key on each certificate."""
    many = [forge.ca(f"Root {number}").certificate for number in range(reading.LONGEST + 1)]
    with refused(BadCertificate, "33 certificates"):
        reading.chain_of(many)
    with refused(BadCertificate, "0 certificates"):
        reading.chain_of([])


# ---- a certificate and its key


def test_a_certificate_matches_its_own_key_only() -> None:
    reading.matches(WIDGET.certificate, WIDGET.key.public_key())
    with refused(BadCertificate, "does not match", "another P-256 key", "-pubkey"):
        reading.matches(WIDGET.certificate, TECHNICIAN.key.public_key())
    with refused(BadCertificate, "RSA-2048 key at hand", "a P-256 key"):
        reading.matches(WIDGET.certificate, rsa.generate_private_key(65537, 2048).public_key())


# ---- private keys


@pytest.mark.parametrize(
    "data",
    [
        PEM + KEY,
        KEY + PEM,
        KEY,
        OLD_KEY,
        SSH_KEY,
        base64.b64encode(PEM + KEY),
        (PEM + KEY).decode().encode("utf-16"),
        b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
        b"-----BEGIN RSA PRIVATE KEY-----",
        b"---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----",
        b"-----BEGIN PGP PRIVATE KEY BLOCK-----",
        b"PuTTY-User-Key-File-3: ecdsa-sha2-nistp256\n",
        WIDGET.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
        WIDGET.key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption()),
        base64.b64encode(
            WIDGET.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        ),
        KEY.replace(b"PRIVATE KEY", b"CERTIFICATE"),
    ],
    ids=[
        "behind",
        "before",
        "alone",
        "SEC1",
        "SSH",
        "in base64",
        "UTF-16",
        "encrypted",
        "cut off",
        "SSH2",
        "PGP",
        "PuTTY",
        "DER",
        "SEC1 DER",
        "base64 of DER",
        "in the armour of a certificate",
    ],
)
def test_a_private_key_is_refused_whole(data: bytes) -> None:
    with refused(BadCertificate, "private key", "not stored", "replace it"):
        reading.read_certificates(data)


def test_private_keys_of_openssl_are_refused(folder: Path) -> None:
    made = rsa.generate_private_key(65537, 2048)
    old = made.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    for data in (old, folder / "encrypted.der"):
        with refused(BadCertificate, "holds a private key"):
            reading.read_certificates(data)


@pytest.mark.parametrize("wrapped", [False, True], ids=["as it is", "in base64"])
def test_a_pkcs12_container_is_refused_for_the_key_in_it(folder: Path, wrapped: bool) -> None:
    data = (folder / "widget.p12").read_bytes()
    with refused(BadCertificate, "holds a private key", "PKCS#12", "-nokeys"):
        reading.chain_of(base64.encodebytes(data) if wrapped else data)


def test_a_key_from_ssh_keygen_is_refused(tmp_path: Path) -> None:
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "id")
    with refused(BadCertificate, "holds a private key"):
        reading.read_certificates(tmp_path / "id")
    with refused(BadCertificate, "an SSH key", "openssl req"):
        reading.read_certificates(tmp_path / "id.pub")


# ---- other things


DAMAGED = PEM[:200] + b"!!" + PEM[202:]
CUT = PEM[:300]


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "nothing"),
        (b" \n\t", "nothing"),
        (b"hello", "5 bytes that are neither PEM nor DER"),
        (b"0123456789", "neither PEM nor DER"),
        (DER[:-1], "a certificate, cut off"),
        (DER[:40], "a certificate, cut off"),
        (DER + b"\0", "a certificate whose content is damaged"),
        (DAMAGED, "a certificate whose content is damaged"),
        (CUT, "a certificate, cut off"),
        (CUT + PEM, "a certificate, cut off"),
        (PUBLIC, "a public key"),
        (b"x" * (forms.LARGEST + 1), f"more than {forms.LARGEST} bytes"),
        (SSH, "an SSH key"),
        (b"<!DOCTYPE html>\n<html><title>404</title></html>", "a web page"),
        (b"\n<html>", "a web page"),
        (b'{"error": "unauthorized"}', "JSON"),
        (b"PK\x03\x04....", "an archive"),
        (PEM.replace(b"-----", "—".encode()), "BEGIN line was altered"),
        ("widget.pem", "the name of a file"),
        (b"-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----", "revoked certificates"),
        (b"-----BEGIN SOMETHING-----\nMAA=\n-----END SOMETHING-----", "something else in armour"),
        (b"\x30\x03\x02\x01\x05", "DER or BER of something else"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_certificate_is_told_what_it_is(data: bytes | str, found: str) -> None:
    with refused(BadCertificate, "in PEM (BEGIN CERTIFICATE) or DER") as caught:
        reading.read_certificates(data)
    assert found in caught.error.found


@pytest.mark.parametrize(
    ("name", "found", "cure"),
    [
        ("widget.csr", "a certificate signing request", "have a CA sign it"),
        ("widget.csr.der", "a certificate signing request", "have a CA sign it"),
        ("trusted.pem", "openssl's own form", "openssl x509 -in FILE -out plain.pem"),
        ("text.txt", "what openssl prints", "without -noout"),
        ("parameters.pem", "parameters of a key", "the certificate itself"),
        ("absent.pem", "No such file", "name a file"),
        ("", "Is a directory", "name a file"),
    ],
)
def test_other_files_of_openssl_are_told_what_they_are(
    folder: Path, name: str, found: str, cure: str
) -> None:
    with refused(BadCertificate, cure) as caught:
        reading.read_certificates(folder / name)
    assert found in caught.error.found


def test_a_path_that_no_file_can_have_is_told_too() -> None:
    with refused(BadCertificate, "null byte", "name a file"):
        reading.read_certificates(Path("widget\0.pem"))


def test_a_thing_that_has_a_certificate_is_pointed_at_it() -> None:
    with refused(BadCertificate, "a value of type Forged", "hand over its .certificate"):
        reading.read_certificate(ROOT)  # type: ignore[arg-type]
    with refused(BadCertificate, "a value of type int"):
        reading.read_certificate(7)  # type: ignore[arg-type]


def test_shapes_are_told_from_der_of_openssl(folder: Path) -> None:
    """Certificate, request and CRL differ in the first member only."""
    assert der.shape(DER) == der.CERTIFICATE
    assert der.shape((folder / "widget.csr.der").read_bytes()) == der.REQUEST
    v1 = ("x509", "-req", "-in", folder / "widget.csr", "-signkey", folder / "widget.key")
    openssl(*v1, "-outform", "DER", "-out", folder / "v1.der")
    assert x509.load_der_x509_certificate((folder / "v1.der").read_bytes()).version.name == "v1"
    assert der.shape((folder / "v1.der").read_bytes()) == der.CERTIFICATE
    assert der.shape(base64.b64decode(b"".join(PUBLIC.splitlines()[1:-1]))) == der.PUBLIC_KEY


# ---- bytes of any kind


def only_bad_certificate(data: bytes | str) -> None:
    try:
        assert reading.read_certificates(data)
    except BadCertificate as error:
        told = error.expected, error.found, error.cure
    else:
        return
    assert all(told), told


@given(st.binary(max_size=400))
def test_arbitrary_bytes_never_raise_anything_else(data: bytes) -> None:
    only_bad_certificate(data)


@given(
    st.binary(max_size=60),
    st.sampled_from(["CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE", "PKCS7", "X"]),
)
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


@given(st.data())
@settings(max_examples=200)
def test_a_container_with_any_byte_changed_never_raises_anything_else(
    folder: Path, data: st.DataObject
) -> None:
    raw = bytearray((folder / "chain.p7c").read_bytes())
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    only_bad_certificate(bytes(raw))
    only_bad_certificate(bytes(raw[: data.draw(st.integers(0, len(raw)))]))


@given(st.lists(st.sampled_from([PEM, CUT, PUBLIC, SSH, b"-----END CERTIFICATE-----\n", b"\0"])))
def test_pieces_in_any_order_never_raise_anything_else(pieces: list[bytes]) -> None:
    only_bad_certificate(b"".join(pieces))


def test_a_certificate_of_an_unknown_version_is_a_bad_certificate() -> None:
    """The library has an exception of its own for this, outside ValueError."""
    only_bad_certificate(forge.odd_certificates()["version 8"][0])


@pytest.mark.parametrize(
    "data",
    [b"-----BEGIN CERTIFICATE-----\n", b"BEGIN ", b"-----BEGIN ", b"0\x80", b"-", b"A"],
    ids=repr,
)
def test_the_largest_file_of_one_piece_is_told_what_it_is(data: bytes) -> None:
    """Each of these made some reader slow that tries again from every place. No time is
    measured: a reader that is quadratic in 256 KB does not come back within the test's life."""
    only_bad_certificate((data * forms.LARGEST)[: forms.LARGEST])
