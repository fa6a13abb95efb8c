"""Two ways to a CA: to sign it oneself, and to buy it of a public CA that looks who asks."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from complaints import refused
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from foreign_tools import openssl, openssl_verify
from stories import enroll, open_lab
from supply_stories import bought

from labkit import Lab
from labkit.device import Device
from labkit.errors import BadCertificate, BadRequest, Conflict, NotFound, TokenError
from labkit.hsm import Algorithm
from labkit.pki import chain, profiles, request
from labkit.supplychain import terms
from labkit.supplychain.public_ca import CONFIRMED, LISTED, OrderRefused, PublicCA

VENDOR = "Example Trust Services"


def signatures(lab: Lab) -> int:
    return lab._supply_chain.ledger.count()


def written_by_hand(
    subject: Sequence[tuple[x509.ObjectIdentifier, str]],
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | None = None,
) -> x509.CertificateSigningRequest:
    """A request of somebody who has no token here."""
    name = x509.Name([x509.NameAttribute(oid, value) for oid, value in subject])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    return builder.sign(key or ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())


CN, O = x509.NameOID.COMMON_NAME, x509.NameOID.ORGANIZATION_NAME  # noqa: E741


# ---- self-signed


@pytest.mark.parametrize("algorithm", [a.value for a in Algorithm])
def test_a_root_has_the_algorithm_and_the_lifetime_that_were_asked_for(
    lab: Lab, tmp_path: Path, algorithm: str
) -> None:
    """openssl is asked of the key, and whether the root verifies."""
    lifetime = timedelta(days=400)
    company = lab.custodian("Company-X").create_root_ca(algorithm=algorithm, lifetime=lifetime)
    root = company.certificate
    begin, end = root.not_valid_before_utc, root.not_valid_after_utc
    assert lifetime <= end - begin <= lifetime + timedelta(minutes=10)
    shown = openssl("x509", "-noout", "-text", data=root.public_bytes(Encoding.PEM))
    word = {"P-256": "prime256v1", "P-384": "secp384r1"}.get(algorithm, algorithm[4:] + " bit")
    assert word in shown
    widget = company.make_device("widget")
    assert openssl_verify(tmp_path, widget.chain, [root], lab.clock.now()) == ""


def test_the_same_root_twice_is_harmless_and_another_is_a_conflict(lab: Lab) -> None:
    """Just so means: of the same algorithm and lifetime, too."""
    company = lab.custodian("Company-X")
    first = company.create_root_ca(algorithm="P-384", lifetime=timedelta(days=700))
    again = company.create_root_ca(algorithm="P-384", lifetime=timedelta(days=700))
    assert again.certificate == first.certificate
    with refused(Conflict, "algorithm P-384", "algorithm P-256", "another name"):
        company.create_root_ca(lifetime=timedelta(days=700))
    with refused(Conflict, "lifetime of 3650 days", "lifetime of 700 days"):
        company.create_root_ca(algorithm="P-384")
    assert signatures(lab) == 1


def test_an_algorithm_that_is_none_leaves_nothing_behind(lab: Lab) -> None:
    company = lab.custodian("Company-X")
    with refused(TokenError, "'P-521'", "P-256 or P-384 or RSA-2048"):
        company.create_root_ca(algorithm="P-521")
    with refused(BadRequest, "certificate can last"):
        company.create_root_ca(lifetime=timedelta())
    assert (company.token.key_labels, signatures(lab)) == ([], 0)


# ---- bought


def test_openssl_verifies_a_bought_ca_up_to_the_public_root(lab: Lab, tmp_path: Path) -> None:
    """Who trusts the public root alone can judge the company's devices: that is what is paid for.

    And who trusts the company alone, as DPS does, can too.
    """
    company = bought(lab)
    factory = company.sign_intermediate(lab.custodian("Factory-Y"))
    widget = factory.sign_intermediate(lab.custodian("Technician-Z")).make_device("widget")
    public_root, now = lab.public_ca().root.certificate, lab.clock.now()
    assert openssl_verify(tmp_path, widget.chain, [public_root], now) == ""
    assert openssl_verify(tmp_path, widget.chain[:3], [company.certificate], now) == ""
    assert public_root not in widget.chain


def test_each_tier_has_a_token_of_its_own_and_the_root_signs_once(lab: Lab) -> None:
    bought(lab)
    vendor = lab.public_ca()
    assert vendor.root.custodian.token.key_labels == [f"{VENDOR} Root CA"]
    assert vendor.issuing.custodian.token.key_labels == [f"{VENDOR} Issuing CA"]
    by_root = [s for s in lab.ledger().signatures if s.custodian == vendor.root.custodian.name]
    assert [s.subject for s in by_root] == [f"{VENDOR} Root CA", f"{VENDOR} Issuing CA"]


def test_a_bought_ca_has_room_for_factory_and_technician_and_no_more(lab: Lab) -> None:
    """The path length is part of what is sold."""
    company = bought(lab)
    assert terms.path_length(company.certificate) == 2
    factory = company.sign_intermediate(lab.custodian("Factory-Y"))
    technician = factory.sign_intermediate(lab.custodian("Technician-Z"))
    assert terms.path_length(technician.certificate) == 0
    with refused(BadRequest, "may sign no further CA"):
        technician.sign_intermediate(lab.custodian("Helper"))
    assert lab.custodian("Helper").token.key_labels == [], "and no key was made for it"


def test_dps_takes_the_bought_ca_as_an_anchor_and_never_the_vendors(lab: Lab) -> None:
    """Possession of one's own CA can be proved; of the CAs above it one has no key."""
    company = bought(lab)
    factory = company.sign_intermediate(lab.custodian("Factory-Y"))
    widget: Device = factory.make_device("widget")
    enroll(lab, company)
    assert widget.provision().status == "assigned"
    vendors = lab.dps.certificates.upload("vendor", lab.public_ca().root.certificate)
    with pytest.raises(Exception, match="IH400053"):
        lab.dps.certificates.verify(vendors, company.prove_possession(vendors.verification_code))


