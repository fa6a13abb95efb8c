"""DPS without sockets: a presented chain in, an assignment or an explained refusal out."""

from __future__ import annotations

from datetime import timedelta

import forge
import pytest
from complaints import refused
from cryptography import x509
from stories import Story, authority_of, enroll, enrolled, failed_check

from labkit import Lab
from labkit.cloud import Presented, codes
from labkit.cloud.dps import attestation
from labkit.cloud.dps.caller import Caller
from labkit.cloud.dps.registrations import Registration
from labkit.errors import AzureError, BadCertificate, Conflict, LabError, NotFound, ServiceRefusal
from labkit.pki import profiles, request, verdict

NAME = "smart-x-widget-001"


def caller(story: Story, name: str = NAME, *, sent: int = 3, scope: str = "") -> Caller:
    presented = Presented(tuple(story.widget.chain[:sent]), "127.0.0.1")
    return Caller(scope or story.lab.dps.id_scope, name, presented)


def register(story: Story, *chain: x509.Certificate, name: str = NAME) -> Registration:
    return registered(story, Caller(story.lab.dps.id_scope, name, Presented(chain)))


def registered(story: Story, by: Caller) -> Registration:
    """The record of a registration that ended in an assignment."""
    operation = story.lab.dps.register(by)
    assert (operation.status, operation.retry_after) == ("assigned", 0)
    assert operation.registration is not None
    assert operation.registration.operation_id == operation.operation_id
    return operation.registration


def issued(story: Story, common_name: str) -> tuple[x509.Certificate, ...]:
    """A device's chain below Technician-Z, whatever its CN."""
    signer = authority_of(story.technician)
    key = forge.new_key().public_key()
    leaf = signer.issue(key, request.name(common_name), profiles.DEVICE)
    return (leaf, *story.technician.chain[:2])


# ---- assignment


def test_a_whole_chain_is_assigned_and_gets_an_identity_in_the_hub(story: Story) -> None:
    row = registered(story, caller(story))
    assert (row.status, row.substatus) == ("assigned", "initialAssignment")
    assert (row.group_id, row.assigned_hub) == ("smart-x-widgets", "contoso-hub.azure-devices.net")
    assert [d.device_id for d in story.lab.hub().devices] == [NAME]
    assert story.lab.hub().twin(NAME).to_json()["desired"] == {"$version": 1}


def test_registering_again_keeps_one_record_and_one_identity(story: Story) -> None:
    first, second = (registered(story, caller(story)) for _ in range(2))
    assert first.created == second.created
    assert first.operation_id != second.operation_id
    assert len(list(story.lab.dps.registrations)) == 1
    assert len(story.lab.hub().devices) == 1


def test_registration_ids_are_compared_without_case_and_make_one_device(story: Story) -> None:
    """The hub compares device IDs with regard to case: DPS must name it in one way only."""
    first = register(story, *story.widget.chain)
    second = register(story, *story.widget.chain, name=NAME.upper())
    assert first.device_id == second.device_id
    assert len(list(story.lab.dps.registrations)) == 1
    assert [d.device_id for d in story.lab.hub().devices] == [first.device_id]


def test_a_new_certificate_renews_the_hubs_thumbprint(story: Story) -> None:
    register(story, *issued(story, "widget"), name="widget")
    before = story.lab.hub().devices.get("widget").thumbprint
    register(story, *issued(story, "widget"), name="widget")
    assert story.lab.hub().devices.get("widget").thumbprint != before


def test_devices_spread_over_hubs_stably(lab: Lab) -> None:
    lab.cloud.hubs.add("second-hub")
    story = enrolled(lab)
    names = [f"widget-{n}" for n in range(24)]
    hubs = {n: register(story, *issued(story, n), name=n).assigned_hub for n in names}
    assert len(set(hubs.values())) == 2
    again = {n: register(story, *issued(story, n), name=n).assigned_hub for n in names}
    assert again == hubs


def test_leaf_only_is_enough_where_the_signing_ca_is_verified_and_named(story: Story) -> None:
    enroll(story.lab, story.technician, "technician-z", "technician-z-widgets")
    assert register(story, story.widget.certificate).group_id == "technician-z-widgets"


def test_leaf_only_is_enough_where_a_ca_above_is_known_too(story: Story) -> None:
    """Technician-Z CA and Factory-Y CA are verified in DPS: its own store completes the chain."""
    for name, ca in (("technician-z", story.technician), ("factory-y", story.factory)):
        uploaded = story.lab.dps.certificates.upload(name, ca.certificate)
        proof = ca.prove_possession(uploaded.verification_code)
        story.lab.dps.certificates.verify(uploaded, proof)
    assert register(story, story.widget.certificate).group_id == "smart-x-widgets"


