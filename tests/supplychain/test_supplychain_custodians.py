"""Custodians who sign one another into a chain of trust."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import forge
import pytest
from complaints import refused
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from foreign_tools import openssl_verify, token_labels
from pkcs11 import ObjectClass
from stories import CA, Story, authority_of, supply_chain

from labkit import Lab
from labkit.errors import BadCertificate, BadRequest, Conflict, LabError, NotFound, TokenError
from labkit.hsm import pairs
from labkit.pki import chain, profiles


def counts(lab: Lab) -> tuple[int, int, int]:
    """Keys in all tokens, CAs, signatures in the ledger."""
    ledger = lab._supply_chain.ledger
    tokens = [lab._supply_chain.tokens.token(label) for label in lab._supply_chain.tokens.labels]
    with ledger._database.read() as session:
        signatures = session.connection().exec_driver_sql("SELECT count(*) FROM issued").scalar()
    keys = sum(len(token.key_labels) for token in tokens)
    return keys, len(ledger.authorities()), int(signatures or 0)


# ---- the chain


def test_openssl_verifies_the_chain_that_a_device_carries(story: Story, tmp_path: Path) -> None:
    widget, root = story.widget, story.company.certificate
    assert openssl_verify(tmp_path, widget.chain, [root], story.lab.clock.now()) == ""


def test_a_device_carries_its_issuers_without_the_root(story: Story) -> None:
    names = [chain.common_name(certificate) for certificate in story.widget.chain]
    assert names == ["smart-x-widget-001", "Technician-Z CA", "Factory-Y CA"]


def test_a_ca_carries_its_chain_up_to_the_root(story: Story) -> None:
    assert [chain.common_name(c) for c in story.technician.chain] == [
        "Technician-Z CA",
        "Factory-Y CA",
        "Company-X Root CA",
    ]


def test_everybody_has_a_token_of_their_own(lab: Lab) -> None:
    story = supply_chain(lab)
    labels = token_labels(story.lab._supply_chain.tokens.configuration)
    for name in ("Company-X", "Factory-Y", "Technician-Z", "smart-x-widget-001"):
        assert name in labels
    keys = [ca.custodian.token.key_labels for ca in (story.company, story.factory)]
    assert keys == [["Company-X Root CA"], ["Factory-Y CA"]]


def test_a_custodian_knows_its_cas(story: Story) -> None:
    found = story.company.custodian.authorities()
    assert [ca.certificate for ca in found] == [story.company.certificate]
    assert "Company-X Root CA" in repr(found[0])


def test_only_requests_and_certificates_pass_between_custodians(lab: Lab) -> None:
    """The way on foot, as two companies would go it."""
    company = lab.custodian("Company-X").create_root_ca()
    factory = lab.custodian("Factory-Y")
    csr = factory.request_ca("Factory-Y CA")
    signed = authority_of(company).sign_request(csr, profiles.INTERMEDIATE_CA)
    ca = factory.accept_ca(csr, (signed, *company.chain))
    assert ca.make_device("widget").chain == [
        lab.device("widget").certificate,
        signed,
    ]


# ---- twice is harmless


def test_everything_twice_gives_the_same_and_makes_nothing_new(story: Story) -> None:
    before = counts(story.lab)
    again = supply_chain(story.lab)
    for first, second in (
        (story.company, again.company),
        (story.factory, again.factory),
        (story.technician, again.technician),
    ):
        assert second.certificate == first.certificate
    assert again.widget is story.widget
    assert counts(story.lab) == before


def test_possession_can_be_proved_as_often_as_one_likes_and_leaves_no_key(story: Story) -> None:
    before = counts(story.lab)[0]
    story.company.prove_possession("A" * 48)
    story.company.prove_possession("A" * 48)
    assert counts(story.lab)[0] == before


def test_accepting_the_same_chain_twice_is_harmless(lab: Lab) -> None:
    company, factory = lab.custodian("Company-X").create_root_ca(), lab.custodian("Factory-Y")
    csr = factory.request_ca("Factory-Y CA")
    signed = authority_of(company).sign_request(csr, profiles.INTERMEDIATE_CA)
    first = factory.accept_ca(csr, (signed, *company.chain))
    assert factory.accept_ca(csr, (signed, *company.chain)).certificate == first.certificate


# ---- a crash in between: the key is there, its record is not


def test_a_root_whose_making_was_cut_off_goes_on_with_its_key(lab: Lab) -> None:
    custodian = lab.custodian("Company-X")
    born = custodian.token.generate_key("Company-X Root CA").public_key()
    assert custodian.create_root_ca().certificate.public_key() == born
    assert custodian.token.key_labels == ["Company-X Root CA"]


def test_an_intermediate_whose_making_was_cut_off_goes_on_with_its_key(lab: Lab) -> None:
    company, factory = lab.custodian("Company-X").create_root_ca(), lab.custodian("Factory-Y")
    born = factory.token.generate_key("Factory-Y CA").public_key()
    assert company.sign_intermediate(factory).certificate.public_key() == born


def test_a_device_whose_making_was_cut_off_goes_on_with_its_key(lab: Lab) -> None:
    company = lab.custodian("Company-X").create_root_ca()
    born = lab._supply_chain.device_key("widget").public_key()
    assert company.make_device("widget").certificate.public_key() == born


# ---- conflicts


def test_a_name_that_another_issuer_signed_is_a_conflict(story: Story) -> None:
    with refused(Conflict, "'Technician-Z CA' already", "CN=Factory-Y CA", "another name"):
        story.company.sign_intermediate(story.technician.custodian)


def test_a_root_of_the_name_of_an_intermediate_is_a_conflict(story: Story) -> None:
    with refused(Conflict, "'Factory-Y CA' already"):
        story.factory.custodian.create_root_ca("Factory-Y CA")


def test_an_intermediate_of_the_name_of_a_root_is_a_conflict(story: Story) -> None:
    with refused(Conflict, "'Company-X Root CA' already"):
        story.factory.sign_intermediate(story.company.custodian, "Company-X Root CA")


def test_one_custodian_may_have_several_cas(lab: Lab) -> None:
    company = lab.custodian("Company-X")
    first, second = company.create_root_ca(), company.create_root_ca("Company-X Root CA 2")
    assert first.certificate != second.certificate
    assert company.token.key_labels == ["Company-X Root CA", "Company-X Root CA 2"]


def test_a_device_that_another_ca_made_is_a_conflict(story: Story) -> None:
    with refused(Conflict, "'smart-x-widget-001' already", "Technician-Z CA"):
        story.factory.make_device("smart-x-widget-001")


def test_two_cas_of_one_name_are_told_apart(lab: Lab) -> None:
    """Two companies may both call their CA 'Issuing CA': the device is of one of them."""
    root = lab.custodian("Company-X").create_root_ca()
    one = root.sign_intermediate(lab.custodian("Factory-1"), "Issuing CA")
    two = root.sign_intermediate(lab.custodian("Factory-2"), "Issuing CA")
    one.make_device("widget")
    with refused(Conflict, "'widget' already"):
        two.make_device("widget")


def test_a_device_and_a_custodian_never_share_a_name(story: Story) -> None:
    with pytest.raises(Conflict, match="is a custodian"):
        story.technician.make_device("Factory-Y")
    with pytest.raises(Conflict, match="is a device"):
        story.lab.custodian("smart-x-widget-001")


def test_the_clouds_own_token_is_nobody_elses(lab: Lab) -> None:
    """One token and one PIN each: the emulated services have theirs."""
    taken = set(lab._supply_chain.tokens.labels)
    assert taken
    for name in taken:
        with pytest.raises(LabError):
            lab.custodian(name)
        with pytest.raises(LabError):
            lab.custodian("Company-X").create_root_ca().make_device(name)


def test_a_chain_for_another_key_is_not_accepted(story: Story) -> None:
    """What comes back from the CA has to be for the key that the request was made with."""
    custodian = story.lab.custodian("Newcomer")
    csr = custodian.request_ca("Newcomer CA")
    foreign = forge.ca("Newcomer CA").certificate
    with pytest.raises(LabError):
        custodian.accept_ca(csr, (foreign,))
    assert custodian.authorities() == []


# ---- names


@pytest.mark.parametrize("name", ["x" * 33, "", " x", "ü" * 17])
def test_a_name_that_no_token_can_have_is_refused_and_leaves_nothing_behind(
    lab: Lab, name: str
) -> None:
    with refused(TokenError, "label of a token"):
        lab.custodian(name)
    assert lab.custodians == []


def test_a_custodian_may_have_a_name_of_32_characters(lab: Lab) -> None:
    assert lab.custodian("x" * 32).create_root_ca().name == "x" * 32 + " Root CA"


@pytest.mark.parametrize("length", [1, 32, 33, 63, 64])
def test_a_registration_id_may_have_64_characters(shared: Story, length: int) -> None:
    """A token's label ends at 32 and a CN at 64: the device has its token all the same."""
    name = f"{length:03}".ljust(length, "w")[-length:]
    widget = shared.technician.make_device(name)
    assert chain.common_name(widget.certificate) == name
    assert len(widget.key.token.label) <= 32
    assert widget.provision().device_id == name


