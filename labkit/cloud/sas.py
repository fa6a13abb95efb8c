"""Shared access signatures: who holds a key proves it without sending the key.

    SharedAccessSignature sr=<resource>&sig=<HMAC-SHA256 of sr, newline, se>&se=<until>&skn=<policy>

A device signs with its own key (no ``skn``, or ``registration``), a back end with the key of a
policy, which says what it may do. What was signed is ``sr`` *as it was written*: SDKs differ in
what they encode. Tokens live in real time, like the machines that make them.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import quote, unquote

from labkit.trace import Check, failed, passed

SIGNED = "the SAS token is signed, for this resource, with a key that the service knows"
LONGEST = 4096
"""Characters of a token that is looked at at all."""

_SCHEME = "sharedaccesssignature"
_SECONDS = re.compile(r"[0-9]{1,12}")
_SOURCE = "Azure documentation, DPS: control access with shared access signatures"
_FORM = "SharedAccessSignature sr={resource}&sig={signature}&se={seconds since 1970}"


@dataclass(frozen=True, slots=True)
class Token:
    """What a token says. ``resource`` and ``until`` are as written: both were signed so."""

    resource: str
    signature: bytes
    until: str
    policy: str = ""

    @property
    def signed(self) -> bytes:
        """What the signature is of."""
        return f"{self.resource}\n{self.until}".encode()

    @property
    def expiry(self) -> int:
        """Seconds since 1970."""
        return int(self.until)

    def covers(self, resource: str) -> bool:
        """Whether it is for this resource, or for one that it lies in. Case does not count, and
        neither does a scheme, which some clients write."""
        mine = unquote(self.resource).lower().removeprefix("https://").rstrip("/")
        wanted = resource.lower()
        return bool(mine) and (wanted == mine or wanted.startswith(f"{mine}/"))


def read(text: str) -> Token | None:
    """The token in a password or an Authorization header; None for what is none."""
    scheme, _, rest = text[: LONGEST + 1].strip().partition(" ")
    if scheme.lower() != _SCHEME or len(text) > LONGEST:
        return None
    pairs = (part.partition("=") for part in rest.strip().split("&"))
    found = {name.strip().lower(): value for name, _, value in pairs}
    signature, until = _decoded(unquote(found.get("sig", ""))), found.get("se", "")
    if not (found.get("sr") and signature and _SECONDS.fullmatch(until)):
        return None
    return Token(found["sr"], signature, until, unquote(found.get("skn", "")))


def sign(resource: str, key: str, policy: str, until: datetime) -> str:
    """A token for a back end that holds a policy's ``key`` (base64); ``until`` is real time."""
    expiry = str(int(until.timestamp()))
    mac = hmac.digest(_decoded(key), f"{resource}\n{expiry}".encode(), "sha256")
    signature = quote(base64.b64encode(mac).decode(), safe="")
    return f"SharedAccessSignature sr={resource}&sig={signature}&se={expiry}&skn={quote(policy)}"


def check(token: str, resource: str, keys: Sequence[str], now: datetime) -> Check:
    """Whether ``token`` is signed for ``resource`` with one of ``keys`` (base64; the primary one,
    the secondary one), and has not expired at ``now``, which has to be real time."""
    found = read(token)
    if found is None:
        why = "it cannot be read" if token.strip() else "there is none"
        return _no(resource, why, f"send {_FORM}")
    if not any(_fits(found, key) for key in keys):
        why = "its signature is not by the primary key, and not by the secondary key"
        return _no(resource, why, "sign it with one of them, the bytes of which base64 is the text")
    if not found.covers(resource):
        why = f"it is for {unquote(found.resource)!r}, this is {resource!r}"
        return _no(resource, why, f"sign sr={resource}")
    if found.expiry <= now.timestamp():
        why = f"it expired {_since(found.expiry, now)} before"
        cure = "sign a new one, on a machine whose clock is right: SAS tokens live in real time"
        return _no(resource, why, cure)
    return passed(SIGNED, resource, "signed with a known key, and still good", source=_SOURCE)


def _no(about: str, why: str, cure: str) -> Check:
    return failed(SIGNED, about, why, cure, source=_SOURCE)


def _fits(token: Token, key: str) -> bool:
    """Compared in constant time: how long it takes tells nothing of the signature."""
    secret = _decoded(key)
    mine = hmac.digest(secret, token.signed, "sha256")
    return bool(secret) and hmac.compare_digest(mine, token.signature)


def _decoded(text: str) -> bytes:
    """Base64 as bytes; empty for what is none."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _since(expiry: int, now: datetime) -> str:
    """Like ``2 days, 3:04:05``."""
    return str(timedelta(seconds=int(now.timestamp()) - expiry))


def derived_key(group_key: str, registration_id: str) -> str:
    """The key of one device of a group with symmetric keys (base64, as the group's is): HMAC-SHA256
    of its registration ID, in the spelling in which the device sends it.

    Source: Azure documentation, DPS concepts: symmetric key attestation, group enrollments.
    """
    key = hmac.digest(_decoded(group_key), registration_id.encode(), "sha256")
    return base64.b64encode(key).decode()
