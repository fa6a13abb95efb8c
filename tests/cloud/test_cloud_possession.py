"""Proof of possession, and every way in which it fails. The customers' CAs are openssl's, with
commands as they stand in public threads, or the lab's own in SoftHSM."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import forge
import pytest
from complaints import refused
from foreign_tools import openssl
from stories import CA

from labkit import Lab
from labkit.cloud.certificates import ETAG, CaCertificate, CaCertificates
from labkit.errors import BadCertificate, Conflict, ServiceRefusal
from labkit.explanation import Explanation
from labkit.pki import checks, possession

EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")


@dataclass(frozen=True)
class Customer:
    """A company whose CA is openssl and two files."""

    certificate: Path
    key: Path

    @staticmethod
    def make(
        directory: Path,
        subject: str = "/CN=Company-X Root CA",
        *,
        days: int = 90,
        key: tuple[str, ...] = EC,
    ) -> Customer:
        made = Customer(directory / "root.pem", directory / "root.key")
        openssl("req", "-x509", *key, "-nodes", "-keyout", made.key, "-out", made.certificate,
                "-subj", subject, "-days", str(days))  # fmt: skip
        return made

    def sign(self, subject: str, *, days: int = 30, digest: str = "-sha256") -> Path:
        """A verification certificate as people make it: a request, and x509 -req."""
        request, own_key = self.key.with_suffix(".csr"), self.key.with_suffix(".own")
        proof = self.key.with_suffix(".proof")
        openssl("req", "-new", *EC, "-nodes", "-keyout", own_key, "-out", request, "-subj", subject)
        openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.key,
                "-CAcreateserial", "-out", proof, "-days", str(days), digest)  # fmt: skip
        return proof


@pytest.fixture
def customer(tmp_path: Path) -> Customer:
    (tmp_path / "customer").mkdir()
    return Customer.make(tmp_path / "customer")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """Where somebody else keeps files."""
    (tmp_path / "elsewhere").mkdir()
    return tmp_path / "elsewhere"


@pytest.fixture
def uploaded(lab: Lab, customer: Customer) -> CaCertificate:
    return lab.dps.certificates.upload("company-x", customer.certificate)


@pytest.fixture
def company(lab: Lab) -> CA:
    return lab.custodian("Company-X").create_root_ca()


def refusal(lab: Lab, proof: object) -> Explanation:
    """Why this proof for company-x is refused; Azure's answer is the same for each reason."""
    with refused(ServiceRefusal, "400 IH400053: Proof-Of-Possession failed.") as caught:
        lab.dps.certificates.verify("company-x", proof)  # type: ignore[arg-type]
    assert not lab.dps.certificates.get("company-x").is_verified
    return lab.explain(caught.error)


def failed(found: Explanation) -> list[str]:
    return [check.name for check in found.checks if check.failed]


# ---- who signs, and with what


def test_plain_openssl_commands_make_a_proof(
    lab: Lab, customer: Customer, uploaded: CaCertificate
) -> None:
    """Pain point 5. openssl 3.0 makes a certificate of version 1, without any extension."""
    lab.dps.certificates.verify(uploaded, customer.sign(f"/CN={uploaded.verification_code}"))
    assert uploaded.is_verified


def test_a_ca_with_an_rsa_key_can_be_proven_too(lab: Lab, elsewhere: Path) -> None:
    customer = Customer.make(elsewhere, key=("-newkey", "rsa:2048"))
    uploaded = lab.dps.certificates.upload("company-x", customer.certificate)
    lab.dps.certificates.verify(uploaded, customer.sign(f"/CN={uploaded.verification_code}"))
    assert uploaded.is_verified


