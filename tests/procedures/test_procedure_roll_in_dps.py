"""Roll the certificate in DPS, or in the Azure IoT hub: what the two know of a device, and what
becomes of that when the device has a new certificate."""

from __future__ import annotations

from procedure_steps import (
    assert_connects,
    assert_provisions,
    assert_refused,
    assert_unauthorized,
    identity_of,
    save,
)
from stories import Story

from labkit.cloud.dps import attestation
from labkit.cloud.hub import authentication as hub_checks
from labkit.pki import chain


def test_roll_the_certificate_in_dps__a_device_that_was_added_to_the_hub_by_hand(
    shared: Story,
) -> None:
    """No provisioning service: the hub's own identity has room for two thumbprints, and is changed
    by hand. The device still has to be told its hub, so it has provisioned once."""
    widget, devices = shared.technician.make_device("by-hand"), shared.lab.hub().devices
    widget.provision()
    devices.delete("by-hand")
    assert_unauthorized(shared.lab, widget, hub_checks.KNOWN)
    devices.create("by-hand", certificate=widget.certificate)
    assert_connects(widget)
    old = widget.certificate
    new = widget.renew(shared.technician)
    assert_unauthorized(shared.lab, widget, hub_checks.THUMBPRINT)
    devices.update("by-hand", certificate=old, secondary=new)
    assert_connects(widget)
    widget.use_reserve()
    assert_connects(widget)


def test_roll_the_certificate_in_dps__first_provisioning_creates_the_identity(
    shared: Story,
) -> None:
    """The identity check, the identity with the leaf as its credential, the hub's name, and a
    connection with that leaf."""
    widget = shared.technician.make_device("first-boot")
    assert "first-boot" not in shared.lab.hub().devices
    assigned = widget.provision()
    assert assigned.hub == shared.lab.hub().host_name
    assert identity_of(shared.lab, widget).thumbprint == chain.thumbprint(widget.certificate)
    assert_connects(widget)


def test_roll_the_certificate_in_dps__unauthorized_until_the_entry_knows_the_new_leaf(
    shared: Story,
) -> None:
    """The hub knows only the old leaf; DPS, too, until the entry is updated; then the device
    reprovisions, and the hub's registry follows."""
    lab, widget = shared.lab, shared.technician.make_device("new-leaf")
    lab.dps.enrollments.create("new-leaf", certificate=widget.certificate)
    assert_provisions(widget)
    widget.renew(shared.technician)
    assert_unauthorized(lab, widget, hub_checks.THUMBPRINT)
    assert_refused(lab, widget, attestation.OWN_ENTRY)
    save(lab.dps.enrollments, "new-leaf", widget.certificate)
    assert_unauthorized(lab, widget, hub_checks.THUMBPRINT)
    assert_provisions(widget)
    assert identity_of(lab, widget).thumbprint == chain.thumbprint(widget.certificate)


def test_roll_the_certificate_in_dps__the_exception_a_leaf_rolls_inside_an_unchanged_group(
    shared: Story,
) -> None:
    """The new leaf is below the CA that the group names: no entry is touched, and only the hub has
    to learn of it, by reprovisioning."""
    widget, groups = shared.technician.make_device("exception"), shared.lab.dps.enrollment_groups
    assert_provisions(widget)
    before = groups.get("smart-x-widgets")
    widget.renew(shared.technician)
    assert_unauthorized(shared.lab, widget, hub_checks.THUMBPRINT)
    assert_provisions(widget)
    assert groups.get("smart-x-widgets") == before


def test_roll_the_certificate_in_dps__the_exception_after_a_breach_disallows_the_old_leaf(
    shared: Story,
) -> None:
    """The unchanged group would let the thief in again, who then puts the device out. An entry of
    its own that names the new leaf alone disallows the old one."""
    lab = shared.lab
    widget = shared.technician.make_device("exception-breached", key_in_file=True)
    mallory = lab.attacker("Mallory")
    assert_provisions(widget)
    mallory.steal(widget)
    widget.renew(shared.technician)
    assert_provisions(widget)
    assert mallory.try_dps().got_in, "the group still takes the old leaf"
    assert mallory.try_hub().got_in
    lab.dps.enrollments.create(widget.name, certificate=widget.certificate)
    assert mallory.try_dps().outcome == "refused"
    assert_provisions(widget)
    assert mallory.try_hub().outcome == "refused"
