"""Lesson 14: who moves, when, and with what; and the exercise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from performing import Stage
from stories import CA, open_lab

from labkit import Lab
from labkit.cloud.dps.entries import MIGRATE, NEVER, RESET, STATIC, ReprovisionPolicy
from labkit.device import Device
from labkit.device.firmware import Step
from labkit.scenarios.reprovision import (
    BORN,
    DELIVERY,
    EAST,
    GROUP,
    HUBS,
    LATER,
    MIGRATES,
    MINUTES,
    RESETS,
    STAYS,
    STORY,
    WEST,
    WIDGETS,
    moved_fleet,
)
from labkit.ui.check import Report
from labkit.ui.performance import Performance

CHANGED, MOVED, ANEW, STAYED, FORGOTTEN, ROLLED, STUCK, TOLD, ALL, LOST, SHUT = range(2, 13)


@pytest.fixture(scope="module")
def play(stage: Stage) -> Iterator[Performance]:
    with stage.played(STORY) as performance:
        yield performance


def hubs_on_the_board(play: Performance, step: int, device: str) -> list[str]:
    """The hubs that know a device after a step."""
    return [hub for hub in HUBS if f"identity {hub}/{device}" in play.frames[step].graph]


# ---- the story's promises


@pytest.mark.parametrize(
    ("step", "device", "hubs"),
    [
        (CHANGED, MIGRATES, [EAST]),
        (MOVED, MIGRATES, [WEST]),
        (ANEW, RESETS, [WEST]),
        (STAYED, STAYS, [EAST]),
        (FORGOTTEN, STAYS, [EAST, WEST]),
        (ROLLED, MIGRATES, [WEST]),
        (STUCK, MIGRATES, [WEST]),
        (TOLD, MIGRATES, [EAST]),
        (LOST, MIGRATES, [EAST]),
    ],
)
def test_who_is_where(play: Performance, step: int, device: str, hubs: list[str]) -> None:
    assert hubs_on_the_board(play, step, device) == hubs


def test_what_dps_has_forgotten_is_drawn_as_left_behind(play: Performance) -> None:
    assert ">left behind<" in play.frames[FORGOTTEN].picture.svg
    assert ">left behind<" not in play.frames[STAYED].picture.svg


def test_the_job_empties_the_west(play: Performance) -> None:
    assert all(hubs_on_the_board(play, ALL, name) == [EAST] for name in WIDGETS)


def test_what_moved_along_and_what_began_anew(play: Performance) -> None:
    """The first one's twin went with its identity in the end; the others have kept theirs."""
    twins = {name: play.lab.hub(EAST).twin(name).desired for name in WIDGETS}
    assert twins == {MIGRATES: {}, RESETS: {"interval": BORN}, STAYS: {"interval": BORN}}


def test_until_a_hub_loses_one_nobody_is_refused(play: Performance) -> None:
    before = [e for e in play.frames[ALL].events if e.kind == "refused"]
    assert before == []


def test_a_door_that_stays_shut_is_not_hammered_at(play: Performance) -> None:
    """Nobody counts on the exact moments: the bounds are what the lesson says."""
    memory = play.lab.device(RESETS).firmware.memory
    assert 0 < memory.refusals < 20 < MINUTES
    assert play.frames[SHUT].explanation is not None


def test_in_the_end_all_are_connected_and_have_nothing_to_do(play: Performance) -> None:
    connected = {live.device_id for live in play.lab.hub(EAST).connected()}
    assert connected == set(WIDGETS)
    assert play.lab.device(RESETS).firmware.next.step is Step.REST


# ---- the exercise


@dataclass(frozen=True)
class Delivered:
    """The exercise's lab as the trainee finds it."""

    lab: Lab
    technician: CA

    @property
    def widgets(self) -> list[Device]:
        return [self.lab.device(name) for name in DELIVERY]

    @property
    def done(self) -> int:
        return Report("exercise", self.widgets, moved_fleet(self.lab, self.widgets)).done

    def point_west(self, policy: ReprovisionPolicy) -> None:
        groups = self.lab.dps.enrollment_groups
        wanted = f"{WEST}.azure-devices.net"
        changed = replace(groups.get(GROUP), iot_hub_host_name=wanted, reprovision_policy=policy)
        groups.update(changed)

    def ask(self) -> None:
        for widget in self.widgets:
            widget.disconnect()
            widget.provision()
            widget.connect()


@pytest.fixture
def delivered(tmp_path: Path) -> Iterator[Delivered]:
    with open_lab(tmp_path / "lab", hubs=HUBS) as lab:
        company = lab.custodian("Company-X").create_root_ca()
        technician = company.sign_intermediate(lab.custodian("Technician-Z"))
        entry = lab.dps.certificates.upload("company-x", company.certificate)
        lab.dps.certificates.verify(entry, company.prove_possession(entry.verification_code))
        east = lab.hub(EAST)
        lab.dps.enrollment_groups.create(
            GROUP,
            signing=technician.certificate,
            allocation=STATIC,
            hub=east.host_name,
            reprovision=NEVER,
        )
        for name in DELIVERY:
            widget = technician.make_device(name)
            widget.firmware.run()
            east.update_twin(name, desired={"interval": LATER})
            widget.report(firmware="1.0")
        yield Delivered(lab, technician)


def test_something_else_is_not_the_delivery(delivered: Delivered) -> None:
    assert Report("exercise", ..., moved_fleet(delivered.lab, ...)).done == 0


def test_an_entry_that_was_changed_moves_nobody(delivered: Delivered) -> None:
    delivered.point_west(NEVER)
    assert delivered.done == 2, "the policy says never"
    delivered.point_west(MIGRATE)
    assert delivered.done == 3, "nobody has asked"


def test_to_ask_is_what_moves_them(delivered: Delivered) -> None:
    delivered.point_west(MIGRATE)
    delivered.ask()
    assert delivered.done == 6


def test_twins_that_were_reset_are_no_solution(delivered: Delivered) -> None:
    """Not even when the policy is put right afterwards."""
    delivered.point_west(RESET)
    delivered.ask()
    delivered.point_west(MIGRATE)
    assert delivered.done == 4


def test_records_that_were_deleted_are_no_solution(delivered: Delivered) -> None:
    """They are new devices to DPS then: what was in the East stays there."""
    delivered.point_west(MIGRATE)
    for name in DELIVERY:
        delivered.lab.dps.registrations.delete(name)
    delivered.ask()
    assert delivered.done == 4
