"""Reprovision the device: what makes it ask DPS again, and what the policies do with it then."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from procedure_steps import assert_connects, assert_unauthorized, identity_of, provisioned
from stories import Story, eventually, found_again, open_lab

from labkit import Lab
from labkit.cloud.dps.entries import MIGRATE, NEVER, RESET, STATIC, InitialTwin, ReprovisionPolicy
from labkit.cloud.hub import authentication as hub_checks
from labkit.device import Assignment, Device
from labkit.device.firmware.values import Step
from labkit.errors import ProvisioningFailed

FIRST, SECOND = "contoso-hub", "fabrikam-hub"
UNTIL_IT_WOULD = 0.5
"""Seconds in which a client that comes back by itself would have: it begins after 0.01."""


@pytest.fixture(scope="module")
def two_hubs(told: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """The first lesson, in a lab with two hubs."""
    place = tmp_path_factory.mktemp("reprovision") / "lab"
    shutil.copytree(told, place)
    with open_lab(place, hubs=(SECOND,)) as opened:
        yield found_again(opened)


@pytest.fixture
def lab(two_hubs: Story) -> Lab:
    return two_hubs.lab


def at_work(story: Story, name: str, policy: ReprovisionPolicy = MIGRATE) -> Device:
    """A device with an entry of its own that sends it to the first hub, where it is connected and
    has reported something."""
    widget = story.technician.make_device(name)
    story.lab.dps.enrollments.create(
        name,
        certificate=widget.certificate,
        allocation=STATIC,
        hub=story.lab.hub(FIRST).host_name,
        reprovision=policy,
        initial_twin=InitialTwin(desired={"interval": 60}),
    )
    provisioned(widget)
    widget.report(firmware="1.0")
    return widget


def rolled(story: Story, widget: Device) -> None:
    """A new certificate on the device and in its entry; the hub has not heard of it."""
    new, book = widget.renew(story.technician), story.lab.dps.enrollments
    entry = book.get(widget.name)
    book.update(replace(entry, attestation=replace(entry.attestation, primary=new)))


def send_to(lab: Lab, hub: str, *names: str) -> None:
    """The entries send their devices to another hub from now on."""
    for name in names:
        entry = lab.dps.enrollments.get(name)
        lab.dps.enrollments.update(replace(entry, iot_hub_host_name=lab.hub(hub).host_name))


def hubs_of(lab: Lab, name: str) -> list[str]:
    """The hubs that have an identity of this device."""
    return [hub for hub in (FIRST, SECOND) if name in lab.hub(hub).devices]


# ---- what makes it ask again


def test_reprovision_the_device__when_the_hub_answers_unauthorized(
    lab: Lab, two_hubs: Story
) -> None:
    """Firmware asks DPS at once, when the hub does not take it any more, and connects again."""
    widget = at_work(two_hubs, "by-itself")
    widget.firmware.configure(reprovision_after_renewal=False)
    rolled(two_hubs, widget)
    assert_unauthorized(lab, widget, hub_checks.THUMBPRINT)
    done = [decision.step for decision in widget.firmware.run()]
    assert done[:3] == [Step.CONNECT, Step.PROVISION, Step.CONNECT]
    assert widget.connected


def test_reprovision_the_device__on_a_direct_method_while_both_certificates_are_valid(
    lab: Lab, two_hubs: Story
) -> None:
    """The overlap: its old connection stands while the new certificate waits; over that it is
    told, and comes back with the new one."""
    widget = at_work(two_hubs, "by-method")
    firmware = widget.firmware
    rolled(two_hubs, widget)
    assert widget.connected, "the old connection"
    before = identity_of(lab, widget).thumbprint
    assert lab.hub(FIRST).invoke("by-method", "reprovision").status == 202
    assert Step.PROVISION in [decision.step for decision in firmware.run()]
    assert identity_of(lab, widget).thumbprint != before
    assert_connects(widget)


def test_reprovision_the_device__on_a_job_to_the_fleet(lab: Lab, two_hubs: Story) -> None:
    """One call, and each device does it by itself, in the background."""
    fleet = [at_work(two_hubs, f"by-job-{number}") for number in (1, 2)]
    names = [widget.name for widget in fleet]
    for widget in fleet:
        widget.firmware.configure(retire_old_key=False)
        rolled(two_hubs, widget)
    before = [identity_of(lab, widget).thumbprint for widget in fleet]
    listed = ", ".join(f"'{name}'" for name in names)
    job = lab.hub(FIRST).jobs.invoke_method(f"deviceId IN [{listed}]", "reprovision")
    assert job.status == "completed"
    for widget in fleet:
        widget.firmware.start()
    eventually(
        lambda: all(widget.connected and not widget.firmware.memory.provision for widget in fleet)
    )
    for widget, old in zip(fleet, before, strict=True):
        widget.firmware.stop()
        assert identity_of(lab, widget).thumbprint != old
        assert_connects(widget)


def test_reprovision_the_device__firmware_that_does_not_know_what_to_do(
    lab: Lab, two_hubs: Story
) -> None:
    """Devices have to be programmed for the command: with the policy switched off it is refused,
    and everything stays as it was."""
    widget = at_work(two_hubs, "unprogrammed")
    widget.firmware.configure(reprovision_on_command=False)
    before = lab.dps.registrations.get("unprogrammed").etag
    assert lab.hub(FIRST).invoke("unprogrammed", "reprovision").status == 403
    widget.firmware.run()
    assert lab.dps.registrations.get("unprogrammed").etag == before


# ---- how to reprovision devices: the policies


def moved(lab: Lab, two_hubs: Story, name: str, policy: ReprovisionPolicy) -> Assignment:
    """A device whose entry sends it to another hub, once it has asked DPS again."""
    widget = at_work(two_hubs, name, policy)
    lab.hub(FIRST).update_twin(name, desired={"interval": 5})
    send_to(lab, SECOND, name)
    assert_connects(widget)  # the change alone moves nobody
    assert hubs_of(lab, name) == [FIRST]
    return provisioned(widget)


def test_reprovision_the_device__policy_same_hub(lab: Lab, two_hubs: Story) -> None:
    """Nothing has changed but the certificate: the same hub, the same identity, the same twin."""
    widget = at_work(two_hubs, "same-hub")
    before = identity_of(lab, widget)
    rolled(two_hubs, widget)
    again = provisioned(widget)
    after = identity_of(lab, widget)
    assert again.substatus == "reprovisionedToInitialAssignment"
    assert after.generation_id == before.generation_id
    assert after.thumbprint != before.thumbprint
    assert lab.hub(FIRST).twin("same-hub").reported["firmware"] == "1.0"


def test_reprovision_the_device__policy_another_hub_with_its_twin_migrated(
    lab: Lab, two_hubs: Story
) -> None:
    again = moved(lab, two_hubs, "migrates", MIGRATE)
    assert again.substatus == "deviceDataMigrated"
    assert hubs_of(lab, "migrates") == [SECOND]
    twin = lab.hub(SECOND).twin("migrates")
    assert (twin.desired["interval"], twin.reported["firmware"]) == (5, "1.0")


def test_reprovision_the_device__policy_another_hub_with_its_twin_reset(
    lab: Lab, two_hubs: Story
) -> None:
    again = moved(lab, two_hubs, "resets", RESET)
    assert again.substatus == "deviceDataReset"
    assert hubs_of(lab, "resets") == [SECOND]
    twin = lab.hub(SECOND).twin("resets")
    assert (twin.desired["interval"], twin.reported) == (60, {})


@pytest.mark.parametrize("by", ["itself", "its firmware"])
def test_who_is_moved_while_it_is_connected_does_not_try_its_old_hub_again(
    lab: Lab, two_hubs: Story, by: str
) -> None:
    """The old hub ends its connection; nobody has refused it there."""
    name = f"moved-by-{by.replace(' ', '-')}"
    widget = at_work(two_hubs, name)
    firmware = widget.firmware
    send_to(lab, SECOND, name)
    if by == "itself":
        widget.provision()
        eventually(lambda: not widget.connected)
    else:
        assert lab.hub(FIRST).invoke(name, "reprovision").status == 202
        firmware.run()
        assert widget.connected
    time.sleep(UNTIL_IT_WOULD)
    assert hubs_of(lab, name) == [SECOND]
    assert lab.cloud.refusals.last(name) is None
    assert_connects(widget)


def test_who_stays_where_it_is_comes_back_by_itself_as_before(lab: Lab, two_hubs: Story) -> None:
    """Whether DPS has said yes or no: the client connects again when its line breaks."""
    widget = at_work(two_hubs, "comes-back")
    widget.provision()
    lab.dps.enrollments.disable("comes-back")
    with pytest.raises(ProvisioningFailed):
        widget.provision()
    assert widget.connected, "who is refused has lost nothing by asking"
    connections = lab.hub(FIRST).connections
    connections.end(FIRST, "comes-back", "its line breaks")
    eventually(lambda: connections.find(FIRST, "comes-back") is not None)


def test_reprovision_the_device__policy_never(lab: Lab, two_hubs: Story) -> None:
    """It stays where it is, whatever its entry says by now; a new certificate is learned there
    all the same."""
    again = moved(lab, two_hubs, "stays", NEVER)
    assert again.hub == lab.hub(FIRST).host_name
    assert hubs_of(lab, "stays") == [FIRST]
    widget = lab.device("stays")
    rolled(two_hubs, widget)
    assert_unauthorized(lab, widget, hub_checks.THUMBPRINT)
    assert provisioned(widget).hub == lab.hub(FIRST).host_name
    assert lab.hub(FIRST).twin("stays").desired["interval"] == 5
