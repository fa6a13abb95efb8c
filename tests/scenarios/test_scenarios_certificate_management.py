"""Lesson 18: what its story promises, and its exercise, with the ways to miss it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from performing import Stage

from labkit import Lab
from labkit.device import Device
from labkit.graph.model import of_lab
from labkit.graph.registry import SYNCHRONISED
from labkit.scenarios.certificate_management import (
    AT_THE_HUB,
    DELIVERY,
    FIRST,
    FLEET,
    GROUP,
    HUB,
    NAMESPACE,
    STOLEN,
    STORY,
    WEEKLY,
    kept_valid,
    live_until,
    name_policy,
)
from labkit.ui.check import Report
from labkit.ui.dashboard.reports import Band
from labkit.ui.performance import Performance


@pytest.fixture(scope="module")
def play(stage: Stage) -> Iterator[Performance]:
    with stage.played(STORY) as performance:
        yield performance


# ---- the story's promises


def test_nine_have_renewed_twice_below_one_root_and_the_stolen_one_is_over(
    play: Performance,
) -> None:
    lab = play.lab
    issued = lab.registry.namespaces.get(NAMESPACE).certificates()
    counts = {name: sum(entry.device_id == name for entry in issued) for name in FLEET}
    assert counts == {**dict.fromkeys(FLEET, 3), STOLEN: 2}
    root = lab.registry.namespaces.get(NAMESPACE).credential.certificate
    assert all(lab.device(name).operational.chain[-1] == root for name in FLEET)
    board = lab.dashboard()
    assert (board.bands[Band.EXPIRED], board.renewals, board.failures) == (1, 19, 0)
    assert [report.device for report in board.expiring(0)] == [STOLEN]


def test_the_board_does_not_say_that_somebody_has_proven_possession_of_the_registrys_ca(
    play: Performance,
) -> None:
    (entry,) = play.lab.hub().certificates
    assert of_lab(play.lab).nodes[f"hub ca {HUB}/{entry.name}"]["detail"] == SYNCHRONISED


def test_half_of_them_have_asked_their_hub_and_half_dps(play: Performance) -> None:
    """Whoever renews at the hub registers but once."""
    at_hub = {event.text.split()[0] for event in play.lab.events.about(kind="renewal")}
    assert at_hub <= set(AT_THE_HUB)
    assert at_hub >= set(AT_THE_HUB) - {STOLEN}


def test_what_the_picture_shows_of_the_registry(play: Performance) -> None:
    """The hub takes the first only after it was synchronised, and the picture has the link."""
    graphs = [frame.graph for frame in play.frames]
    policy, hub_ca = f"policy {NAMESPACE}/fleet", f"hub ca {HUB}/adr-fleet-2"
    assert hub_ca not in graphs[4]
    assert graphs[5].edges[policy, hub_ca]["label"] == "synchronised"
    assert graphs[3].nodes[policy]["state"] == "unknown"
    assert graphs[5].nodes[policy]["state"] == "trusted"
    assert graphs[5].edges[policy, f"operational {FIRST}"]["kind"] == "signed"
    assert graphs[9].nodes[f"operational {STOLEN}"]["state"] == "expired"


def test_the_numbers_of_the_fleet_are_told_beside_the_steps(play: Performance) -> None:
    assert [frame.failure for frame in play.frames[5:10]] == [""] * 5
    assert "10 renewals done, 0 failed" in play.frames[7].told
    assert "expired: 1" in play.frames[9].told


def test_the_refusal_of_the_stolen_one_says_why(play: Performance) -> None:
    told = play.frames[10].explanation
    assert told is not None
    assert told.failure is not None
    assert "because: stolen" in told.failure.why


# ---- the exercise


@pytest.fixture
def delivery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, list[Device]]]:
    """The lab where the trainee finds it."""
    with Lab.open(tmp_path_factory.mktemp("delivery") / "lab", clock=STORY.clock, say=None) as lab:
        company = lab.custodian("Company-X").create_root_ca()
        uploaded = lab.dps.certificates.upload("company-x", company.certificate)
        proof = company.prove_possession(uploaded.verification_code)
        lab.dps.certificates.verify(uploaded, proof)
        lab.dps.enrollment_groups.create(GROUP, ca="company-x")
        namespace = lab.registry.namespaces.create(NAMESPACE)
        namespace.create_credential()
        namespace.policies.create(WEEKLY, validity_days=7)
        namespace.link_dps()
        namespace.link_hub(HUB)
        yield lab, [company.make_device(name) for name in DELIVERY]


def first_unmet(lab: Lab, answer: object) -> str:
    """The case that is not met yet; empty once all are."""
    report = Report("kept-valid", answer, kept_valid(lab, answer))
    return "" if report.solved else report.cases[report.done].what


def run(devices: list[Device]) -> None:
    for device in devices:
        device.firmware.configure(keep_operational=True)
        device.firmware.run()


def test_each_way_to_miss_it_is_told(delivery: tuple[Lab, list[Device]]) -> None:
    """Nothing handed in; no policy named; a hub that was not synchronised; not long enough; and at
    last all of it."""
    lab, devices = delivery
    assert "handed in" in first_unmet(lab, ...)
    assert f"policy {WEEKLY}" in first_unmet(lab, devices)
    name_policy(lab, WEEKLY)
    run(devices)
    assert "has taken each" in first_unmet(lab, devices)
    lab.registry.namespaces.get(NAMESPACE).synchronize()
    lab.clock.advance(hours=2)
    run(devices)
    assert "thirty days" in first_unmet(lab, devices)
    live_until(lab, 31, devices)
    assert first_unmet(lab, devices) == ""


def test_who_passes_over_days_has_a_gap(delivery: tuple[Lab, list[Device]]) -> None:
    lab, devices = delivery
    name_policy(lab, WEEKLY)
    lab.registry.namespaces.get(NAMESPACE).synchronize()
    run(devices)
    lab.clock.advance(days=30)
    run(devices)
    assert "without a valid certificate" in first_unmet(lab, devices)
