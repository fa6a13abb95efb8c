"""Update packages: a certificate chain on its way to a device that did not ask for it.

    manifest: device, version, chain ──JSON──> bytes ──update-signing key──> signature
    package:  {"manifest": base64 of these bytes, "signature": base64}

Whoever carries a package need not be trusted, nor the way that it takes. So the signature is over
the bytes as they are sent, and nothing of them is read before it verifies.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography import x509

from labkit.errors import LabError
from labkit.hsm import TokenKey
from labkit.pki import chain, checks, reading, signing
from labkit.trace import Check, failed, passed

LARGEST = 32 * 1024
"""Bytes of a package: a chain of a dozen certificates, and less than a device message may have."""

FORM = "it is an update package"
SIGNATURE = "it is signed with an update-signing key that the device has known since manufacture"
MANIFEST = "its manifest can be read"
TARGET = "it is for this device"
VERSION = "it is newer than what was installed last"
KEY = "its certificate is for a key in the device's token"
NAME = "its certificate is for the name that the device has"
CHAIN = "each certificate is followed by its issuer"
VALIDITY = "its certificate is valid by the device's clock"

_PURPOSE = "labkit update package 1"
_SIGN_IT = "have the manufacturer pack and sign it again: signer.renew(ca, device)"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a package is for and what is in it. ``version`` counts up from 1 for each device."""

    device: str
    version: int
    chain: tuple[x509.Certificate, ...]

    def to_bytes(self) -> bytes:
        """As it is signed: JSON in UTF-8."""
        text = {
            "device": self.device,
            "version": self.version,
            "chain": chain.to_pem(self.chain),
        }
        return json.dumps(text).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Manifest:
        """The inverse of :meth:`to_bytes`. Raises ValueError or LabError for anything else."""
        found = _object(data)
        device, version, pem = (found.get(name) for name in ("device", "version", "chain"))
        if not isinstance(device, str) or not isinstance(pem, str):
            raise ValueError("a device's name and a chain, each as text, are missing")
        if type(version) is not int or version < 1:
            raise ValueError(f"its version is {version!r}, and no number from 1")
        return cls(device, version, tuple(reading.read_certificates(pem.encode())))


@dataclass(frozen=True, slots=True)
class Package:
    """A manifest as it was signed, and the signature."""

    manifest: bytes
    signature: bytes

    def __repr__(self) -> str:
        return f"<Package: a manifest of {len(self.manifest):,} bytes, and its signature>"

    @classmethod
    def seal(cls, manifest: Manifest, key: TokenKey) -> Package:
        """Packs and signs."""
        data = manifest.to_bytes()
        return cls(data, signing.sign(key, _PURPOSE, data))

    @classmethod
    def read(cls, data: bytes | str | dict[str, Any]) -> Package:
        """A package as it arrived: JSON, or what JSON was read into. Raises ValueError."""
        if isinstance(data, bytes | str) and len(data) > LARGEST:
            raise ValueError(f"it has {len(data):,} bytes; {LARGEST:,} at most")
        if not isinstance(data, bytes | str | dict):
            raise ValueError(f"it is a value of type {type(data).__name__}")
        found = data if isinstance(data, dict) else _object(data)
        return cls(*(_decoded(found, part) for part in ("manifest", "signature")))

    def to_json(self) -> dict[str, str]:
        """What the payload of a direct method can carry."""
        parts = {"manifest": self.manifest, "signature": self.signature}
        return {name: base64.b64encode(part).decode() for name, part in parts.items()}

    def to_bytes(self) -> bytes:
        """What a message or a file can carry."""
        return json.dumps(self.to_json()).encode()

    def is_signed_by(self, public_key: object) -> bool:
        """Whether the holder of this key signed it."""
        return signing.verifies(public_key, _PURPOSE, self.manifest, self.signature)


@dataclass(frozen=True, slots=True)
class Target:
    """What a device knows of itself: its ``name``, the CN that it goes by (``common_name``), what
    was installed last (``version``, 0 for nothing), the public keys that updates may be signed
    with, its clock, and whether a certificate is for a key in its token (``holds_key_of``)."""

    name: str
    common_name: str
    version: int
    signers: Sequence[object]
    now: datetime
    holds_key_of: Callable[[x509.Certificate], bool]


