"""Registration IDs, which are device names, and group IDs: what Azure allows, and which are one."""

from __future__ import annotations

import re

RULE = "up to 128 letters, digits and - . _ : with a letter, digit or - at the end"

_ID = re.compile(r"[A-Za-z0-9\-._:]{0,127}[A-Za-z0-9\-]")


def is_valid(identifier: str) -> bool:
    """Whether Azure would take this as an ID."""
    return _ID.fullmatch(identifier) is not None


def key(identifier: str) -> str:
    """What two spellings of one ID share: case does not count."""
    return identifier.lower()


def same(one: str, other: str) -> bool:
    """Whether two spellings are one ID."""
    return key(one) == key(other)
