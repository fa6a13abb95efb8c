"""Certificates that come over the air: what a device does with an update package.

It checks the signature by the keys that were put into its flash at manufacture, and then whether
the package is for it, newer than the last, and for a key of its own (labkit/pki/update.py says
each). Chain and version change in one step: a power cut finds the old state or the new one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from labkit.device.credentials import Credentials
from labkit.device.flash import Flash
from labkit.errors import LabError
from labkit.pki import chain, update
from labkit.pki.update import Package, UpdateRefused

__all__ = ["Arrived", "Package", "UpdateRefused", "install", "installed_version", "joined"]

Arrived: TypeAlias = Package | bytes | str | dict[str, Any]
"""A package as it may arrive: JSON, or what JSON was read into."""

_END = b"-----END PUBLIC KEY-----"
_MOST_KEYS = 8


def installed_version(flash: Flash) -> int:
    """The version of what was installed last; 0 where nothing was."""
    return int(flash.state.get("update_version", 0))


def install(
    name: str, arrived: Arrived, flash: Flash, credentials: Credentials, now: datetime
) -> bool:
    """Installs a package that is good for the device of this name. False where it is the one that
    was installed last: messages may come twice. Raises UpdateRefused, and nothing is changed."""
    digest = _digest(arrived)
    if digest and digest == flash.state.get("update_digest"):
        return False
    target = update.Target(
        name,
        chain.common_name(flash.chain[0]),
        installed_version(flash),
        _keys(flash.update_keys),
        now,
        lambda leaf: credentials.holds_key_of(leaf),
    )
    manifest = update.opened(arrived, target)
    learned = {"update_version": manifest.version, "update_digest": digest}
    credentials.accept(manifest.chain, **learned)
    return True


def joined(keys: bytes | str | Sequence[bytes | str]) -> bytes:
    """Public keys in PEM, in one piece. Raises LabError for what is none."""
    parts = [keys] if isinstance(keys, bytes | str) else list(keys)
    pem = b"".join(part.encode() if isinstance(part, str) else part for part in parts)
    if not 0 < len(_keys(pem)) <= _MOST_KEYS:
        raise LabError(
            "These are no update-signing keys",
            expected=f"1 to {_MOST_KEYS} public keys in PEM",
            found=f"{len(_keys(pem))} of them in {len(pem)} bytes",
            cure="take that of the manufacturer: signer.public_key",
        )
    return pem


def _digest(arrived: Arrived) -> str:
    """Of all that a package says: the last signature above another manifest is none. Empty for
    what is no package."""
    try:
        package = arrived if isinstance(arrived, Package) else Package.read(arrived)
    except ValueError:
        return ""
    return hashlib.sha256(package.signature + package.manifest).hexdigest()


def _keys(pem: bytes) -> list[object]:
    blocks = [part + _END for part in pem.split(_END)[:-1]]
    try:
        return [load_pem_public_key(block) for block in blocks]
    except (ValueError, UnsupportedAlgorithm):
        return []
