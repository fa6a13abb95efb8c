"""Firmware's behaviours over the real wire, with Microsoft's client: each switched on, and off."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from complaints import refused
from stories import (
    PATIENCE,
    Story,
    enroll,
    eventually,
    found_again,
    open_lab,
    said,
    supply_chain,
)

from labkit import Lab
from labkit.cloud.hub.methods import MethodResult
from labkit.device import Device
from labkit.device.firmware import Decision, Step
from labkit.errors import ConnectionFailed
from labkit.supplychain.updates import UpdateSigner

Signed = tuple[Story, UpdateSigner[Device]]
PROVISION, CONNECT, RENEW = Step.PROVISION, Step.CONNECT, Step.RENEW
SWITCH, RETIRE, WAIT, REST = Step.SWITCH, Step.RETIRE, Step.WAIT, Step.REST


@pytest.fixture
def running(story: Story) -> Iterator[Story]:
    """The widget is provisioned and connected, by its firmware, which can ask the technician."""
    story.widget.firmware.issuer = story.technician
    assert steps(story.widget.firmware.run()) == [PROVISION, CONNECT, REST]
    yield story
    story.widget.close()


def steps(decisions: list[Decision]) -> list[Step]:
    return [decision.step for decision in decisions]


def invoke(story: Story, name: str, payload: object = None) -> MethodResult:
    return story.lab.hub().invoke(story.widget.name, name, payload, connect_timeout=PATIENCE)


def close_group(story: Story) -> None:
    story.lab.dps.enrollment_groups.disable("smart-x-widgets")


# ---- reprovisioning


def test_unauthorized_by_the_hub_it_reprovisions_and_is_back(running: Story) -> None:
    """Before: the hub has lost it, and says no. After: DPS has made the identity anew."""
    widget, hub = running.widget, running.lab.hub()
    hub.devices.delete(widget.name)
    eventually(lambda: not widget.connected)
    with refused(ConnectionFailed, "not authorised") as caught:
        widget.connect()
    assert caught.error.refused
    running.lab.clock.advance(hours=1)
    assert steps(widget.firmware.run()) == [CONNECT, PROVISION, CONNECT, REST]
    widget.send({"back": True})
    assert hub.devices.get(widget.name).enabled


def test_with_that_switched_off_it_stays_away_and_does_not_hammer(running: Story) -> None:
    widget, firmware = running.widget, running.widget.firmware
    firmware.configure(reprovision_when_unauthorized=False, attempts=3)
    running.lab.hub().devices.delete(widget.name)
    eventually(lambda: not widget.connected)
    before = firmware.memory.attempts
    for _ in range(20):  # looked at each minute for twenty
        running.lab.clock.advance(minutes=1)
        firmware.run()
    assert firmware.memory.attempts - before == 3
    assert firmware.next.step is WAIT
    assert len(running.lab.dps.registrations) == 1


def test_a_direct_method_has_it_reprovision(running: Story) -> None:
    widget = running.widget
    answer = invoke(running, "reprovision")
    assert (answer.status, answer.payload) == (202, {"will": "reprovision"})
    assert steps(widget.firmware.run()) == [PROVISION, CONNECT, REST]
    assert widget.assignment is not None
    assert widget.assignment.substatus == "reprovisionedToInitialAssignment"


def test_with_that_switched_off_the_caller_is_told(running: Story) -> None:
    running.widget.firmware.configure(reprovision_on_command=False)
    answer = invoke(running, "reprovision")
    assert answer.status == 403
    assert "reprovision_on_command" in answer.payload["error"]
    assert running.widget.firmware.next.step is REST


def test_a_job_has_the_fleet_reprovision(running: Story) -> None:
    """In the background, as devices do it: nobody runs them one by one."""
    lab, more = running.lab, [running.technician.make_device(f"w-{n}") for n in range(3)]
    fleet = [running.widget, *more]
    for widget in fleet:
        widget.firmware.start()
    hub = lab.hub()
    eventually(lambda: all(device.connected for device in fleet))
    before = {record.registration_id: record.etag for record in lab.dps.registrations}
    job = hub.jobs.invoke_method("*", "reprovision", connect_timeout=5)
    assert job.status == "completed"
    eventually(
        lambda: all(
            record.etag != before[record.registration_id] for record in lab.dps.registrations
        )
    )
    eventually(lambda: all(device.connected for device in fleet))
    assert sum(widget.firmware.memory.refusals for widget in fleet) == 0


# ---- renewing


def test_it_renews_before_expiry_and_nobody_refuses_it(running: Story) -> None:
    widget, old = running.widget, running.widget.certificate
    running.lab.clock.advance(days=200)
    assert widget.firmware.run()[-1].step is REST
    assert widget.certificate == old, "not yet"
    running.lab.clock.advance(days=100)
    done = widget.firmware.run()
    assert steps(done) == [RENEW, PROVISION, CONNECT, RETIRE, REST]
    assert widget.key.token.key_labels == ["identity 2"]
    assert widget.firmware.memory.refusals == 0
    widget.send({"after": "renewal"})
    running.lab.clock.advance(days=100)
    widget.disconnect()
    widget.connect()
    assert running.lab.clock.now() > old.not_valid_after_utc, "the old one would have expired"


def test_with_that_switched_off_it_expires(running: Story) -> None:
    widget = running.widget
    widget.firmware.configure(renew_before_expiry=False)
    running.lab.clock.advance(days=366)
    widget.disconnect()
    (decision,) = widget.firmware.run()
    assert decision.step is REST
    assert "no valid certificate" in decision.why
    with refused(ConnectionFailed, "did not take"):
        widget.connect()


def test_a_direct_method_has_it_renew(running: Story) -> None:
    assert invoke(running, "renew").status == 202
    done = running.widget.firmware.run()
    assert steps(done) == [RENEW, PROVISION, CONNECT, RETIRE, REST]


def test_without_an_issuer_it_says_so(running: Story) -> None:
    running.widget.firmware.issuer = None
    assert invoke(running, "renew").status == 409


def test_without_telling_dps_first_the_hub_refuses_the_new_certificate_once(
    running: Story,
) -> None:
    """The hub knows the device by the thumbprint of the old one: as Microsoft's documents tell."""
    widget = running.widget
    widget.firmware.configure(reprovision_after_renewal=False)
    running.lab.clock.advance(days=300)
    done = widget.firmware.run()
    assert steps(done) == [RENEW, CONNECT, PROVISION, CONNECT, RETIRE, REST]
    assert widget.firmware.memory.refusals == 1


