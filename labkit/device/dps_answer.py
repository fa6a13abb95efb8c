"""What DPS answers, whichever way it is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PATIENCE = 30.0
"""Seconds for one answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: a status of HTTP, JSON, and how many seconds to wait with the next."""

    status: int
    body: Mapping[str, Any]
    retry_after: float = 0.0


def seconds(text: str) -> float:
    """What a ``retry-after`` says; 0 for nothing that can be read."""
    return float(text) if text.isdecimal() else 0.0
