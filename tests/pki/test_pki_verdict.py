"""The verdict on a chain, beside the one of ``openssl verify``.

Each case is one function: its docstring draws the chain, and it says who accepts it. The
explanation must fail exactly when the decision refuses, and name what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import forge
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from foreign_tools import openssl_verify
from forge import CA_USAGE, CLIENT, NOW, SERVER, Forged, ca, device, tampered
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labkit.pki import verdict
from labkit.trace import first_failure

ROOT = ca("Root")
MIDDLE = ca("Middle", ROOT)
LOW = ca("Low", MIDDLE)
LEAF = device("widget", LOW)


@dataclass(frozen=True)
class Case:
    """What is presented, which CAs are trusted, when; and the check that is to fail, if any.

    ``openssl`` is false where openssl decides otherwise; the case's docstring says why.
    """

    presented: tuple[x509.Certificate, ...]
    anchors: tuple[x509.Certificate, ...]
    at: datetime = NOW
    fails: str = ""
    openssl: bool = True

    def at_day(self, day: float) -> Case:
        return replace(self, at=NOW + timedelta(days=day))


@dataclass
class Catalogue:
    cases: dict[str, Case] = field(default_factory=dict)

    def __call__(self, make: Callable[[], Case]) -> Callable[[], Case]:
        self.cases[make.__name__] = make()
        return make


case = Catalogue()


def chain_of(*presented: Forged | x509.Certificate, to: Forged | x509.Certificate) -> Case:
    found = [c.certificate if isinstance(c, Forged) else c for c in (*presented, to)]
    return Case(tuple(found[:-1]), (found[-1],))


def fails(made: Case, check: str) -> Case:
    return replace(made, fails=check)


# ---- whole chains


@case
def whole_chain() -> Case:
    """widget ← Low ← Middle ← [Root]"""
    return chain_of(LEAF, LOW, MIDDLE, to=ROOT)


@case
def whole_chain_with_root() -> Case:
    """widget ← Low ← Middle ← Root ← [Root]"""
    return chain_of(LEAF, LOW, MIDDLE, ROOT, to=ROOT)


@case
def shuffled() -> Case:
    """widget, Root, Middle, Low → [Root]: behind the leaf, any order"""
    return chain_of(LEAF, ROOT, MIDDLE, LOW, to=ROOT)


@case
def doubled() -> Case:
    """widget, Low, Low, Middle, Middle → [Root]"""
    return chain_of(LEAF, LOW, LOW, MIDDLE, MIDDLE, to=ROOT)


@case
def with_strangers() -> Case:
    """widget, Stranger, Low, Middle → [Root]: what does not belong does not harm"""
    return chain_of(LEAF, ca("Stranger"), LOW, MIDDLE, to=ROOT)


@case
def directly_below_root() -> Case:
    """widget ← [Root]"""
    return chain_of(device("widget", ROOT), to=ROOT)


@case
def anchor_in_between() -> Case:
    """widget ← [Low]: an intermediate is trusted itself"""
    return chain_of(LEAF, to=LOW)


@case
def anchor_in_the_middle() -> Case:
    """widget ← Low ← [Middle]"""
    return chain_of(LEAF, LOW, to=MIDDLE)


@case
def anchor_in_the_middle_and_more_above() -> Case:
    """widget ← Low ← [Middle] ← Root"""
    return chain_of(LEAF, LOW, MIDDLE, ROOT, to=MIDDLE)


@case
def two_anchors() -> Case:
    """widget ← Low ← Middle ← [Root], and [Other]"""
    made = chain_of(LEAF, LOW, MIDDLE, to=ROOT)
    return replace(made, anchors=(ca("Other").certificate, *made.anchors))


@case
def impostor_beside_the_right_one() -> Case:
    """widget, Low*, Low, Middle → [Root]: Low* has the name and another key"""
    return chain_of(LEAF, ca("Low", MIDDLE), LOW, MIDDLE, to=ROOT)


@case
def no_purposes_named() -> Case:
    """widget without extended key usage: any purpose"""
    return chain_of(device("widget", ROOT, purposes=()), to=ROOT)


@case
def several_purposes() -> Case:
    """widget for servers and clients"""
    return chain_of(device("widget", ROOT, purposes=(SERVER, CLIENT)), to=ROOT)


@case
def no_basic_constraints() -> Case:
    """widget without basic constraints: no CA"""
    return chain_of(device("widget", ROOT, ca=None), to=ROOT)


@case
def path_length_just_enough() -> Case:
    """widget ← Low(0) ← Middle(1) ← [Root(2)]"""
    root = ca("Root", path_length=2)
    middle = ca("Middle", root, path_length=1)
    low = ca("Low", middle, path_length=0)
    return chain_of(device("widget", low), low, middle, to=root)


@case
def no_key_usage_at_all() -> Case:
    """widget ← Low ← [Root], CAs without the key usage extension"""
    root = ca("Root", usage=None)
    low = ca("Low", root, usage=None)
    return chain_of(device("widget", low), low, to=root)


@case
def leaf_outlives_its_issuer() -> Case:
    """widget (400 days) ← Low (30 days): good while Low is"""
    low = ca("Low", ROOT, days=(-1, 30))
    return chain_of(device("widget", low, days=(-1, 400)), low, to=ROOT)


# ---- something is missing


@case
def leaf_only() -> Case:
    """widget … [Root]: the best known mistake of all"""
    return fails(chain_of(LEAF, to=ROOT), verdict.ISSUER)


@case
def middle_missing() -> Case:
    """widget ← Low … [Root]"""
    return fails(chain_of(LEAF, LOW, to=ROOT), verdict.ISSUER)


@case
def low_missing() -> Case:
    """widget … Middle ← [Root]"""
    return fails(chain_of(LEAF, MIDDLE, to=ROOT), verdict.ISSUER)


@case
def another_root() -> Case:
    """widget ← Low ← Middle ← Root, trusted: [Other]"""
    return fails(chain_of(LEAF, LOW, MIDDLE, ROOT, to=ca("Other")), verdict.ANCHOR)


@case
def another_root_of_the_same_name() -> Case:
    """widget ← Low ← Middle, trusted: [Root*], made again with another key"""
    return fails(chain_of(LEAF, LOW, MIDDLE, to=ca("Root")), verdict.SIGNATURE)


@case
def nobody_is_trusted() -> Case:
    """widget ← Low ← Middle ← Root, trusted: nobody"""
    return fails(replace(chain_of(LEAF, LOW, MIDDLE, ROOT, to=ROOT), anchors=()), verdict.ANCHOR)


@case
def self_signed_device() -> Case:
    """widget ← widget, trusted: [Root]"""
    return fails(chain_of(device("widget", None), to=ROOT), verdict.ANCHOR)


@case
def circle() -> Case:
    """widget ← A ← B ← A …"""
    first, second = ca("A"), ca("B")
    a_by_b, b_by_a = ca("A", second, key=first.key), ca("B", first, key=second.key)
    return fails(chain_of(device("widget", first), a_by_b, b_by_a, to=ROOT), verdict.ISSUER)


# ---- time


@case
def leaf_expired() -> Case:
    """widget (365 days) on day 366"""
    return fails(chain_of(LEAF, LOW, MIDDLE, to=ROOT).at_day(366), verdict.VALIDITY)


@case
def leaf_not_valid_yet() -> Case:
    """widget (from day 1) on day 0"""
    made = chain_of(device("widget", ROOT, days=(1, 365)), to=ROOT)
    return fails(made, verdict.VALIDITY)


@case
def intermediate_expired() -> Case:
    """widget ← Low (expired) ← [Root]"""
    low = ca("Low", ROOT, days=(-10, -1))
    return fails(chain_of(device("widget", low), low, to=ROOT), verdict.VALIDITY)


@case
def intermediate_not_valid_yet() -> Case:
    """widget ← Low (from tomorrow) ← [Root]"""
    low = ca("Low", ROOT, days=(1, 10))
    return fails(chain_of(device("widget", low), low, to=ROOT), verdict.VALIDITY)


@case
def root_expired() -> Case:
    """widget ← [Root (expired)]: an anchor ages too"""
    root = ca("Root", days=(-10, -1))
    return fails(chain_of(device("widget", root), to=root), verdict.VALIDITY)


@case
def anchor_in_between_expired() -> Case:
    """widget ← [Low (expired)]"""
    low = ca("Low", ROOT, days=(-10, -1))
    return fails(chain_of(device("widget", low), to=low), verdict.VALIDITY)


@case
def in_its_last_second() -> Case:
    """widget, judged at its notAfter exactly: RFC 5280, 4.1.2.5 has that in, openssl has it out"""
    return replace(chain_of(LEAF, LOW, MIDDLE, to=ROOT).at_day(365), openssl=False)


@case
def in_its_first_second() -> Case:
    """widget, judged at its notBefore exactly"""
    return chain_of(LEAF, LOW, MIDDLE, to=ROOT).at_day(-1)


# ---- signatures


@case
def leaf_tampered() -> Case:
    """widget! ← Low ← Middle ← [Root]"""
    return fails(chain_of(tampered(LEAF.certificate), LOW, MIDDLE, to=ROOT), verdict.SIGNATURE)


@case
def intermediate_tampered() -> Case:
    """widget ← Low! ← Middle ← [Root]"""
    return fails(chain_of(LEAF, tampered(LOW.certificate), MIDDLE, to=ROOT), verdict.SIGNATURE)


@case
def signed_by_an_impostor() -> Case:
    """widget ← Low*, presented: Low ← Middle ← [Root]"""
    impostor = ca("Low", MIDDLE)
    return fails(chain_of(device("widget", impostor), LOW, MIDDLE, to=ROOT), verdict.SIGNATURE)


# ---- who may sign


@case
def signed_by_a_device() -> Case:
    """second ← widget ← [Root]: a device is no CA"""
    first = device("widget", ROOT)
    return fails(chain_of(device("second", first), first, to=ROOT), verdict.IS_CA)


@case
def issuer_without_basic_constraints() -> Case:
    """widget ← Low (no basic constraints) ← [Root]"""
    low = Forged("Low", ROOT, ca=None, usage=("digital_signature",))
    return fails(chain_of(device("widget", low), low, to=ROOT), verdict.IS_CA)


@case
def ca_without_key_cert_sign() -> Case:
    """widget ← Low (CA:TRUE, may not sign certificates) ← [Root]"""
    low = ca("Low", ROOT, usage=("digital_signature",))
    return fails(chain_of(device("widget", low), low, to=ROOT), verdict.IS_CA)


@case
def path_length_exceeded_at_the_root() -> Case:
    """widget ← Low ← [Root(0)]"""
    root = ca("Root", path_length=0)
    low = ca("Low", root)
    return fails(chain_of(device("widget", low), low, to=root), verdict.PATH_LENGTH)


@case
def path_length_exceeded_in_between() -> Case:
    """widget ← Low ← Middle(0) ← [Root]"""
    middle = ca("Middle", ROOT, path_length=0)
    low = ca("Low", middle)
    return fails(chain_of(device("widget", low), low, middle, to=ROOT), verdict.PATH_LENGTH)


@case
def ca_in_the_place_of_the_device() -> Case:
    """Low ← Middle ← [Root]. openssl has no rule against a CA as client; the lab has one:
    whoever could register as a CA could register as all its devices."""
    made = chain_of(LOW, MIDDLE, to=ROOT)
    return replace(made, fails=verdict.LEAF, openssl=False)


# ---- purposes


@case
def for_servers_only() -> Case:
    """widget (serverAuth) ← [Root]"""
    return fails(chain_of(device("widget", ROOT, purposes=(SERVER,)), to=ROOT), verdict.PURPOSE)


@case
def issuer_for_servers_only() -> Case:
    """widget ← Low (extended key usage: serverAuth only) ← [Root]"""
    low = ca("Low", ROOT, purposes=(SERVER,))
    return fails(chain_of(device("widget", low), low, to=ROOT), verdict.PURPOSE)


# ---- extensions


@case
def unknown_critical_extension() -> Case:
    """widget with a critical extension that nobody knows"""
    made = chain_of(device("widget", ROOT, unknown_critical=True), to=ROOT)
    return fails(made, verdict.CRITICAL)


@case
def unknown_critical_extension_in_a_ca() -> Case:
    """widget ← Low with a critical extension that nobody knows ← [Root]"""
    low = ca("Low", ROOT, unknown_critical=True)
    return fails(chain_of(device("widget", low), low, to=ROOT), verdict.CRITICAL)


# ---- several ways up: one good way is enough, and the explanation has to take it


@case
def renewed_intermediate_beside_the_expired_one() -> Case:
    """widget ← Low (expired), Low (renewed, same key) ← [Root]: sent in this order"""
    old = ca("Low", ROOT, days=(-100, -1))
    new = ca("Low", ROOT, key=old.key)
    return chain_of(device("widget", old), old, new, to=ROOT)


@case
def renewed_root_beside_the_expired_one() -> Case:
    """widget ← [Root (expired)], [Root (renewed, same key)]"""
    old = ca("Root", days=(-100, -1))
    new = ca("Root", key=old.key)
    leaf = device("widget", old)
    return Case((leaf.certificate,), (old.certificate, new.certificate))


@case
def cross_signed() -> Case:
    """widget ← Low ← Unknown, and Low (cross-signed) ← [Root]: sent in this order.
    openssl follows the first way that it finds and never turns back; a verifier should."""
    unknown = ca("Unknown")
    by_unknown = ca("Low", unknown)
    by_root = ca("Low", ROOT, key=by_unknown.key)
    made = chain_of(device("widget", by_unknown), by_unknown, unknown, by_root, to=ROOT)
    return replace(made, openssl=False)


@case
def root_rolled_over_with_a_link_certificate() -> Case:
    """widget ← Root (new key) ← new with old (RFC 4210, 4.4) ← [Root (old key)]"""
    old = ca("Root")
    new = ca("Root")
    link = ca("Root", old, key=new.key)
    return chain_of(device("widget", new), link, to=old)


CASES = [pytest.param(made, id=name) for name, made in case.cases.items()]


@pytest.mark.parametrize("made", CASES)
def test_the_decision_agrees_with_openssl(made: Case, tmp_path: Path) -> None:
    ours = verdict.judge(made.presented, made.anchors, made.at).accepted
    complaint = openssl_verify(tmp_path, made.presented, made.anchors, made.at)
    agrees = ours is (complaint == "")
    assert agrees is made.openssl, complaint or "openssl accepts it"


@pytest.mark.parametrize("made", CASES)
def test_the_decision_is_the_one_that_the_case_names(made: Case) -> None:
    assert verdict.judge(made.presented, made.anchors, made.at).accepted is (made.fails == "")


@pytest.mark.parametrize("made", CASES)
def test_the_explanation_fails_exactly_when_the_decision_refuses(made: Case) -> None:
    found = verdict.judge(made.presented, made.anchors, made.at)
    failure = first_failure(found.checks)
    assert (failure is None) is found.accepted, failure
    assert (failure.name if failure else "") == made.fails
    if failure:
        assert failure.why
        assert failure.cures
        assert failure.source


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 40


# ---- the rest of the verdict


def judged(name: str) -> verdict.Verdict:
    made = case.cases[name]
    return verdict.judge(made.presented, made.anchors, made.at)


def test_the_path_runs_from_the_leaf_to_the_anchor() -> None:
    path = judged("shuffled").path
    assert path == tuple(f.certificate for f in (LEAF, LOW, MIDDLE, ROOT))


@pytest.mark.parametrize(
    ("name", "missing"),
    [("leaf_only", "Low"), ("middle_missing", "Middle"), ("low_missing", "Low")],
)
def test_the_missing_certificate_is_named(name: str, missing: str) -> None:
    found = judged(name)
    assert found.missing == forge.cn(missing)
    failure = first_failure(found.checks)
    assert failure is not None
    assert f"CN={missing}" in failure.why
    assert all(f"CN={missing}" in cure for cure in failure.cures)


@pytest.mark.parametrize("name", ["whole_chain", "another_root", "leaf_expired", "leaf_tampered"])
def test_nothing_is_missing_where_another_thing_is_wrong(name: str) -> None:
    assert judged(name).missing is None


def test_the_zone_of_the_moment_does_not_matter() -> None:
    east = timezone(timedelta(hours=9))
    leaf = device("widget", ROOT, days=(-1, 0.1)).certificate
    here = verdict.judge([leaf], [ROOT.certificate], NOW)
    there = verdict.judge([leaf], [ROOT.certificate], NOW.astimezone(east))
    assert here.accepted
    assert (there.accepted, there.checks) == (here.accepted, here.checks)


def test_a_fraction_of_a_second_past_the_end_is_judged_in_one_way() -> None:
    """Validity is in whole seconds; whichever side the fraction falls on, both parts agree."""
    late = LEAF.certificate.not_valid_after_utc + timedelta(milliseconds=500)
    made = case.cases["whole_chain"]
    found = verdict.judge(made.presented, made.anchors, late)
    assert (first_failure(found.checks) is None) is found.accepted


@pytest.mark.parametrize("length", [9, 12, 30])
def test_a_chain_longer_than_anybody_follows_is_refused_with_a_reason(length: int) -> None:
    level, sent = ROOT, list[Forged]()
    for number in range(length):
        level = ca(f"Level {number}", level)
        sent.append(level)
    made = chain_of(device("widget", level), *reversed(sent), to=ROOT)
    found = verdict.judge(made.presented, made.anchors, made.at)
    failure = first_failure(found.checks)
    assert not found.accepted
    assert failure is not None
    assert failure.cures


POOL = [f.certificate for f in (LOW, MIDDLE, ROOT, ca("Low", MIDDLE), ca("Middle"), ca("Other"))]
POOL += [tampered(LOW.certificate), device("second", LOW).certificate]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.sampled_from(POOL), max_size=6),
    st.lists(st.sampled_from(POOL[:6]), max_size=3),
    st.integers(-400, 400),
)
def test_explanation_and_decision_agree_on_any_mixture(
    rest: list[x509.Certificate], anchors: list[x509.Certificate], day: int
) -> None:
    found = verdict.judge([LEAF.certificate, *rest], anchors, NOW + timedelta(days=day))
    assert (first_failure(found.checks) is None) is found.accepted


@pytest.mark.parametrize("name", forge.odd_certificates())
def test_a_certificate_that_cannot_be_read_whole_is_refused_and_never_raises(name: str) -> None:
    """``judge`` promises: never raises for a bad chain. Any client can send such a one."""
    der, _ = forge.odd_certificates()[name]
    try:
        odd = x509.load_der_x509_certificate(der)
    except (ValueError, x509.InvalidVersion):
        pytest.skip("this version of cryptography reads no such certificate: nothing to judge")
    found = verdict.judge([odd], [ROOT.certificate], NOW)
    assert not found.accepted
    assert first_failure(found.checks) is not None


def test_forged_certificates_are_what_they_say() -> None:
    """The forge itself: a wrong one would make the cases above meaningless."""
    assert LOW.certificate.public_bytes(Encoding.DER)
    usage = LOW.certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert all(getattr(usage, bit) for bit in CA_USAGE)
