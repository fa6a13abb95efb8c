"""CAs that were validated once are not validated again, and nobody can tell but by the time."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta

import forge
import oracle_chains
import pytest
from cryptography import x509
from forge import NOW, SERVER, Forged

from labkit.pki import chain, policy

Path = tuple[list[x509.Certificate], str]

ROOT = forge.ca("Company-X", days=(-10, 300))
MIDDLE = forge.ca("Factory-Y", ROOT, days=(-10, 200))
LOW = forge.ca("Technician-Z", MIDDLE, days=(-10, 100))
ABOVE = (LOW.certificate, MIDDLE.certificate)


def critical_name(leaf: str) -> Forged:
    return forge.device(leaf, LOW, unknown_critical=True)


SIBLINGS: dict[str, Callable[[], Forged]] = {
    "as good as the first": lambda: forge.device("b", LOW),
    "expired": lambda: forge.device("b", LOW, days=(-10, -1)),
    "not valid yet": lambda: forge.device("b", LOW, days=(1, 10)),
    "for servers": lambda: forge.device("b", LOW, purposes=(SERVER,)),
    "a CA": lambda: forge.device("b", LOW, ca=True),
    "key agreement only": lambda: forge.device("b", LOW, usage=("key_agreement",)),
    "something unknown and critical": lambda: critical_name("b"),
    "of an impostor with the issuer's name": lambda: forge.device("b", forge.ca("Technician-Z")),
    "of the CA above": lambda: forge.device("b", MIDDLE),
    "of the root": lambda: forge.device("b", ROOT),
    "self-signed": lambda: forge.device("b", None),
    "self-issued": lambda: forge.device("Technician-Z", LOW),
    "without a name": lambda: forge.device("", LOW),
}


@pytest.fixture(autouse=True)
def nothing_known() -> Iterator[None]:
    policy._known_cas.cache_clear()
    yield
    policy._known_cas.cache_clear()


def ways() -> int:
    """How many ways up are kept for the root alone."""
    return len(policy._known_cas((ROOT.certificate,), policy.CLIENT)._kept)


def asked(*sent: x509.Certificate, days: float = 0, anchors: Sequence[Forged] = (ROOT,)) -> Path:
    trusted = [anchor.certificate for anchor in anchors]
    return policy.verify(sent, trusted, NOW + timedelta(days=days))


def anew(*sent: x509.Certificate, days: float = 0, anchors: Sequence[Forged] = (ROOT,)) -> Path:
    """The same by somebody who knows nothing yet."""
    policy._known_cas.cache_clear()
    return asked(*sent, days=days, anchors=anchors)


def known() -> None:
    """A first device, and its CAs are known."""
    assert asked(forge.device("a", LOW).certificate, *ABOVE)[0]
    assert ways() == 1


@pytest.mark.parametrize("days", [0, 99.9, 101, 201, 301, -11])
@pytest.mark.parametrize("kind", SIBLINGS)
def test_the_next_device_is_judged_as_if_it_were_the_first(kind: str, days: float) -> None:
    """Whatever is wrong with it, and whichever CA above it has expired by then: path, decision
    and the verifier's words are those of a whole validation."""
    known()
    sent = SIBLINGS[kind]().certificate, *ABOVE
    assert asked(*sent, days=days) == anew(*sent, days=days)


