"""A manufacturing line on paper: how a buffer decouples it from the CA.

    line ──a device each second──> buffer ──> CA, at its own pace, and not during an outage

Time is simulated, in whole microseconds, and nothing in it is left to chance: the same
arguments give the same run on every machine. A device that finds the buffer full stops the
line until there is room: that is what an outage costs, and what a buffer saves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from labkit.errors import LabError

_MINUTE = 60_000_000
_SECOND = 1_000_000
_MOST = 1_000_000
"""Devices in one run: enough for a year's picture, and no trap for a typing error."""


@dataclass(frozen=True, slots=True)
class Outage:
    """From ``begin`` for ``minutes`` the CA signs nothing; what it is signing is kept waiting."""

    begin: int
    minutes: int


@dataclass(frozen=True, slots=True)
class LineRun:
    """What happened, minute by minute; each series has one number for each minute.

    ``built`` are the devices that the line finished, ``signed`` the certificates that the CA
    issued, ``queue`` the devices in the buffer when the minute was over (the one that is being
    signed counts), ``stopped`` the seconds in which the line stood still.
    """

    built: tuple[int, ...]
    signed: tuple[int, ...]
    queue: tuple[int, ...]
    stopped: tuple[float, ...]

    @property
    def output(self) -> int:
        """Devices with a certificate, in all."""
        return sum(self.signed)

    @property
    def longest_queue(self) -> int:
        """At the end of any minute."""
        return max(self.queue, default=0)

    @property
    def minutes_stopped(self) -> float:
        """How long the line stood still, in all."""
        return round(sum(self.stopped) / 60, 2)

    def __str__(self) -> str:
        return (
            f"{self.output} devices in {len(self.queue)} minutes; longest queue "
            f"{self.longest_queue}, line stopped for {self.minutes_stopped:g} minutes"
        )


def simulate(
    *,
    minutes: int = 60,
    devices_per_minute: int = 30,
    signatures_per_minute: int = 40,
    buffer: int = 200,
    outages: Sequence[Outage | tuple[int, int]] = (),
) -> LineRun:
    """Runs a line of this pace beside a CA of that, for so many minutes.

    ``buffer`` is how many devices may wait for the CA, the one that is being signed among them;
    ``outages`` are given as (begin, length) in minutes. Raises LabError for what cannot be.
    """
    _check(minutes, devices_per_minute, signatures_per_minute, buffer)
    calendar = _Calendar([_outage(outage) for outage in outages])
    end, pace = minutes * _MINUTE, _MINUTE // devices_per_minute
    service = _MINUTE // signatures_per_minute
    builds, signs, waits = _events(end, pace, service, buffer, calendar)
    built, signed = _per_minute(builds, minutes), _per_minute(signs, minutes)
    queue, length = [], 0
    for came, left in zip(built, signed, strict=True):
        length += came - left
        queue.append(length)
    return LineRun(tuple(built), tuple(signed), tuple(queue), _stopped(waits, minutes))


def _events(
    end: int, pace: int, service: int, buffer: int, calendar: _Calendar
) -> tuple[list[int], list[int], list[tuple[int, int]]]:
    """The moments at which devices were built and signed, and the spans in which the line stood
    still, all before ``end``.

    The n-th device goes into the buffer when it is built and the device ``buffer`` places before
    it has left; the CA begins with it when both it and the CA are there.
    """
    builds: list[int] = []
    signs: list[int] = []
    waits: list[tuple[int, int]] = []
    ready = pace
    while ready < end:
        room = signs[-buffer] if len(signs) >= buffer else 0
        enters = max(ready, room)
        if enters > ready:
            waits.append((ready, min(enters, end)))
        begins = max(enters, signs[-1]) if signs else enters
        builds.append(enters)
        signs.append(calendar.after(begins, service))
        ready = enters + pace
    return builds, signs, waits


class _Calendar:
    """When the CA is there."""

    def __init__(self, outages: Sequence[Outage]) -> None:
        self._spans: list[tuple[int, int]] = []
        for begin, end in sorted((o.begin, o.begin + o.minutes) for o in outages):
            start = max(begin * _MINUTE, self._spans[-1][1] if self._spans else 0)
            if start < end * _MINUTE:  # what an earlier one covers counts once
                self._spans.append((start, end * _MINUTE))

    def after(self, begin: int, work: int) -> int:
        """The moment at which so much work of the CA is done, if it begins at ``begin``."""
        for start, end in self._spans:
            if begin + work <= start:
                break
            if begin < end:
                work -= max(start - begin, 0)
                begin = end
        return begin + work


def _per_minute(moments: Sequence[int], minutes: int) -> list[int]:
    counted = [0] * minutes
    for moment in moments:
        if moment < minutes * _MINUTE:
            counted[moment // _MINUTE] += 1
    return counted


def _stopped(waits: Sequence[tuple[int, int]], minutes: int) -> tuple[float, ...]:
    lost = [0] * minutes
    for begin, end in waits:
        for minute in range(begin // _MINUTE, -(-end // _MINUTE)):
            within = max(begin, minute * _MINUTE), min(end, (minute + 1) * _MINUTE)
            lost[minute] += within[1] - within[0]
    return tuple(span / _SECOND for span in lost)


def _outage(given: Outage | tuple[int, int]) -> Outage:
    begin, minutes = (given.begin, given.minutes) if isinstance(given, Outage) else given
    if begin < 0 or minutes < 0:
        raise LabError(
            f"{given!r} is no outage",
            expected="the minute in which it begins, and its length in minutes, 0 or more",
            cure="outages=[(20, 15)] is one from minute 20 for 15 minutes",
        )
    return Outage(begin, minutes)


def _check(minutes: int, devices: int, signatures: int, buffer: int) -> None:
    names = ("minutes", "devices_per_minute", "signatures_per_minute", "buffer")
    for name, value in zip(names, (minutes, devices, signatures, buffer), strict=True):
        if not isinstance(value, int) or value < 1:
            raise LabError(
                f"{name}={value!r} cannot be simulated",
                expected="a whole number, 1 or more",
                cure=f"{name}=60, for instance",
            )
    if minutes * devices > _MOST:
        raise LabError(
            f"{minutes} minutes of {devices} devices are too many",
            expected=f"{_MOST:,} devices at the most",
            found=f"{minutes * devices:,}",
            cure="simulate a shorter time, or a slower line",
        )
