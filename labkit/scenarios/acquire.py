"""Lesson 03: acquire a CA."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from labkit.device import Device
from labkit.lab import Lab
from labkit.pki import chain
from labkit.pki.request import describe_key
from labkit.supplychain import CertificateAuthority
from labkit.supplychain.public_ca import Order
from labkit.supplychain.terms import path_length
from labkit.ui.check import Case
from labkit.ui.scenario import Prediction, Scenario, Step

COMPANY, NEWCOMER, STRANGER = "Company-X", "Company-N", "Contoso"
BOUGHT, OWN = "Company-X CA", "Company-X Root CA"
VENDOR, VENDOR_ROOT = "Example Trust Services", "Example Trust Services Root"

WEAK_REQUEST = """\
-----BEGIN CERTIFICATE REQUEST-----
MIIBajCB1AIBADArMRIwEAYDVQQKDAlDb21wYW55LVgxFTATBgNVBAMMDENvbXBh
bnktWCBDQTCBnzANBgkqhkiG9w0BAQEFAAOBjQAwgYkCgYEAtxadTvjSQEHox+ja
xM+C3EJ5lmcFEUiny0LWjt1GSegmnmgdOfTr4nObgxSlbZvF+I8tUpS944rSzib4
FgzWubfo6HLIc0Kj1caVJmDBK1uY/hO488IiHCd0hUxCBzIuYMFYpUgKYype9MmD
E97VG+oceGIAEqGeHCd30F4EGn8CAwEAAaAAMA0GCSqGSIb3DQEBCwUAA4GBALU+
DpdwPYsI21mekjXCkkaaZWsuOrbmNM8m5EqaAv6N0iXEk6toZyOPFZyi1bG1+Ntq
P9OK/00haAw4t6Eu7Mx8ce6UJ2M7VU8zPKcEFU+PxmJ8QuJ0735TQN0/X3pZHDrO
WwWLsaKYxDfkwjI04KjG7gCqGOBUTa5pu+D6pvoA
-----END CERTIFICATE REQUEST-----
"""
"""A request in Company-X's name for an RSA key of 1024 bits. Nobody has that key any more."""


def _request(lab: Lab) -> None:
    lab.custodian(COMPANY).request_ca(BOUGHT)


def _find_a_vendor(lab: Lab) -> None:
    lab.public_ca()


def _order_with_a_weak_key(lab: Lab) -> None:
    lab.public_ca().order(WEAK_REQUEST, organization=COMPANY)


def _order_for_another(lab: Lab) -> None:
    lab.public_ca().order(lab.custodian(COMPANY).request_ca(BOUGHT), organization=STRANGER)


def _order_and_be_vetted(lab: Lab) -> None:
    csr = lab.custodian(COMPANY).request_ca(BOUGHT)
    lab.public_ca().vet(lab.public_ca().order(csr, organization=COMPANY))


def _issue_and_accept(lab: Lab) -> None:
    (order,) = lab.public_ca().orders
    lab.custodian(COMPANY).accept_ca(order.request, lab.public_ca().issue(order))


def _sign_as_far_as_it_goes(lab: Lab) -> None:
    (company,) = lab.custodian(COMPANY).authorities()
    factory = company.sign_intermediate(lab.custodian("Factory-Y"))
    technician = factory.sign_intermediate(lab.custodian("Technician-Z"))
    technician.sign_intermediate(lab.custodian("Helper-H"))


def _sign_it_oneself(lab: Lab) -> None:
    lab.custodian(COMPANY).create_root_ca(OWN)


