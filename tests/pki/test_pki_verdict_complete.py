"""The explanation is complete: with several faults in one chain it names each of them, of each
certificate, and stays in agreement with the decision."""

from __future__ import annotations

import random
from collections.abc import Sequence

import forge
import oracle_chains
import pytest
from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID
from foreign_tools import run
from forge import CLIENT, NOW, SERVER, ca, device
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle_chains import IMPOSTOR, KEYS, KINDS, RSA_1024, Draft, Level, build

from labkit.pki import chain, policy, verdict
from labkit.trace import first_failure

UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\5\0")

CHANGES: dict[str, dict[str, object]] = {
    verdict.VALIDITY: {"days": (-30, -1)},
    verdict.PURPOSE: {"purposes": (SERVER,)},
    verdict.CRITICAL: {"extra": ((UNKNOWN, True),)},
    verdict.SIGNATURE: {"signer": IMPOSTOR},
}
"""Faults that any certificate can have; none hides another."""
OF_LEAF = {verdict.USAGE: {"usage": ("key_encipherment",)}, verdict.LEAF: {"ca": True}}
OF_CA = {verdict.IS_CA: {"usage": ("crl_sign",)}, verdict.PATH_LENGTH: {"path_length": 0}}
TOP = 4
"""The number of the root in a chain of a leaf and four CAs."""


def possible(number: int, fault: str) -> bool:
    """The root is trusted whatever it says of itself; CA 1 has no CA below that could be one too
    many."""
    return (number, fault) not in ((TOP, verdict.SIGNATURE), (1, verdict.PATH_LENGTH))


FAULTS = [
    (number, fault, change)
    for number in range(TOP + 1)
    for fault, change in {**CHANGES, **(OF_CA if number else OF_LEAF)}.items()
    if possible(number, fault)
]


def plain() -> Draft:
    leaf = Level("widget", KEYS[0], ca=False, usage=("digital_signature",), purposes=(CLIENT,))
    levels = [leaf, *(Level(f"CA {number}", KEYS[number]) for number in range(1, TOP + 1))]
    return Draft(levels, TOP, sends_above=False, random=random.Random(1))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(FAULTS), max_size=8, unique_by=lambda fault: fault[:2]))
def test_every_fault_of_every_certificate_is_named_and_nothing_else(
    faults: Sequence[tuple[int, str, dict[str, object]]],
) -> None:
    """Up to eight faults at once: the failed checks are just these, of just these certificates."""
    plan, wanted = plain(), set()
    for number, fault, change in faults:
        wanted.add((fault, plan.change(number, **change)))
    built = build(plan)
    found = verdict.judge(built.presented, built.anchors, built.at)
    assert {(c.name, c.about) for c in found.checks if c.failed} == wanted
    assert found.accepted is (not wanted)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.sampled_from([k for k in KINDS if k.change]), min_size=1, max_size=4),
    st.lists(st.sampled_from([k for k in KINDS if k.touch]), max_size=2),
    st.integers(0, 1_000),
)
def test_explanation_fails_exactly_when_the_decision_refuses(
    changes: Sequence[oracle_chains.Kind], touches: Sequence[oracle_chains.Kind], seed: int
) -> None:
    """Any mixture of the oracle's mutations, also of such as hide or cure each other."""
    source = random.Random(seed)
    plan = oracle_chains.draft(source, cas=5)
    for kind in changes:
        assert kind.change
        kind.change(plan)
    built = build(plan)
    for kind in touches:
        assert kind.touch
        try:
            kind.touch(built, source)
        except (ValueError, IndexError):  # it has nothing left to mutate
            continue
    found = verdict.judge(built.presented, built.anchors, built.at)
    assert (first_failure(found.checks) is None) is found.accepted


# ---- what goes on after a fault


def failed_checks(found: verdict.Verdict) -> list[tuple[str, str]]:
    return [(check.name, check.about) for check in found.checks if check.failed]


def test_a_leaf_that_cannot_be_read_does_not_hide_what_is_wrong_above_it() -> None:
    root = ca("Root", days=(-100, -1))
    broken = forge.with_broken_extension(device("widget", root, days=(-100, -1)), root)
    found = verdict.judge([broken], [root.certificate], NOW)
    assert failed_checks(found) == [
        (verdict.READABLE, "CN=widget"),
        (verdict.VALIDITY, "CN=widget"),
        (verdict.VALIDITY, "CN=Root"),
    ]


