"""Update packages: what a device installs, and what it refuses, by name."""

from __future__ import annotations

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from complaints import refused
from stories import Story, enroll, found_again, open_lab, supply_chain

from labkit import Lab
from labkit.device import Device
from labkit.device.update import UpdateRefused
from labkit.errors import LabError, NotFound
from labkit.hsm import Algorithm
from labkit.pki import signing, update
from labkit.pki.update import LARGEST, Manifest, Package
from labkit.supplychain.updates import UpdateSigner

Signer = UpdateSigner[Device]


@pytest.fixture
def made(lab: Lab) -> tuple[Story, Signer]:
    """A widget that was made after its manufacturer had begun to sign updates."""
    company = lab.custodian("Company-X").create_root_ca()
    signer = company.custodian.update_signer()
    return supply_chain(lab), signer


def why(device: Device, package: Any) -> str:
    """The name of the check that a device refuses a package for; it stays as it was."""
    before = (device.chain, device.reserve, device.update_version)
    with refused(UpdateRefused, "does not install this update") as caught:
        device.install_update(package)
    assert (device.chain, device.reserve, device.update_version) == before
    assert caught.error.cure
    assert all(check.passed for check in caught.error.checks[:-1])
    return caught.error.checks[-1].name


def test_an_update_brings_a_new_certificate_for_the_same_key_and_the_old_one_stays_in_reserve(
    made: tuple[Story, Signer],
) -> None:
    (story, signer), old = made, made[0].widget.chain
    assert story.widget.install_update(signer.renew(story.technician, story.widget)) == 1
    assert story.widget.chain != old
    assert story.widget.reserve == old
    assert story.widget.certificate.public_key() == old[0].public_key()
    story.widget.retire_reserve()
    assert story.widget.key.label == "identity", "the key is still in use"
    enroll(story.lab, story.company)
    assert story.widget.provision().status == "assigned"


@pytest.mark.parametrize("form", ["package", "bytes", "text", "json"])
def test_it_may_arrive_in_any_form_and_twice(made: tuple[Story, Signer], form: str) -> None:
    story, signer = made
    package = signer.renew(story.technician, story.widget)
    forms: dict[str, Any] = {
        "package": package,
        "bytes": package.to_bytes(),
        "text": package.to_bytes().decode(),
        "json": package.to_json(),
    }
    assert story.widget.install_update(forms[form]) == 1
    after = story.widget.reserve
    assert story.widget.install_update(forms[form]) == 1
    assert story.widget.reserve == after


def test_a_device_of_before_the_signer_knows_no_key_until_a_technician_puts_it_in(
    lab: Lab,
) -> None:
    story = supply_chain(lab)
    signer = story.company.custodian.update_signer()
    package = signer.renew(story.technician, story.widget)
    assert why(story.widget, package) == update.SIGNATURE
    story.widget.install_update_keys(signer.public_key)
    assert story.widget.install_update(package) == 1


def test_also_one_that_nobody_has_asked_for_yet(tmp_path: Path) -> None:
    with open_lab(tmp_path / "lab") as lab:
        supply_chain(lab)
    with open_lab(tmp_path / "lab") as lab:
        story_signer = lab.custodian("Company-X").update_signer()
        story = found_again(lab)
        assert why(story.widget, story_signer.renew(story.technician, story.widget)) == (
            update.SIGNATURE
        )


def test_it_knows_the_signers_above_it_and_no_others(made: tuple[Story, Signer]) -> None:
    story, _ = made
    other = story.lab.custodian("Company-O")
    stranger = other.update_signer()
    widget = story.technician.make_device("later")
    assert why(widget, stranger.renew(story.technician, widget)) == update.SIGNATURE


def test_a_package_that_was_changed_on_its_way_is_refused(made: tuple[Story, Signer]) -> None:
    story, signer = made
    package = signer.renew(story.technician, story.widget)
    changed = package.manifest.replace(b'"version": 1', b'"version": 9')
    assert changed != package.manifest
    assert why(story.widget, Package(changed, package.signature)) == update.SIGNATURE
    assert why(story.widget, Package(package.manifest, b"")) == update.SIGNATURE