def test_long_names_that_begin_alike_get_tokens_of_their_own(shared: Story) -> None:
    names = [f"{'a' * 40}-{n}" for n in (1, 2)]
    tokens = {shared.technician.make_device(name).key.token.label for name in names}
    assert len(tokens) == 2


def test_a_registration_id_of_65_characters_is_refused_before_a_key_is_made(
    story: Story,
) -> None:
    before = counts(story.lab)
    with refused(BadRequest, "1 to 64 characters", "65 characters"):
        story.technician.make_device("w" * 65)
    assert counts(story.lab) == before


@pytest.mark.parametrize("name", ["..", ".", "a/b", "../../x", "a\0b", "a b", "w."])
def test_a_name_that_is_no_registration_id_stays_in_its_place_or_is_refused(
    lab: Lab, name: str
) -> None:
    """A device's flash is a folder named after it: never one outside of devices/."""
    company = lab.custodian("Company-X").create_root_ca()
    with contextlib.suppress(LabError):
        company.make_device(name)
    flashes = {p.parent for p in lab.path.parent.rglob("chain.pem")}
    assert all(p.parent == lab.path / "devices" for p in flashes), flashes


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ü" * 60, ("1 to 64 characters", "60 characters, which are 120 bytes")),
        ("", ("1 to 64 characters", "choose a name")),
        (7, ("cannot be a common name", "a value of type int")),
    ],
)
def test_what_can_be_no_cn_is_refused_in_words_before_a_key_is_made(
    lab: Lab, name: Any, words: tuple[str, ...]
) -> None:
    custodian = lab.custodian("Company-X")
    company = custodian.create_root_ca()
    before = counts(lab)
    with refused(BadRequest, *words):
        company.make_device(name)
    with refused(BadRequest, *words):
        custodian.request_ca(name)
    if name:
        with refused(BadRequest, *words):
            custodian.create_root_ca(name)
        with refused(BadRequest, *words):
            company.sign_intermediate(lab.custodian("Factory-Y"), name)
    assert counts(lab) == before