def test_a_ca_that_cannot_be_read_does_not_hide_that_its_issuer_is_missing() -> None:
    root = ca("Root")
    low = ca("Low", root)
    broken = forge.with_broken_extension(low, root)
    found = verdict.judge([device("widget", low).certificate, broken], [], NOW)
    assert failed_checks(found) == [(verdict.READABLE, "CN=Low"), (verdict.ISSUER, "CN=Low")]


def test_of_two_ways_up_the_one_that_leads_to_a_trusted_ca_is_explained() -> None:
    """widget ← Low ← Unknown, and Low (cross-signed) ← [Root (expired)]: the cure is a new root,
    and not to trust somebody unknown."""
    root, unknown = ca("Root", days=(-100, -1)), ca("Unknown")
    low = ca("Low", unknown)
    crossed = ca("Low", root, key=low.key)
    sent = [device("widget", low), low, unknown, crossed]
    found = verdict.judge([f.certificate for f in sent], [root.certificate], NOW)
    assert failed_checks(found) == [(verdict.VALIDITY, "CN=Root")]


# ---- revocation


def naming(where: x509.ExtensionType) -> Draft:
    plan = plain()
    plan.change(0, extra=((where, False),))
    return plan


LIST = x509.UniformResourceIdentifier("http://crl.example/list.crl")
REVOCATION_ADDRESSES = {
    "CRL": x509.CRLDistributionPoints([x509.DistributionPoint([LIST], None, None, None)]),
    "OCSP": x509.AuthorityInformationAccess(
        [x509.AccessDescription(AuthorityInformationAccessOID.OCSP, LIST)]
    ),
}


@pytest.mark.parametrize("kind", REVOCATION_ADDRESSES)
def test_of_a_certificate_that_names_a_revocation_list_it_is_said_that_nobody_asks(
    kind: str,
) -> None:
    """Pain point 11: who revokes a certificate in a CRL expects that it is refused."""
    built = build(naming(REVOCATION_ADDRESSES[kind]))
    found = verdict.judge(built.presented, built.anchors, built.at)
    (said,) = [check for check in found.checks if check.name == verdict.REVOCATION]
    assert found.accepted
    assert said.passed
    assert said.about == "CN=widget"
    assert "http://crl.example/list.crl" in said.why


def test_nothing_is_said_of_revocation_where_no_certificate_asks_for_it() -> None:
    """Where an issuer's certificate can be fetched (caIssuers) is no matter of revocation."""
    fetched = x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, LIST)
    for built in (build(plain()), build(naming(x509.AuthorityInformationAccess([fetched])))):
        found = verdict.judge(built.presented, built.anchors, built.at)
        assert [c for c in found.checks if c.name == verdict.REVOCATION] == []


# ---- another purpose


@pytest.mark.parametrize(
    ("leaf", "of_ca", "accepts"),
    [((SERVER,), (), True), ((), (), True), ((CLIENT,), (), False), ((SERVER,), (CLIENT,), False)],
    ids=["serverAuth", "none named", "clientAuth", "a CA for clients only"],
)
def test_a_chain_may_be_judged_for_a_server_too(
    leaf: tuple[x509.ObjectIdentifier, ...],
    of_ca: tuple[x509.ObjectIdentifier, ...],
    accepts: bool,
    tmp_path,  # type: ignore[no-untyped-def]
) -> None:
    """Beside ``openssl verify -purpose sslserver``."""
    plan = plain()
    plan.change(0, purposes=leaf)
    plan.change(2, purposes=of_ca)
    built = build(plan)
    found = verdict.judge(built.presented, built.anchors, built.at, policy.SERVER)
    assert found.accepted is accepts
    assert {name for name, _ in failed_checks(found)} == (set() if accepts else {RULE})
    pem = {"trusted": built.anchors, "untrusted": built.presented[1:], "leaf": built.presented[:1]}
    for name, certificates in pem.items():
        (tmp_path / name).write_text(chain.to_pem(certificates))
    command = ["openssl", "verify", "-purpose", "sslserver", "-attime", str(int(NOW.timestamp()))]
    command += ["-trusted", tmp_path / "trusted", "-untrusted", tmp_path / "untrusted"]
    assert (run(*command, tmp_path / "leaf").returncode == 0) is accepts


RULE = policy.SERVER.rule


def test_a_weak_signature_is_called_weak_and_not_altered() -> None:
    """The key did sign; to look for a forger would lead astray."""
    plan = plain()
    plan.change(1, key=RSA_1024)
    built = build(plan)
    found = verdict.judge(built.presented, built.anchors, built.at)
    assert failed_checks(found) == [(verdict.STRENGTH, "CN=widget")]
    failure = first_failure(found.checks)
    assert failure is not None
    assert "CN=CA 1 has 1024 bits only" in failure.why
