"""Lesson 02: keys that never leave."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from labkit.errors import NotFound
from labkit.hsm import TokenKey
from labkit.hsm.theft import Thief, take_out
from labkit.lab import Lab
from labkit.pki.request import describe_key
from labkit.ui.check import Case
from labkit.ui.scenario import Prediction, Scenario, Step

COMPANY, FACTORY, INSPECTOR = "Company-X", "Factory-Y", "Inspector-I"
KEY = "Company-X Root CA"
WIDGET, CARRIED = "smart-x-widget-001", "smart-x-widget-002"
GUESS = "1234"
RELEASE = b"Smart-X-Widget, firmware 2.0: approved"
"""What the exercise has signed."""


def _give_a_token(lab: Lab) -> None:
    lab.custodian(COMPANY)


def _make_a_key(lab: Lab) -> None:
    lab.custodian(COMPANY).make_key(KEY)


def _sign(lab: Lab) -> None:
    lab.custodian(COMPANY).create_root_ca(KEY)


def _take_it_out(lab: Lab) -> None:
    take_out(lab.custodian(COMPANY).token.key(KEY))


def _steal_the_files(lab: Lab) -> None:
    Thief(lab.path).log_in(COMPANY, GUESS)


def _make_the_widget(lab: Lab) -> None:
    (company,) = lab.custodian(COMPANY).authorities()
    company.make_device(WIDGET)


def _tell_dps(lab: Lab) -> None:
    (company,) = lab.custodian(COMPANY).authorities()
    ca = lab.dps.certificates.upload("company-x", company.certificate)
    lab.dps.certificates.verify(ca, company.prove_possession(ca.verification_code))
    lab.dps.enrollment_groups.create("smart-x-widgets", signing=company.certificate)


def _provision(lab: Lab) -> None:
    lab.device(WIDGET).provision()


def _carry_a_key(lab: Lab) -> None:
    (company,) = lab.custodian(COMPANY).authorities()
    company.pregenerate([CARRIED]).carry(lab.custodian(FACTORY))


STORY = Scenario(
    name="keys",
    title="Keys that never leave",
    introduction="A company that has nothing yet wants to be trusted. It all begins with one key. "
    "Press **Next**.",
    steps=(
        Step(
            "Company-X gets a token",
            "A **token** is a vault for keys. It opens with a **PIN**, and it works for whoever "
            "knows that. This one is empty.",
            _give_a_token,
            look_at=(f"token {COMPANY}",),
        ),
        Step(
            "A key pair is born",
            "Company-X asks its token for a **key pair**: two numbers that belong together. The "
            "**public key** is for everybody. The **private key** is what signs; the token made "
            "it and keeps it.",
            _make_a_key,
            predict=Prediction(
                "Company-X asks its token for a key pair. What does it get back?",
                ("both keys", "the private key", "the public key only"),
                "the public key only",
                "The private key was made inside and stays there. Company-X can use it, and "
                "cannot see it.",
            ),
            look_at=(f"token {COMPANY}",),
        ),
        Step(
            "The token signs",
            "Company-X wrote its name beside the public key and had the token sign that. This is "
            "a **certificate**. The text went into the token, the signature came out.",
            _sign,
            look_at=(f"ca {COMPANY}/{KEY}",),
        ),
        Step(
            "Somebody tries to take the key out",
            "They know the PIN, and ask the token in the two ways that there are: for the number "
            "itself, and for a copy encrypted under another key. The token refuses both.",
            _take_it_out,
            predict=Prediction(
                "An employee knows the PIN of the token. Can they take a copy of the private key "
                "home?",
                ("yes, the PIN opens everything", "only an encrypted one", "no"),
                "no",
                "With the PIN they can have it sign while they are there. No command gives out "
                "the key.",
            ),
            look_at=(f"ca {COMPANY}/{KEY}",),
        ),
        Step(
            "A thief copies the files",
            "This token is made of software, so it lies in files, and these can be copied. What "
            f"is in them is encrypted under the PIN. The thief guesses `{GUESS}`.",
            _steal_the_files,
            predict=Prediction(
                "A thief has all files of the token, and no PIN. What can they do with the key?",
                ("sign with it", "read it", "nothing, until they guess the PIN"),
                "nothing, until they guess the PIN",
                "But they may guess as often as they like, at home. A chip has no files to copy, "
                "and locks itself after a few wrong PINs.",
            ),
            look_at=(f"ca {COMPANY}/{KEY}",),
        ),
        Step(
            "A device has a token of its own",
            "The widget does what Company-X did: a key pair, born in its own token. It sends its "
            "public key, and Company-X signs a certificate for it.",
            _make_the_widget,
            look_at=(f"device {WIDGET}",),
        ),
        Step(
            "The cloud learns whom to trust",
            "Company-X tells the Device Provisioning Service (DPS): admit what I have signed. "
            "Lesson 04 looks at this step closely.",
            _tell_dps,
            look_at=("entry company-x", "group smart-x-widgets"),
        ),
        Step(
            "The widget proves who it is",
            "DPS and the widget agree on fresh numbers, and the widget's token signs them. DPS "
            "checks that with the public key in the certificate. So the widget has shown that it "
            "**holds** the private key, and has not shown the key.",
            _provision,
            predict=Prediction(
                "The widget proves itself to DPS over the network. What of its private key can a "
                "listener catch?",
                ("the key, encrypted", "a signature made with it", "the key"),
                "a signature made with it",
                "It is over numbers that are fresh for each connection, so it is worth nothing "
                "in the next.",
            ),
            look_at=(f"device {WIDGET}",),
        ),
        Step(
            "A key that was made to travel",
            "The other way: Company-X makes a widget's key in its own token and hands a copy to "
            "**Factory-Y**, who shall put it into the widget. Two parties can sign as that widget "
            "now, and it does not even exist yet.",
            _carry_a_key,
            predict=Prediction(
                "Company-X makes a key for a second widget and gives Factory-Y a copy. Who can "
                "speak as that widget?",
                ("the widget only", "Factory-Y", "Company-X and Factory-Y"),
                "Company-X and Factory-Y",
                "Both hold the key, and a signature does not tell which of them made it. Lesson "
                "05 counts what this costs.",
            ),
            look_at=(f"token {FACTORY}",),
        ),
    ),
)


def _key_of(lab: Lab, public_key: Any) -> TokenKey:
    """The inspector's key whose public half was handed in; looks at nothing that is not there."""
    for custodian in lab.custodians:
        for label in custodian.token.key_labels if custodian.name == INSPECTOR else ():
            key = custodian.token.key(label)
            if key.public_key() == public_key:
                return key
    raise NotFound(f"{INSPECTOR} has no such key")


