"""Roll the certificate on the device: where its key is kept, how the next certificate gets there,
and why its name stays."""

from __future__ import annotations

import base64

import pytest
from procedure_steps import (
    assert_connects,
    assert_provisions,
    assert_refused,
    assert_unauthorized,
    identity_of,
    verify,
)
from stories import Story, eventually

from labkit.cloud.hub import authentication as hub_checks
from labkit.device import Device
from labkit.pki import chain, verdict


def records_of(story: Story, *names: str) -> int:
    return sum(story.lab.dps.registrations.find(name) is not None for name in names)


def test_roll_the_certificate_on_the_device__a_key_in_a_safe_place_is_not_stolen(
    shared: Story,
) -> None:
    """The same theft from two devices: the one keeps its key in a file, the other in its token."""
    mallory = shared.lab.attacker("Mallory")
    careless = shared.technician.make_device("careless", key_in_file=True)
    careful = shared.technician.make_device("careful")
    assert_provisions(careless, careful)
    assert [mallory.steal(careless).has_key, mallory.steal(careful).has_key] == [True, False]
    assert mallory.try_hub(device="careless").got_in
    assert mallory.try_dps("careful").outcome == "ended in TLS"
    assert mallory.try_hub(device="careful").outcome == "ended in TLS"


def test_roll_the_certificate_on_the_device__the_same_cn_makes_no_second_record(
    shared: Story,
) -> None:
    widget = shared.technician.make_device("same-cn")
    assert_provisions(widget)
    before = identity_of(shared.lab, widget), len(shared.lab.dps.registrations)
    widget.renew(shared.technician)
    assert_provisions(widget)
    after = identity_of(shared.lab, widget)
    assert (after.device_id, after.generation_id) == ("same-cn", before[0].generation_id)
    assert after.thumbprint != before[0].thumbprint
    assert len(shared.lab.dps.registrations) == before[1]


def test_roll_the_certificate_on_the_device__another_cn_makes_a_second_record(
    shared: Story,
) -> None:
    """The mistake: to DPS and to the hub it is another device, and the old one stays behind."""
    widget = shared.technician.make_device("one-name")
    assert_provisions(widget)
    assert records_of(shared, "one-name", "other-name") == 1
    widget.renew(shared.technician, common_name="other-name")
    assert_provisions(widget)
    assert records_of(shared, "one-name", "other-name") == 2
    assert {"one-name", "other-name"} <= {d.device_id for d in shared.lab.hub().devices}


def test_roll_the_certificate_on_the_device__it_sends_a_csr_and_downloads_from_the_ca(
    shared: Story,
) -> None:
    """A new key is born in its token; the request says the name that it has; the old pair stays in
    reserve until the new one has worked."""
    widget = shared.technician.make_device("asks-its-ca")
    assert_provisions(widget)
    old, old_key = widget.certificate, widget.key.public_key()
    asked = widget.request_certificate()
    assert asked.request.public_key() != old_key
    widget.accept_certificate(shared.technician.issue(asked))
    assert chain.common_name(widget.certificate) == chain.common_name(old)
    assert_unauthorized(shared.lab, widget, hub_checks.THUMBPRINT)
    assert_provisions(widget)
    assert widget.reserve[0] == old
    widget.retire_reserve()
    assert_connects(widget)
    assert (widget.reserve, len(widget.key.token.key_labels)) == ([], 1)


@pytest.fixture
def updatable(shared: Story) -> Device:
    """A device that has known its manufacturer's update-signing key since it was made; at work."""
    shared.lab.custodian("Technician-Z").update_signer()
    names = {device.name for device in shared.lab.devices}
    widget = shared.technician.make_device(f"updated-{len(names)}")
    assert widget.firmware.policies.accept_updates
    assert_provisions(widget)
    return widget


def test_roll_the_certificate_on_the_device__a_retained_csr_and_an_update_over_the_air(
    shared: Story, updatable: Device
) -> None:
    """Nobody asks the device: the CA has its request still, and the hub carries the package. One
    that was tampered with is refused; the true one is installed, for the key that it has."""
    widget, signer = updatable, shared.lab.custodian("Technician-Z").update_signer()
    old, key = widget.certificate, widget.key.public_key()
    package = signer.renew(shared.technician, widget).to_json()
    spoilt = {**package, "signature": base64.b64encode(b"0" * 64).decode()}
    assert shared.lab.hub().invoke(widget.name, "installUpdate", spoilt).status == 400
    assert widget.certificate == old
    assert shared.lab.hub().invoke(widget.name, "installUpdate", package).status == 200
    assert widget.certificate != old
    assert widget.key.public_key() == key
    assert_unauthorized(shared.lab, widget, hub_checks.THUMBPRINT)
    assert_provisions(widget)


def test_roll_the_certificate_on_the_device__an_update_waits_for_a_device_that_is_away(
    shared: Story, updatable: Device
) -> None:
    """The same package as a message of the hub's queue."""
    widget, signer = updatable, shared.lab.custodian("Technician-Z").update_signer()
    old = widget.certificate
    widget.disconnect()
    package = signer.renew(shared.technician, widget).to_bytes()
    shared.lab.hub().send(widget.name, package, kind="update")
    assert widget.certificate == old
    widget.connect()
    eventually(lambda: widget.certificate != old)
    assert_provisions(widget)


def test_roll_the_certificate_on_the_device__below_a_third_party_that_issues_anew(
    shared: Story,
) -> None:
    """Certificates of a third party: when it rolls, the device comes with one that its old group
    does not know, until the new issuer is in an entry, too."""
    lab = shared.lab
    third = lab.custodian("Third-Party").create_root_ca()
    widget = shared.technician.make_device("third-party")
    assert_provisions(widget)
    widget.renew(third)
    assert_refused(lab, widget, verdict.ISSUER)
    verify(lab, "third-party", third)
    lab.dps.enrollment_groups.create("third-party", signing=third.certificate)
    assert_provisions(widget)