def test_also_one_that_has_the_signature_of_the_last(made: tuple[Story, Signer]) -> None:
    """It may come twice, and another one in its clothes may not."""
    story, signer = made
    package = signer.renew(story.technician, story.widget)
    story.widget.install_update(package)
    changed = package.manifest.replace(b'"version": 1', b'"version": 9')
    assert why(story.widget, Package(changed, package.signature)) == update.SIGNATURE
    assert story.widget.install_update(package) == 1


def test_an_old_package_is_refused_whoever_kept_it(made: tuple[Story, Signer]) -> None:
    story, signer = made
    old = signer.renew(story.technician, story.widget)
    new = signer.renew(story.technician, story.widget)
    assert story.widget.install_update(new) == 2
    assert why(story.widget, old) == update.VERSION


def test_one_for_another_device_is_refused(made: tuple[Story, Signer]) -> None:
    story, signer = made
    other = story.technician.make_device("other")
    assert why(story.widget, signer.renew(story.technician, other)) == update.TARGET


def test_what_does_not_fit_the_device_is_refused(made: tuple[Story, Signer]) -> None:
    story, signer = made
    widget, other = story.widget, story.technician.make_device("other")
    assert why(widget, signer.pack(widget, other.chain)) == update.KEY
    assert why(widget, signer.pack(widget, story.technician.chain)) == update.KEY
    issued = story.technician.reissue(widget)
    assert why(widget, signer.pack(widget, [issued[0], issued[2], issued[1]])) == update.CHAIN
    assert why(widget, signer.pack(widget, [issued[0], issued[2]])) == update.CHAIN


def test_a_certificate_for_another_name_is_refused(made: tuple[Story, Signer]) -> None:
    story, signer = made
    asked = story.widget.request_certificate("smart-x-widget-1")
    package = signer.pack(story.widget, story.technician.issue(asked))
    assert why(story.widget, package) == update.NAME


def test_one_that_has_expired_on_its_way_is_refused(made: tuple[Story, Signer]) -> None:
    story, signer = made
    package = signer.renew(story.technician, story.widget)
    story.lab.clock.advance(days=366)
    assert why(story.widget, package) == update.VALIDITY
    fresh = signer.renew(story.technician, story.widget)
    assert story.widget.install_update(fresh) == 2, "no request of an expired device is needed"


def test_after_a_renewal_the_last_request_counts(made: tuple[Story, Signer]) -> None:
    story, signer = made
    before = signer.renew(story.technician, story.widget)
    story.widget.renew(story.technician)
    story.widget.retire_reserve()
    assert why(story.widget, before) == update.KEY
    assert story.widget.install_update(signer.renew(story.technician, story.widget)) == 2


def test_one_that_comes_while_a_request_is_on_its_way_leaves_its_key(
    made: tuple[Story, Signer],
) -> None:
    story, signer = made
    package = signer.renew(story.technician, story.widget)
    asked = story.widget.request_certificate()
    story.widget.install_update(package)
    story.widget.accept_certificate(story.technician.issue(asked))
    assert story.widget.key.label == "identity 2"


@pytest.mark.parametrize(
    "junk",
    [b"", "{}", b"[]", None, 7, {"manifest": 1}, {"manifest": "ä", "signature": ""}, b"[" * 9999,
     b"x" * (LARGEST + 1), {"manifest": "A" * (LARGEST + 4), "signature": ""}],
)  # fmt: skip
def test_junk_is_refused_in_words(made: tuple[Story, Signer], junk: Any) -> None:
    assert why(made[0].widget, junk) == update.FORM


@pytest.mark.parametrize(
    "manifest",
    [b"junk", b"[]", b"{}", b'{"device": "smart-x-widget-001", "version": true, "chain": ""}',
     b'{"device": "smart-x-widget-001", "version": 1, "chain": "no certificate"}'],
)  # fmt: skip
def test_a_signed_manifest_that_cannot_be_read_is_refused(
    made: tuple[Story, Signer], manifest: bytes
) -> None:
    story, signer = made
    package = Package(manifest, signing.sign(signer.key, update._PURPOSE, manifest))
    assert why(story.widget, package) == update.MANIFEST


