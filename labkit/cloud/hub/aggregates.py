"""What a query makes of many documents: COUNT, and SUM, AVG, MIN and MAX of their numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from labkit.cloud.hub.values import UNDEFINED

Aggregate: TypeAlias = Callable[[Iterable[Any]], Any]
"""Takes the documents of a group, or their values at a path."""

KNOWN = "COUNT, SUM, AVG, MIN and MAX"


def find(name: str, has_path: bool) -> Aggregate | None:
    """The aggregate of this name. COUNT may go without a path, the others may not."""
    wanted = name.upper()
    if wanted == "COUNT":
        return _count
    return _OF_NUMBERS.get(wanted) if has_path else None


def _count(values: Iterable[Any]) -> int:
    return sum(1 for value in values if value is not UNDEFINED)


def _numbers(values: Iterable[Any]) -> list[float]:
    """What is no number does not count."""
    return [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]


def _of_numbers(make: Callable[[list[float]], float]) -> Aggregate:
    def made(values: Iterable[Any]) -> Any:
        found = _numbers(values)
        return make(found) if found else UNDEFINED

    return made


_OF_NUMBERS: dict[str, Aggregate] = {
    "SUM": _of_numbers(sum),
    "AVG": _of_numbers(lambda found: sum(found) / len(found)),
    "MIN": _of_numbers(min),
    "MAX": _of_numbers(max),
}
