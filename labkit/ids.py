"""Registration IDs, which are device names, and group IDs: what Azure allows, and which are one."""

from __future__ import annotations

import re

from labkit.errors import LabError

RULE = "up to 128 letters, digits and - . _ : with a letter, digit or - at the end"

_ID = re.compile(r"[A-Za-z0-9\-._:]{0,127}[A-Za-z0-9\-]")


def is_valid(identifier: str) -> bool:
    """Whether Azure would take this as an ID."""
    return _ID.fullmatch(identifier) is not None


def name(given: object) -> str:
    """A name as it was handed over. Raises LabError for a thing in place of its name."""
    if not isinstance(given, str):
        raise not_a_name(type(given).__name__)
    return given


def not_a_name(kind: str) -> LabError:
    """What to tell those who hand over a value of this type where its name is wanted."""
    return LabError(
        "This is not a name",
        expected="the name or the ID, as text",
        found=f"a value of type {kind}",
        cure="hand over its .name",
    )


def key(identifier: str) -> str:
    """What two spellings of one ID share: case does not count. Raises LabError for no text."""
    return name(identifier).lower()


def same(one: str, other: str) -> bool:
    """Whether two spellings are one ID."""
    return key(one) == key(other)