def test_a_signature_for_another_purpose_is_none(made: tuple[Story, Signer]) -> None:
    """The same key, the same bytes, signed as something else."""
    story, signer = made
    manifest = signer.renew(story.technician, story.widget).manifest
    other = Package(manifest, signing.sign(signer.key, "something else", manifest))
    assert why(story.widget, other) == update.SIGNATURE


def test_an_rsa_key_signs_too(made: tuple[Story, Signer]) -> None:
    story, signer = made
    package = signer.renew(story.technician, story.widget)
    key = signer.custodian.make_key("rsa", algorithm=Algorithm.RSA2048)
    sealed = Package.seal(Manifest.from_bytes(package.manifest), key)
    assert sealed.is_signed_by(key.public_key())
    assert not sealed.is_signed_by(signer.key.public_key())


def test_what_is_no_public_key_is_not_put_in(made: tuple[Story, Signer]) -> None:
    story, signer = made
    for wrong in (b"", b"junk", signer.public_key * 9):
        with refused(LabError, "no update-signing keys"):
            story.widget.install_update_keys(wrong)


# ---- the manufacturer's side


def test_the_signing_key_stays_in_its_token_and_is_made_once(made: tuple[Story, Signer]) -> None:
    story, signer = made
    again = signer.custodian.update_signer()
    assert again.public_key == signer.public_key
    assert signer.key.attributes["NEVER_EXTRACTABLE"]
    assert signer.custodian.token.key_labels == ["Company-X Root CA", "update signing"]
    assert story.lab.path is not None


def test_what_was_packed_is_on_record_and_packed_once(made: tuple[Story, Signer]) -> None:
    story, signer = made
    issued = story.technician.reissue(story.widget)
    package = signer.pack(story.widget, issued)
    assert signer.pack(story.widget, issued) == package
    assert signer.packages(story.widget) == [package]


def test_several_at_once_have_each_a_version_of_its_own(made: tuple[Story, Signer]) -> None:
    story, signer = made
    chains = [story.technician.reissue(story.widget) for _ in range(6)]
    with ThreadPoolExecutor(6) as workers:
        packed = list(workers.map(lambda one: signer.pack(story.widget, one), chains))
    versions = sorted(Manifest.from_bytes(one.manifest).version for one in packed)
    assert versions == [1, 2, 3, 4, 5, 6]
    assert len(signer.packages(story.widget)) == 6


def test_of_two_that_arrive_at_once_the_newer_one_stays(made: tuple[Story, Signer]) -> None:
    """By direct method and by message: the SDK calls in two threads."""
    story, signer = made
    packages = [signer.renew(story.technician, story.widget) for _ in range(6)]

    def arrives(package: Package) -> None:
        with suppress(UpdateRefused):
            story.widget.install_update(package)

    with ThreadPoolExecutor(6) as workers:
        list(workers.map(arrives, reversed(packages)))
    assert story.widget.update_version == 6
    newest = Manifest.from_bytes(packages[-1].manifest)
    assert tuple(story.widget.chain) == newest.chain


def test_for_nobody_there_is_no_update(made: tuple[Story, Signer]) -> None:
    story, signer = made
    with refused(NotFound, "no device 'nobody'"):
        signer.renew(story.technician, "nobody")
    with refused(NotFound, "no device 'nobody'"):
        signer.pack("nobody", story.widget.chain)


def test_a_package_is_json_that_any_language_can_read(made: tuple[Story, Signer]) -> None:
    story, signer = made
    found = json.loads(signer.renew(story.technician, story.widget).to_bytes())
    manifest = json.loads(base64.b64decode(found["manifest"]))
    assert (manifest["device"], manifest["version"]) == ("smart-x-widget-001", 1)
    assert manifest["chain"].count("BEGIN CERTIFICATE") == 3
    assert "PRIVATE" not in json.dumps(manifest)
