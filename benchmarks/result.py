"""One measured figure and what it is held against."""

from __future__ import annotations

import operator
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

_HOLDS: dict[str, Callable[[float, float], bool]] = {"<=": operator.le, ">=": operator.ge}


@dataclass(frozen=True, slots=True)
class Result:
    """``target`` is ``"<= 0.6"`` or ``">= 0.35"``, or empty for a figure that is only reported."""

    name: str
    value: float
    unit: str
    target: str = ""

    @property
    def holds(self) -> bool:
        if not self.target:
            return True
        relation, limit = self.target.split()
        return _HOLDS[relation](self.value, float(limit))

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "holds": self.holds}


def median(values: Sequence[float]) -> float:
    """Rounded to three significant digits: these machines are noisy."""
    return float(f"{statistics.median(values):.3g}")