def test_a_device_that_breaks_azures_rule_is_told_the_rule(lab: Lab) -> None:
    company = lab.custodian("Company-X").create_root_ca()
    with refused(LabError, "'my widget' cannot be a registration ID", "letters, digits and"):
        company.make_device("my widget")


def test_a_name_in_place_of_a_custodian_is_told_what_was_meant(story: Story) -> None:
    with refused(LabError, "'Factory' is no custodian", "lab.custodian('Factory')"):
        story.company.sign_intermediate("Factory")  # type: ignore[arg-type]
    with refused(LabError, "is no custodian", "what lab.custodian(NAME) returns"):
        story.company.sign_intermediate(story.factory)  # type: ignore[arg-type]
    with refused(TokenError, "7 cannot be the label", "int"):
        story.lab.custodian(7)  # type: ignore[arg-type]


def test_an_authority_in_place_of_its_certificate_is_told_what_was_meant(story: Story) -> None:
    with refused(BadCertificate, "CertificateAuthority", "hand over its .certificate"):
        story.lab.dps.certificates.upload("factory-y", story.factory)  # type: ignore[arg-type]


# ---- devices that keep their own key


def csr_for(name: str, key: Any = None, ca: bool = False) -> x509.CertificateSigningRequest:
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)] if name else [])
    )
    if ca:
        builder = builder.add_extension(x509.BasicConstraints(True, None), critical=True)
    return builder.sign(key or ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())


@pytest.mark.parametrize("form", ["object", "pem", "text", "der", "file"])
def test_a_request_from_outside_is_signed_in_every_form(
    story: Story, tmp_path: Path, form: str
) -> None:
    csr = csr_for("widget-of-a-team")
    pem = csr.public_bytes(Encoding.PEM)
    file = tmp_path / "widget.csr"
    file.write_bytes(pem)
    forms = {"object": csr, "pem": pem, "text": pem.decode(), "file": file}
    before = counts(story.lab)
    signed = story.technician.sign_device(forms.get(form, csr.public_bytes(Encoding.DER)))
    assert [chain.common_name(c) for c in signed] == [
        "widget-of-a-team",
        "Technician-Z CA",
        "Factory-Y CA",
    ]
    assert signed[0].public_key() == csr.public_key()
    assert (
        openssl_verify(tmp_path, signed, [story.company.certificate], story.lab.clock.now()) == ""
    )
    assert counts(story.lab) == (before[0], before[1], before[2] + 1), "one more in the ledger"


