"""A device whose key lies in a file: the mistake, made on purpose, and nothing else is amiss."""

from __future__ import annotations

from pathlib import Path

import pytest
from complaints import refused
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from key_search import findings
from stories import Story, found_again, open_lab

from labkit.errors import Conflict, TokenError
from labkit.hsm.key_folder import FileEcKey, FileRsaKey

NAME = "smart-x-widget-002"


def key_file(story: Story, name: str = NAME) -> Path:
    return story.lab.path / "devices" / name / "identity.key.pem"


def test_the_key_lies_in_the_flash_and_is_the_certificates(story: Story) -> None:
    """Mode 0600: the file is private to its owner, and that is all that protects it."""
    widget = story.technician.make_device(NAME, key_in_file=True)
    file = key_file(story)
    assert file.stat().st_mode & 0o777 == 0o600
    read = load_pem_private_key(file.read_bytes(), None)
    assert read.public_key() == widget.certificate.public_key()
    assert "key in a file" in repr(widget)


def test_no_other_key_of_the_lab_is_in_a_file(story: Story) -> None:
    story.technician.make_device(NAME, key_in_file=True)
    assert list(findings(story.lab.path)) == [str(key_file(story))]


def test_it_has_no_token(story: Story) -> None:
    widget = story.technician.make_device(NAME, key_in_file=True)
    assert NAME not in story.lab._supply_chain.tokens.labels
    with refused(TokenError, "has no token"):
        _ = widget.key.token.session


def test_it_provisions_connects_and_sends_like_any_other(story: Story) -> None:
    """With Microsoft's client as released: it reads the chain and the key from their files."""
    widget = story.technician.make_device(NAME, key_in_file=True)
    assert widget.provision().device_id == NAME
    widget.connect().send({"temperature": 21.5})
    assert [m.text for m in story.lab.hub().messages(NAME)] == ['{"temperature": 21.5}']


def test_an_rsa_key_in_a_file_does_as_well(story: Story) -> None:
    widget = story.technician.make_device(NAME, key_in_file=True, algorithm="RSA-2048")
    assert isinstance(widget.key, FileRsaKey)
    assert widget.provision().device_id == NAME


def test_it_is_the_same_device_when_the_lab_is_opened_again(told: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(told, tmp_path / "lab")
    with open_lab(tmp_path / "lab") as lab:
        made = found_again(lab).technician.make_device(NAME, key_in_file=True).certificate
    with open_lab(tmp_path / "lab") as lab:
        widget = lab.device(NAME)
        assert isinstance(widget.key, FileEcKey)
        assert widget.certificate == made
        assert widget.provision().device_id == NAME


@pytest.mark.parametrize("key_in_file", [True, False])
def test_the_same_again_is_harmless_and_the_other_way_a_conflict(
    story: Story, key_in_file: bool
) -> None:
    first = story.technician.make_device(NAME, key_in_file=key_in_file)
    assert story.technician.make_device(NAME, key_in_file=key_in_file) is first
    with refused(Conflict, "There is a device", "its key is in a"):
        story.technician.make_device(NAME, key_in_file=not key_in_file)


def test_what_a_crash_left_in_a_file_is_no_key_of_a_device_with_a_token(story: Story) -> None:
    """The key was written, the device never came on record; then it is made with a token."""
    story.lab._supply_chain.device_key(NAME, in_file=True)
    widget = story.technician.make_device(NAME)
    assert widget.key.attributes["NEVER_EXTRACTABLE"]
    assert not key_file(story).exists()


def test_the_ledger_does_not_claim_that_the_key_was_in_a_token(story: Story) -> None:
    story.technician.make_device(NAME, key_in_file=True)
    keys = {key.name: key for key in story.lab.ledger().keys}
    assert str(keys[NAME]) == f"{NAME}: in a file of {NAME}, for whoever reads that"
    assert keys[NAME].cells["copies"] == "nobody knows"
    assert not keys["smart-x-widget-001"].in_file


def test_a_file_that_holds_no_key_is_said_so(story: Story) -> None:
    widget = story.technician.make_device(NAME, key_in_file=True)
    key_file(story).write_text("nothing\n")
    with refused(TokenError, "holds no private key that can be read"):
        _ = widget.key