def test_the_deepest_group_decides(story: Story) -> None:
    story.lab.dps.enrollment_groups.create("below-factory", signing=story.factory.certificate)
    story.lab.dps.enrollment_groups.create("below-tech", signing=story.technician.certificate)
    assert register(story, *story.widget.chain).group_id == "below-tech"
    story.lab.dps.enrollment_groups.delete("below-tech")
    assert register(story, *story.widget.chain).group_id == "below-factory"


# ---- refusals


def refusal(story: Story, *chain: x509.Certificate, name: str = NAME) -> tuple[AzureError, str]:
    """Azure's answer and the check that decided."""
    with refused(ServiceRefusal, "401") as caught:
        register(story, *chain, name=name)
    assert caught.error.tracking_id
    return caught.error.error, failed_check(story.lab, caught.error.tracking_id)


def test_leaf_only_is_refused_for_its_missing_issuer(story: Story) -> None:
    answer = refusal(story, story.widget.certificate)
    assert answer == (codes.CA_NOT_FOUND, verdict.ISSUER)


def test_a_chain_to_an_unverified_ca_is_refused(lab: Lab) -> None:
    story = enrolled(lab)
    lab.dps.certificates.delete("company-x")
    lab.dps.certificates.upload("company-x", story.company.certificate)
    error, check = refusal(story, *story.widget.chain, story.company.certificate)
    assert (error, check) == (codes.CA_NOT_FOUND, verdict.ANCHOR)
    assert "prove possession" in lab.explain().cures[0]


def test_a_self_signed_device_is_refused(story: Story) -> None:
    self_signed = forge.device(NAME, None, days=(-1000, 1000)).certificate
    assert refusal(story, self_signed) == (codes.CA_NOT_FOUND, verdict.ANCHOR)


def test_a_chain_without_an_enrollment_is_refused(story: Story) -> None:
    story.lab.dps.enrollment_groups.delete("smart-x-widgets")
    error, check = refusal(story, *story.widget.chain)
    assert (error, check) == (codes.UNAUTHORIZED, attestation.ENTRY)


def test_a_disabled_group_refuses(story: Story) -> None:
    story.lab.dps.enrollment_groups.disable("smart-x-widgets")
    error, check = refusal(story, *story.widget.chain)
    assert (error, check) == (codes.UNAUTHORIZED, attestation.ENABLED)


def test_a_registration_id_that_is_not_the_cn_is_refused_with_both_named(story: Story) -> None:
    error, check = refusal(story, *story.widget.chain, name="someone-else")
    assert (error, check) == (codes.UNAUTHORIZED, attestation.REGISTRATION_ID)
    text = str(story.lab.explain())
    assert "'someone-else'" in text
    assert f"'{NAME}'" in text


def test_no_certificate_is_refused(story: Story) -> None:
    assert refusal(story) == (codes.UNAUTHORIZED, attestation.POSSESSION)


def test_an_expired_device_is_refused_by_the_labs_clock(story: Story) -> None:
    story.lab.clock.advance(days=366)
    error, check = refusal(story, *story.widget.chain)
    assert (error, check) == (codes.INVALID_CERTIFICATE, verdict.VALIDITY)
    assert "renew it" in story.lab.explain().cures


def test_an_altered_certificate_is_refused_for_its_signature(story: Story) -> None:
    altered = forge.tampered(story.widget.certificate)
    error, check = refusal(story, altered, *story.widget.chain[1:])
    assert (error, check) == (codes.INVALID_CERTIFICATE, verdict.SIGNATURE)


def test_a_ca_cannot_register_as_a_device(story: Story) -> None:
    rogue = story.company.sign_intermediate(story.lab.custodian("Rogue"), "rogue-ca")
    error, check = refusal(story, *rogue.chain, name="rogue-ca")
    assert (error, check) == (codes.INVALID_CERTIFICATE, verdict.LEAF)


def test_another_provisioning_services_scope_is_refused(story: Story) -> None:
    with refused(ServiceRefusal, "401002", "0ne00000000"):
        story.lab.dps.register(caller(story, scope="0ne00000000"))
    assert "ID scope" in failed_check(story.lab)


def test_a_refusal_changes_nothing(story: Story) -> None:
    before = story.lab.dps.register(caller(story)).operation_id
    refusal(story, story.widget.certificate)
    assert story.lab.dps.registrations.get(NAME).operation_id == before


def test_the_questions_that_were_not_asked_are_listed_too(story: Story) -> None:
    refusal(story, story.widget.certificate)
    names = [check.name for check in story.lab.explain().checks]
    for name in (attestation.POSSESSION, attestation.REGISTRATION_ID):
        assert names.count(name) == 1
    assert names[-2:] == [attestation.ENTRY, attestation.ENABLED]


@pytest.mark.parametrize("name", ["a b", "a/b", "ä", "x.", "-" * 64 + "x"])
def test_what_is_no_registration_id_is_not_assigned(story: Story, name: str) -> None:
    """Azure: up to 128 letters, digits and - . _ :, with a letter, digit or - at the end; with
    X.509 at most 64, the length of a CN."""
    with pytest.raises(LabError):
        register(story, *issued(story, name[:64]), name=name)
    assert list(story.lab.dps.registrations) == []