def test_an_order_goes_through_three_states_and_shows_its_checks(lab: Lab) -> None:
    company, vendor = lab.custodian("Company-X"), lab.public_ca()
    order = vendor.order(company.request_ca("Company-X CA"), organization="Company-X")
    assert (order.state, len(order.checks)) == ("received", 7)
    assert vendor.order(order.request, company).organization == "Company-X", "or by who they are"
    vetted = vendor.vet(order)
    assert [check.name for check in vetted.checks[7:]] == [LISTED, CONFIRMED]
    assert all(check.passed for check in vetted.checks)
    vendor.issue(vetted)
    (found,) = vendor.orders
    assert found.state == "issued"
    shown = repr(found)
    assert shown.splitlines()[0] == f"Order of Company-X at {VENDOR}, for 'Company-X CA': issued"
    assert shown.count("✓") == 9


def test_orders_survive_reopening_and_everything_twice_is_harmless(tmp_path: Path) -> None:
    """Each step in a process's life of its own, as after a kernel that was restarted."""
    with open_lab(tmp_path / "lab") as lab:
        csr = lab.custodian("Company-X").request_ca("Company-X CA")
        lab.public_ca().order(csr, organization="Company-X")
    with open_lab(tmp_path / "lab") as lab:
        vendor = lab.public_ca()
        again = lab.custodian("Company-X").request_ca("Company-X CA")
        order = vendor.order(again, organization="Company-X")
        assert [o.state for o in vendor.orders] == ["received"]
        assert vendor.vet(order).state == "vetted"
        vendor.vet(order)
    with open_lab(tmp_path / "lab") as lab:
        vendor = lab.public_ca()
        first = vendor.issue(vendor.orders[0])
        assert vendor.issue(vendor.orders[0]) == first
        company = lab.custodian("Company-X")
        ca = company.accept_ca(csr, first)
        assert company.accept_ca(again, first).certificate == ca.certificate
        assert signatures(lab) == 3
        said = [event.text for event in lab.events.about(kind="again")]
        assert said == ["CN=Company-X CA was issued already", "Company-X CA was there already"]


# ---- what a public CA refuses


@pytest.fixture
def vendor(lab: Lab) -> PublicCA[Device]:
    lab.custodian("Company-X")
    return lab.public_ca()


GOOD = ((O, "Company-X"), (CN, "Company-X CA"))


def altered(csr: x509.CertificateSigningRequest) -> x509.CertificateSigningRequest:
    der = bytearray(csr.public_bytes(Encoding.DER))
    der[-1] ^= 1
    return x509.load_der_x509_csr(bytes(der))


@pytest.mark.parametrize(
    ("csr", "word"),
    [
        (written_by_hand(GOOD, ec.generate_private_key(ec.SECP224R1())), "P-256 or P-384"),
        (written_by_hand(GOOD, rsa.generate_private_key(65537, 1024)), "RSA-1024"),
        (altered(written_by_hand(GOOD)), "not signed by the key that it holds"),
        (written_by_hand(((CN, "Company-X CA"),)), "organization"),
        (written_by_hand(((O, "Mallory"), (CN, "Company-X CA"))), "Mallory"),
        (written_by_hand(((O, "Company-X"),)), "common name"),
    ],
    ids=["weak curve", "weak RSA", "altered", "no organization", "another's", "no name"],
)
def test_a_bad_request_is_refused_with_a_cure_and_no_order_is_taken(
    vendor: PublicCA[Device], csr: x509.CertificateSigningRequest, word: str
) -> None:
    with refused(OrderRefused, word) as caught:
        vendor.order(csr, organization="Company-X")
    assert caught.error.cure
    assert [check for check in caught.error.checks if check.failed]
    assert vendor.orders == []


