"""Revocation lists: signed in the CA's token, read by others, and of no consequence to Azure."""

from __future__ import annotations

import pytest
from complaints import refused
from cryptography import x509
from stories import Story

from labkit.errors import BadRequest


def test_a_list_is_signed_by_its_ca_and_names_what_it_takes_back(story: Story) -> None:
    widget, now = story.widget, story.lab.clock.now()
    made = story.technician.revoke(widget.certificate)
    assert made.is_signature_valid(story.technician.certificate.public_key())  # type: ignore[arg-type]
    found = made.get_revoked_certificate_by_serial_number(widget.certificate.serial_number)
    assert found is not None
    reason = found.extensions.get_extension_for_class(x509.CRLReason).value
    assert reason.reason == x509.ReasonFlags.key_compromise
    assert made.next_update_utc is not None
    assert made.next_update_utc > now


def test_neither_dps_nor_the_hub_asks_for_it(story: Story) -> None:
    story.technician.revoke(story.widget.certificate)
    story.widget.provision()
    story.widget.connect().send({"is": "here"})


@pytest.mark.parametrize("reason", ["keyCompromise", "superseded"])
def test_a_ca_revokes_only_what_it_has_signed(story: Story, reason: str) -> None:
    with refused(BadRequest, "cannot revoke"):
        story.company.revoke(story.widget.certificate, reason=reason)


def test_a_reason_is_one_of_the_rfc(story: Story) -> None:
    with refused(BadRequest, "is no reason"):
        story.technician.revoke(story.widget.certificate, reason="because")
