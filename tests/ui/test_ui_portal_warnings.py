"""What the portal says of an entry that DPS takes, and that does not do what somebody meant."""

from __future__ import annotations

from typing import Any

import forge
import pytest
from stories import Story

from labkit import Lab
from labkit.cloud.dps.entries import SymmetricKeyAttestation
from labkit.errors import ProvisioningFailed
from labkit.ui.portal import Portal
from labkit.ui.portal.scene import scene_of

GROUPS, INDIVIDUAL = "enrollment groups", "individual enrollments"
WIDGET, NEXT, OTHER = (
    forge.device(name, None).certificate for name in ("widget", "widget", "other")
)
NOT_THE_ID = (
    "No device can register with this certificate: its common name is not the registration ID"
)
TWICE = "Primary and secondary are the same certificate: that is no help when it is rolled"


def individual(lab: Lab, name: str = "") -> Portal:
    """The form of an individual enrollment, or of a new one."""
    portal = lab.portal()
    portal.show(INDIVIDUAL)
    if name:
        portal.open(name)
    else:
        portal.new()
    return portal


def warned(portal: Portal) -> list[tuple[str, dict[str, str]]]:
    """The warnings at the entry, each with its parts."""
    shown = scene_of(portal)["entry"]["warnings"]
    return [(found["message"], dict(found["parts"])) for found in shown]


# ---- a registration ID that is not the certificate's CN


def test_a_registration_id_that_is_not_the_cn_is_saved_and_warned_of(lab: Lab) -> None:
    """As Azure saves it; and the warning stays for whoever opens the entry later."""
    portal = individual(lab)
    portal.attach("primary", OTHER, "other.pem")
    assert warned(portal) == [], "the ID is not known yet"
    portal.save(id="widget")
    assert lab.dps.enrollments.find("widget")
    assert portal.trouble is None
    ((message, parts),) = warned(portal)
    assert message == NOT_THE_ID
    assert (parts["Expected"], parts["Found"]) == ("CN=widget", "CN=other")
    assert "put the certificate with CN=widget in its place" in parts["Cure"]
    assert "create one with the registration ID other" in parts["Cure"]
    assert warned(individual(lab, "widget")) == warned(portal)


def test_the_warning_is_right_and_so_is_its_cure(lab: Lab) -> None:
    """The device is refused; with the entry that is advised it comes in."""
    device = lab.self_signed_device("other")
    lab.dps.enrollments.create("widget", certificate=device.certificate)
    assert warned(individual(lab, "widget"))
    with pytest.raises(ProvisioningFailed):
        device.provision()
    portal = individual(lab, "widget")
    portal.delete("widget")
    portal.new()
    portal.attach("primary", device.certificate)
    portal.save(id="other")
    assert warned(portal) == []
    device.provision()


def test_a_certificate_is_warned_of_before_it_is_saved(lab: Lab) -> None:
    """Where the ID is known: at the moment at which it is handed over, and no longer."""
    lab.dps.enrollments.create("widget", certificate=WIDGET)
    portal = individual(lab, "widget")
    assert warned(portal) == []
    portal.attach("secondary", OTHER, "other.pem")
    ((message, parts),) = warned(portal)
    assert (message, parts["Found"]) == (NOT_THE_ID, "CN=other")
    portal.detach("secondary")
    assert warned(portal) == []


def test_case_does_not_count_and_a_missing_cn_does(lab: Lab) -> None:
    """Registration IDs know no case; who has no CN has none of them."""
    nameless = forge.device("", None).certificate
    lab.dps.enrollments.create("WIDGET", certificate=WIDGET)
    lab.dps.enrollments.create("nameless", certificate=nameless)
    assert warned(individual(lab, "WIDGET")) == []
    ((_, parts),) = warned(individual(lab, "nameless"))
    assert parts["Found"] == "a certificate without a common name (CN)"
    assert parts["Cure"] == "put the certificate with CN=nameless in its place"


def test_nobody_is_advised_to_enroll_a_ca_as_a_device(lab: Lab) -> None:
    lab.dps.enrollments.create("widget", certificate=forge.ca("Company-X").certificate)
    ((_, parts),) = warned(individual(lab, "widget"))
    assert parts["Cure"] == "put the certificate with CN=widget in its place"


def test_a_group_is_of_many_names_and_a_key_of_none(story: Story) -> None:
    lab, portal = story.lab, story.lab.portal()
    portal.open("smart-x-widgets")
    assert warned(portal) == []
    lab.dps.enrollments.create("keyed", keys=SymmetricKeyAttestation())
    assert warned(individual(lab, "keyed")) == []


# ---- one certificate in both places


def test_one_certificate_in_both_places_is_saved_and_warned_of(lab: Lab) -> None:
    """Before it is saved, and afterwards; the next certificate ends it."""
    portal = individual(lab)
    portal.attach("primary", WIDGET, "widget.pem")
    assert warned(portal) == []
    portal.attach("secondary", WIDGET, "copy.pem")
    before = warned(portal)
    portal.save(id="widget")
    ((message, parts),) = warned(portal)
    assert before == [(message, parts)]
    assert message == TWICE
    assert parts["Found"].count("CN=widget, ") == 2
    assert "put the next certificate in the place of one of them" in parts["Cure"]
    portal.attach("secondary", NEXT, "next.pem")
    assert warned(portal) == []
    portal.save()
    assert warned(portal) == []


def test_both_mistakes_at_once_are_told_once_each(lab: Lab) -> None:
    lab.dps.enrollments.create("widget", certificate=OTHER, secondary=OTHER)
    assert [message for message, _ in warned(individual(lab, "widget"))] == [NOT_THE_ID, TWICE]


@pytest.mark.parametrize("names", [("company-x", "company-x"), ("company-x", "again")])
def test_a_ca_that_is_referred_to_twice_is_one(story: Story, names: tuple[str, str]) -> None:
    """By one name or by two: what counts is the certificate that was uploaded."""
    dps, portal = story.lab.dps, story.lab.portal()
    dps.enrollment_groups.delete("smart-x-widgets")
    dps.certificates.upload("again", story.company.certificate)
    dps.certificates.upload("factory-y", story.factory.certificate)
    portal.new()
    primary, secondary = names
    chosen: Any = {"primary_ca": primary, "secondary_ca": secondary}
    portal.save(id="referring", attestation="caReferences", **chosen)
    ((message, parts),) = warned(portal)
    assert message == TWICE
    assert parts["Found"] == f"CA certificate {primary} and CA certificate {secondary}"
    portal.save(secondary_ca="factory-y")
    assert warned(portal) == []


def test_two_names_of_which_neither_is_uploaded_are_two(lab: Lab) -> None:
    """And one that is spelled in two ways is one."""
    portal = lab.portal()
    for name, secondary in (("two", "other-ca"), ("one", "Some-CA")):
        portal.new()
        chosen: Any = {"primary_ca": "some-ca", "secondary_ca": secondary}
        portal.save(id=name, attestation="caReferences", **chosen)
        assert len(warned(portal)) == (name == "one")
        portal.delete(name)