def test_somebody_elses_name_is_found_out_when_the_company_is_called_back(
    lab: Lab, vendor: PublicCA[Device]
) -> None:
    """A request in order, in Company-X's name, with Mallory's key: only a call tells."""
    order = vendor.order(written_by_hand(GOOD), organization="Company-X")
    with refused(OrderRefused, "in their name", "request_ca") as caught:
        vendor.vet(order)
    assert [check.name for check in caught.error.checks if check.failed] == [CONFIRMED]
    with refused(BadRequest, "does not know yet who", "vendor.vet(order)"):
        vendor.issue(order)
    assert "Company-X CA" not in [s.subject for s in lab.ledger().signatures]


def test_what_was_vetted_is_what_is_signed(lab: Lab, vendor: PublicCA[Device]) -> None:
    """Whoever holds the order cannot put another name on it afterwards, with the same key."""
    company = lab.custodian("Company-X")
    order = vendor.vet(vendor.order(company.request_ca("Company-X CA"), organization="Company-X"))
    key = company.token.key("Company-X CA")
    other = request.make(key, request.name("Contoso Root", "Contoso"))
    forged = dataclasses.replace(order, request=other)
    assert chain.common_name(vendor.vet(forged).request) == "Company-X CA"
    for _ in range(2):
        issued = vendor.issue(forged)[0]
        assert chain.subject(issued) == chain.title(order.request.subject)
        assert terms.organization(issued.subject) == "Company-X"


def test_a_company_that_nobody_knows_is_not_vetted(vendor: PublicCA[Device]) -> None:
    csr = written_by_hand(((O, "Shell Ltd"), (CN, "Shell CA")))
    with refused(OrderRefused, "'Shell Ltd'", "no company of this name"):
        vendor.vet(vendor.order(csr, organization="Shell Ltd"))


def test_a_key_that_is_on_order_is_not_ordered_otherwise(
    lab: Lab, vendor: PublicCA[Device]
) -> None:
    csr = lab.custodian("Company-X").request_ca("Company-X CA")
    vendor.order(csr, organization="Company-X")
    with refused(Conflict, "path length 2", "path length 5"):
        vendor.order(csr, organization="Company-X", path_length=5)
    key = lab.custodian("Company-X").token.key("Company-X CA")
    renamed = request.make(key, request.name("Another CA", "Company-X"))
    with refused(Conflict, "CN=Company-X CA", "CN=Another CA"):
        vendor.order(renamed, organization="Company-X")


def test_an_order_at_one_vendor_is_none_at_another(lab: Lab, vendor: PublicCA[Device]) -> None:
    csr = lab.custodian("Company-X").request_ca("Company-X CA")
    order = vendor.order(csr, organization="Company-X")
    with refused(NotFound, "Other Trust has no such order"):
        lab.public_ca("Other Trust").vet(order)


# ---- what comes back


@pytest.mark.parametrize("form", ["tuple", "shuffled bundle", "PKCS#7", "file"])
def test_a_chain_is_accepted_in_the_forms_in_which_vendors_send_it(
    lab: Lab, tmp_path: Path, form: str
) -> None:
    company, vendor = lab.custodian("Company-X"), lab.public_ca()
    csr = company.request_ca("Company-X CA")
    issued = vendor.issue(vendor.vet(vendor.order(csr, organization="Company-X")))
    (tmp_path / "chain.pem").write_text(chain.to_pem(issued))
    sent = {
        "tuple": issued,
        "shuffled bundle": chain.to_pem(issued[::-1]),
        "PKCS#7": pkcs7.serialize_certificates(list(issued), Encoding.DER),
        "file": tmp_path / "chain.pem",
    }[form]
    assert company.accept_ca(csr, sent).chain == issued  # type: ignore[arg-type]


def test_what_is_no_answer_to_the_request_is_refused(lab: Lab) -> None:
    """The vendor's own certificate, somebody's device, nothing at all."""
    company, vendor = lab.custodian("Company-X"), lab.public_ca()
    csr = company.request_ca("Company-X CA")
    other = lab.custodian("Other").create_root_ca()
    key = company.token.key("Company-X CA")
    leaf = other._signer.issue(key.public_key(), request.name("Company-X CA"), profiles.DEVICE)
    for chain_, word in (
        (vendor.issuing.chain, "Issuing CA"),
        ((leaf, other.certificate), "no CA certificate"),
        ((), "0 certificates"),
    ):
        with refused(BadCertificate, word):
            company.accept_ca(csr, chain_)
    assert company.authorities() == []