def test_another_ca_cannot_prove_it(lab: Lab, uploaded: CaCertificate, elsewhere: Path) -> None:
    """Pain point 4: signed by another CA than the one that was uploaded."""
    other = Customer.make(elsewhere, "/CN=Factory-Y CA")
    found = refusal(lab, other.sign(f"/CN={uploaded.verification_code}"))
    assert failed(found) == [possession.ISSUER]
    assert "'CN=Factory-Y CA' cannot be found in the certificate chain" in found.answer
    assert "Shown was: a certificate that names CN=Factory-Y CA as its issuer" in str(found)
    own, other_way = found.cures
    assert "with the key of CN=Company-X Root CA itself" in own
    assert "upload the CA that signed it, CN=Factory-Y CA" in other_way


def test_a_ca_of_the_same_name_with_another_key_cannot_prove_it(
    lab: Lab, uploaded: CaCertificate, elsewhere: Path
) -> None:
    """An eavesdropper who has the certificate, and so every name in it, makes a CA like it."""
    eavesdropper = Customer.make(elsewhere)
    found = refusal(lab, eavesdropper.sign(f"/CN={uploaded.verification_code}"))
    assert failed(found) == [possession.SIGNATURE]
    assert "who has only the certificate cannot" in found.cures[0]


def test_who_has_only_the_certificate_cannot_prove_a_ca_whose_key_is_in_a_token(
    lab: Lab, company: CA, elsewhere: Path
) -> None:
    """The same against a CA in SoftHSM: its whole subject and the open code are known."""
    uploaded = lab.dps.certificates.upload("company-x", company.certificate)
    subject = "".join(f"/{part.rfc4514_string()}" for part in company.certificate.subject.rdns)
    found = refusal(
        lab, Customer.make(elsewhere, subject).sign(f"/CN={uploaded.verification_code}")
    )
    assert failed(found) == [possession.SIGNATURE]
    lab.dps.certificates.verify(uploaded, company.prove_possession(uploaded.verification_code))
    assert uploaded.is_verified


def test_a_signature_over_sha_1_is_called_that_and_not_a_forgery(
    lab: Lab, customer: Customer, uploaded: CaCertificate
) -> None:
    """As in a public thread (sdk-java #182), where every command said -sha1."""
    proof = customer.sign(f"/CN={uploaded.verification_code}", digest="-sha1")
    found = refusal(lab, proof)
    assert failed(found) == [checks.STRENGTH]
    assert found.failure is not None
    assert "SHA1" in found.failure.why


# ---- the code


@pytest.mark.parametrize(
    ("subject", "words"),
    [
        ("/CN=widget", "its CN is 'widget'"),
        ("/O=Company-X", "its subject has no CN"),
        ("/O={code}/CN=Company-X", "not the whole of its CN"),
        ("/CN=code {code}", "not the whole of its CN"),
        ("/CN=" + "0" * 48, "not the one that was handed out last"),
    ],
    ids=["a name", "no CN", "in O", "with words", "another code"],
)
def test_the_code_must_be_the_cn(
    lab: Lab, customer: Customer, uploaded: CaCertificate, subject: str, words: str
) -> None:
    found = refusal(lab, customer.sign(subject.format(code=uploaded.verification_code)))
    assert failed(found) == [possession.CODE]
    assert found.failure is not None
    assert words in found.failure.why


def test_a_new_code_makes_the_older_one_worthless(
    lab: Lab, customer: Customer, uploaded: CaCertificate
) -> None:
    old = customer.sign(f"/CN={uploaded.verification_code}")
    lab.dps.certificates.generate_verification_code("company-x")
    assert failed(refusal(lab, old)) == [possession.CODE]
    lab.dps.certificates.verify(uploaded, customer.sign(f"/CN={uploaded.verification_code}"))


def test_a_code_does_not_expire(lab: Lab, uploaded: CaCertificate, customer: Customer) -> None:
    """What ages is the certificate that was signed for it."""
    code = uploaded.verification_code
    lab.clock.advance(days=60)
    proof = customer.sign(f"/CN={code}", days=80)
    lab.dps.certificates.verify(uploaded, proof)
    assert uploaded.is_verified


