"""What the inspector and the remedies say of individual enrollments."""

from __future__ import annotations

import pytest
from stories import Story

from labkit import Lab
from labkit.cloud.dps.entries import SymmetricKeyAttestation
from labkit.errors import ProvisioningFailed
from labkit.pki import chain
from labkit.ui.inspector import inspect_all
from labkit.ui.remedy import remedies


def facts(lab: Lab, node: str) -> dict[str, str]:
    return dict(inspect_all(lab)[node].facts)


def test_two_certificates_of_one_name_are_told_apart_by_their_thumbprints(lab: Lab) -> None:
    own, spare = lab.self_signed_device("own-1"), lab.spare_certificate("own-1")
    lab.dps.enrollments.create("own-1", certificate=own.certificate, secondary=spare)
    own.provision()
    found = facts(lab, "enrollment own-1")
    assert found["admits"] == "own-1 alone, by CN=own-1, by one of two certificates"
    assert found["primary certificate"].endswith(chain.thumbprint(own.certificate))
    assert found["secondary certificate"].endswith(chain.thumbprint(spare))
    known = facts(lab, "identity contoso-hub/own-1")
    assert known["thumbprint"] == chain.thumbprint(own.certificate)
    assert known["or thumbprint"] == chain.thumbprint(spare)


def test_a_symmetric_key_is_nowhere_in_the_picture(lab: Lab) -> None:
    """Anybody may look over a trainee's shoulder."""
    entry = lab.dps.enrollments.create("thermostat-1", keys=SymmetricKeyAttestation())
    assert isinstance(entry.attestation, SymmetricKeyAttestation)
    assert "primary certificate" not in facts(lab, "enrollment thermostat-1")
    assert entry.attestation.primary_key not in str(inspect_all(lab))


def test_the_remedy_puts_the_device_s_own_certificate_into_its_entry(story: Story) -> None:
    lab, widget = story.lab, story.widget
    lab.dps.enrollments.create(widget.name, certificate=story.factory.certificate)
    with pytest.raises(ProvisioningFailed):
        widget.provision()
    explanation = lab.explain(widget)
    (remedy,) = remedies(lab, explanation)
    assert remedy.label.startswith("Put its own certificate into the entry")
    assert "own certificate" in explanation.cures[remedy.cure]
    remedy.apply()
    assert lab.dps.registrations.get(widget.name).status == "assigned"
