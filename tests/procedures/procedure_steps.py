"""What procedures are told in: who is let in, who is not and by which check, who is on the line.

Each procedure has a *before*, a change, and an *after*. Devices are Microsoft's SDK with keys in
tokens, thieves are the same SDK with a key that lay in a file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from cryptography import x509
from stories import CA, Story, failed_check

from labkit import Lab
from labkit.cloud.dps.book import EntryBook
from labkit.cloud.dps.entries import X509Attestation
from labkit.cloud.hub import authentication as hub_checks
from labkit.cloud.hub.tables import DeviceIdentity
from labkit.device import Assignment, Device
from labkit.drill import Attacker
from labkit.errors import ConnectionFailed, ProvisioningFailed
from labkit.pki import chain

# ---- who is let in


def assert_provisions(*devices: Device) -> None:
    """DPS admits them, and their hub takes them with what they have now."""
    for device in devices:
        device.provision()
        assert_connects(device)


def assert_connects(device: Device) -> None:
    """The hub takes it, and what it says arrives."""
    device.disconnect()
    device.connect().send({"is": "here"})


def assert_refused(lab: Lab, device: Device, check: str) -> None:
    """DPS says no, for this reason."""
    with pytest.raises(ProvisioningFailed) as caught:
        device.provision()
    assert caught.value.refused, "it was an answer, and no broken line"
    assert failed_check(lab, device.registration_id) == check


def assert_unauthorized(lab: Lab, device: Device, check: str) -> None:
    """The hub says no, for this reason."""
    device.disconnect()
    with pytest.raises(ConnectionFailed) as caught:
        device.connect()
    assert caught.value.refused, "it was an answer, and no broken line"
    assert failed_check(lab, device.registration_id) == check


def identity_of(lab: Lab, device: Device) -> DeviceIdentity:
    """The device as its hub knows it."""
    assert device.assignment is not None
    return lab.hub(device.assignment.hub).devices.get(device.assignment.device_id)


def provisioned(device: Device) -> Assignment:
    """What DPS said to a device that is in its hub now."""
    found = device.provision()
    assert_connects(device)
    return found


# ---- what an operator does


def save(
    book: EntryBook[Any],
    entry_id: str,
    primary: x509.Certificate,
    secondary: x509.Certificate | None = None,
) -> None:
    """An entry with these certificates, as the portal saves it: what was read, changed, under the
    ETag with which it was read."""
    entry = book.get(entry_id)
    assert isinstance(entry.attestation, X509Attestation)
    named = X509Attestation(entry.attestation.kind, primary, secondary)
    book.update(replace(entry, attestation=named))


def verify(lab: Lab, name: str, ca: CA) -> None:
    """Uploads a CA certificate to DPS and proves possession of its key."""
    uploaded = lab.dps.certificates.upload(name, ca.certificate)
    lab.dps.certificates.verify(uploaded, ca.prove_possession(uploaded.verification_code))


# ---- a breach, and what closes the hole that it leaves


@dataclass(frozen=True)
class Breach:
    """A device whose key lay in a file, and whoever has a copy of that. Both are let in by DPS and
    by the hub when it begins."""

    lab: Lab
    widget: Device
    thief: Attacker

    @classmethod
    def begun(cls, lab: Lab, widget: Device) -> Breach:
        """The device is at work, its key is stolen: nobody can tell the two apart."""
        assert_provisions(widget)
        breach = cls(lab, widget, lab.attacker(f"thief of {widget.name}"))
        assert breach.thief.steal(widget).has_key
        assert breach.attempts == ["got in", "got in"]
        return breach

    @property
    def attempts(self) -> Sequence[str]:
        """What the thief gets at DPS, and at the hub, now."""
        return [self.thief.try_dps().outcome, self.thief.try_hub().outcome]

    def assert_hole(self) -> None:
        """The certificate has left its entry, and DPS refuses it; the hub was never told. What is
        refused there is the device, which has a new certificate."""
        assert self.attempts == ["refused", "got in"]
        assert_unauthorized(self.lab, self.widget, hub_checks.THUMBPRINT)

    def close_by_removing_the_registration(self) -> None:
        """The first way: the hub's identity is deleted, and the device makes another one."""
        before = identity_of(self.lab, self.widget)
        self.lab.hub(before.hub).devices.delete(before.device_id)
        assert self.attempts == ["refused", "refused"]
        assert_provisions(self.widget)
        assert self.attempts == ["refused", "refused"]
        assert identity_of(self.lab, self.widget).generation_id != before.generation_id

    def close_by_reprovisioning(self) -> None:
        """The second way: the device comes again to the same hub, where its identity gets the new
        certificate in place of the old one."""
        before = identity_of(self.lab, self.widget)
        assert_provisions(self.widget)
        assert self.attempts == ["refused", "refused"]
        after = identity_of(self.lab, self.widget)
        assert (after.hub, after.generation_id) == (before.hub, before.generation_id)
        assert after.thumbprint == chain.thumbprint(self.widget.certificate)


def without_groups(story: Story) -> Lab:
    """The story's lab, where only the entries of a test let anybody in."""
    for group in list(story.lab.dps.enrollment_groups):
        story.lab.dps.enrollment_groups.delete(group.id)
    return story.lab
