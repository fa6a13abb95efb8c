"""Lessons 05 and 06: what their stories promise is so, and their exercises can be failed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from stories import CA, enroll

from labkit import Lab
from labkit.device import Device
from labkit.pki import chain
from labkit.scenarios import manufacturing_line, supply_chain
from labkit.scenarios.manufacturing_line import smallest_buffer
from labkit.scenarios.supply_chain import own_line
from labkit.ui.check import Report
from labkit.ui.performance import Performance
from labkit.ui.scenario import Scenario


def done(cases: Any, lab: Lab, answer: Any) -> int:
    """How many cases hold before the first that does not."""
    return Report("exercise", answer, cases(lab, answer)).done


def played(story: Scenario, home: Any, patched: pytest.MonkeyPatch, steps: int = 99) -> Performance:
    patched.setenv("LABKIT_HOME", str(home))
    performance = Performance(story)
    performance.go_to(min(steps, performance.steps))
    return performance


# ---- the stories


def test_the_supply_chain_ends_as_it_is_told(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each way of injecting ends in the same chain; one carried key, and DPS knows one CA."""
    play = played(supply_chain.STORY, tmp_path, monkeypatch)
    with play.lab as lab:
        issuers = ["Technician-Z CA", "Factory-Y CA"]
        for name in (supply_chain.WHOLE, supply_chain.IN_PARTS, supply_chain.FORGOTTEN):
            assert [chain.common_name(c) for c in lab.device(name).chain[1:]] == issuers
        assert len(lab.device(supply_chain.DEEP).chain) == 5
        assert lab.device(supply_chain.CARRIED).assignment is None
        assert lab.dps.registrations.get(supply_chain.CARRIED).status == "assigned"
        copied = {key.name: key.copies for key in lab.ledger().keys if key.copies}
        assert copied == {supply_chain.CARRIED: 3}
        assert lab.ledger().registrations().by_ca == 1
        assert len(list(lab.dps.certificates)) == 1


def test_the_line_ends_as_it_is_told(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing twice, nothing lost: those that waited use the keys that they had."""
    play = played(manufacturing_line.STORY, tmp_path, monkeypatch, steps=7)
    with play.lab as lab:
        waiting = [f"{manufacturing_line.NIGHT}{number:05}" for number in range(5, 9)]
        before = [public_key(lab, name) for name in waiting]
        assert len(lab.devices) == 14
        play.go_to(8)
        after = [spki(lab.device(name)) for name in waiting]
        assert before == after
        assert len(lab.devices) == 18
        assert lab.ledger().registrations().by_thumbprint == 318
        (first, _) = lab.custodian("Factory-Y").authorities()
        evening = lab.device(f"{manufacturing_line.NIGHT}00001").certificate
        assert evening.not_valid_after_utc == first.certificate.not_valid_after_utc


def public_key(lab: Lab, name: str) -> bytes:
    """That of a device which has a key and no certificate yet."""
    key = lab._supply_chain.tokens.token(name).key("identity").public_key()
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def spki(device: Device) -> bytes:
    key = device.certificate.public_key()
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


# ---- 05: own-line


def line_of(company: CA, lab: Lab, lengths: Sequence[int | None]) -> list[CA]:
    """A region, a product and a line with these path lengths."""
    cas = [company]
    for name, length in zip(("Region", "Product", "Line"), lengths, strict=False):
        cas.append(cas[-1].sign_intermediate(lab.custodian(name), path_length=length))
    return cas[1:]


@pytest.fixture
def company(lab: Lab) -> CA:
    root: CA = lab.custodian("Company-X").create_root_ca()
    enroll(lab, root)
    return root


def test_a_line_of_ones_own_is_taken(lab: Lab, company: CA) -> None:
    region, product, line = line_of(company, lab, (2, 1, 0))
    mine = [line.make_device("a"), product.make_device("b")]
    assert done(own_line, lab, mine) == 7
    for device in mine:
        device.provision()
    assert done(own_line, lab, mine) == 9
    assert done(own_line, lab, tuple(mine)) == 9, "a tuple is as good"
    enroll(lab, region, "region", "regions")
    assert done(own_line, lab, mine) == 8


@pytest.mark.parametrize(
    ("lengths", "held"),
    [((None, None, None), 3), ((2, 1, None), 9), ((None, 1, 0), 4), ((3, 1, 0), 4)],
)
def test_path_lengths_that_leave_room_do_not_count(
    lab: Lab, company: CA, lengths: Sequence[int | None], held: int
) -> None:
    """Where only the line's is left out, its issuer's leaves it no room: that counts."""
    _, product, line = line_of(company, lab, lengths)
    mine = [line.make_device("a"), product.make_device("b")]
    for device in mine:
        device.provision()
    assert done(own_line, lab, mine) == held


def test_two_devices_of_one_hand_do_not_count(lab: Lab, company: CA) -> None:
    *_, line = line_of(company, lab, (2, 1, 0))
    assert done(own_line, lab, [line.make_device("a"), line.make_device("b")]) == 5


def test_a_shorter_line_and_another_root_do_not_count(lab: Lab, company: CA) -> None:
    region, product = line_of(company, lab, (1, 0))
    assert done(own_line, lab, [product.make_device("a"), region.make_device("b")]) == 1
    other: CA = lab.custodian("Other").create_root_ca()
    _, second, line = line_of(other, Prefixed(lab), (2, 1, 0))
    assert done(own_line, lab, [line.make_device("c"), second.make_device("d")]) == 2


class Prefixed:
    """Custodians of other names."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    def custodian(self, name: str) -> Any:
        return self._lab.custodian(f"Other-{name}")


def test_a_carried_key_does_not_count(lab: Lab, company: CA) -> None:
    _, product, line = line_of(company, lab, (2, 1, 0))
    carried = product.pregenerate(["b"]).carry(lab.custodian("Partner")).install()
    assert done(own_line, lab, [line.make_device("a"), *carried]) == 6


@pytest.mark.parametrize("answer", [..., None, "ab", (), [1, 2], object()])
@pytest.mark.parametrize("cases", [own_line, smallest_buffer])
def test_nothing_that_is_handed_in_raises_or_counts(lab: Lab, cases: Any, answer: Any) -> None:
    assert done(cases, lab, answer) == 0


# ---- 06: smallest-buffer


@pytest.mark.parametrize(
    ("answer", "held"), [(0, 0), (True, 0), (390.5, 0), (390, 1), (1000, 2), (391, 3)]
)
def test_the_smallest_buffer_is_the_one(lab: Lab, answer: Any, held: int) -> None:
    """390 is the longest queue at the end of any minute, and one too few."""
    assert done(smallest_buffer, lab, answer) == held


def test_the_notebook_s_shift_is_the_one_that_is_checked() -> None:
    """The trainee's cell says it, and so does the check."""
    from pathlib import Path

    import nbformat

    lesson = Path(__file__).parents[2] / "notebooks" / "06-manufacturing-line.ipynb"
    (cell,) = (
        c
        for c in nbformat.read(lesson, as_version=4).cells
        if "exercise-smallest-buffer" in c.metadata.get("tags", [])
    )
    said: dict[str, Any] = {}
    exec(cell.source, said)
    assert said["shift"] == manufacturing_line.SHIFT
