"""Devices that prove themselves by a symmetric key: their own, or one derived from a group's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from labkit.cloud import codes, sas
from labkit.cloud.dps.attestation import ENABLED, Attested
from labkit.cloud.dps.entries import (
    Enrollment,
    EnrollmentGroup,
    Entry,
    SymmetricKeyAttestation,
)
from labkit.cloud.hub.credentials import Credentials
from labkit.trace import Check, failed, first_failure, not_reached, passed

KEY_ENTRY = "an enrollment has a key for this registration ID"

_SYMMETRIC = "Azure documentation, DPS concepts: symmetric key attestation"


@dataclass(frozen=True, slots=True)
class Claim:
    """What a device says of itself: ``resource`` is what its token has to be signed for."""

    registration_id: str
    token: str
    resource: str


def attest(
    claim: Claim,
    individual: Enrollment | None,
    groups: Sequence[EnrollmentGroup],
    now: datetime,
) -> Attested:
    """Judges a SAS token against the keys of the individual enrollment of this ID; without one,
    against the keys that each group derives for it. ``now`` is real time."""
    if individual is not None:
        return _by(individual, claim, now)
    tried = [_by(group, claim, now) for group in groups]
    admitted = next((found for found in tried if found.refusal is None), None)
    switched_off = next((found for found in tried if found.entry is not None), None)
    only = tried[0] if len(tried) == 1 else None
    return admitted or switched_off or only or _nobody(claim, groups, now)


def _by(entry: Entry, claim: Claim, now: datetime) -> Attested:
    """``Attested`` by one entry; its refusal where the entry does not admit the claim."""
    about = claim.registration_id
    if not isinstance(entry.attestation, SymmetricKeyAttestation):
        check = failed(
            KEY_ENTRY,
            about,
            f"individual enrollment {entry.id!r} wants a certificate, and the device sent a token",
            "give the client its certificate and key instead of a symmetric key",
            "change the enrollment's attestation to symmetric keys",
            source=_SYMMETRIC,
        )
        return _stop([check])
    keys = _keys(entry, claim.registration_id)
    noun = "individual enrollment" if isinstance(entry, Enrollment) else "enrollment group"
    checks = [
        passed(KEY_ENTRY, about, f"{noun} {entry.id!r} has one"),
        sas.check(claim.token, claim.resource, keys, now),
    ]
    if first_failure(checks):
        return _stop(checks)
    if not entry.enabled:
        checks.append(failed(ENABLED, entry.id, f"{noun} {entry.id!r} is disabled", "enable it"))
        return Attested(tuple(checks), codes.UNAUTHORIZED, entry)
    return Attested(entry=entry, credentials=Credentials("", "", *keys))


def _keys(entry: Entry, registration_id: str) -> tuple[str, str]:
    """The device's own two keys: those of its entry, or derived from those of its group."""
    found = entry.attestation
    assert isinstance(found, SymmetricKeyAttestation)
    keys = (found.primary_key, found.secondary_key)
    if isinstance(entry, Enrollment):
        return keys
    return tuple(sas.derived_key(key, registration_id) for key in keys)  # type: ignore[return-value]


def _nobody(claim: Claim, groups: Sequence[EnrollmentGroup], now: datetime) -> Attested:
    about = claim.registration_id
    names = ", ".join(repr(group.id) for group in groups) or "none"
    check = failed(
        KEY_ENTRY,
        about,
        f"there is no individual enrollment {about!r}, and no group with symmetric keys derives "
        f"the key that signed the token; such groups: {names}",
        f"create an individual enrollment {about!r} with keys",
        "derive the device's key from the group's: HMAC-SHA256 of the registration ID, as the "
        "device spells it, with the group's key, both keys in base64",
        source=_SYMMETRIC,
    )
    return _stop([check, *_the_token(claim, now)])


def _the_token(claim: Claim, now: datetime) -> list[Check]:
    """What is wrong with the token whoever signed it, where it is no token at all."""
    return [] if sas.read(claim.token) else [sas.check(claim.token, claim.resource, (), now)]


def _stop(checks: list[Check]) -> Attested:
    asked = {check.name for check in checks}
    rest = [not_reached(name) for name in (KEY_ENTRY, sas.SIGNED, ENABLED) if name not in asked]
    return Attested((*checks, *rest), codes.UNAUTHORIZED)
