"""Time that can be moved.

Everything that judges a device's or a CA's certificate asks this clock, never the
machine's. It runs at the machine's pace, shifted by an offset that lives in a small
file: so every process that has the workspace open sees a move at once.
"""

from __future__ import annotations

import json
import os
import re
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

from labkit.errors import LabError
from labkit.files import write_whole

_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(w|d|h|m|s)")
_UNITS = {"w": "weeks", "d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
# X.509 validity is read to the second, and cryptography's verifier knows years 1950 to 9999.
# A day of room at the begin: certificates are backdated a little.
_EARLIEST, _LATEST = datetime(1950, 1, 2, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)


def parse_span(text: str) -> timedelta:
    """``"31d"``, ``"12h"``, ``"1w 2d"`` as a timedelta. Raises LabError for anything else."""
    parts = _SPAN.findall(text)
    if not parts or _SPAN.sub("", text).strip():
        raise LabError(
            f"{text!r} is not a span of time",
            expected="numbers with w, d, h, m or s, such as 31d or 12h",
        )
    try:
        spans = (timedelta(**{_UNITS[unit]: float(number)}) for number, unit in parts)
        return sum(spans, timedelta())
    except OverflowError as error:
        raise LabError(
            f"{text!r} is longer than any calendar", cure="name a shorter span"
        ) from error


def parse_moment(text: str) -> datetime:
    """An ISO 8601 moment, UTC where it names no zone. Raises LabError for anything else."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise LabError(
            f"{text!r} is not a moment in time", expected="ISO 8601, such as 2027-01-31T12:00:00Z"
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


class Clock:
    """The lab's clock. ``path`` is the file that holds the offset; without it, memory does."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._file = os.fspath(path) if path is not None else ""  # asked for at each event
        # Always replaced as one: what was read, and of which file. Many threads ask, few move it.
        self._known = (0, 0), timedelta()
        self._moving = threading.RLock()

    def now(self) -> datetime:
        """The lab's time, UTC."""
        return datetime.now(UTC) + self.offset

    @property
    def offset(self) -> timedelta:
        """How far the lab's time is ahead of the machine's."""
        seen, offset = self._known
        if self._path is None or self._state() in (seen, None):
            return offset
        with self._moving:
            self._follow(self._path)
            return self._known[1]

    def advance(
        self,
        span: str = "",
        *,
        days: float = 0,
        hours: float = 0,
        minutes: float = 0,
        seconds: float = 0,
    ) -> datetime:
        """Moves on by this much and returns the new time: ``advance("31d")`` or
        ``advance(days=31)``. A negative number moves back. Raises LabError."""
        if not isinstance(span, str):
            raise LabError(
                f"{span!r} is not a span of time",
                expected='a text such as "31d", or days=31',
                found=f"a value of type {type(span).__name__}",
            )
        with self._moving:
            try:
                further = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
                moment = self.now() + further + (parse_span(span) if span else timedelta())
            except OverflowError as error:
                raise _outside(f"{days:g} days and more from now") from error
            return self._go_to(moment)

    def set(self, moment: datetime | str) -> datetime:
        """Moves to ``moment`` and returns the new time: a datetime, which must name its zone, or
        ISO 8601 as :func:`parse_moment` takes it."""
        if isinstance(moment, str):
            moment = parse_moment(moment)
        if moment.tzinfo is None:
            raise LabError(
                "The clock needs a time zone",
                found=repr(moment),
                cure="datetime(..., tzinfo=timezone.utc)",
            )
        return self._go_to(moment)

    def reset(self) -> datetime:
        """Back to the machine's own time."""
        return self._shift(timedelta())

    def _go_to(self, moment: datetime) -> datetime:
        if not _EARLIEST <= moment <= _LATEST:
            raise _outside(f"{moment:%Y-%m-%d}")
        return self._shift(moment - datetime.now(UTC))

    def _shift(self, offset: timedelta) -> datetime:
        with self._moving:
            if self._path is None:
                self._known = self._known[0], offset
            else:
                write_whole(self._path, json.dumps({"offset_seconds": offset.total_seconds()}))
                self._follow(self._path)
            return self.now()

    def _follow(self, path: Path) -> None:
        """Reads the file: this process or another has moved the clock. Whoever replaces it between
        the two lines is seen the next time."""
        if (state := self._state()) is not None:
            self._known = state, timedelta(seconds=json.loads(path.read_text())["offset_seconds"])

    def _state(self) -> tuple[int, int] | None:
        """Differs after each move, within one tick of the time stamp too: each writes a new file.
        None where there is none."""
        try:
            found = os.stat(self._file)
        except FileNotFoundError:
            return None
        return found.st_mtime_ns, found.st_ino


def _outside(when: str) -> LabError:
    return LabError(
        f"The clock cannot go to {when}",
        expected=f"a moment from {_EARLIEST:%Y-%m-%d} to {_LATEST:%Y-%m-%d}: "
        "the years in which X.509 validity is read",
    )