def test_what_is_no_request_is_told_so(story: Story, tmp_path: Path) -> None:
    sign = story.technician.sign_device
    for given, word in (
        (chain.to_pem([story.company.certificate]).encode(), "is what comes back for it"),
        (b"\x30\x03\x02\x01\x01", "DER or BER of something else"),
        (b"", "nothing"),
        ("widget.csr", "as a Path"),
        (tmp_path / "absent.csr", "No such file"),
        (forge.ca("X").certificate, "a value of type Certificate"),
    ):
        with refused(BadCertificate, "not a certificate signing request", word):
            sign(given)  # type: ignore[arg-type]
    with refused(BadCertificate, "holds a private key", "not stored"):
        sign(b"-----BEGIN PRIVATE KEY-----\nMC4=\n")


def test_a_request_that_is_not_signed_is_told_why(story: Story) -> None:
    before = counts(story.lab)
    for csr, word in (
        (csr_for("w", ec.generate_private_key(ec.SECP224R1())), "that this lab does not sign"),
        (csr_for("w", ca=True), "asks to be a CA"),
        (csr_for(""), "has no common names"),
        (csr_for("my widget"), "registration ID"),
    ):
        with refused(BadRequest, word):
            story.technician.sign_device(csr)
    assert counts(story.lab) == before


# ---- keys, when they are needed


def test_to_list_devices_opens_no_token(story: Story) -> None:
    """A picture of 200 devices took 17 seconds: each token was logged in to."""
    tokens = story.lab._supply_chain.tokens
    before = set(tokens._open)
    assert "smart-x-widget-001" not in before
    assert [d.name for d in story.lab.devices] == ["smart-x-widget-001"]
    story.lab.graph()
    assert set(tokens._open) == before
    assert story.widget.key.token.label == "smart-x-widget-001"


def test_a_device_whose_key_is_gone_is_an_error_and_gets_no_other_key(story: Story) -> None:
    """A new key would not fit the certificate that it was given."""
    token = story.widget.key.token
    for half in (ObjectClass.PRIVATE_KEY, ObjectClass.PUBLIC_KEY):
        for found in pairs.stored(token.session, half, "identity"):
            found.destroy()
    token._keys.clear()
    with pytest.raises(NotFound, match="no key 'identity'"):
        _ = story.widget.key
    assert token.key_labels == []


# ---- time


def moved_to(story_lab: Lab, ca: CA, days: float) -> None:
    story_lab.clock.set(ca.certificate.not_valid_before_utc + timedelta(days=days))


def test_an_intermediate_never_outlives_its_issuer(lab: Lab) -> None:
    company = lab.custodian("Company-X").create_root_ca()
    moved_to(lab, company, 3640)
    factory = company.sign_intermediate(lab.custodian("Factory-Y"))
    widget = factory.make_device("widget")
    end = company.certificate.not_valid_after_utc
    assert factory.certificate.not_valid_after_utc == end
    assert widget.certificate.not_valid_after_utc == end


def test_an_expired_ca_signs_nothing_more_and_says_why(lab: Lab) -> None:
    company = lab.custodian("Company-X").create_root_ca()
    moved_to(lab, company, 3651)
    with refused(BadRequest, "cannot sign"):
        company.make_device("widget")
    assert lab.devices == []


def test_what_is_signed_carries_the_labs_time(lab: Lab) -> None:
    lab.clock.set(datetime(2031, 1, 1, tzinfo=UTC))
    certificate = lab.custodian("Company-X").create_root_ca().certificate
    assert certificate.not_valid_before_utc.year in (2030, 2031)
    assert certificate.not_valid_after_utc.year == 2040


def test_two_devices_never_differ_in_case_only(lab: Lab) -> None:
    """DPS would take them for one, and the second would drive the first out of its hub."""
    company = lab.custodian("Company-X").create_root_ca()
    company.make_device("Widget-1")
    with refused(Conflict, "upper and lower case"):
        company.make_device("widget-1")
    assert [device.name for device in lab.devices] == ["Widget-1"]
