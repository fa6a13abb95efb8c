"""How a service answers where Azure leaves a choice: attributes that are kept in the database.

They are part of the workspace's state: what was set is set when it is opened again.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

from labkit.cloud.store import keep_setting, kept_setting
from labkit.database import Database
from labkit.errors import LabError

T = TypeVar("T")

_LONGEST = 86_400.0


class Switch(Generic[T]):
    """One of them, as an attribute. ``fits`` tells which values it takes, ``rule`` says so."""

    def __init__(self, default: T, rule: str, fits: Callable[[Any], bool]) -> None:
        self._default, self._rule, self._fits = default, rule, fits

    def __set_name__(self, owner: type[Switchboard], name: str) -> None:
        self._name = name

    @overload
    def __get__(self, switches: None, owner: type[Switchboard]) -> Switch[T]: ...
    @overload
    def __get__(self, switches: Switchboard, owner: type[Switchboard]) -> T: ...
    def __get__(self, switches: Switchboard | None, owner: type[Switchboard]) -> Switch[T] | T:
        if switches is None:
            return self
        found: T = switches.kept.get(self._name, self._default)
        return found

    def __set__(self, switches: Switchboard, value: T) -> None:
        if not self._fits(value):
            raise LabError(
                f"{self._name} cannot be {value!r}",
                expected=self._rule,
                cure=f"leave it, or go back to what it was at first: {self._default!r}",
            )
        switches.keep(self._name, value)


def one_of(*values: object) -> tuple[str, Callable[[Any], bool]]:
    """A switch of a few positions. True and 1 are not the same one."""
    known = [(type(value), value) for value in values]
    return f"one of {', '.join(map(str, values))}", lambda value: (type(value), value) in known


def seconds_from(least: float) -> tuple[str, Callable[[Any], bool]]:
    """A switch of so many seconds, up to a day."""

    def fits(value: Any) -> bool:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number and least <= value <= _LONGEST

    return f"seconds from {least:g} to {_LONGEST:g}", fits


def whole_numbers(least: int, most: int) -> tuple[str, Callable[[Any], bool]]:
    """A switch that is a whole number."""

    def fits(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most

    return f"a whole number from {least:,} to {most:,}", fits


class Switchboard:
    """The switches of one service. ``name`` is that of the setting that all of them are kept in.

    Each is kept when it is set. Setting raises LabError for what cannot be.
    """

    def __init__(self, database: Database, name: str) -> None:
        self.__database, self.__name = database, name
        self.kept: dict[str, Any] = json.loads(kept_setting(database, name, "{}"))

    def keep(self, name: str, value: Any) -> None:
        """Keeps the value of a switch: on disk, and then in force."""
        kept = {**self.kept, name: value}
        keep_setting(self.__database, self.__name, json.dumps(kept))
        self.kept = kept
