"""A fleet with a key in a token each, at work on the real wire, through an expiry roll
and through a breach: what the issue claims of both is measured here, and printed.

LAB_SOAK_FLEET is how many devices there are. The whole: 100.
"""

from __future__ import annotations

import os
import time
from datetime import timedelta

from rolls import group_names, renewed_by
from stories import Story

from labkit.device import Device
from labkit.drill import Fleet

COUNT = int(os.environ.get("LAB_SOAK_FLEET", "24"))
GROUP = "technician-z"
CARELESS = "smart-x-widget-002"
PATIENCE = 300.0


def fleet_below(story: Story) -> Fleet:
    lab = story.lab
    lab.dps.enrollment_groups.delete("smart-x-widgets")
    lab.dps.enrollment_groups.create(GROUP, signing=story.technician.certificate)
    names = [f"fleet-{number:03}" for number in range(1, COUNT + 1)]
    devices = [d for d in story.technician.make_devices(names).devices if isinstance(d, Device)]
    return lab.fleet(devices)


def rounds(fleet: Fleet, more: int) -> None:
    """Waits for so many whole rounds more."""
    wanted, end = fleet.rounds + more + 1, time.monotonic() + PATIENCE
    while fleet.rounds < wanted:
        assert time.monotonic() < end, "the fleet stands still"
        time.sleep(0.1)


def test_an_expiry_roll_of_the_fleet_costs_no_refusal_and_no_message(story: Story) -> None:
    lab, fleet = story.lab, fleet_below(story)
    another = story.factory.sign_intermediate(lab.custodian("Technician-W"))
    began = time.monotonic()
    with fleet.working():
        rounds(fleet, 1)
        group_names(story, GROUP, story.technician, another)
        lab.clock.advance(days=300)
        fleet.roll(renewed_by(another))
        rounds(fleet, 1)
        group_names(story, GROUP, another)
        lab.clock.advance(days=100)
        rounds(fleet, 1)
    found = lab.timeline()
    print(f"\n{COUNT} devices, {fleet.rounds} rounds in {time.monotonic() - began:.0f} s")
    print(found.numbers)
    assert (found.refused, found.lost, found.downtime) == (0, 0, timedelta())
    assert found.accepted == found.sent == fleet.rounds * COUNT
    assert found.most_connected == COUNT


def test_after_containment_the_attacker_never_gets_in_and_the_fleet_works_on(story: Story) -> None:
    lab, fleet = story.lab, fleet_below(story)
    careless = story.technician.make_device(CARELESS, key_in_file=True)
    careless.provision()
    mallory = lab.attacker()
    mallory.steal(careless)
    another = story.factory.sign_intermediate(lab.custodian("Technician-W"))
    with mallory.keeps_trying(every=0.2, most=5_000), fleet.working():
        rounds(fleet, 1)
        began = time.monotonic()
        group_names(story, GROUP, story.technician, another)
        fleet.roll(renewed_by(another))
        rounds(fleet, 1)
        group_names(story, GROUP, another)
        lab.hub().devices.delete(CARELESS)
        took, contained = time.monotonic() - began, len(mallory.attempts)
        rounds(fleet, 1)
    found, later = lab.timeline(), mallory.attempts[contained + 1 :]
    print(f"\n{COUNT} devices; contained after {took:.1f} s, {len(later)} attempts since")
    print(found.numbers)
    assert later
    assert not [attempt for attempt in later if attempt.got_in]
    assert (found.refused, found.lost) == (0, 0)
    found.save(os.environ.get("LAB_SOAK_TIMELINE", os.devnull))
