"""One thing handed over in place of another, as it happens in a notebook: the answer is the lab's
own words with a cure, never the traceback of a library, and never silence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from stories import Story, open_lab

from labkit.cloud.dps.entries import CLIENT, REFERENCES, STATIC, X509Attestation
from labkit.errors import (
    BadCertificate,
    BadRequest,
    LabError,
    NotFound,
    ServiceRefusal,
)
from labkit.pki import chain

Use = Callable[[Any], Any]

A_DEVICE_FOR_ITS_NAME: dict[str, Use] = {
    "enrollment": lambda story: story.lab.dps.enrollments.disable(story.widget),
    "a book's in": lambda story: story.widget in story.lab.dps.enrollments,
    "registration": lambda story: story.lab.dps.registrations.delete(story.widget),
    "identity": lambda story: story.lab.hub().devices.disable(story.widget),
    "an identity in": lambda story: story.widget in story.lab.hub().devices,
    "twin": lambda story: story.lab.hub().update_twin(story.widget, desired={"n": 1}),
    "method": lambda story: story.lab.hub().invoke(story.widget, "reprovision"),
    "messages": lambda story: story.lab.hub().messages(story.widget),
    "device": lambda story: story.lab.device(story.widget),
}


@pytest.mark.parametrize("use", A_DEVICE_FOR_ITS_NAME.values(), ids=A_DEVICE_FOR_ITS_NAME)
def test_a_device_in_place_of_its_name(shared: Story, use: Use) -> None:
    with pytest.raises(LabError) as caught:
        use(shared)
    assert caught.value.found == "a value of type Device"
    assert caught.value.cure == "hand over its .name"


def entry_of(story: Story, **settings: Any) -> Any:
    """What comes of an entry with these settings for a device that has none."""
    entries, made = story.lab.dps.enrollments, story.lab.self_signed_device("handed-over")
    if entries.find(made.name) is None:
        entries.create(made.name, certificate=made.certificate)
    return entries.update(replace(entries.get(made.name), **settings))


@pytest.mark.parametrize(
    ("field", "wrong", "cure"),
    [
        ("attestation", lambda s: s.widget.certificate, "X509Attestation(CLIENT, certificate)"),
        ("attestation", lambda s: X509Attestation(CLIENT, s.widget), "its .certificate"),
        ("iot_hub_host_name", lambda s: s.lab.hub(), ".host_name"),
        ("iot_hubs", lambda s: (s.lab.hub(),), ".host_name"),
        ("reprovision_policy", lambda _: "never", "MIGRATE, RESET, NEVER"),
        ("initial_twin", lambda _: {"interval": 60}, "InitialTwin(desired="),
    ],
)
def test_an_entry_takes_nothing_for_something_else(
    shared: Story, field: str, wrong: Use, cure: str
) -> None:
    """Before, some of these were kept without a word: an entry that admits nobody."""
    with pytest.raises(ServiceRefusal, match="400004") as caught:
        entry_of(shared, allocation_policy=STATIC, **{field: wrong(shared)})
    assert "a value of type" in caught.value.found
    assert cure in caught.value.cure


def test_a_group_names_an_uploaded_ca_by_its_name(shared: Story) -> None:
    groups: Any = shared.lab.dps.enrollment_groups
    with pytest.raises(ServiceRefusal, match="400004") as caught:
        groups.create("by-object", ca=shared.company)
    assert caught.value.cure == "send the name under which DPS has the CA"
    assert "by-object" not in groups
    entry = groups.create("by-name", ca="some-ca")
    assert entry.attestation == X509Attestation(REFERENCES, "some-ca")
    assert "by-name" in groups


def test_a_chain_is_made_of_certificates(story: Story) -> None:
    widget: Any = story.widget
    with pytest.raises(BadCertificate) as caught:
        widget.install_chain([widget.certificate, story.technician])
    assert caught.value.cure == "hand over its .certificate"
    with pytest.raises(BadCertificate):
        widget.accept_certificate(story.technician)
    before = widget.chain
    widget.install_chain(widget.certificate)
    assert widget.chain == before[:1], "one certificate is a chain of one"


BUNDLES: dict[str, Use] = {
    "trust bundle": lambda story: story.lab.dps.trust_bundles.create,
    "service API": lambda story: story.lab.dps.trust_bundles.put,
    "trust store": lambda story: lambda _, roots: story.widget.install_roots(roots),
    "chain": lambda story: (
        lambda name, certificates: story.lab.custodian("Company-X").accept_ca(
            story.lab.custodian("Company-X").request_ca(name), certificates
        )
    ),
}
NO_CERTIFICATES: dict[str, tuple[Use, str, str]] = {
    "a CA": (lambda s: s.company, "a value of type CertificateAuthority", "its .certificate"),
    "CAs": (lambda s: [s.company], "a value of type CertificateAuthority", "its .certificate"),
    "nothing": (lambda _: None, "a value of type NoneType", "its file as a Path"),
    "a set": (lambda s: {s.company.certificate}, "a value of type set", "its file as a Path"),
    "words among them": (
        lambda s: [s.company.certificate, "no certificate"],
        "14 bytes that are neither PEM nor DER",
        "look at the file",
    ),
    "the name of a file": (lambda _: ["roots.pem"], "the name of a file, as text", "Path(...)"),
}


@pytest.mark.parametrize("into", BUNDLES.values(), ids=BUNDLES)
@pytest.mark.parametrize("wrong", NO_CERTIFICATES.values(), ids=NO_CERTIFICATES)
def test_certificates_together_are_certificates_each(
    shared: Story, into: Use, wrong: tuple[Use, str, str]
) -> None:
    """Before, Python answered: an object that has no attribute, or cannot be iterated."""
    given, found, cure = wrong
    with pytest.raises(BadCertificate) as caught:
        into(shared)("handed-over", given(shared))
    assert caught.value.expected.startswith("an X.509 certificate in PEM")
    assert caught.value.found == found
    assert cure in caught.value.cure
    assert shared.lab.dps.trust_bundles.find("handed-over") is None


def test_a_trust_bundle_comes_in_any_form(shared: Story, tmp_path: Path) -> None:
    """One certificate, a file of several, or a list of files and certificates."""
    bundles, cas = shared.lab.dps.trust_bundles, [shared.company.certificate]
    cas.append(shared.factory.certificate)
    file = tmp_path / "both.pem"
    file.write_text(chain.to_pem(cas))
    assert bundles.create("any-form", cas[0]).certificates == (cas[0],)
    for whole in (file, file.read_bytes(), bytearray(file.read_bytes()), [file], cas):
        assert bundles.create("any-form", whole).certificates == tuple(cas)
    assert bundles.create("any-form", [cas[1], file]).certificates == (cas[1], cas[0])


def test_whoever_renews_must_be_able_to_sign(story: Story) -> None:
    widget: Any = story.widget
    before = widget.certificate
    with pytest.raises(BadRequest) as caught:
        widget.renew("Technician-Z")
    assert caught.value.found == "a value of type str"
    assert widget.certificate == before


def test_whom_the_firmware_asks_must_be_able_to_sign(story: Story) -> None:
    firmware: Any = story.widget.firmware
    firmware.issuer = story.technician
    with pytest.raises(BadRequest) as caught:
        firmware.issuer = "Technician-Z"
    assert caught.value.found == "a value of type str"
    assert firmware.issuer is story.technician


def test_a_name_in_place_of_the_device_to_steal_from(story: Story) -> None:
    mallory: Any = story.lab.attacker("Mallory")
    with pytest.raises(BadRequest) as caught:
        mallory.steal(story.widget.name)
    assert caught.value.found == "a value of type str"
    assert mallory.victims == []


def test_the_clock_takes_the_text_that_the_lab_is_opened_with(story: Story) -> None:
    assert f"{story.lab.clock.set('2031-09-06T09:00:00Z'):%Y-%m-%d %H:%M}" == "2031-09-06 09:00"
    with pytest.raises(LabError, match="not a moment in time"):
        story.lab.clock.set("next week")


def test_one_hub_may_be_named_without_a_tuple(tmp_path: Path) -> None:
    with open_lab(tmp_path / "lab", hubs="contoso-east") as lab:
        assert [hub.name for hub in lab.cloud.hubs] == ["contoso-east"]


def test_a_victim_in_place_of_a_hub(story: Story) -> None:
    mallory = story.lab.attacker("Mallory")
    mallory.steal(story.widget)
    with pytest.raises(NotFound) as caught:
        mallory.try_hub(story.widget.name)
    assert f"try_hub(device='{story.widget.name}')" in caught.value.cure


def test_a_device_that_is_there_and_listens_to_no_method_is_not_called_absent(
    story: Story,
) -> None:
    story.widget.provision()
    story.widget.connect()
    with pytest.raises(ServiceRefusal, match="404103") as caught:
        story.lab.hub().invoke(story.widget.name, "renew")
    assert caught.value.found == "it is connected, and has set no handler for methods"