# ---- falling back


def test_where_the_new_certificate_is_refused_it_goes_on_with_the_old_one(running: Story) -> None:
    """And never left the hub; later it tries the new one again, and that works by then."""
    widget, old = running.widget, running.widget.certificate
    close_group(running)
    running.lab.clock.advance(days=300)
    assert steps(widget.firmware.run()) == [RENEW, PROVISION, SWITCH, REST]
    assert widget.certificate == old
    assert widget.connected
    widget.send({"still": "here"})
    running.lab.dps.enrollment_groups.enable("smart-x-widgets")
    running.lab.clock.advance(days=50)
    assert steps(widget.firmware.run()) == [SWITCH, PROVISION, CONNECT, RETIRE, REST]
    assert widget.certificate != old


def test_with_that_switched_off_it_insists_on_the_new_one(running: Story) -> None:
    widget, old = running.widget, running.widget.certificate
    widget.firmware.configure(fall_back=False)
    close_group(running)
    running.lab.clock.advance(days=300)
    assert steps(widget.firmware.run())[-1] is WAIT
    assert widget.certificate != old


# ---- restarts


def test_it_keeps_its_hub_its_policies_and_its_memory_across_restarts(running: Story) -> None:
    path, memory = running.lab.path, running.widget.firmware.memory
    running.widget.firmware.configure(fall_back=False, attempts=5)
    registered = running.lab.dps.registrations.get(running.widget.name).updated
    running.lab.close()
    with open_lab(path) as lab:
        firmware = lab.device(running.widget.name).firmware
        assert (firmware.policies.fall_back, firmware.policies.attempts) == (False, 5)
        assert firmware.memory == memory
        assert steps(firmware.run()) == [CONNECT, REST]
        assert lab.dps.registrations.get(running.widget.name).updated == registered


def test_without_keeping_it_asks_dps_at_each_start(running: Story) -> None:
    path = running.lab.path
    running.widget.firmware.configure(keep_hub=False)
    running.lab.close()
    with open_lab(path) as lab:
        firmware = lab.device(running.widget.name).firmware
        assert steps(firmware.run()) == [PROVISION, CONNECT, REST]