def _is_a_pair(answer: Any) -> bool:
    signature, public_key = answer
    return isinstance(signature, bytes) and hasattr(public_key, "verify")


def _stays(attributes: dict[str, bool]) -> bool:
    return all(attributes[said] for said in ("SENSITIVE", "NEVER_EXTRACTABLE", "LOCAL"))


def signed_release(lab: Lab, answer: Any) -> Iterator[Case]:
    """A text, signed with a P-384 key that never left the token of a new custodian."""
    yield Case(
        "it is a signature and a public key",
        lambda: _is_a_pair(answer),
        "hand in two things: the bytes that sign() returns, and what public_key() returns",
    )
    yield Case(
        "the public key is of P-384",
        lambda: describe_key(answer[1]) == "P-384",
        "make_key makes P-256 unless it is told otherwise: algorithm=...",
    )
    yield Case(
        f"its private key is in the token of {INSPECTOR}",
        lambda: _key_of(lab, answer[1]),
        f"let lab.custodian({INSPECTOR!r}) make the key",
    )
    yield Case(
        "it was born there, is sensitive, and was never extractable",
        lambda: _stays(_key_of(lab, answer[1]).attributes),
        "make_key sees to that: carry no key in from elsewhere",
    )
    yield Case(
        "the signature is one of the text, over SHA-384, in DER",
        lambda: answer[1].verify(answer[0], RELEASE, ec.ECDSA(hashes.SHA384())) is None,
        "sign() the bytes of the text as they are, with ec.ECDSA(hashes.SHA384()); see Break it "
        "for what DER means",
    )
