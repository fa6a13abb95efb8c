"""By what a hub knows a device: its certificate's thumbprint, a CA above it, or its keys.

selfSigned             the thumbprint of the certificate, whoever signed it; or of a second one
certificateAuthority   any certificate below a verified CA whose CN is the device ID
sas                    two symmetric keys, either of which signs
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field, replace

from labkit.cloud import codes
from labkit.cloud.refusals import Denial
from labkit.cloud.store import new_sas_key
from labkit.trace import Check, failed

SELF_SIGNED, AUTHORITY, SAS = "selfSigned", "certificateAuthority", "sas"

THUMBPRINT_FORM = "a thumbprint is the SHA-1 or SHA-256 of a certificate, in hex"
SAME_FORM = "both thumbprints are of the same form"
NAMED = "the identity says how the device proves itself"
KEY_FORM = "a symmetric key is base64"

_FORMS = {40: "SHA-1", 64: "SHA-256"}
_HEX = re.compile(r"[0-9A-F]+")
_SHORTEST_KEY, _LONGEST_KEY = 16, 64
_SOURCE = "Azure documentation, IoT Hub: authenticate identities with X.509 certificates"


@dataclass(frozen=True, slots=True)
class Credentials:
    """By what a hub will know a device: thumbprints (hex), a CA above it, or keys (base64)."""

    thumbprint: str = ""
    secondary_thumbprint: str = ""
    primary_key: str = field(default="", repr=False)
    secondary_key: str = field(default="", repr=False)
    by_authority: bool = False

    @property
    def authentication(self) -> str:
        """The registry's word for it."""
        if self.by_authority:
            return AUTHORITY
        return SELF_SIGNED if self.thumbprint or self.secondary_thumbprint else SAS

    @property
    def proof(self) -> str:
        """What the device has to show, for people."""
        if self.by_authority:
            return "a chain to a verified CA"
        held = self.thumbprint or self.secondary_thumbprint
        return f"a certificate's {form_of(held)} thumbprint" if held else "a symmetric key"


NOBODY = Credentials()


def normalised(thumbprint: str) -> str:
    """A thumbprint as it is kept: people paste it with colons or blanks, in any case, and from
    Windows with an invisible mark in front."""
    return re.sub(r"[\s:\u200e\u200f\u202a-\u202e\ufeff-]", "", thumbprint).upper()


def form_of(thumbprint: str) -> str:
    """``SHA-1`` or ``SHA-256``, by its length; empty for what is no thumbprint."""
    is_hex = _HEX.fullmatch(thumbprint) is not None
    return _FORMS.get(len(thumbprint), "") if is_hex else ""


def completed(
    about: str, authentication: str, wanted: Credentials, before: Credentials = NOBODY
) -> Credentials:
    """What an identity keeps of what is wanted: thumbprints normalised, and keys that were left
    out as they were, or made. Raises Denial (400004)."""
    if authentication == AUTHORITY:
        return Credentials(by_authority=True)
    if authentication == SAS:
        return _keys(about, wanted, before)
    if authentication != SELF_SIGNED:
        known = ", ".join((SELF_SIGNED, AUTHORITY, SAS))
        raise _no(failed(NAMED, about, f"it says {authentication!r}", f"say one of: {known}"))
    return _thumbprints(about, wanted)


def _thumbprints(about: str, wanted: Credentials) -> Credentials:
    slots = [normalised(slot) for slot in (wanted.thumbprint, wanted.secondary_thumbprint)]
    given = [slot for slot in slots if slot]
    if not given:
        why = "it has neither a primary nor a secondary thumbprint"
        cure = "name the thumbprint of the device's certificate"
        raise _no(failed(NAMED, about, why, cure, source=_SOURCE))
    for slot in given:
        if not form_of(slot):
            raise _no(_malformed(about, slot))
    if len({len(slot) for slot in given}) > 1:
        raise _no(_mixed(about, slots))
    return Credentials(slots[0], slots[1])


def _malformed(about: str, thumbprint: str) -> Check:
    why = f"it has {len(thumbprint)} characters"
    if odd := _HEX.sub("", thumbprint):
        why += f", among them {odd[:5]!r}, which is no hex digit"
    cures = (
        "openssl x509 -in device.pem -noout -fingerprint -sha256 prints it",
        "40 hex digits are a SHA-1 thumbprint, 64 a SHA-256 one",
    )
    return failed(THUMBPRINT_FORM, about, why, *cures, source=_SOURCE)


def _mixed(about: str, slots: list[str]) -> Check:
    """Pain point 16: one slot was filled by the portal (SHA-1), the other by openssl (SHA-256)."""
    primary, secondary = map(form_of, slots)
    return failed(
        SAME_FORM,
        about,
        f"the primary one is {primary}, the secondary one {secondary}",
        "take both as SHA-256: openssl x509 -in device.pem -noout -fingerprint -sha256",
        f"leave one of them out: a certificate is found by its {primary} as well as by its "
        f"{secondary} thumbprint",
        source="azure-iot-sdk-csharp, pull request 463",
    )


def _keys(about: str, wanted: Credentials, before: Credentials) -> Credentials:
    for key in (wanted.primary_key, wanted.secondary_key):
        if key and not _SHORTEST_KEY <= _size(key) <= _LONGEST_KEY:
            cure = f"send {_SHORTEST_KEY} to {_LONGEST_KEY} bytes in base64, or none: one is made"
            raise _no(failed(KEY_FORM, about, "one of its keys is not", cure))
    keys = replace(NOBODY, primary_key=wanted.primary_key or before.primary_key or new_sas_key())
    secondary = wanted.secondary_key or before.secondary_key or new_sas_key()
    return replace(keys, secondary_key=secondary)


def _size(key: str) -> int:
    """Bytes in a key; none for what is no base64."""
    try:
        return len(base64.b64decode(key, validate=True))
    except (binascii.Error, ValueError):
        return 0


def _no(check: Check) -> Denial:
    return Denial(codes.BAD_REQUEST, check)
