"""Each case of an exercise can fail, and fails for the mistake that it is about."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from stories import CA

from labkit import Lab
from labkit.hsm import Algorithm, transport
from labkit.scenarios.acquire import NEWCOMER, bought_ca
from labkit.scenarios.keys import INSPECTOR, RELEASE, signed_release
from labkit.scenarios.possession import proven_intermediate
from labkit.ui.check import Report

SHA384 = ec.ECDSA(hashes.SHA384())


def done(cases: Any, lab: Lab, answer: Any) -> int:
    """How many cases hold before the first that does not."""
    return Report("exercise", answer, cases(lab, answer)).done


@pytest.mark.parametrize("cases", [signed_release, bought_ca, proven_intermediate])
@pytest.mark.parametrize("answer", [..., None, "x", (), (1, 2), [b"", b""], object()])
def test_nothing_that_is_handed_in_raises_or_counts(cases: Any, lab: Lab, answer: Any) -> None:
    before = [custodian.name for custodian in lab.custodians]
    assert done(cases, lab, answer) == 0
    assert [custodian.name for custodian in lab.custodians] == before, "a check makes nothing"


# ---- 02: signed-release


def signed(key: Any, text: bytes = RELEASE, algorithm: Any = SHA384) -> tuple[bytes, Any]:
    return key.sign(text, algorithm), key.public_key()


def test_the_release_needs_a_p384_key_of_the_inspector(lab: Lab) -> None:
    inspector = lab.custodian(INSPECTOR)
    assert done(signed_release, lab, signed(inspector.make_key("small"))) == 1
    foreign = lab.custodian("Somebody").make_key("release", algorithm="P-384")
    assert done(signed_release, lab, signed(foreign)) == 2
    assert done(signed_release, lab, signed(ec.generate_private_key(ec.SECP384R1()))) == 2
    release = inspector.make_key("release", algorithm="P-384")
    assert done(signed_release, lab, signed(release)) == 5


def test_a_key_that_was_carried_in_does_not_count(lab: Lab) -> None:
    elsewhere, inspector = lab.custodian("Somebody"), lab.custodian(INSPECTOR)
    born = transport.generate(elsewhere.token, "release", Algorithm.P384)
    carried = transport.carry(born, inspector.token, "release", extractable=False)
    assert done(signed_release, lab, signed(carried)) == 3


def test_the_release_s_signature_is_over_the_text_and_in_der(lab: Lab) -> None:
    key: Any = lab.custodian(INSPECTOR).make_key("release", algorithm="P-384")
    wrong = (
        signed(key, b"another text"),
        signed(key, algorithm=ec.ECDSA(hashes.SHA256())),
        (key.sign_bare(RELEASE, SHA384), key.public_key()),
    )
    assert [done(signed_release, lab, answer) for answer in wrong] == [4, 4, 4]


# ---- 03: bought-ca


def bought(lab: Lab, algorithm: str = "P-384", room: int = 1, name: str = NEWCOMER) -> CA:
    company, vendor = lab.custodian(name), lab.public_ca()
    csr = company.request_ca(f"{name} CA", algorithm=algorithm)
    order = vendor.vet(vendor.order(csr, organization=name, path_length=room))
    return company.accept_ca(csr, vendor.issue(order))


def test_what_was_bought_as_asked_is_taken(lab: Lab) -> None:
    assert done(bought_ca, lab, bought(lab)) == 5


def test_a_ca_of_another_company_is_not_the_newcomer_s(lab: Lab) -> None:
    assert done(bought_ca, lab, bought(lab, name="Company-X")) == 0


def test_another_key_does_not_count(lab: Lab) -> None:
    assert done(bought_ca, lab, bought(lab, algorithm="P-256")) == 1


def test_a_self_signed_ca_was_not_bought(lab: Lab) -> None:
    assert done(bought_ca, lab, lab.custodian(NEWCOMER).create_root_ca(algorithm="P-384")) == 2


def test_a_signature_past_the_vetting_does_not_count(lab: Lab) -> None:
    company = lab.custodian(NEWCOMER)
    csr = company.request_ca("Company-N CA", algorithm="P-384")
    chain = lab.public_ca().issuing.sign_ca(csr, path_length=1)
    assert done(bought_ca, lab, company.accept_ca(csr, chain)) == 3


@pytest.mark.parametrize("room", [0, 2])
def test_more_or_less_room_below_it_does_not_count(lab: Lab, room: int) -> None:
    assert done(bought_ca, lab, bought(lab, room=room)) == 4


# ---- 04: proven-intermediate


def two_cas(lab: Lab) -> tuple[CA, CA]:
    """As the lesson leaves them: Company-X is registered, Factory-Y is not."""
    company = lab.custodian("Company-X").create_root_ca()
    entry = lab.dps.certificates.upload("company-x", company.certificate)
    lab.dps.certificates.verify(entry, company.prove_possession(entry.verification_code))
    return company, company.sign_intermediate(lab.custodian("Factory-Y"))


def test_the_intermediate_counts_once_it_is_proven(lab: Lab) -> None:
    company, factory = two_cas(lab)
    assert done(proven_intermediate, lab, lab.dps.certificates.get("company-x")) == 1
    entry = lab.dps.certificates.upload("factory-y", factory.certificate)
    assert done(proven_intermediate, lab, entry) == 2
    lab.dps.certificates.verify(entry, factory.prove_possession(entry.verification_code))
    assert done(proven_intermediate, lab, entry) == 4
    lab.dps.certificates.delete("company-x")
    assert done(proven_intermediate, lab, entry) == 3
    lab.dps.certificates.delete(entry)
    assert done(proven_intermediate, lab, entry) == 0
    assert company.certificate != factory.certificate
