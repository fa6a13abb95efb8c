"""CA certificates: uploaded to a service, and the proof that makes them count."""

from __future__ import annotations

import base64

import forge
import pytest
from complaints import refused
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from stories import CA, Story, authority_of

from labkit import Lab
from labkit.cloud.certificates import CaCertificate
from labkit.errors import BadCertificate, Conflict, LabError, NotFound, ServiceRefusal
from labkit.pki import chain, possession, profiles, request

FORGED = forge.ca("Company-X Root CA")
PEM = FORGED.certificate.public_bytes(Encoding.PEM)
DER = FORGED.certificate.public_bytes(Encoding.DER)
KEY = FORGED.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
WIDGET = forge.device("widget", FORGED).certificate


def stored(lab: Lab) -> list[str]:
    return [ca.name for ca in lab.dps.certificates]


@pytest.fixture
def company(lab: Lab) -> CA:
    return lab.custodian("Company-X").create_root_ca()


# ---- upload


@pytest.mark.parametrize(
    "data",
    [
        PEM,
        PEM.decode(),
        DER,
        base64.b64encode(DER).decode(),
        base64.b64encode(PEM),
        FORGED.certificate,
    ],
    ids=["PEM", "text", "DER", "base64 of DER", "base64 of PEM", "object"],
)
def test_a_ca_certificate_is_taken_in_every_usual_form(
    lab: Lab, data: bytes | str | x509.Certificate
) -> None:
    uploaded = lab.dps.certificates.upload("company-x", data)
    assert uploaded.certificate == FORGED.certificate
    assert uploaded.thumbprint == chain.thumbprint_sha1(FORGED.certificate)
    assert not uploaded.is_verified


CSR = (
    x509.CertificateSigningRequestBuilder()
    .subject_name(forge.cn("Company-X Root CA"))
    .sign(FORGED.key, forge.hashes.SHA256())
    .public_bytes(Encoding.PEM)
)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (PEM + KEY, "private key"),
        (KEY + PEM, "private key"),
        (base64.b64encode(PEM + KEY), "private key"),
        (b"no certificate", "neither PEM nor DER"),
        (b"-----BEGIN CERTIFICATE-----\nhello\n-----END CERTIFICATE-----", "damaged"),
        (PEM[:-40], "cut off"),
        (CSR, "certificate signing request"),
        (PEM + WIDGET.public_bytes(Encoding.PEM), "bundle of 2"),
        (WIDGET, "no CA certificate"),
        (b"", "nothing"),
    ],
    ids=[
        "with key",
        "key first",
        "key in base64",
        "words",
        "damaged",
        "cut",
        "CSR",
        "bundle",
        "device",
        "empty",
    ],
)
def test_anything_else_is_refused_and_not_stored(
    lab: Lab, data: bytes | x509.Certificate, words: str
) -> None:
    with refused(BadCertificate, words):
        lab.dps.certificates.upload("company-x", data)
    assert stored(lab) == []
    for path in lab.path.glob("cloud.db*"):
        assert b"PRIVATE KEY" not in path.read_bytes()


@pytest.mark.parametrize("name", forge.odd_certificates())
def test_a_certificate_that_readers_stumble_over_is_a_bad_certificate(lab: Lab, name: str) -> None:
    with pytest.raises(BadCertificate):
        lab.dps.certificates.upload("odd", forge.odd_certificates()[name][0])


@pytest.mark.parametrize("name", ["a", "A-b_c.d", "x" * 64])
def test_a_certificate_may_be_named_as_azure_lets_it(lab: Lab, name: str) -> None:
    assert lab.dps.certificates.upload(name, PEM).name == name


@pytest.mark.parametrize("name", ["", "x" * 65, "a b", "a/b", "ä", "a\n"])
def test_any_other_name_is_refused(lab: Lab, name: str) -> None:
    with pytest.raises(BadCertificate, match="cannot name a certificate"):
        lab.dps.certificates.upload(name, PEM)
    assert stored(lab) == []


def test_the_same_upload_again_changes_nothing(lab: Lab) -> None:
    first = lab.dps.certificates.upload("company-x", PEM)
    etag = first.etag
    assert lab.dps.certificates.upload("company-x", DER).etag == etag
    assert stored(lab) == ["company-x"]


def test_a_name_in_another_case_is_the_same_name(lab: Lab) -> None:
    """As names of resources are in Azure; the first spelling stays."""
    certificates = lab.dps.certificates
    first = certificates.upload("company-x", PEM)
    assert certificates.upload("Company-X", PEM).name == "company-x"
    assert certificates.get("COMPANY-X").etag == first.etag
    with refused(Conflict, "exists already"):
        certificates.upload("COMPANY-X", forge.ca("Company-X Root CA").certificate)
    certificates.delete("Company-x")
    assert stored(lab) == []


def test_another_certificate_under_a_taken_name_is_a_conflict(lab: Lab) -> None:
    lab.dps.certificates.upload("company-x", PEM)
    with refused(Conflict, "'company-x' exists already", chain.thumbprint_sha1(FORGED.certificate)):
        lab.dps.certificates.upload("company-x", forge.ca("Company-X Root CA").certificate)
    assert lab.dps.certificates.get("company-x").certificate == FORGED.certificate