STORY = Scenario(
    name="acquire",
    title="Acquire a CA",
    introduction="Company-X wants to sign devices. For that it has to become a **certificate "
    "authority** (CA). It can buy that, or do it alone. Press **Next**.",
    steps=(
        Step(
            "A key, and a request",
            "Company-X's token makes a key pair. Then Company-X writes a **certificate signing "
            "request** (CSR): this is my name, this is my public key, please sign. The request "
            "is signed with the private key, so nobody can ask for a key that they do not hold.",
            _request,
            predict=Prediction(
                "Company-X will send a request to a CA. What of its key pair does that hold?",
                ("both keys", "the public key", "the private key"),
                "the public key",
                "A request is public, just as the certificate that comes back.",
            ),
            look_at=(f"token {COMPANY}",),
        ),
        Step(
            "A company that sells certificates",
            f"**{VENDOR}** stands in for a public CA. It has two tiers. The **root CA** signed "
            "the second tier once, and then its key was locked away. The **issuing CA** is what "
            "customers meet.",
            _find_a_vendor,
            look_at=(f"ca {VENDOR_ROOT}/{VENDOR} Root CA", f"ca {VENDOR}/{VENDOR} Issuing CA"),
        ),
        Step(
            "Refused: a weak key",
            "A colleague had made a request before, with an RSA key of 1024 bits. It names "
            "Company-X, and its signature is right. But such a key can be broken, and a CA's key "
            "must hold for years. The vendor **examines** each request, and says what is wrong.",
            _order_with_a_weak_key,
            look_at=(f"ca {VENDOR}/{VENDOR} Issuing CA",),
        ),
        Step(
            "Refused: in another's name",
            f"{STRANGER} orders a certificate on Company-X's request. What the request names has "
            "to be the **organization** that orders: the vendor vouches for just that.",
            _order_for_another,
            look_at=(f"ca {VENDOR}/{VENDOR} Issuing CA",),
        ),
        Step(
            "Received, and vetted",
            "Company-X orders on its own request, the one with the strong key: every check passes. "
            "Then the vendor looks Company-X up in a register, takes the telephone number from "
            "there, and asks: was that you? This is **vetting**. It is what the customer pays "
            "for.",
            _order_and_be_vetted,
            predict=Prediction(
                "This request is in order. Why does the vendor not sign at once?",
                (
                    "it has to check the key again",
                    "anybody can write Company-X into a request",
                    "its root CA is locked away",
                ),
                "anybody can write Company-X into a request",
                "The signature shows that the asker holds the key. It does not show who they are.",
            ),
            look_at=(f"token {COMPANY}",),
        ),
        Step(
            "Issued",
            "The certificate came back together with its issuers: a **chain**. Company-X compares "
            "it with the key in its token and takes it. From now on it is a CA.",
            _issue_and_accept,
            predict=Prediction(
                "How many certificates does Company-X get, and for how many of them does it hold "
                "the private key?",
                ("one and one", "three and one", "three and three"),
                "three and one",
                "Its own, the issuing CA's and the root's. The keys of the other two are the "
                "vendor's.",
            ),
            look_at=(f"ca {COMPANY}/{BOUGHT}",),
        ),
        Step(
            "How far it reaches",
            "Company-X signs Factory-Y, and Factory-Y signs Technician-Z. Then Technician-Z wants "
            "to sign a helper: refused. The **path length** in each certificate says how many CAs "
            "may follow below it, and it becomes less at each step. Devices do not count.",
            _sign_as_far_as_it_goes,
            predict=Prediction(
                "The vendor wrote path length 2 into Company-X's certificate. How many CAs may "
                "follow, one below the other?",
                ("one", "two", "as many as Company-X wants"),
                "two",
                "Factory-Y has path length 1, Technician-Z 0: it may sign devices only.",
            ),
            look_at=(f"ca {COMPANY}/{BOUGHT}", "ca Technician-Z/Technician-Z CA"),
        ),
        Step(
            "The other way: sign it yourself",
            "Company-X makes a second key, and signs a certificate for it **with that very key**. "
            "This is a **self-signed** root CA: no vendor, no vetting, no fee. And nobody vouches "
            "for it.",
            _sign_it_oneself,
            predict=Prediction(
                "Who has to be convinced before a self-signed CA is good for anything?",
                ("the vendor", "whoever shall trust it", "nobody, it is valid by itself"),
                "whoever shall trust it",
                "For your own cloud you convince it yourself: lesson 04. Strangers have no reason "
                "to trust it.",
            ),
            look_at=(f"ca {COMPANY}/{OWN}",),
        ),
    ),
)


def _orders(lab: Lab, ca: CertificateAuthority[Device]) -> list[Order]:
    """Those that ended in this CA's certificate."""
    own = ca.certificate.public_key()
    return [order for order in lab.public_ca().orders if order.request.public_key() == own]


def bought_ca(lab: Lab, answer: Any) -> Iterator[Case]:
    """A CA of a new company: P-384, bought, with room for exactly one more CA below it."""
    yield Case(
        f"it is a CA of {NEWCOMER}",
        lambda: answer.custodian.name == NEWCOMER and chain.is_ca(answer.certificate),
        f"assign what accept_ca of lab.custodian({NEWCOMER!r}) returns",
    )
    yield Case(
        "its key is of P-384, and was born in the company's token",
        lambda: describe_key(answer.key.public_key()) == "P-384" and answer.key.attributes["LOCAL"],
        "request_ca makes P-256 unless it is told otherwise: algorithm=...",
    )
    yield Case(
        f"it was signed by the issuing CA of {VENDOR}",
        lambda: chain.names(answer.chain[1:]) == f"CN={VENDOR} Issuing CA, CN={VENDOR} Root CA",
        "a self-signed one does not count: send the request to lab.public_ca()",
    )
    yield Case(
        "the vendor knows who ordered it: the order was vetted, and issued",
        lambda: [order.state for order in _orders(lab, answer)] == ["issued"],
        "order, vet, issue: none can be left out",
    )
    yield Case(
        "exactly one CA may follow below it",
        lambda: path_length(answer.certificate) == 1,
        "what may follow is part of the order: path_length=... A key that was ordered otherwise "
        "stays so: choose another name for the next",
    )
