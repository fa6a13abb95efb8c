"""What Azure's twins and device IDs may be at the most."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

LARGEST_SECTION = 32 * 1024
"""Of a twin's desired properties, and of its reported ones, as :func:`size` weighs them."""
LARGEST_TAGS = 8 * 1024
"""Of a twin's tags."""
LARGEST_KEY, LARGEST_TEXT = 1024, 4 * 1024
"""Bytes of UTF-8."""
DEEPEST = 10
"""Levels of objects and lists in a section."""
LEAST_INTEGER, LARGEST_INTEGER = -4503599627370496, 4503599627370495

READ_ONLY = frozenset({"$metadata", "$version"})
"""In desired properties: the hub's own, which back ends read and may send back."""

SIZE = "a twin's section is no larger than the hub keeps"
FORM = "names and values are such as a twin may have"
SOURCE = "Azure documentation, IoT Hub: understand and use device twins"
DEVICE_ID = "the device ID is well formed"
DEVICE_ID_RULE = "1 to 128 ASCII letters, digits and - . % _ * ? ! ( ) , : = @ $ '"

_DEVICE_ID = re.compile(r"[A-Za-z0-9\-.%_*?!(),:=@$']{1,128}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_NOT_IN_KEYS = re.compile(r"[\x00-\x1f\x7f-\x9f.$ ]")


def is_device_id(text: str) -> bool:
    """Whether Azure would take this as the ID of a device identity."""
    return _DEVICE_ID.fullmatch(text) is not None


def size(value: Any) -> int:
    """What a value of a twin weighs: its names and texts by their characters without control
    characters, a number 8 bytes, true and false 4."""
    if isinstance(value, Mapping):
        return sum(_length(name) + size(inner) for name, inner in value.items())
    if isinstance(value, list):
        return sum(map(size, value))
    if isinstance(value, str):
        return _length(value)
    if isinstance(value, bool):
        return 4
    return 0 if value is None else 8


def _length(text: str) -> int:
    return len(_CONTROL.sub("", text))


def fault(patch: Mapping[str, Any]) -> str:
    """What no section of a twin may hold, whatever its size; empty where nothing is wrong."""
    try:
        json.dumps(patch, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        return f"it is no JSON: {error}"
    return next(_faults(patch, DEEPEST), "")


def writable(section: Mapping[str, Any]) -> dict[str, Any]:
    """What of a section a back end may write; the rest is passed over."""
    return {name: value for name, value in section.items() if name not in READ_ONLY}


def fault_of_whole(section: Mapping[str, Any], largest: int) -> str:
    """What is wrong with all that a section is to begin with, its size included; empty where
    nothing is."""
    found = writable(section)
    if why := fault(found):
        return why
    weight = size(found)
    return f"{weight:,} bytes; {largest:,} at most" if weight > largest else ""


def _faults(value: Any, levels: int) -> Iterator[str]:
    """Looks no deeper than it may be."""
    if isinstance(value, Mapping | list):
        if levels < 0:
            yield f"more than {DEEPEST} levels of objects and lists"
            return
        if isinstance(value, Mapping):
            yield from filter(None, map(_fault_of_key, value))
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _faults(inner, levels - 1)
    else:
        yield from filter(None, [_fault_of_value(value)])


def _fault_of_key(name: str) -> str:
    if _NOT_IN_KEYS.search(name) or not name:
        return f"{name!r} as a name: no dot, $, blank or control character, and not nothing"
    if len(name.encode("utf-8", "surrogatepass")) > LARGEST_KEY:
        return f"a name of more than {LARGEST_KEY:,} bytes"
    return ""


def _fault_of_value(value: Any) -> str:
    if isinstance(value, str) and len(value.encode("utf-8", "surrogatepass")) > LARGEST_TEXT:
        return f"a text of more than {LARGEST_TEXT:,} bytes"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    if isinstance(value, int) and not LEAST_INTEGER <= value <= LARGEST_INTEGER:
        return f"an integer outside of {LEAST_INTEGER} to {LARGEST_INTEGER}"
    return ""
