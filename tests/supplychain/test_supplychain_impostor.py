"""Whoever carried a device's key can be the device; who never had it cannot."""

from __future__ import annotations

from pathlib import Path

import pytest
from complaints import refused
from foreign_tools import openssl_verify
from stories import Story, enroll, open_lab
from supply_stories import CARRIED, PARTNERS, carried

from labkit import Lab
from labkit.errors import NotFound, ProvisioningFailed
from labkit.pki import profiles, request, verdict
from labkit.supplychain.accountability import DEVICE, PROOF, SERVER


def test_a_partner_is_admitted_as_the_device_and_heard_by_the_hub(lab: Lab) -> None:
    """Over the wire, from DPS to telemetry; the true device has not moved."""
    company = lab.custodian("Company-X").create_root_ca()
    enroll(lab, company)
    carried(company, lab)
    for partner in PARTNERS:
        impostor = lab.impersonate(CARRIED[0], by=partner)
        assert impostor.provision().device_id == CARRIED[0]
        impostor.connect().send({"from": partner})
        impostor.disconnect()
    heard = [message.text for message in lab.hub().messages(CARRIED[0])]
    assert heard == ['{"from": "Factory-Y"}', '{"from": "Technician-Z"}']
    assert lab.device(CARRIED[0]).assignment is None
    assert repr(impostor) == "<Technician-Z as 'carried-1', with a copy of its key>"


def test_the_log_tells_the_impostor_from_the_device(lab: Lab) -> None:
    company = lab.custodian("Company-X").create_root_ca()
    enroll(lab, company)
    carried(company, lab)
    lab.impersonate(CARRIED[0], by=lab.custodian("Factory-Y")).provision()
    told = [event.text for event in lab.events.about(source="device")]
    assert all(text.startswith("Factory-Y, as carried-1, ") for text in told)


def test_a_key_that_was_never_carried_cannot_be_played(story: Story) -> None:
    with refused(NotFound, "Factory-Y has no copy", "born in its device stays"):
        story.lab.impersonate("smart-x-widget-001", by="Factory-Y")
    story.company.pregenerate(["carried-1"])
    with refused(NotFound, "Factory-Y has no copy", "went through those of Company-X"):
        story.lab.impersonate("carried-1", by="Factory-Y")


def test_an_impostor_leaves_with_its_lab(tmp_path: Path) -> None:
    with open_lab(tmp_path / "lab") as lab:
        company = lab.custodian("Company-X").create_root_ca()
        enroll(lab, company)
        carried(company, lab)
        impostor = lab.impersonate(CARRIED[0], by="Factory-Y")
        impostor.provision()
        impostor.connect()
    assert impostor._client is None


def test_a_certificate_by_the_servers_template_is_no_devices(story: Story, tmp_path: Path) -> None:
    """openssl takes the chain where it is told no purpose; DPS does not, and neither does
    openssl for a TLS client. The ledger counts it as no device."""
    lab, widget = story.lab, story.widget
    before = lab.ledger().registrations()
    csr = request.make(widget.key, request.name(widget.name))
    widget.install_chain(story.technician.sign_device(csr, profile=profiles.SERVER))
    root = story.company.certificate
    assert "purpose" in openssl_verify(tmp_path, widget.chain, [root], lab.clock.now())
    with pytest.raises(ProvisioningFailed, match="401"):
        widget.provision()
    failure = lab.explain(widget).failure
    assert failure is not None
    assert failure.name == verdict.PURPOSE
    last = lab.ledger().signatures[-1]
    assert (last.kind, last.asker) == (SERVER, widget.name)
    assert lab.ledger().registrations() == before


def test_a_certificate_that_names_no_purpose_passes_as_a_devices(story: Story) -> None:
    """By the template of a proof of possession: DPS admits it, so the ledger counts it, too. A
    proof is known by its code."""
    lab, widget = story.lab, story.widget
    before = lab.ledger().registrations().by_thumbprint
    csr = request.make(widget.key, request.name(widget.name))
    signed = story.technician.sign_device(csr, profile=profiles.VERIFICATION)
    story.company.prove_possession("A" * 48)
    widget.install_chain(signed)
    assert widget.provision().status == "assigned"
    mine, proof = lab.ledger().signatures[-2:]
    assert (mine.kind, mine.asker) == (DEVICE, widget.name)
    assert (proof.kind, proof.asker) == (PROOF, "Company-X")
    assert lab.ledger().registrations().by_thumbprint == before + 1
