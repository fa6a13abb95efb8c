"""Disallow certificates: a device of its own, one device of a group, a CA; what that does, and what
it does not do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from procedure_steps import (
    assert_connects,
    assert_provisions,
    assert_refused,
    assert_unauthorized,
    identity_of,
)
from stories import Story, eventually

from labkit import Lab
from labkit.cloud.dps import attestation
from labkit.cloud.dps.entries import DISABLED, SymmetricKeyAttestation
from labkit.cloud.hub import authentication as hub_checks
from labkit.device import Device

GROUP = "smart-x-widgets"


@pytest.fixture
def lab(shared: Story) -> Iterator[Lab]:
    """The story's lab; its group is enabled again when a test ends."""
    yield shared.lab
    shared.lab.dps.enrollment_groups.enable(GROUP)


def at_work(story: Story, name: str) -> Device:
    """A device that came through the group, and is connected."""
    widget = story.technician.make_device(name)
    assert_provisions(widget)
    return widget


def test_disallow_certificates__a_device_with_an_individual_enrollment(
    lab: Lab, shared: Story
) -> None:
    """Disabled, it is refused; enabled again, it is let in as before."""
    widget = shared.technician.make_device("alone")
    lab.dps.enrollments.create("alone", certificate=widget.certificate)
    assert_provisions(widget)
    lab.dps.enrollments.disable("alone")
    assert_refused(lab, widget, attestation.ENABLED)
    lab.dps.enrollments.enable("alone")
    assert_provisions(widget)


def test_disallow_certificates__one_device_of_a_group_by_its_certificate(
    lab: Lab, shared: Story
) -> None:
    """A disabled entry with the device's certificate: its siblings notice nothing."""
    widget, sibling = at_work(shared, "blocked"), at_work(shared, "sibling")
    lab.dps.enrollments.create("blocked", certificate=widget.certificate, status=DISABLED)
    assert_refused(lab, widget, attestation.ENABLED)
    assert_provisions(sibling)
    lab.dps.enrollments.delete("blocked")
    assert_provisions(widget)


def test_disallow_certificates__one_device_of_a_group_without_its_certificate(
    lab: Lab, shared: Story
) -> None:
    """Who has not got the certificate makes a disabled entry of any kind: the ID is what counts."""
    widget = at_work(shared, "unseen")
    keys = SymmetricKeyAttestation()
    lab.dps.enrollments.create("unseen", keys=keys, status=DISABLED)
    assert_refused(lab, widget, attestation.ENABLED)
    widget.renew(shared.technician)
    assert_refused(lab, widget, attestation.ENABLED)  # a new certificate is no way around it
    lab.dps.enrollments.delete("unseen")
    assert_provisions(widget)


def test_disallow_certificates__a_whole_group(lab: Lab, shared: Story) -> None:
    widget = at_work(shared, "grouped")
    lab.dps.enrollment_groups.disable(GROUP)
    assert_refused(lab, widget, attestation.ENABLED)
    lab.dps.enrollment_groups.enable(GROUP)
    assert_provisions(widget)


def test_disallow_certificates__in_a_disabled_entry_though_another_enabled_one_would_take_it(
    lab: Lab, shared: Story
) -> None:
    """Once for the device's own certificate, below an enabled group; and once for an intermediate,
    below the root of an enabled one. Without the disabled entry each is let in."""
    own, below = at_work(shared, "own-disabled"), at_work(shared, "ca-disabled")
    lab.dps.enrollments.create("own-disabled", certificate=own.certificate, status=DISABLED)
    assert lab.dps.enrollment_groups.get(GROUP).enabled
    assert_refused(lab, own, attestation.ENABLED)
    lab.dps.enrollment_groups.create(
        "technician-z", signing=shared.technician.certificate, status=DISABLED
    )
    assert_refused(lab, below, attestation.ENABLED)
    lab.dps.enrollments.delete("own-disabled")
    lab.dps.enrollment_groups.delete("technician-z")
    assert_provisions(own, below)


def test_disallow_certificates__delete_against_disable(lab: Lab, shared: Story) -> None:
    """An entry that is deleted blocks nobody: the group takes the device. Disabled, it blocks."""
    widget = shared.technician.make_device("deleted")
    lab.dps.enrollments.create("deleted", certificate=widget.certificate)
    assert_provisions(widget)
    lab.dps.enrollments.delete("deleted")
    assert_provisions(widget)
    assert lab.dps.registrations.get("deleted").group_id == GROUP
    lab.dps.enrollments.create("deleted", certificate=widget.certificate, status=DISABLED)
    assert_refused(lab, widget, attestation.ENABLED)
    lab.dps.enrollments.delete("deleted")


def test_disallow_certificates__what_an_enrollment_change_does_not_do(
    lab: Lab, shared: Story
) -> None:
    """Disabled and deleted at DPS, the device keeps its connection and its identity, and connects
    again as often as it likes."""
    widget = shared.technician.make_device("untouched")
    lab.dps.enrollments.create("untouched", certificate=widget.certificate)
    assert_provisions(widget)
    before = identity_of(lab, widget)
    lab.dps.enrollments.disable("untouched")
    widget.send({"still": "here"})
    assert widget.connected
    assert_connects(widget)
    lab.dps.enrollments.delete("untouched")
    lab.dps.registrations.delete("untouched")
    assert_connects(widget)
    after = identity_of(lab, widget)
    assert (after.generation_id, after.etag) == (before.generation_id, before.etag)


def test_disallow_certificates__disable_at_the_hub_and_allow_again(lab: Lab, shared: Story) -> None:
    """The connection ends at once. To provision again does not help: DPS renews the identity and
    leaves it disabled."""
    widget, devices = at_work(shared, "cut-off"), lab.hub().devices
    devices.disable("cut-off", "stolen")
    eventually(lambda: not widget.connected)
    assert_unauthorized(lab, widget, hub_checks.ENABLED)
    widget.provision()
    assert_unauthorized(lab, widget, hub_checks.ENABLED)
    devices.enable("cut-off")
    assert_connects(widget)


def test_disallow_certificates__at_dps_and_at_the_hub_it_is_out_for_good(
    lab: Lab, shared: Story
) -> None:
    """Disabled at DPS alone it stays connected, deleted at the hub alone it comes back: together
    they keep it out, and allowed again it provisions anew."""
    widget, devices = at_work(shared, "out"), lab.hub().devices
    devices.delete("out")
    assert_unauthorized(lab, widget, hub_checks.KNOWN)
    assert_provisions(widget)
    lab.dps.enrollments.create("out", certificate=widget.certificate, status=DISABLED)
    assert_connects(widget)
    devices.delete("out")
    assert_unauthorized(lab, widget, hub_checks.KNOWN)
    assert_refused(lab, widget, attestation.ENABLED)
    lab.dps.enrollments.enable("out")
    assert_provisions(widget)
