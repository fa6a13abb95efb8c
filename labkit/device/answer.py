"""What a service answers, whichever way it is asked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PATIENCE = 30.0
"""Seconds for one answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: a status of HTTP, JSON, how many seconds to wait with the next, and over MQTT
    the ID of the request that it answers."""

    status: int
    body: Mapping[str, Any]
    retry_after: float = 0.0
    request_id: str = ""


def read_object(body: bytes) -> dict[str, Any]:
    """The JSON object of a body; an empty one for none. Raises ValueError for anything else."""
    found = json.loads(body or b"{}")
    if not isinstance(found, dict):
        raise ValueError(f"the service answered a JSON {type(found).__name__}, no object")
    return found


def seconds(text: str) -> float:
    """What a ``retry-after`` says; 0 for nothing that can be read."""
    return float(text) if text.isdecimal() else 0.0
