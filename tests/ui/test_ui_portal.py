"""The portal without a browser: what every button does, and that its two texts say the same."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import forge
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from stories import Story

from labkit import Lab
from labkit.cloud.dps.entries import NEVER, RESET, InitialTwin, SymmetricKeyAttestation
from labkit.errors import BadCertificate, Conflict, LabError, NotFound, ServiceRefusal
from labkit.ui.portal import Portal
from labkit.ui.portal.cells import Reader
from labkit.ui.portal.page import PortalPage
from labkit.ui.portal.portal import LARGEST_UPLOAD
from labkit.ui.portal.scene import scene_of
from labkit.ui.portal.shelves import PAGE

HUB = "contoso-hub"
GROUPS, INDIVIDUAL = "enrollment groups", "individual enrollments"


def certificate(name: str) -> Any:
    return forge.device(name, None).certificate


@pytest.fixture
def portal(lab: Lab) -> Portal:
    return lab.portal()


@pytest.fixture
def rolled(lab: Lab) -> Portal:
    """The form of an individual enrollment with a primary certificate."""
    lab.dps.enrollments.create("widget", certificate=certificate("widget"))
    found = lab.portal()
    found.show(INDIVIDUAL)
    found.open("widget")
    return found


def slots(lab: Lab, name: str = "widget") -> tuple[Any, Any]:
    found: Any = lab.dps.enrollments.get(name).attestation
    return found.primary, found.secondary


# ---- rolling a certificate


def test_a_roll_before_expiry_and_one_after_a_breach(lab: Lab, rolled: Portal) -> None:
    """Secondary beside primary; then the primary is removed; then the secondary is replaced."""
    old, _ = slots(lab)
    second, third = certificate("widget"), certificate("widget")
    rolled.attach("secondary", second)
    rolled.save()
    assert slots(lab) == (old, second)
    rolled.save(remove=["primary"])
    assert slots(lab) == (None, second)
    rolled.attach("secondary", third.public_bytes(Encoding.DER), "third.cer")
    rolled.save(remove=["secondary"])
    assert slots(lab) == (None, third)
    assert rolled.notice == "widget is saved."
    assert rolled.attached == {}


def test_an_entry_without_any_certificate_is_refused_and_explained(
    lab: Lab, rolled: Portal
) -> None:
    before = lab.dps.enrollments.get("widget")
    with pytest.raises(ServiceRefusal, match="400004"):
        rolled.save(remove=["primary"])
    assert lab.dps.enrollments.get("widget") == before
    assert rolled.trouble is not None
    assert rolled.trouble.explanation is not None
    assert rolled.trouble.explanation.failure is not None
    assert "no certificate" in rolled.trouble.explanation.failure.why
    assert rolled.conflict is None
    assert [call.outcome for call in rolled.calls][-1] == "400 400004: Invalid request."


def test_state_and_policies_are_saved_and_the_rest_stays(lab: Lab, rolled: Portal) -> None:
    before = lab.dps.enrollments.get("widget")
    hub = lab.hub().host_name
    rolled.save(enabled=False, allocation="static", hubs=[hub], reprovision="reset")
    after = lab.dps.enrollments.get("widget")
    assert (after.enabled, after.allocation_policy, after.iot_hubs) == (False, "static", (hub,))
    assert after.reprovision_policy == RESET
    assert after.attestation == before.attestation
    rolled.save(allocation="custom", webhook="https://example.net/choose", reprovision="never")
    again = lab.dps.enrollments.get("widget")
    assert again.custom_allocation is not None
    assert again.custom_allocation.webhook_url == "https://example.net/choose"
    assert again.reprovision_policy == NEVER


def test_to_save_what_is_there_calls_nobody(lab: Lab, rolled: Portal) -> None:
    etag, count = lab.dps.enrollments.get("widget").etag, len(rolled.calls)
    rolled.save(enabled=True, remove=[], reprovision="migrate", allocation="", hubs=[])
    assert lab.dps.enrollments.get("widget").etag == etag
    assert (rolled.notice, len(rolled.calls)) == ("There was nothing to save.", count)


@pytest.mark.parametrize(
    "wishes",
    [{"reprovision": "sometimes"}, {"attestation": "tpm"}, {"colour": "red"}],
    ids=lambda wishes: next(iter(wishes)),
)
def test_a_form_has_its_own_words_only(rolled: Portal, wishes: dict[str, Any]) -> None:
    with pytest.raises(LabError):
        rolled.save(**wishes)
    assert rolled.trouble is not None


# ---- somebody else saves meanwhile


def changed_by_another(lab: Lab, **changes: Any) -> None:
    lab.dps.enrollments.update(replace(lab.dps.enrollments.get("widget"), **changes))


def test_a_conflict_tells_three_states_and_saves_nothing(lab: Lab, rolled: Portal) -> None:
    changed_by_another(lab, allocation_policy="static")
    there = lab.dps.enrollments.get("widget")
    with pytest.raises(Conflict, match="412"):
        rolled.save(enabled=False)
    assert lab.dps.enrollments.get("widget") == there
    told = scene_of(rolled)["conflict"]
    assert ["State", "enabled", "enabled", "disabled"] in told["rows"]
    own = "the service's own"
    assert ["Allocation policy", own, "static", own] in told["rows"]
    assert rolled.trouble is not None
    assert rolled.trouble.explanation is not None


def test_after_a_conflict_one_may_look_first(lab: Lab, rolled: Portal) -> None:
    changed_by_another(lab, allocation_policy="static")
    with pytest.raises(Conflict):
        rolled.save(enabled=False)
    rolled.refresh()
    assert (rolled.conflict, rolled.trouble) == (None, None)
    rolled.save(enabled=False)
    found = lab.dps.enrollments.get("widget")
    assert (found.enabled, found.allocation_policy) == (False, "static")


def test_after_a_conflict_one_may_overwrite(lab: Lab, rolled: Portal) -> None:
    """What the other wanted is gone then; and whoever comes between is not overwritten unseen."""
    changed_by_another(lab, allocation_policy="static")
    with pytest.raises(Conflict):
        rolled.save(enabled=False)
    changed_by_another(lab, allocation_policy="geoLatency")
    with pytest.raises(Conflict):
        rolled.overwrite()
    assert rolled.conflict is not None
    assert rolled.conflict.there == lab.dps.enrollments.get("widget")
    rolled.overwrite()
    found = lab.dps.enrollments.get("widget")
    assert (found.enabled, found.allocation_policy) == (False, "")
    assert rolled.conflict is None


def test_a_conflict_about_nothing_but_the_etag_says_so(lab: Lab, rolled: Portal) -> None:
    changed_by_another(lab)
    with pytest.raises(Conflict):
        rolled.save(enabled=False)
    told = scene_of(rolled)["conflict"]
    assert told["rows"] == [["State", "enabled", "enabled", "disabled"]]
    assert "no field of it is another" in told["why"]


@pytest.mark.parametrize(
    ("changes", "row"),
    [
        ({"iot_hub_host_name": "contoso-hub.azure-devices.net"}, "Static hub"),
        ({"device_id": "another"}, "Device ID"),
        ({"initial_twin": InitialTwin(desired={"interval": 5})}, "Initial twin"),
        ({"optional_device_information": {"made": "elsewhere"}}, ""),
    ],
    ids=lambda value: str(next(iter(value), "no row")) if isinstance(value, dict) else "",
)
def test_a_conflict_never_says_that_nothing_was_changed_where_something_was(
    lab: Lab, rolled: Portal, changes: dict[str, Any], row: str
) -> None:
    """Also where the portal has no word for what it is."""
    changed_by_another(lab, **changes)
    with pytest.raises(Conflict):
        rolled.save(enabled=False)
    told = scene_of(rolled)["conflict"]
    assert "no field of it is another" not in told["why"]
    assert {"State", row} - {""} == {name for name, *_ in told["rows"]}


def test_what_was_deleted_meanwhile_can_be_made_again(lab: Lab, rolled: Portal) -> None:
    lab.dps.enrollments.delete("widget")
    with pytest.raises(Conflict, match="412"):
        rolled.save(enabled=False)
    told = scene_of(rolled)["conflict"]
    assert told["gone"]
    assert ["State", "enabled", "the entry is gone", "disabled"] in told["rows"]
    rolled.overwrite()
    assert not lab.dps.enrollments.get("widget").enabled


def test_nothing_is_overwritten_without_a_conflict(rolled: Portal) -> None:
    with pytest.raises(LabError, match="no conflict"):
        rolled.overwrite()


# ---- what is handed over


def with_key() -> bytes:
    key = forge.new_key()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return certificate("widget").public_bytes(Encoding.PEM) + pem  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (with_key(), "holds a private key. It was not stored"),
        (b"\0" * (LARGEST_UPLOAD + 1), "too large for a certificate"),
        (b"<!doctype html>", "not a certificate"),
        (b"", "not a certificate"),
    ],
    ids=["a private key", "too large", "a web page", "nothing"],
)
def test_whatever_is_no_certificate_is_refused_before_it_is_kept(
    lab: Lab, rolled: Portal, data: bytes, said: str
) -> None:
    page = PortalPage(rolled)
    with pytest.raises(BadCertificate, match=said):
        rolled.attach("secondary", data, "wrong.pem")
    assert rolled.attached == {}
    assert rolled.trouble is not None
    assert b"PRIVATE KEY" not in json.dumps([page.scene, page.calls]).encode()
    rolled.save(enabled=False)
    assert slots(lab)[1] is None


def test_a_certificate_is_handed_over_for_a_known_place(rolled: Portal) -> None:
    with pytest.raises(LabError, match="no place 'third'"):
        rolled.attach("third", certificate("widget"))


def test_of_a_files_name_only_the_name_is_kept(rolled: Portal) -> None:
    """Browsers of old sent whole paths, and a name may be as long as it likes."""
    rolled.attach("primary", certificate("widget"), "C:\\secrets\\new.pem")
    assert rolled.attached["primary"].file == "new.pem"
    rolled.attach("primary", certificate("widget"), "x" * 5000)
    assert len(rolled.attached["primary"].file) == 80
    rolled.detach("primary")
    rolled.detach("primary")
    assert rolled.attached == {}


# ---- new entries


def test_a_new_entry_of_each_kind(story: Story) -> None:
    lab = story.lab
    portal = lab.portal()
    portal.show(INDIVIDUAL)
    portal.new()
    portal.attach("primary", certificate("first"), "first.pem")
    portal.save(id="first", device_id="first-device", hubs=[lab.hub().host_name])
    assert lab.dps.enrollments.get("first").device_id == "first-device"
    assert portal.title == "first"
    portal.new()
    portal.save(id="second", attestation="symmetricKey", enabled=False)
    assert isinstance(lab.dps.enrollments.get("second").attestation, SymmetricKeyAttestation)
    portal.show(GROUPS)
    portal.new()
    portal.attach("primary", story.factory.certificate, "factory.pem")
    portal.save(id="by-certificate")
    lab.dps.enrollment_groups.delete("smart-x-widgets")  # which names the certificate itself
    portal.new()
    portal.save(id="by-reference", attestation="caReferences", primary_ca="company-x")
    assert lab.dps.enrollment_groups.get("by-reference").attestation.references == ("company-x",)


def test_a_reference_is_read_as_dps_reads_it(story: Story) -> None:
    """Names of uploaded CAs know no upper and lower case."""
    story.lab.dps.enrollment_groups.delete("smart-x-widgets")
    story.lab.dps.enrollment_groups.create("referring", ca="Company-X")
    slot = Reader.of(story.lab).slot("Company-X")
    assert slot["text"] == "Company-X: CN=Company-X Root CA"
    assert Reader.of(story.lab).slot("nobody")["text"] == "nobody"


def test_an_id_that_is_taken_is_refused_and_the_form_stays(lab: Lab, rolled: Portal) -> None:
    rolled.new()
    rolled.attach("primary", certificate("other"))
    with pytest.raises(Conflict, match="409201"):
        rolled.save(id="widget")
    assert rolled.making
    assert "primary" in rolled.attached
    rolled.save(id="other")
    assert lab.dps.enrollments.get("other")


def test_a_new_entry_needs_a_certificate(portal: Portal) -> None:
    portal.show(INDIVIDUAL)
    portal.new()
    with pytest.raises(LabError, match="one way to know the device"):
        portal.save(id="bare")


def test_a_reference_is_changed(story: Story) -> None:
    """From one uploaded CA to two, and to the second alone."""
    dps = story.lab.dps
    dps.enrollment_groups.delete("smart-x-widgets")
    dps.certificates.upload("factory-y", story.factory.certificate)
    dps.enrollment_groups.create("referring", ca="company-x")
    portal = story.lab.portal()
    portal.open("referring")
    portal.save(secondary_ca="factory-y")
    assert dps.enrollment_groups.get("referring").attestation.references == (
        "company-x",
        "factory-y",
    )
    portal.save(primary_ca="")
    assert dps.enrollment_groups.get("referring").attestation.references == ("factory-y",)


# ---- deleting


def test_what_is_deleted_must_be_named(lab: Lab, rolled: Portal) -> None:
    for confirm in ("", "Widget", "widget "):
        with pytest.raises(LabError, match="was not confirmed"):
            rolled.delete(confirm)
    assert lab.dps.enrollments.find("widget")
    rolled.delete("widget")
    assert lab.dps.enrollments.find("widget") is None
    assert (rolled.title, rolled.listing.things) == ("", ())
    with pytest.raises(LabError, match="Nothing is open"):
        rolled.delete("widget")


# ---- certificates


def test_a_ca_is_uploaded_proven_and_deleted(story: Story) -> None:
    lab, portal = story.lab, story.lab.portal()
    portal.show("certificates")
    portal.new()
    with pytest.raises(LabError, match="No certificate was handed over"):
        portal.upload("factory-y")
    portal.attach("certificate", story.factory.certificate, "factory.pem")
    portal.upload("factory-y")
    ca = lab.dps.certificates.get("factory-y")
    assert not ca.is_verified
    portal.generate_code()
    code = portal.opened.code
    assert code == ca.verification_code
    portal.attach("proof", story.company.prove_possession(code))
    with pytest.raises(ServiceRefusal, match="IH400053"):
        portal.verify()
    assert portal.trouble is not None
    assert portal.trouble.explanation is not None
    portal.attach("proof", story.factory.prove_possession(code))
    portal.verify()
    assert ca.is_verified
    portal.delete("factory-y")
    assert [known.name for known in lab.dps.certificates] == ["company-x"]


def test_a_certificate_that_was_changed_meanwhile_is_left_alone(story: Story) -> None:
    portal = story.lab.portal()
    portal.show("certificates")
    portal.open("company-x")
    story.lab.dps.certificates.generate_verification_code("company-x")
    with pytest.raises(ServiceRefusal, match="IH412001"):
        portal.delete("company-x")
    portal.refresh()
    portal.delete("company-x")
    assert list(story.lab.dps.certificates) == []


def test_a_hub_has_certificates_of_its_own(story: Story) -> None:
    portal = story.lab.portal()
    portal.show("certificates", HUB)
    portal.new()
    portal.attach("certificate", story.company.certificate)
    portal.upload("company-x")
    assert [ca.name for ca in story.lab.hub().certificates] == ["company-x"]
    assert "/IotHubs/contoso-hub/certificates/company-x" in list(portal.calls)[-1].rest


# ---- devices and registrations


def test_a_device_is_cut_off_let_in_and_deleted(story: Story) -> None:
    lab, name = story.lab, story.widget.name
    story.widget.provision()
    story.widget.connect()
    portal = lab.portal()
    portal.show("devices", HUB)
    portal.open(name)
    assert portal.opened.connected
    portal.disable("stolen")
    assert not lab.hub().devices.get(name).enabled
    assert (portal.opened.connected, portal.opened.reason) == (False, "stolen")
    portal.enable()
    assert lab.hub().devices.get(name).enabled
    portal.delete(name)
    assert name not in lab.hub().devices
    with pytest.raises(LabError, match="makes no devices"):
        portal.new()


def test_registrations_outlive_nothing_but_their_deletion(story: Story) -> None:
    lab, name = story.lab, story.widget.name
    story.widget.provision()
    portal = lab.portal()
    portal.open("smart-x-widgets")
    portal.show_registrations()
    assert portal.records is not None
    assert [record.registration_id for record in portal.records.listing.things] == [name]
    with pytest.raises(NotFound, match="is shown"):
        portal.delete_registration("other", "other")
    portal.delete_registration(name, name)
    assert lab.dps.registrations.find(name) is None
    assert portal.records.listing.things == ()
    assert name in lab.hub().devices
    portal.show_settings()
    assert portal.records is None


def test_an_individual_enrollment_has_one_registration(lab: Lab) -> None:
    device = lab.self_signed_device("alone")
    lab.dps.enrollments.create("alone", certificate=device.certificate)
    portal = lab.portal()
    portal.show(INDIVIDUAL)
    portal.open("alone")
    portal.show_registrations()
    assert portal.records is not None
    assert portal.records.listing.things == ()
    device.provision()
    portal.refresh()
    (found,) = portal.records.listing.things
    assert found.assigned_hub == lab.hub().host_name


# ---- lists


def test_lists_have_pages(lab: Lab) -> None:
    for number in range(PAGE + 3):
        lab.dps.enrollments.create(f"w-{number:02}", keys=SymmetricKeyAttestation())
    portal = lab.portal()
    portal.show(INDIVIDUAL)
    assert len(portal.listing.things) == PAGE
    portal.previous_page()
    portal.next_page()
    assert [entry.id for entry in portal.listing.things] == ["w-20", "w-21", "w-22"]
    portal.next_page()
    assert len(portal.listing.things) == 3
    portal.previous_page()
    assert portal.listing.things[0].id == "w-00"


@pytest.mark.parametrize(
    ("kind", "hub"),
    [("devices", ""), (GROUPS, HUB), ("twins", ""), ("certificates", "no-such-hub")],
)
def test_there_is_no_such_list(portal: Portal, kind: str, hub: str) -> None:
    with pytest.raises(LabError):
        portal.show(kind, hub)
    assert portal.place.kind == GROUPS


def test_what_belongs_to_another_list_says_so(portal: Portal) -> None:
    for press in (portal.verify, portal.enable, portal.disable):
        with pytest.raises(LabError, match="is done in the list of"):
            press()
    with pytest.raises(LabError, match="no form"):
        portal.save()


def test_what_is_missing_is_refused_and_the_place_stays(portal: Portal) -> None:
    with pytest.raises(NotFound, match="404201"):
        portal.open("nobody")
    assert (portal.title, portal.place.kind) == ("", GROUPS)


def test_it_follows_the_lab_and_leaves_a_form_alone(story: Story) -> None:
    """An entry stays as it was read, or a conflict could not be found; a certificate does not."""
    lab, portal = story.lab, story.lab.portal()
    portal.open("smart-x-widgets")
    before = portal.opened
    lab.dps.enrollment_groups.disable("smart-x-widgets")
    portal.follow()
    assert portal.opened == before
    assert not portal.listing.things[0].enabled
    portal.show("certificates")
    portal.open("company-x")
    lab.dps.certificates.generate_verification_code("company-x")
    portal.follow()
    assert portal.opened.code
    lab.dps.certificates.delete("company-x")
    portal.follow()
    assert (portal.opened, portal.notice) == (None, "company-x is not there any more.")