def test_of_a_known_chain_only_the_devices_own_signature_is_verified(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is asked for the second device is one step, to its issuer."""
    known()
    steps = []
    whole = policy._validated
    monkeypatch.setattr(policy, "_validated", lambda *a: steps.append(a[1:3]) or whole(*a))
    found = asked(forge.device("b", LOW).certificate, *ABOVE)[0]
    assert found[1:] == [LOW.certificate, MIDDLE.certificate, ROOT.certificate]
    assert steps == [((), (LOW.certificate,))]


@pytest.mark.parametrize("days", [0, 99.9, 101, 201, 301, -11])
@pytest.mark.parametrize("kind", SIBLINGS)
def test_a_device_that_comes_again_is_judged_as_if_it_were_its_first_time(
    kind: str, days: float
) -> None:
    """Whatever was said of it today, and whatever has expired since."""
    known()
    sent = SIBLINGS[kind]().certificate, *ABOVE
    asked(*sent)
    assert asked(*sent) == asked(*sent) == anew(*sent)
    known()
    asked(*sent)
    assert asked(*sent, days=days) == anew(*sent, days=days)


def test_of_a_device_that_comes_again_nothing_is_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    known()
    sent = forge.device("b", LOW).certificate, *ABOVE
    first = asked(*sent)
    monkeypatch.setattr(policy, "_validated", lambda *_: pytest.fail("validated once more"))
    assert asked(*sent) == first


def test_no_more_devices_are_kept_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labkit.pki.known_cas.DEVICES_KEPT", 2)
    known()
    for name in "bcd":
        assert asked(forge.device(name, LOW).certificate, *ABOVE)[0]
    assert len(policy._known_cas((ROOT.certificate,), policy.CLIENT)._came) == 2


def test_a_device_that_is_trusted_itself_is_its_own_path() -> None:
    trusted = forge.device("b", LOW)
    anchors = ROOT, trusted
    assert asked(forge.device("a", LOW).certificate, *ABOVE, anchors=anchors)[0]
    sent = trusted.certificate, *ABOVE
    assert asked(*sent, anchors=anchors) == anew(*sent, anchors=anchors)
    assert len(asked(*sent, anchors=anchors)[0]) == 1


def test_what_was_known_for_one_anchor_is_not_for_another() -> None:
    """A CA that is trusted no more takes its devices' way with it."""
    known()
    assert not asked(forge.device("b", LOW).certificate, *ABOVE, anchors=[forge.ca("Other")])[0]


def test_a_chain_with_a_piece_missing_is_not_helped_by_what_others_sent() -> None:
    """A device has to send its chain itself."""
    known()
    assert not asked(forge.device("b", LOW).certificate, LOW.certificate)[0]


def test_nothing_is_kept_of_two_cas_of_one_name() -> None:
    """Which of them is taken is the verifier's choice, each time."""
    renewed = forge.ca("Technician-Z", MIDDLE, key=LOW.key)
    assert asked(forge.device("a", LOW).certificate, *ABOVE, renewed.certificate)[0]
    assert ways() == 0


def test_nothing_is_kept_of_a_ca_that_constrains_names() -> None:
    """It has a say about each device's own names."""
    subtree = x509.NameConstraints([x509.DNSName("example.org")], None)
    for extra, kept in (((), 1), (((subtree, False),), 0)):
        plan = oracle_chains.draft(random.Random(1), 3)
        plan.change(1, extra=extra)
        built = oracle_chains.build(plan)
        assert policy.verify(built.presented, built.anchors, built.at)[0]
        assert len(policy._known_cas(tuple(built.anchors), policy.CLIENT)._kept) == kept


def test_nothing_is_kept_by_a_self_issued_device() -> None:
    """It does not count for path lengths, and the next one does."""
    assert asked(forge.device("Technician-Z", LOW).certificate, *ABOVE)[0]
    assert ways() == 0


def test_a_certificate_that_cannot_be_read_beside_a_good_chain_changes_nothing() -> None:
    """Strangers may send anything: the good chain is taken, and nothing is kept of it."""
    odd = forge.odd_certificates()
    for name, (der, _) in odd.items():
        try:
            strange = x509.load_der_x509_certificate(der)
        except chain.UNREADABLE:
            continue
        assert asked(forge.device("a", LOW).certificate, *ABOVE, strange)[0], name


def test_no_more_ways_are_kept_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labkit.pki.known_cas.KEPT", 3)
    leaf = forge.device("a", LOW).certificate
    for number in range(5):
        assert asked(leaf, *ABOVE, forge.ca(f"Stranger {number}").certificate)[0]
    assert ways() == 3


def test_chains_of_the_oracle_are_judged_alike_again() -> None:
    """All of them, once by a judge who knows nothing and once by the same judge afterwards."""
    for vector in oracle_chains.vectors():
        sent = vector.presented, vector.anchors, vector.at
        assert policy.verify(*sent) == policy.verify(*sent), vector.kind
