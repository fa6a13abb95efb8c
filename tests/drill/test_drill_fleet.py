"""A fleet at work through an expiry roll and through a breach, on the real wire, and its timeline.

tests/soak has the same with a hundred devices.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from complaints import refused
from rolls import group_names, renewed_by
from stories import Story, eventually

from labkit.clock import Clock
from labkit.device import Device
from labkit.drill import Fleet, History, Visit, history
from labkit.errors import LabError
from labkit.events import Events

FLEET = tuple(f"fleet-{number}" for number in range(1, 6))
GROUP = "technician-z"


def fleet_below(story: Story, names: tuple[str, ...] = FLEET) -> Fleet:
    """Devices below Technician-Z, with a group that names that CA alone."""
    lab = story.lab
    lab.dps.enrollment_groups.delete("smart-x-widgets")
    lab.dps.enrollment_groups.create(GROUP, signing=story.technician.certificate)
    devices = list(story.technician.make_devices(names).devices)
    assert all(isinstance(device, Device) for device in devices)
    return lab.fleet(devices)  # type: ignore[arg-type]


def test_a_round_has_every_device_provision_connect_and_send(story: Story) -> None:
    fleet = fleet_below(story)
    fleet.round()
    fleet.round()
    first, second = story.lab.timeline().steps[-2:]
    assert [first.assigned, second.assigned] == [5, 5]
    assert [first.connected, second.connected] == [5, 5]
    assert [first.sent, first.received] == [5, 5]
    assert len(story.lab.hub().messages("fleet-3")) == 2


def test_an_expiry_roll_costs_nothing_neither_a_refusal_nor_a_message(story: Story) -> None:
    """The second CA is added first, the devices are renewed below it, then the first one goes and
    expires. All the while the fleet works; downtime is measured, and is zero."""
    lab, fleet = story.lab, fleet_below(story)
    another = story.factory.sign_intermediate(lab.custodian("Technician-W"))
    with fleet.working():
        eventually(lambda: fleet.rounds > 1)
        group_names(story, GROUP, story.technician, another)
        lab.clock.advance(days=300)
        fleet.roll(renewed_by(another))
        rolled = fleet.rounds
        eventually(lambda: fleet.rounds > rolled + 2)
        group_names(story, GROUP, another)
        lab.clock.advance(days=100)  # the certificates of before are not valid any more
        last = fleet.rounds
        eventually(lambda: fleet.rounds > last + 1)
    found = lab.timeline()
    assert (found.refused, found.lost, found.downtime) == (0, 0, timedelta())
    assert found.accepted == fleet.rounds * len(FLEET)
    assert found.sent == fleet.rounds * len(FLEET)
    assert all(device.connected for device in fleet.devices)


def test_a_roll_in_the_wrong_order_is_measured_as_what_it_costs(story: Story) -> None:
    """The old CA leaves before the devices are renewed: nothing here is zero by itself."""
    lab, fleet = story.lab, fleet_below(story)
    another = story.factory.sign_intermediate(lab.custodian("Technician-W"))
    fleet.round()
    group_names(story, GROUP, another)
    fleet.round()
    assert lab.timeline().refused == len(FLEET)
    lab.clock.advance(hours=1)
    assert lab.timeline().downtime >= timedelta(hours=len(FLEET)), "it goes on"
    fleet.roll(renewed_by(another))
    fleet.round()
    measured = lab.timeline().downtime
    lab.clock.advance(hours=1)
    assert lab.timeline().downtime == measured, "and is over when they are let in"


def test_a_message_that_does_not_arrive_is_lost(story: Story) -> None:
    lab, fleet = story.lab, fleet_below(story)
    fleet.round()
    lab.hub().devices.disable("fleet-1")
    lab.dps.enrollment_groups.disable(GROUP)
    eventually(lambda: not fleet.devices[0].connected)
    fleet.round()
    assert lab.timeline().lost == 1


def test_after_containment_an_attacker_does_not_get_in_any_more(story: Story) -> None:
    """A breach: the CA leaves the group, then the stolen identity goes. The others were renewed
    below another CA before, and notice nothing of it."""
    lab, fleet = story.lab, fleet_below(story, FLEET[1:])
    careless = story.technician.make_device(FLEET[0], key_in_file=True)
    careless.provision()
    mallory = lab.attacker()
    mallory.steal(careless)
    another = story.factory.sign_intermediate(lab.custodian("Technician-W"))
    with mallory.keeps_trying(every=0.05, most=500), fleet.working():
        eventually(lambda: lab.timeline().got_in > 1)
        group_names(story, GROUP, story.technician, another)
        fleet.roll(renewed_by(another))
        rolled = fleet.rounds
        eventually(lambda: fleet.rounds > rolled + 2)
        group_names(story, GROUP, another)
        lab.hub().devices.delete(FLEET[0])
        contained = len(mallory.attempts)
        eventually(lambda: len(mallory.attempts) > contained + 3)
    found = lab.timeline()
    later = mallory.attempts[contained + 1 :]  # one may have been under way
    assert not [attempt for attempt in later if attempt.got_in]
    assert (found.refused, found.lost) == (0, 0), "what the attacker got is not the fleet's"
    assert found.kept_out >= len(later)
    assert found.breach is not None
    renewed_by(another)(careless)
    assert careless.provision().device_id == FLEET[0]
    assert careless.connect().connected


def test_the_timeline_is_the_same_picture_for_the_same_story(story: Story) -> None:
    """No clock is in it: what a notebook commits is what another machine draws."""
    lab, fleet = story.lab, fleet_below(story)
    fleet.round()
    one = lab.timeline()
    lab.clock.advance(days=3)
    assert lab.timeline().svg == one.svg
    assert lab.timeline().text == one.text
    assert "devices: 5 accepted, 0 refused; messages: 5 sent, 0 lost" in one.text
    bundle = one._repr_mimebundle_()
    assert bundle["text/html"].startswith("<img ")
    assert bundle["text/plain"] == one.text


def test_what_the_operator_did_is_marked_at_its_step(story: Story) -> None:
    lab, fleet = story.lab, fleet_below(story)
    fleet.round()
    lab.dps.enrollment_groups.disable(GROUP)
    fleet.round()
    place, told = lab.timeline().marks[-1]
    assert "disabled" in told
    assert lab.timeline().steps[place].marks == [told]
    assert lab.timeline().refused_in(lab.timeline().steps[place]) == len(FLEET)
    assert told in lab.timeline().text


def test_who_is_refused_for_ever_does_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one step that does not end, and under as many names as they like."""
    monkeypatch.setattr(history, "REFUSALS_KEPT", 5)
    events = Events(Clock(tmp_path / "clock.json"))
    heard = History(events, lambda: 0)
    for number in range(20):
        name = f"stranger-{number % 3 if number < 10 else number}"
        events.record("dps", "refused", "no", device=name, tracking_id=str(number))
        if number == 12:
            heard.begin("the operator looks")
    events.record("dps", "assigned", "yes", device="stranger-19")
    told = [refused for step in heard.steps() for refused in step.refusals]
    assert [refused.tracking_id for refused in told] == ["15", "16", "17", "18", "19"]
    assert [refused.until is None for refused in told] == [True] * 4 + [False]
    assert len(heard._open) == 4


def test_what_goes_wrong_in_the_background_is_not_lost(story: Story) -> None:
    class Broken(Fleet):
        def round(self, *, anew: bool = False) -> list[Visit]:
            raise KeyError("nobody thought of this")

    fleet = Broken([story.widget], story.lab.events, story.lab._rooms.history)
    with pytest.raises(KeyError, match="nobody thought"), fleet.working():
        pass


@pytest.mark.parametrize("count", [0, 501])
def test_a_fleet_has_its_bounds(story: Story, count: int) -> None:
    with refused(LabError, "no fleet that can be run"):
        Fleet([story.widget] * count, story.lab.events, story.lab._rooms.history)