# ---- updates over the air


@pytest.fixture
def signed(lab: Lab) -> Iterator[Signed]:
    """A connected widget whose manufacturer signs updates."""
    lab.custodian("Company-X").create_root_ca()
    signer = lab.custodian("Company-X").update_signer()
    story = supply_chain(lab)
    enroll(lab, story.company)
    story.widget.firmware.run()
    yield story, signer
    story.widget.close()


def test_an_update_comes_by_direct_method_and_is_taken_into_use(signed: Signed) -> None:
    story, signer = signed
    widget, old = story.widget, story.widget.certificate
    package = signer.renew(story.technician, widget)
    answer = invoke(story, "installUpdate", package.to_json())
    assert (answer.status, answer.payload) == (200, {"version": 1})
    assert steps(widget.firmware.run()) == [PROVISION, CONNECT, RETIRE, REST]
    assert widget.certificate != old
    widget.send({"updated": True})


def test_an_update_comes_as_a_message_to_the_device(signed: Signed) -> None:
    story, signer = signed
    package = signer.renew(story.technician, story.widget)
    story.lab.hub().send(story.widget.name, package.to_bytes(), kind="update")
    story.lab.hub().send(story.widget.name, "for the program")
    eventually(lambda: story.widget.update_version == 1)
    received = story.widget.receive()
    assert received is not None
    assert received.text == "for the program"


def test_what_is_no_good_update_is_refused_to_the_caller_with_the_reason(signed: Signed) -> None:
    story, signer = signed
    other = story.technician.make_device("other")
    answer = invoke(story, "installUpdate", signer.renew(story.technician, other).to_json())
    assert answer.status == 400
    assert answer.payload["expected"] == "it is for this device"
    assert invoke(story, "installUpdate", None).status == 400
    assert invoke(story, "installUpdate", {"manifest": []}).status == 400
    assert story.widget.update_version == 0


def test_with_that_switched_off_no_update_is_taken(signed: Signed) -> None:
    story, signer = signed
    story.widget.firmware.configure(accept_updates=False)
    package = signer.renew(story.technician, story.widget)
    assert invoke(story, "installUpdate", package.to_json()).status == 403
    assert story.widget.update_version == 0


def test_nor_one_that_comes_as_a_message_and_the_lab_is_told(signed: Signed) -> None:
    story, signer = signed
    story.widget.firmware.configure(accept_updates=False)
    package = signer.renew(story.technician, story.widget)
    story.lab.hub().send(story.widget.name, package.to_bytes(), kind="update")
    eventually(lambda: said(story.lab, "device", "takes no update", "accept_updates"))
    assert story.widget.update_version == 0


# ---- in the background


def test_in_the_background_it_follows_the_clock_and_stops_when_it_is_told(running: Story) -> None:
    widget, old = running.widget, running.widget.certificate
    widget.firmware.start().start()
    running.lab.clock.advance(days=300)
    eventually(lambda: not widget.reserve and widget.certificate != old)
    widget.firmware.stop()
    widget.firmware.stop()
    attempts = widget.firmware.memory.attempts
    running.lab.clock.advance(days=300)
    assert widget.firmware.memory.attempts == attempts


def test_an_error_that_nobody_expected_ends_it_says_so_and_it_can_be_started_again(
    running: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    firmware, lab = running.widget.firmware, running.lab
    with monkeypatch.context() as patched:
        patched.setattr(type(firmware), "step", lambda _: {}["nobody thought of this"])
        firmware.start()
        eventually(lambda: said(lab, "device", "has stopped: KeyError: 'nobody thought of this'"))
        eventually(lambda: not [t for t in threading.enumerate() if t.name.startswith("firmware")])
    lab.clock.advance(days=300)
    old = running.widget.certificate
    firmware.start()
    eventually(lambda: running.widget.certificate != old)
    firmware.stop()


def test_a_lab_that_is_closed_ends_it(running: Story) -> None:
    running.widget.firmware.start()
    running.lab.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("firmware of")]
    with open_lab(running.lab.path) as lab:
        assert found_again(lab).widget.firmware.run()[-1].step is REST
