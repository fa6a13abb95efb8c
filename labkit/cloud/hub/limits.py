"""What Azure's twins and device IDs may be at the most."""

from __future__ import annotations

import json
import re
from typing import Any

LARGEST_SECTION = 32 * 1024
"""Bytes of a twin's reported properties (Azure documentation: understand and use device twins).
Azure counts names and values; here it is the JSON that carries them."""

DEEPEST = 10
"""Levels of objects and lists in a section."""

SIZE = f"the reported properties are at most {LARGEST_SECTION // 1024} KB"
DEPTH = f"the reported properties have at most {DEEPEST} levels"
DEVICE_ID = "the device ID is well formed"
DEVICE_ID_RULE = "1 to 128 ASCII letters, digits and - . % _ * ? ! ( ) , : = @ $ '"

_DEVICE_ID = re.compile(r"[A-Za-z0-9\-.%_*?!(),:=@$']{1,128}")


def is_device_id(text: str) -> bool:
    """Whether Azure would take this as the ID of a device identity."""
    return _DEVICE_ID.fullmatch(text) is not None


def size(section: Any) -> int:
    """Bytes of a section, as compact JSON in UTF-8."""
    text = json.dumps(section, separators=(",", ":"), ensure_ascii=False)
    return len(text.encode("utf-8", "surrogatepass"))


def too_deep(value: Any, levels: int = DEEPEST) -> bool:
    """Whether objects and lists are nested deeper than this. It looks no deeper itself."""
    if not isinstance(value, dict | list):
        return False
    below = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(too_deep(inner, levels - 1) for inner in below)