class UpdateRefused(LabError):
    """A package that a device does not install; ``checks`` are those that it made, in order, and
    the last of them failed."""

    def __init__(self, device: str, checks: Sequence[Check]) -> None:
        self.checks, reason = tuple(checks), checks[-1]
        super().__init__(
            f"{device} does not install this update",
            expected=reason.name,
            found=reason.why,
            cure=" Or: ".join(reason.cures),
        )


def opened(data: bytes | str | dict[str, Any] | Package, target: Target) -> Manifest:
    """The manifest of a package that is good for this device. Raises UpdateRefused."""
    made: list[Check] = []

    def make(check: Check) -> None:
        made.append(check)
        if check.failed:
            raise UpdateRefused(target.name, made)

    try:
        package = data if isinstance(data, Package) else Package.read(data)
    except ValueError as error:
        make(failed(FORM, "the package", str(error), "send what signer.renew(...) returns, whole"))
        raise AssertionError("refused") from error
    make(passed(FORM, "the package", f"its manifest has {len(package.manifest)} bytes"))
    make(_signature(package, target))
    try:
        manifest = Manifest.from_bytes(package.manifest)
    except (ValueError, LabError) as error:
        make(failed(MANIFEST, "the package", str(error), _SIGN_IT))
        raise AssertionError("refused") from error
    for check in _of(manifest, target):
        make(check)
    return manifest


def _signature(package: Package, target: Target) -> Check:
    if any(package.is_signed_by(key) for key in target.signers):
        return passed(SIGNATURE, "the package", "the signature verifies")
    if not target.signers:
        why = f"{target.name} was made without one: nobody can sign updates for it"
        return failed(
            SIGNATURE,
            "the package",
            why,
            "have a technician put the key in: widget.install_update_keys(signer.public_key)",
        )
    why = "none of its keys verifies the signature: it is by another key, or over another manifest"
    return failed(SIGNATURE, "the package", why, _SIGN_IT)


def _of(manifest: Manifest, target: Target) -> Iterator[Check]:
    yield _asked(
        TARGET,
        manifest.device == target.name,
        f"it is for {manifest.device}, and this is {target.name}",
        f"send it to {manifest.device}, and have one packed for {target.name}",
    )
    yield _asked(
        VERSION,
        manifest.version > target.version,
        f"it is version {manifest.version}; version {target.version} was installed",
        "send the newest one: an old package may have been kept by somebody on its way",
    )
    leaf = manifest.chain[0]
    yield _asked(
        KEY,
        target.holds_key_of(leaf),
        f"{chain.subject(leaf)} is for another key",
        "issue for the last request that the device made: signer.renew(ca, device) takes it",
        "have the device ask for a certificate for a key of its own: widget.renew(ca)",
    )
    yield _asked(
        NAME,
        chain.common_name(leaf) in (target.name, target.common_name),
        f"it is for {chain.common_name(leaf)!r}, and the device goes by {target.common_name!r}",
        "keep the CN: another one is another registration ID",
    )
    yield _asked(
        CHAIN,
        chain.climb(leaf, manifest.chain[1:]) == list(manifest.chain),
        f"this is no chain in its order: {chain.names(manifest.chain)}",
        "pack the device's certificate first, then its issuers, each below the next",
    )
    begin, end = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    yield _asked(
        VALIDITY,
        checks.is_valid(leaf, target.now),
        f"it is valid from {begin:%Y-%m-%d} to {end:%Y-%m-%d}, and it is {target.now:%Y-%m-%d}",
        "have a new certificate issued and packed",
    )


def _asked(name: str, holds: bool, why_not: str, *cures: str) -> Check:
    if holds:
        return passed(name, "the manifest", "it does")
    return failed(name, "the manifest", why_not, *cures)


def _object(data: bytes | str) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is no JSON: {type(error).__name__}") from error
    if not isinstance(found, dict):
        raise ValueError("it is no JSON object")
    return found


def _decoded(found: dict[str, Any], part: str) -> bytes:
    try:
        text = found[part]
        if len(text) > LARGEST:
            raise ValueError(f"its {part} has {len(text):,} characters; {LARGEST:,} at most")
        return base64.b64decode(text, validate=True)
    except (KeyError, TypeError, binascii.Error) as error:
        raise ValueError(f"it has no {part} in base64") from error
