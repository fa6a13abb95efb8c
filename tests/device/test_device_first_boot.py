"""A device of the lab at its first boot: with either onboarding credential, and what it does with a
trust bundle."""

from __future__ import annotations

from base64 import b64encode

import pytest
from first_boot_stories import AUTHORITY, VERSION, FirstBoot, linked, set_authority
from stories import Story

from labkit.cloud.dps.entries import SymmetricKeyAttestation
from labkit.device import Device
from labkit.device.answer import read_object
from labkit.device.dialects import dialect
from labkit.device.registration import Transport
from labkit.errors import LabError, ProvisioningFailed

KEY = b64encode(b"k" * 32).decode()
TRANSPORTS = pytest.mark.parametrize("transport", ["mqtt", "https"])


@pytest.fixture
def boot(story: Story) -> FirstBoot:
    found = linked(story)
    found.account.change_profile("first-boot", common_names="*")
    return found


def boots(device: Device, **options: str) -> None:
    device.provision(csr=device.operational.request(), api_version=VERSION, **options)


@TRANSPORTS
def test_a_symmetric_key_may_be_the_onboarding_credential(
    boot: FirstBoot, transport: Transport
) -> None:
    """The device enters its hub with the certificate then, and has no use for the key there."""
    widget = boot.story.technician.make_device("keyed")
    boot.story.lab.dps.enrollments.create(
        "keyed", keys=SymmetricKeyAttestation(KEY, KEY), certificate_authority=AUTHORITY
    )
    boots(widget, symmetric_key=KEY, transport=transport)
    widget.connect().send({"temperature": 21.5})
    assert boot.story.lab.hub().devices.get("keyed").authentication == "selfSigned"
    assert KEY not in "".join(map(repr, boot.story.lab.events))


def test_what_failed_leaves_the_device_as_it_was_and_asks_for_the_same_key(
    boot: FirstBoot,
) -> None:
    widget = boot.story.widget
    boots(widget)
    before, asked = widget.operational.chain, widget.operational.request()
    boot.ca.stop()
    with pytest.raises(ProvisioningFailed, match="did not provision"):
        widget.provision(csr=asked, api_version=VERSION)
    assert widget.operational.chain == before
    assert widget.operational.request().public_key() == asked.public_key()
    widget.connect().send({"temperature": 21.5})


def test_the_next_certificate_comes_from_whoever_has_issued_the_one_in_use(
    boot: FirstBoot,
) -> None:
    widget = boot.story.widget
    boots(widget)
    before = widget.operational.chain
    widget.renew_operational()
    assert widget.operational.chain[0] != before[0]
    assert widget.operational.chain[1:] == before[1:]
    widget.connect().send({"temperature": 21.5})


@pytest.mark.parametrize(
    "bundle",
    [7, "text", [1], {"certificates": 7}, {"certificates": ["text"]}, {"certificates": [1]}],
)
def test_a_bundle_that_is_none_is_a_refusal_and_no_accident(bundle: object) -> None:
    with pytest.raises(ProvisioningFailed):
        dialect(VERSION).trust_bundle({"trustBundle": bundle})


def test_an_answer_that_is_no_json_object_is_told_as_such() -> None:
    assert read_object(b"") == {}
    for body in (b"[]", b"7", b"{"):
        with pytest.raises(ValueError, match=r"object|Expecting"):
            read_object(body)


def test_nobody_else_renews(boot: FirstBoot) -> None:
    boots(boot.story.widget)
    with pytest.raises(LabError, match="renews no operational") as error:
        boot.story.widget.renew_operational("hbu")  # type: ignore[arg-type]
    assert error.value.expected == "dps or hub"


def test_the_keys_stay_in_the_token(boot: FirstBoot) -> None:
    boots(boot.story.widget)
    proof = boot.story.widget.operational.proof
    assert proof is not None
    said = proof[1].attributes
    assert said["SENSITIVE"]
    assert said["NEVER_EXTRACTABLE"]
    assert said["LOCAL"]


def test_a_bundle_with_an_intermediate_is_no_trust_store_for_this_firmware(
    boot: FirstBoot,
) -> None:
    lab, widget = boot.story.lab, boot.story.widget
    bundle = [lab.server.root.certificate, boot.story.factory.certificate]
    lab.dps.trust_bundles.create("mixed", bundle)
    set_authority(boot.story, AUTHORITY, "mixed")
    before = widget.trusted_roots
    boots(widget)
    assert widget.trusted_roots == before
    assert "does not install" in lab.events.about(kind="left out")[-1].text


def test_a_version_that_the_client_does_not_speak_is_named(boot: FirstBoot) -> None:
    widget = boot.story.widget
    with pytest.raises(LabError, match="does not speak"):
        widget.provision(csr=widget.operational.request(), api_version="2019-03-31")