def test_a_deleted_certificate_is_gone_and_its_name_is_free(lab: Lab) -> None:
    uploaded = lab.dps.certificates.upload("company-x", PEM)
    lab.dps.certificates.delete(uploaded)
    with refused(NotFound, "'company-x'", "none yet"):
        lab.dps.certificates.get("company-x")
    with refused(NotFound):
        lab.dps.certificates.delete("company-x")
    lab.dps.certificates.upload("company-x", forge.ca("Another").certificate)


# ---- proof of possession


def test_the_code_is_48_hex_digits_and_stays_until_it_is_proven(lab: Lab, company: CA) -> None:
    uploaded = lab.dps.certificates.upload("company-x", company.certificate)
    code = uploaded.verification_code
    assert len(bytes.fromhex(code)) == 24
    assert uploaded.verification_code == code
    assert lab.dps.certificates.get("company-x").verification_code == code


def test_a_ca_counts_only_once_it_is_verified(lab: Lab, company: CA) -> None:
    uploaded = lab.dps.certificates.upload("company-x", company.certificate)
    etag = uploaded.etag
    assert lab.dps.certificates.verified() == []
    lab.dps.certificates.verify(uploaded, company.prove_possession(uploaded.verification_code))
    assert uploaded.is_verified
    assert uploaded.etag != etag
    assert lab.dps.certificates.verified() == [company.certificate]


def test_the_proof_may_be_pem_and_the_code_in_small_letters(lab: Lab, company: CA) -> None:
    uploaded = lab.dps.certificates.upload("company-x", company.certificate)
    proof = company.prove_possession(uploaded.verification_code.lower())
    lab.dps.certificates.verify("company-x", chain.to_pem([proof]))
    assert uploaded.is_verified


def test_verifying_twice_is_harmless(lab: Lab, company: CA) -> None:
    uploaded = lab.dps.certificates.upload("company-x", company.certificate)
    proof = company.prove_possession(uploaded.verification_code)
    for _ in range(2):
        lab.dps.certificates.verify(uploaded, proof)
    assert uploaded.is_verified


def uploaded_again(story: Story) -> CaCertificate:
    """Company-X's root, uploaded and not verified: no code was ever asked for."""
    story.lab.dps.certificates.delete("company-x")
    return story.lab.dps.certificates.upload("company-x", story.company.certificate)


def wrong_proofs(story: Story, code: str) -> dict[str, tuple[x509.Certificate, str]]:
    """Each with the check that it fails."""
    impostor = forge.Forged("Company-X Root CA", ca=True, subject=story.company.certificate.subject)
    signer = authority_of(story.company)
    key = forge.new_key().public_key()
    return {
        "another CA below": (story.factory.prove_possession(code), possession.ISSUER),
        "another CA beside": (
            story.lab.custodian("Z").create_root_ca().prove_possession(code),
            possession.ISSUER,
        ),
        "the CA's name, another key": (
            forge.device(code, impostor).certificate,
            possession.SIGNATURE,
        ),
        "self-signed": (forge.device(code, None).certificate, possession.ISSUER),
        "the CA itself": (story.company.certificate, possession.CODE),
        "another code": (story.company.prove_possession("B" * 48), possession.CODE),
        "a device that it signed": (
            signer.issue(key, request.name("widget"), profiles.DEVICE),
            possession.CODE,
        ),
        "no CN at all": (signer.issue(key, forge.cn(""), profiles.DEVICE), possession.CODE),
    }


KINDS = [
    "another CA below",
    "another CA beside",
    "the CA's name, another key",
    "self-signed",
    "the CA itself",
    "another code",
    "a device that it signed",
    "no CN at all",
]


@pytest.mark.parametrize("kind", KINDS)
def test_a_wrong_proof_is_refused_with_azures_code_and_the_reason(story: Story, kind: str) -> None:
    lab, uploaded = story.lab, uploaded_again(story)
    proof, check = wrong_proofs(story, uploaded.verification_code)[kind]
    with refused(ServiceRefusal, "IH400053") as caught:
        lab.dps.certificates.verify(uploaded, proof)
    assert not uploaded.is_verified
    failure = lab.explain(caught.error).failure
    assert failure is not None
    assert failure.name == check


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_code_handed_out_nothing_is_a_proof(story: Story, kind: str) -> None:
    """Nobody asked for a code: not even a certificate without CN may pass for it."""
    lab, uploaded = story.lab, uploaded_again(story)
    proof, _ = wrong_proofs(story, "C" * 48)[kind]
    with pytest.raises(LabError):
        lab.dps.certificates.verify(uploaded, proof)
    assert not uploaded.is_verified


def test_an_older_code_counts_no_more(lab: Lab, company: CA) -> None:
    uploaded = lab.dps.certificates.upload("company-x", company.certificate)
    old = company.prove_possession(uploaded.verification_code)
    assert lab.dps.certificates.generate_verification_code("company-x") != chain.common_name(old)
    with refused(ServiceRefusal, "IH400053"):
        lab.dps.certificates.verify(uploaded, old)


def test_a_proof_with_a_private_key_in_it_is_refused(lab: Lab) -> None:
    lab.dps.certificates.upload("company-x", PEM)
    with refused(BadCertificate, "private key"):
        lab.dps.certificates.verify("company-x", PEM + KEY)


def test_a_code_for_an_unknown_certificate_is_not_found(lab: Lab) -> None:
    for ask in (
        lambda: lab.dps.certificates.generate_verification_code("nobody"),
        lambda: lab.dps.certificates.verify("nobody", PEM),
    ):
        with refused(NotFound, "'nobody'"):
            ask()