# ---- the walk and the decision go the same way


def test_a_renewed_ca_of_the_same_key_counts_wherever_it_stands_in_the_chain(lab: Lab) -> None:
    """The device still sends the expired Technician-Z CA, and behind it the renewed one."""
    story = enrolled(lab)
    factory = authority_of(story.factory)
    key = story.technician.custodian.token.key(story.technician.name)
    brief = profiles.Profile("brief CA", timedelta(days=1), ("key_cert_sign",), is_ca=True)
    old = factory.issue(key.public_key(), story.technician.certificate.subject, brief)
    lab.clock.advance(days=2)
    leaf, technician, above = story.widget.chain
    assert register(story, leaf, old, technician, above).status == "assigned"


# ---- polling


def test_an_operation_is_told_to_its_own_device(story: Story) -> None:
    row = registered(story, caller(story))
    found = story.lab.dps.operation(caller(story), row.operation_id)
    assert (found.status, found.registration) == ("assigned", row)


def test_somebody_elses_operation_is_not_found(story: Story) -> None:
    operation = story.lab.dps.register(caller(story)).operation_id
    chain = issued(story, "curious")
    curious = Caller(story.lab.dps.id_scope, "curious", Presented(chain))
    with refused(ServiceRefusal, "404202"):
        story.lab.dps.operation(curious, operation)


def test_somebody_elses_name_does_not_open_the_operation_either(story: Story) -> None:
    operation = story.lab.dps.register(caller(story)).operation_id
    stolen = Caller(story.lab.dps.id_scope, NAME, Presented(issued(story, "curious")))
    with refused(ServiceRefusal, "401002"):
        story.lab.dps.operation(stolen, operation)


def test_a_self_signed_certificate_of_the_devices_name_does_not_open_it(story: Story) -> None:
    """Whoever knows an operation ID still has to be the device, not just to call itself so."""
    operation = story.lab.dps.register(caller(story)).operation_id
    forged = Presented((forge.device(NAME, None).certificate,))
    with pytest.raises(ServiceRefusal):
        story.lab.dps.operation(Caller(story.lab.dps.id_scope, NAME, forged), operation)


def test_operation_ids_have_the_form_that_azure_gives_them(story: Story) -> None:
    operation = story.lab.dps.register(caller(story)).operation_id
    assert [len(part) for part in operation.split(".")] == [1, 16, 36]


# ---- enrollment groups


def test_the_same_group_again_is_harmless(story: Story) -> None:
    groups = story.lab.dps.enrollment_groups
    again = groups.create("smart-x-widgets", signing=story.company.certificate)
    assert again.etag == groups.get("SMART-X-Widgets").etag
    assert len(list(groups)) == 1


def test_a_group_of_the_same_id_for_another_ca_is_a_conflict(story: Story) -> None:
    with refused(Conflict, "'smart-x-widgets' exists already", "CN=Company-X Root CA"):
        story.lab.dps.enrollment_groups.create("Smart-X-Widgets", signing=story.factory.certificate)


def test_a_certificate_belongs_to_one_group_only(story: Story) -> None:
    with refused(Conflict, "belongs to an entry already", "'smart-x-widgets' uses it"):
        story.lab.dps.enrollment_groups.create("second", signing=story.company.certificate)


def test_a_group_names_a_ca_and_not_a_device(story: Story) -> None:
    with refused(BadCertificate, "no CA certificate"):
        story.lab.dps.enrollment_groups.create("mine", signing=story.widget.certificate)


@pytest.mark.parametrize("group", ["", "a b", "x" * 129, "x.", "ä", "a\n"])
def test_what_is_no_group_id_is_refused(story: Story, group: str) -> None:
    with pytest.raises(LabError, match="ID of an enrollment group"):
        story.lab.dps.enrollment_groups.create(group, signing=story.factory.certificate)


def test_a_deleted_group_leaves_registrations_and_identities(story: Story) -> None:
    story.lab.dps.register(caller(story))
    story.lab.dps.enrollment_groups.delete("smart-x-widgets")
    assert [r.registration_id for r in story.lab.dps.registrations] == [NAME]
    assert len(story.lab.hub().devices) == 1
    with refused(NotFound, "'smart-x-widgets'", "none yet"):
        story.lab.dps.enrollment_groups.get("smart-x-widgets")


def test_an_unknown_registration_is_not_found(lab: Lab) -> None:
    with refused(NotFound, "never been assigned"):
        lab.dps.registrations.get("nobody")


def test_id_scopes_look_like_azures_and_differ(lab: Lab) -> None:
    assert lab.dps.id_scope.startswith("0ne")
    assert len(lab.dps.id_scope) == 11