def test_an_overheard_proof_is_worth_nothing_for_another_upload(
    lab: Lab, customer: Customer, uploaded: CaCertificate
) -> None:
    """The proof was good once. Somebody who kept it uploads the same CA as theirs."""
    overheard = customer.sign(f"/CN={uploaded.verification_code}").read_bytes()
    lab.dps.certificates.verify(uploaded, overheard)
    lab.dps.certificates.delete(uploaded)
    again = lab.dps.certificates.upload("company-x", customer.certificate)
    assert failed(refusal(lab, overheard)) == [possession.CODE]  # no code is open
    assert again.verification_code
    found = refusal(lab, overheard)
    assert found.failure is not None
    assert "worthless" in found.failure.why


# ---- time


def test_a_proof_that_has_expired_by_the_labs_clock_is_refused(
    lab: Lab, customer: Customer, uploaded: CaCertificate
) -> None:
    proof = customer.sign(f"/CN={uploaded.verification_code}", days=30)
    lab.clock.advance(days=31)
    assert failed(refusal(lab, proof)) == [possession.VALIDITY]


def test_a_proof_out_of_the_token_lasts_a_day(lab: Lab, company: CA) -> None:
    uploaded = lab.dps.certificates.upload("company-x", company.certificate)
    proof = company.prove_possession(uploaded.verification_code)
    lab.clock.advance(days=2)
    assert failed(refusal(lab, proof)) == [possession.VALIDITY]
    lab.dps.certificates.verify(uploaded, company.prove_possession(uploaded.verification_code))


def test_a_ca_that_has_expired_cannot_be_verified(lab: Lab, elsewhere: Path) -> None:
    """Its key signs as well as ever, and the proof itself is valid. First of all that is said."""
    customer = Customer.make(elsewhere, days=10)
    uploaded = lab.dps.certificates.upload("company-x", customer.certificate)
    proof = customer.sign(f"/CN={uploaded.verification_code}", days=30)
    lab.clock.advance(days=11)
    found = refusal(lab, proof)
    assert failed(found) == [possession.CA_VALIDITY]
    assert "renew the CA" in found.cures[0]


def test_a_ca_that_has_expired_already_can_be_uploaded_and_no_more(
    lab: Lab, elsewhere: Path
) -> None:
    customer = Customer.make(elsewhere, days=10)
    lab.clock.advance(days=11)
    uploaded = lab.dps.certificates.upload("company-x", customer.certificate)
    proof = customer.sign(f"/CN={uploaded.verification_code}")
    assert failed(refusal(lab, proof)) == [possession.CA_VALIDITY]


def test_a_ca_and_a_proof_of_the_future_are_not_valid_yet(
    lab: Lab, customer: Customer, uploaded: CaCertificate
) -> None:
    """A clock that is wrong, on whichever side."""
    proof = customer.sign(f"/CN={uploaded.verification_code}")
    lab.clock.advance(days=-1)
    assert failed(refusal(lab, proof)) == [possession.CA_VALIDITY, possession.VALIDITY]


# ---- what is told


def test_the_explanation_names_every_fault_and_every_check(
    lab: Lab, uploaded: CaCertificate, elsewhere: Path
) -> None:
    """Wrong in three ways at once; whose key signed is no question where the name is another."""
    other = Customer.make(elsewhere, "/CN=Factory-Y CA")
    proof = other.sign("/CN=widget", days=1)
    assert uploaded.verification_code
    lab.clock.advance(days=2)
    found = refusal(lab, proof)
    assert failed(found) == [possession.ISSUER, possession.CODE, possession.VALIDITY]
    assert [check.name for check in found.checks] == [
        possession.CA_VALIDITY,
        possession.ISSUER,
        possession.SIGNATURE,
        possession.CODE,
        possession.VALIDITY,
    ]
    assert all(check.cures for check in found.checks if check.failed)
    unwrapped = " ".join(str(found).split())
    assert [check.name for check in found.checks if check.name not in unwrapped] == []


