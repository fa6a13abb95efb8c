"""A device that is killed while it gets its next certificate, as often as LAB_SOAK_KILLS says.

What is claimed, after each kill: the certificate in use is the old one or the new one, whole; the
device has its key, and can sign with it; and a version that is kept belongs to the chain that came
with it. In the end: the device goes on, its hub takes it, and it has one certificate and one key.
"""

from __future__ import annotations

import os
import random
import sqlite3
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from kills import killed
from stories import enroll, found_again, open_lab, supply_chain

from labkit import Lab
from labkit.device import Device
from labkit.pki.update import Manifest

KILLS = int(os.environ.get("LAB_SOAK_KILLS", "3"))
LONGEST = 0.8
"""Seconds from the first renewal to the kill: several of them fit in."""

OPEN = """
import sys
place, tests = sys.argv[1:]
sys.path.insert(0, tests)
from pathlib import Path
from stories import found_again, open_lab
lab = open_lab(Path(place), say=None)
story = found_again(lab)
widget, ca = story.widget, story.technician
signer = lab.custodian("Company-X").update_signer()
print("ready", flush=True)
while True:
"""
WAYS = {
    "it asks its CA": "    widget.renew(ca)",
    "an update is pushed": "    widget.install_update(signer.renew(ca, widget))",
}
TELL = """
    print(f"{widget.certificate.serial_number:040x}", flush=True)
    widget.retire_reserve()
"""
"""The old pair is retired, as firmware does it once the new one has worked."""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A widget of a manufacturer who signs updates; its hub knows it."""
    with open_lab(tmp_path / "lab", say=None) as lab:
        lab.custodian("Company-X").create_root_ca()
        lab.custodian("Company-X").update_signer()
        story = supply_chain(lab)
        enroll(lab, story.company)
    return tmp_path / "lab"


def issued(place: Path) -> set[str]:
    """The serials of all that is in the ledger, read past everything of ours."""
    with sqlite3.connect(place / "supply-chain.db") as database:
        return {serial for (serial,) in database.execute("SELECT serial FROM issued")}


def serial_of(widget: Device) -> str:
    return f"{widget.certificate.serial_number:040x}"


@pytest.mark.parametrize("way", WAYS)
def test_a_device_has_one_usable_certificate_and_key_whenever_it_is_killed(
    place: Path, way: str
) -> None:
    chance, renewals = random.Random(20261130), 0
    with open_lab(place, say=None) as lab:
        known = serial_of(found_again(lab).widget)
    for _ in range(KILLS):
        before = issued(place)
        told = killed(OPEN + WAYS[way] + TELL, chance.uniform(0, LONGEST), place)
        renewals += len(told)
        last = told[-1] if told else known
        new = issued(place) - before - set(told)
        assert len(new) <= 1, "one was under way"
        with open_lab(place, say=None) as lab:
            widget = found_again(lab).widget
            known = serial_of(widget)
            assert known in {last, *new}, "neither the old one nor the new one"
            assert_usable(widget)
            assert_version_of_its_chain(lab, widget)
    with open_lab(place, say=None) as lab:
        assert_goes_on(lab)
    print(f"{way}: {KILLS} kills, {renewals} renewals told")


def assert_usable(widget: Device) -> None:
    """Certificate and key belong together, and the key signs, inside its token."""
    key, public = widget.key, widget.certificate.public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    assert key.public_key() == public
    signature = key.sign(b"after the kill", ec.ECDSA(hashes.SHA256()))  # type: ignore[arg-type, union-attr]
    public.verify(signature, b"after the kill", ec.ECDSA(hashes.SHA256()))


def assert_version_of_its_chain(lab: Lab, widget: Device) -> None:
    """What is remembered as installed is what is in use."""
    packages = lab.custodian("Company-X").update_signer().packages(widget)
    manifests = {m.version: m for m in (Manifest.from_bytes(p.manifest) for p in packages)}
    if version := widget.update_version:
        assert manifests[version].chain == tuple(widget.chain)


def assert_goes_on(lab: Lab) -> None:
    """One more renewal, of which nobody is refused, and nothing is left over."""
    story = found_again(lab)
    story.widget.renew(story.technician)
    story.widget.provision()
    story.widget.connect().send({"after": "the kills"})
    story.widget.retire_reserve()
    assert story.widget.reserve == []
    assert len(story.widget.key.token.key_labels) == 1
