"""The switches of a DPS: how it answers where Azure leaves a choice, and what it limits.

They are part of the workspace's state: what was set is set when it is opened again.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

from labkit.cloud.dps.entries import ALLOCATION_POLICIES, HASHED
from labkit.cloud.dps.limits import Limits
from labkit.cloud.store import keep_setting, kept_setting
from labkit.database import Database
from labkit.errors import LabError

T = TypeVar("T")

REFUSE, STATUS = "refuse", "status"
_LONGEST = 86_400.0


class _Switch(Generic[T]):
    """One of them, as an attribute. ``fits`` tells which values it takes, ``rule`` says so."""

    def __init__(self, default: T, rule: str, fits: Callable[[Any], bool]) -> None:
        self._default, self._rule, self._fits = default, rule, fits

    def __set_name__(self, owner: type[Switches], name: str) -> None:
        self._name = name

    @overload
    def __get__(self, switches: None, owner: type[Switches]) -> _Switch[T]: ...
    @overload
    def __get__(self, switches: Switches, owner: type[Switches]) -> T: ...
    def __get__(self, switches: Switches | None, owner: type[Switches]) -> _Switch[T] | T:
        if switches is None:
            return self
        found: T = switches.kept.get(self._name, self._default)
        return found

    def __set__(self, switches: Switches, value: T) -> None:
        if not self._fits(value):
            raise LabError(
                f"{self._name} cannot be {value!r}",
                expected=self._rule,
                cure=f"leave it, or go back to what it was at first: {self._default!r}",
            )
        switches.keep(self._name, value)


def _one_of(*values: str) -> tuple[str, Callable[[Any], bool]]:
    return f"one of {', '.join(values)}", lambda value: value in values


def _from(least: float) -> tuple[str, Callable[[Any], bool]]:
    def fits(value: Any) -> bool:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number and least <= value <= _LONGEST

    return f"seconds from {least:g} to {_LONGEST:g}", fits


class Switches:
    """``allocation_policy`` is for entries that have none of their own; ``assignment_delay`` the
    seconds of the lab's time for which an assignment is told to be under way; ``retry_after``
    what clients are told to wait, in seconds; ``disabled_answer`` is ``refuse`` (401002) or
    ``status``, for Azure's documents name both; ``limits`` are Azure's.

    Each is kept in the database when it is set. Setting raises LabError for what cannot be.
    """

    allocation_policy = _Switch(HASHED, *_one_of(*ALLOCATION_POLICIES))
    assignment_delay = _Switch(0.0, *_from(0))
    retry_after = _Switch(3, *_from(1))
    disabled_answer = _Switch(REFUSE, *_one_of(REFUSE, STATUS))

    def __init__(self, database: Database) -> None:
        self.__database = database
        self.kept: dict[str, Any] = json.loads(kept_setting(database, "switches", "{}"))
        self.limits = Limits(**self.kept.get("limits", {}))
        self.limits.changed = lambda: self.keep("limits", self.limits.settings)

    def keep(self, name: str, value: Any) -> None:
        """Keeps the value of a switch: on disk, and then in force."""
        kept = {**self.kept, name: value}
        keep_setting(self.__database, "switches", json.dumps(kept))
        self.kept = kept