@pytest.mark.parametrize("subject", ["/CN={code}", "/CN={old}", "/O={code}/CN=x"])
def test_no_code_stands_in_the_text(
    lab: Lab, uploaded: CaCertificate, elsewhere: Path, subject: str
) -> None:
    """It would be another at every run of a notebook, and its output could not be compared."""
    old = uploaded.verification_code
    code = lab.dps.certificates.generate_verification_code("company-x")
    stranger = Customer.make(elsewhere, "/CN=Company-X Root CA")
    found = refusal(lab, stranger.sign(subject.format(code=code, old=old)))
    for text in (str(found), found._repr_mimebundle_()["text/html"]):
        assert code not in text
        assert old not in text


# ---- ETags (pain point 19)


def stale(lab: Lab, change: Callable[[str], object], etag: str) -> Explanation:
    """The change with this ETag is refused, and leaves no trace."""
    before = lab.dps.certificates.row("company-x")
    with refused(ServiceRefusal, "412 IH412001: Invalid ETag supplied.") as caught:
        change(etag)
    after = lab.dps.certificates.row("company-x")
    assert (after.etag, after.der, after.code, after.is_verified) == (
        before.etag,
        before.der,
        before.code,
        before.is_verified,
    )
    return lab.explain(caught.error)


OTHER = forge.ca("Another CA").certificate


def changes(lab: Lab, customer: Customer) -> dict[str, Callable[[str], object]]:
    """Each change that takes an ETag."""
    certificates = lab.dps.certificates

    def verify(etag: str) -> None:
        code = certificates.get("company-x").verification_code
        certificates.verify("company-x", customer.sign(f"/CN={code}"), etag=etag)

    return {
        "upload": lambda etag: certificates.upload("company-x", OTHER, etag=etag),
        "code": lambda etag: certificates.generate_verification_code("company-x", etag=etag),
        "verify": verify,
        "delete": lambda etag: certificates.delete("company-x", etag=etag),
    }


CHANGES = ["upload", "code", "verify", "delete"]


@pytest.mark.parametrize("kind", CHANGES)
def test_a_change_with_an_etag_of_an_earlier_state_is_refused_and_changes_nothing(
    lab: Lab, customer: Customer, uploaded: CaCertificate, kind: str
) -> None:
    first = uploaded.etag
    assert uploaded.verification_code  # asked for: the certificate has another ETag now
    found = stale(lab, changes(lab, customer)[kind], first)
    assert failed(found) == [ETAG]
    assert "'company-x' was refused" in str(found)
    assert "lab.dps.certificates.get('company-x').etag" in found.cures[0]
    assert first not in str(found)


@pytest.mark.parametrize("kind", CHANGES)
@pytest.mark.parametrize("form", ["{}", '"{}"', "*", '"*"'])
def test_the_present_etag_is_taken_as_clients_write_it(
    lab: Lab, customer: Customer, uploaded: CaCertificate, kind: str, form: str
) -> None:
    """With quotes or without; ``*`` is any."""
    assert uploaded.verification_code
    before = uploaded.etag
    changes(lab, customer)[kind](form.format(before))
    if kind != "delete":
        assert uploaded.etag != before


def test_the_walk_of_an_operator_who_keeps_the_first_etag(
    lab: Lab, customer: Customer, uploaded: CaCertificate
) -> None:
    """azure-cli #13098: create, generate-verification-code and verify, each with the ETag that
    create returned. The code was a change, so the third command fails; the new ETag cures it."""
    first = uploaded.etag
    code = lab.dps.certificates.generate_verification_code("company-x", etag=first)
    proof = customer.sign(f"/CN={code}")
    stale(lab, lambda etag: lab.dps.certificates.verify(uploaded, proof, etag=etag), first)
    lab.dps.certificates.verify(uploaded, proof, etag=uploaded.etag)
    assert uploaded.is_verified


