"""What a service answers, whichever way it is asked."""

from __future__ import annotations

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


def seconds(text: str) -> float:
    """What a ``retry-after`` says; 0 for nothing that can be read."""
    return float(text) if text.isdecimal() else 0.0
