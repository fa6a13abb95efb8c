"""Roll certificates for individual enrollments: before they expire, and after a breach."""

from __future__ import annotations

from datetime import timedelta

import pytest
from procedure_steps import (
    Breach,
    assert_provisions,
    assert_refused,
    save,
    without_groups,
)
from stories import Story

from labkit import Lab
from labkit.cloud.dps import attestation
from labkit.errors import ServiceRefusal
from labkit.pki import verdict


@pytest.fixture(scope="module")
def lab(shared: Story) -> Lab:  # type: ignore[override]
    return without_groups(shared)


def enrolled_breach(lab: Lab, story: Story, name: str) -> Breach:
    """A device of which a thief has the key; its certificate has just been replaced."""
    widget = story.technician.make_device(name, key_in_file=True)
    lab.dps.enrollments.create(name, certificate=widget.certificate)
    breach = Breach.begun(lab, widget)
    save(lab.dps.enrollments, name, widget.renew(story.technician))
    return breach


def test_roll_certificates_for_individual_enrollments__expiry_by_the_secondary(
    lab: Lab, shared: Story
) -> None:
    """The new certificate waits in the other slot while the present one is valid, and then it is
    the turn of the first slot again. The device is let in with either, and with the new one after
    the old one has expired."""
    widget, book = shared.technician.make_device("rotates"), lab.dps.enrollments
    book.create("rotates", certificate=widget.certificate)
    assert_provisions(widget)
    for into_secondary in (True, False):
        end = widget.certificate.not_valid_after_utc
        lab.clock.set(end - timedelta(days=30))
        old, new = widget.certificate, widget.renew(shared.technician)
        assert_refused(lab, widget, attestation.OWN_ENTRY)
        save(book, "rotates", *((old, new) if into_secondary else (new, old)))
        assert_provisions(widget)
        widget.use_reserve()
        lab.clock.set(end - timedelta(hours=1))
        assert_provisions(widget)  # with the old one, as good as the new one to the last
        lab.clock.set(end + timedelta(hours=1))
        assert_refused(lab, widget, verdict.VALIDITY)  # all that it had, without the roll
        widget.use_reserve()
        assert_provisions(widget)


def test_roll_certificates_for_individual_enrollments__breach_by_removal_at_once(
    lab: Lab, shared: Story
) -> None:
    """The compromised certificate leaves the entry at once; the device is out as well, until its
    new certificate is in."""
    widget = shared.technician.make_device("breached", key_in_file=True)
    spare = shared.technician.make_device("breached-spare")
    lab.dps.enrollments.create("breached", certificate=widget.certificate)
    breach = Breach.begun(lab, widget)
    save(lab.dps.enrollments, "breached", spare.certificate)
    assert breach.thief.try_dps().outcome == "refused"
    assert_refused(lab, widget, attestation.OWN_ENTRY)
    save(lab.dps.enrollments, "breached", widget.renew(shared.technician))
    assert breach.thief.try_dps().outcome == "refused"
    assert_provisions(widget)


def test_roll_certificates_for_individual_enrollments__save_under_the_etag_that_was_read(
    lab: Lab, shared: Story
) -> None:
    """Two people have the form open: whoever saves last is told, and changes nothing."""
    widget, book = shared.technician.make_device("two-forms"), lab.dps.enrollments
    book.create("two-forms", certificate=widget.certificate)
    read_before = book.get("two-forms")
    new = widget.renew(shared.technician)
    save(book, "two-forms", new)
    with pytest.raises(ServiceRefusal) as caught:
        book.update(read_before)
    assert caught.value.error.status == 412
    assert_provisions(widget)


def test_roll_certificates_for_individual_enrollments__the_hole_first_way_remove_the_registration(
    lab: Lab, shared: Story
) -> None:
    breach = enrolled_breach(lab, shared, "hole-1")
    breach.assert_hole()
    breach.close_by_removing_the_registration()


def test_roll_certificates_for_individual_enrollments__the_hole_second_way_reprovision(
    lab: Lab, shared: Story
) -> None:
    breach = enrolled_breach(lab, shared, "hole-2")
    breach.assert_hole()
    breach.close_by_reprovisioning()
