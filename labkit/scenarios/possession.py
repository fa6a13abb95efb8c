"""Lesson 04: prove that a CA is yours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from labkit.cloud.certificates import CaCertificate
from labkit.device import Device
from labkit.lab import Lab
from labkit.supplychain import CertificateAuthority
from labkit.ui.check import Case
from labkit.ui.scenario import Prediction, Scenario, Step

COMPANY, FACTORY, TECHNICIAN = "Company-X", "Factory-Y", "Technician-Z"
EAVESDROPPER, CUSTOMER = "Eavesdropper-E", "Hospital-H"


def _ca(lab: Lab, custodian: str) -> CertificateAuthority[Device]:
    (found,) = lab.custodian(custodian).authorities()
    return found


def _entry(lab: Lab, name: str) -> CaCertificate:
    return lab.dps.certificates.get(name)


def _sign_the_chain(lab: Lab) -> None:
    company = lab.custodian(COMPANY).create_root_ca()
    factory = company.sign_intermediate(lab.custodian(FACTORY))
    factory.sign_intermediate(lab.custodian(TECHNICIAN))


def _upload(lab: Lab) -> None:
    lab.dps.certificates.upload("company-x", _ca(lab, COMPANY).certificate)


def _upload_what_is_not_theirs(lab: Lab) -> None:
    lab.dps.certificates.upload("eavesdropper", _ca(lab, COMPANY).certificate)


def _prove_what_is_not_theirs(lab: Lab) -> None:
    false = lab.custodian(EAVESDROPPER).create_root_ca()
    entry = _entry(lab, "eavesdropper")
    lab.dps.certificates.verify(entry, false.prove_possession(entry.verification_code))


def _prove(lab: Lab) -> None:
    entry = _entry(lab, "company-x")
    proof = _ca(lab, COMPANY).prove_possession(entry.verification_code)
    lab.dps.certificates.verify(entry, proof)


def _for_a_customer(lab: Lab) -> None:
    hospital = lab.custodian(CUSTOMER).create_root_ca()
    entry = lab.dps.certificates.upload("hospital-h", hospital.certificate)
    lab.dps.certificates.verify(entry, hospital.prove_possession(entry.verification_code))


def _let_the_issuer_sign(lab: Lab) -> None:
    entry = lab.dps.certificates.upload("technician-z", _ca(lab, TECHNICIAN).certificate)
    proof = _ca(lab, FACTORY).prove_possession(entry.verification_code)
    lab.dps.certificates.verify(entry, proof)


def _sign_an_old_code(lab: Lab) -> None:
    entry = _entry(lab, "technician-z")
    proof = _ca(lab, TECHNICIAN).prove_possession(entry.verification_code)
    lab.dps.certificates.generate_verification_code("technician-z")
    lab.dps.certificates.verify(entry, proof)


def _sign_the_code_of_now(lab: Lab) -> None:
    entry = _entry(lab, "technician-z")
    proof = _ca(lab, TECHNICIAN).prove_possession(entry.verification_code)
    lab.dps.certificates.verify(entry, proof)


STORY = Scenario(
    name="possession",
    title="Prove that it is yours",
    introduction="A cloud that has to decide whom to believe, and somebody who listens. Press "
    "**Next**.",
    steps=(
        Step(
            "A chain of three CAs",
            "**Company-X** has a root CA, and has signed **Factory-Y**, who has signed "
            "**Technician-Z**. Each private key is in its owner's token. The **certificates** are "
            "public: every device that connects shows them.",
            _sign_the_chain,
            look_at=(f"ca {COMPANY}/Company-X Root CA",),
        ),
        Step(
            "Company-X uploads its certificate",
            "The Device Provisioning Service (DPS) keeps it, **unverified**. No chain may end in "
            "it yet. The certificates on the left stay unknown.",
            _upload,
            look_at=("entry company-x",),
        ),
        Step(
            "An eavesdropper uploads it, too",
            "**Eavesdropper-E** has listened to a device and has the very same certificate. It "
            "is a good one: nothing in it says who uploads it. Now two parties claim one CA.",
            _upload_what_is_not_theirs,
            predict=Prediction(
                "Somebody who caught Company-X's certificate uploads it as their own. What does "
                "DPS do?",
                ("it refuses: this is not theirs", "it keeps it, unverified", "it trusts it"),
                "it keeps it, unverified",
                "A certificate is public, so to have one says nothing about who you are.",
            ),
            look_at=("entry eavesdropper",),
        ),
        Step(
            "The eavesdropper tries to prove it",
            "DPS hands out a random **verification code**. The answer has to be a certificate "
            "whose common name (CN) is that code, signed with the key of the uploaded CA. The "
            "eavesdropper signs with the only key that they have: their own.",
            _prove_what_is_not_theirs,
            predict=Prediction(
                "The eavesdropper has the certificate, and gets a code. What do they lack?",
                ("the CA's private key", "Company-X's password", "a better certificate"),
                "the CA's private key",
                "It never left Company-X's token. So nobody else can sign for this CA.",
            ),
            look_at=("entry eavesdropper", f"ca {EAVESDROPPER}/{EAVESDROPPER} Root CA"),
        ),
        Step(
            "Company-X proves that it is theirs",
            "Company-X gets a code as well, and its token signs the **verification certificate**. "
            "That is **proof of possession**. See what changes: the entry is **verified**, and "
            "every CA below Company-X leads to something that DPS trusts.",
            _prove,
            predict=Prediction(
                "What does Company-X do with the code?",
                (
                    "it sends it back",
                    "it signs a certificate whose name is the code",
                    "it writes it into its CA certificate",
                ),
                "it signs a certificate whose name is the code",
                "A new certificate, for one use. The CA certificate stays as it is.",
            ),
            look_at=("entry company-x", f"ca {COMPANY}/Company-X Root CA"),
        ),
        Step(
            "A customer's CA: who signs?",
            "**Hospital-H** has a CA of its own, and wants its devices in Company-X's DPS. "
            "Company-X uploads the hospital's certificate and sends them the **code**. They sign, "
            "and send the verification certificate back. No key changes hands.",
            _for_a_customer,
            predict=Prediction(
                "The DPS is Company-X's, the CA is Hospital-H's. Who signs the code?",
                ("Company-X", "Hospital-H", "the cloud"),
                "Hospital-H",
                "Whoever holds the key of the uploaded certificate: nobody else can.",
            ),
            look_at=("entry hospital-h",),
        ),
        Step(
            "Break it: the wrong CA signs",
            "**Technician-Z**'s certificate is uploaded. The code goes to Factory-Y, who signed "
            "that certificate, after all. DPS refuses: an issuer stands above, but has another "
            "key.",
            _let_the_issuer_sign,
            predict=Prediction(
                "Factory-Y signed Technician-Z's certificate. Can it prove possession of "
                "Technician-Z's CA?",
                ("yes, it stands above", "no"),
                "no",
                "The proof is about one key: the one in the certificate that was uploaded.",
            ),
            look_at=("entry technician-z", f"ca {FACTORY}/{FACTORY} CA"),
        ),
        Step(
            "Break it: an old code",
            "Technician-Z signs the code. Meanwhile a colleague presses **Generate verification "
            "code** once more. The proof is signed by the right key, for a code that no longer "
            "counts.",
            _sign_an_old_code,
            look_at=("entry technician-z", f"ca {TECHNICIAN}/{TECHNICIAN} CA"),
        ),
        Step(
            "The cure",
            "Take the code of **now**, sign it with the key of the **uploaded** CA, and hand it "
            "in before somebody asks for another. Technician-Z's CA is verified.",
            _sign_the_code_of_now,
            look_at=("entry technician-z",),
        ),
    ),
)


def proven_intermediate(lab: Lab, answer: Any) -> Iterator[Case]:
    """Factory-Y's intermediate CA, uploaded and proven by Factory-Y itself."""
    yield Case(
        "it is an entry of DPS",
        lambda: _entry(lab, answer.name).certificate == answer.certificate,
        "assign what lab.dps.certificates.upload(...) returns",
    )
    yield Case(
        f"its certificate is that of {FACTORY}'s CA",
        lambda: answer.certificate == _ca(lab, FACTORY).certificate,
        "Company-X's root is another one: which CA is it that shall be registered?",
    )
    yield Case(
        "possession is proven: it is verified",
        lambda: answer.is_verified,
        "who has to sign the code? See Break it for the one who cannot",
    )
    yield Case(
        "Company-X's own entry is as it was: verified",
        lambda: _entry(lab, "company-x").is_verified,
        "each CA has an entry of its own: leave the others as they are",
    )
