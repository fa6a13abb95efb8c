"""Device identities in a hub, made and changed as DPS and the registry do, without either."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import update
from stories import PemDevice, Story, pem_device

from labkit.cloud.hub.placement import Credentials, place
from labkit.cloud.hub.tables import DeviceIdentity
from labkit.cloud.store import new_sas_key
from labkit.pki import chain

Proof = PemDevice | str
"""A certificate with its key in a file, or a symmetric key."""


def add_device(story: Story, directory: Path, name: str, *, key: bool = False) -> Proof:
    """An identity in the lab's first hub, known by a certificate or by a symmetric key. One that
    is there gets the new one as its secondary."""
    proof: Proof = new_sas_key() if key else pem_device(story, directory, name)
    with story.lab.cloud.database.quick_write() as connection:
        now = story.lab.clock.now()
        place(connection, story.lab.hub().name, name, _held(story, name, proof), now)
    return proof


def _held(story: Story, name: str, proof: Proof) -> Credentials:
    known = {one.device_id: one for one in story.lab.hub().devices()}.get(name)
    if isinstance(proof, str):
        return Credentials(primary_key=proof)
    thumbprint = chain.thumbprint(proof.chain[0])
    return Credentials(thumbprint, known.thumbprint if known else "")


def disable(story: Story, name: str) -> None:
    """The identity is disabled, and its connection ended."""
    _set(story, name, enabled=False)
    hub = story.lab.hub()
    hub.connections.end(hub.name, name, "its identity was disabled")


def enable(story: Story, name: str) -> None:
    _set(story, name, enabled=True)


def _set(story: Story, name: str, **values: bool) -> None:
    with story.lab.cloud.database.write() as session:
        session.execute(
            update(DeviceIdentity).where(DeviceIdentity.device_id == name).values(**values)
        )
