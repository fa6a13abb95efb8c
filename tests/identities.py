"""Device identities in a hub, made and changed by its registry."""

from __future__ import annotations

from pathlib import Path

from stories import PemDevice, Story, pem_device

from labkit.cloud.store import new_sas_key

Proof = PemDevice | str
"""A certificate with its key in a file, or a symmetric key."""


def add_device(story: Story, directory: Path, name: str, *, key: bool = False) -> Proof:
    """An identity in the lab's first hub, known by a certificate or by a symmetric key. One that
    is there gets the new certificate as its primary, and keeps the old one as its secondary."""
    devices = story.lab.hub().devices
    proof: Proof = new_sas_key() if key else pem_device(story, directory, name)
    known = devices.find(name)
    if isinstance(proof, str):
        devices.create(name, keys=(proof, ""))
    elif known is None:
        devices.create(name, certificate=proof.chain[0])
    else:
        devices.update(name, certificate=proof.chain[0], secondary=known.thumbprint)
    return proof


def disable(story: Story, name: str) -> None:
    """The identity is disabled, and its connection ended."""
    story.lab.hub().devices.disable(name)


def enable(story: Story, name: str) -> None:
    story.lab.hub().devices.enable(name)