def test_of_two_who_read_the_same_etag_one_wins(lab: Lab, uploaded: CaCertificate) -> None:
    """The look and the change are one transaction."""
    etag = uploaded.etag

    def ask(_: int) -> str:
        try:
            return lab.dps.certificates.generate_verification_code("company-x", etag=etag)
        except ServiceRefusal as error:
            return str(error.error.code)

    with ThreadPoolExecutor(8) as pool:
        answers = sorted(pool.map(ask, range(8)))
    assert answers.count("IH412001") == 7
    assert uploaded.verification_code in answers


def test_a_refused_proof_leaves_the_etag_as_it_was(
    lab: Lab, customer: Customer, uploaded: CaCertificate
) -> None:
    assert uploaded.verification_code
    before = uploaded.etag
    refusal(lab, customer.sign("/CN=widget"))
    assert uploaded.etag == before


def test_a_replaced_certificate_has_to_be_proven_anew(
    lab: Lab, customer: Customer, uploaded: CaCertificate
) -> None:
    lab.dps.certificates.verify(uploaded, customer.sign(f"/CN={uploaded.verification_code}"))
    with refused(Conflict, "exists already"):
        lab.dps.certificates.upload("company-x", OTHER)
    lab.dps.certificates.upload("company-x", OTHER, etag=uploaded.etag)
    assert uploaded.certificate == OTHER
    assert not uploaded.is_verified
    assert lab.dps.certificates.verified() == []


def test_an_etag_is_of_no_matter_where_the_name_is_free(lab: Lab, customer: Customer) -> None:
    """Azure's reference: it is ignored when a certificate is created."""
    assert lab.dps.certificates.upload("company-x", customer.certificate, etag="some")


# ---- twice is harmless


def test_each_step_twice_is_harmless_and_says_so(
    lab: Lab, customer: Customer, uploaded: CaCertificate
) -> None:
    lab.dps.certificates.upload("company-x", customer.certificate)
    code = uploaded.verification_code
    assert uploaded.verification_code == code
    proof = customer.sign(f"/CN={code}")
    etags = set()
    for _ in range(2):
        lab.dps.certificates.verify(uploaded, proof)
        etags.add(uploaded.etag)
    assert len(etags) == 1
    told = [event.text for event in lab.events.about(source="dps", kind="again")]
    assert told == [
        "CA certificate 'company-x' was there already",
        "CA certificate 'company-x' was verified already",
    ]


def test_no_private_key_comes_near_the_cloud(
    lab: Lab, customer: Customer, uploaded: CaCertificate
) -> None:
    """The customer's key is in a file of theirs; a proof together with it is refused."""
    proof = customer.sign(f"/CN={uploaded.verification_code}").read_bytes()
    with refused(BadCertificate, "private key"):
        lab.dps.certificates.verify(uploaded, proof + customer.key.read_bytes())
    assert not uploaded.is_verified


def test_a_ca_that_is_replaced_while_it_is_verified_has_to_be_proven(
    lab: Lab,
    uploaded: CaCertificate,
    customer: Customer,
    elsewhere: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Verified when it was read, another by the time of the transaction: verify() said nothing."""
    certificates = lab.dps.certificates
    proof = customer.sign(f"/CN={uploaded.verification_code}")
    certificates.verify(uploaded, proof)
    read = type(certificates).row

    def replaced_after_reading(self: CaCertificates, name: str) -> object:
        monkeypatch.setattr(type(certificates), "row", read)
        found = read(self, name)
        other = Customer.make(elsewhere).certificate
        certificates.upload("company-x", other, etag=uploaded.etag)
        return found

    monkeypatch.setattr(type(certificates), "row", replaced_after_reading)
    with refused(ServiceRefusal, "IH400053"):
        certificates.verify("company-x", proof)
    assert not uploaded.is_verified
