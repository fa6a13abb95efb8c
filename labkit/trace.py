"""A decision, explained: the ordered checks that led to it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Outcome(StrEnum):
    """What became of a check; one that an earlier failure made pointless was not reached."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_REACHED = "not reached"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    ``name`` is the rule as a statement ("the registration ID is the CN of the leaf"),
    ``about`` the certificate or record it was asked of, ``why`` what was seen,
    ``cures`` the ways to mend it (any one suffices), ``source`` the document that says so.
    """

    name: str
    about: str
    outcome: Outcome
    why: str
    cures: tuple[str, ...] = ()
    source: str = ""

    @property
    def failed(self) -> bool:
        """Whether this check said no."""
        return self.outcome is Outcome.FAILED

    @property
    def passed(self) -> bool:
        """Whether this check said yes."""
        return self.outcome is Outcome.PASSED

    def to_json(self) -> dict[str, Any]:
        """As :meth:`from_json` reads it."""
        return {**asdict(self), "outcome": str(self.outcome), "cures": list(self.cures)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Check:
        """The inverse of :meth:`to_json`."""
        known = {**data, "outcome": Outcome(data["outcome"]), "cures": tuple(data["cures"])}
        return cls(**known)


def passed(name: str, about: str, why: str, *, source: str = "") -> Check:
    """A check that said yes, and what it saw."""
    return Check(name, about, Outcome.PASSED, why, source=source)


def failed(name: str, about: str, why: str, *cures: str, source: str = "") -> Check:
    """A check that said no, what it saw, and the ways to mend it."""
    return Check(name, about, Outcome.FAILED, why, cures, source)


def not_reached(name: str, about: str = "") -> Check:
    """A check that was not made, because an earlier one decided."""
    return Check(name, about, Outcome.NOT_REACHED, "An earlier check decided.")


def first_failure(checks: Iterable[Check]) -> Check | None:
    """The check that decided, if one said no."""
    return next((check for check in checks if check.failed), None)
