"""JSON from outside, as RFC 8259 has it: what is read here can be written again."""

from __future__ import annotations

import json
import math
from typing import Any


def read(data: bytes) -> Any:
    """The JSON in ``data``, which is UTF-8 (section 8.1) and knows no NaN, no Infinity, and no
    number that would be read as one. Raises ValueError."""
    try:
        return _reader.decode(data.decode("utf-8-sig", "surrogatepass"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_object(data: bytes) -> dict[str, Any] | None:
    """The JSON object in ``data``; None for anything else."""
    try:
        found = read(data)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _finite(digits: str) -> float:
    found = float(digits)
    if math.isinf(found):
        raise ValueError(f"{digits[:20]} is too large a number")
    return found


# Made once: json.loads makes one for each call that has options.
_reader = json.JSONDecoder(parse_constant=_no_constant, parse_float=_finite)
