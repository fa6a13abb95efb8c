"""What happened to a fleet, counted step by step while it happens.

    step ──operator's act──> step ──a fleet's next round──> step ...

A step ends where somebody changes something in the cloud, or where :meth:`History.begin` is called:
so the same story has the same steps, however long it takes. Events are heard, and never asked for
later: of these only the newest are kept.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from labkit.drill.attempts import DPS, GOT_IN
from labkit.events import Event, Events

KEPT: Final = 2_000
"""Steps that are kept; the oldest make room."""

REFUSALS_KEPT: Final = 10_000
"""Refusals that are kept, in all steps; the oldest make room. Who is refused may try for ever, and
under as many names as it likes, and no step has to end."""

_NO_ACTS: Final = frozenset({"assigned", "assigning", "refused", "again"})
"""What devices bring about at DPS, and what changes nothing."""
_ACTS_AT_HUB: Final = frozenset({"created", "updated", "deleted", "disabled", "enabled"})


@dataclass(slots=True)
class Refused:
    """A refusal at DPS or at a hub: of a device, or of who played it; ``until`` it got in."""

    device: str
    tracking_id: str
    at: datetime
    until: datetime | None = None


@dataclass(slots=True)
class Step:
    """What happened between two moments; ``marks`` are the operator's acts that began it.

    ``assigned`` counts registrations, also those of attackers (``stolen``); ``got_in`` and
    ``kept_out`` are attackers' attempts everywhere. ``connected`` is how many identities had a
    connection at its end. ``sent`` are messages that somebody tried to send, ``received`` those
    that hubs have kept.
    """

    at: datetime
    marks: list[str] = field(default_factory=list)
    assigned: int = 0
    stolen: int = 0
    refusals: list[Refused] = field(default_factory=list)
    got_in: int = 0
    kept_out: int = 0
    last_got_in: datetime | None = None
    sent: int = 0
    received: int = 0
    connected: int = 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing but the operator's acts happened."""
        tries = self.assigned or self.refusals or self.got_in or self.kept_out
        return not (tries or self.sent or self.received)


class History:
    """Hears the events of a lab, and counts. ``connected`` tells how many are, just now."""

    def __init__(self, events: Events, connected: Callable[[], int]) -> None:
        self._connected, self._now = connected, events.now
        self._lock = threading.Lock()
        self._steps: deque[Step] = deque([Step(self._now())], maxlen=KEPT)
        self._open: dict[str, list[Refused]] = {}
        self._refusals: deque[tuple[Step, Refused]] = deque()
        self.theirs: set[str] = set()
        """The tracking IDs of refusals that attackers got."""
        events.listen(self._hear)

    def begin(self, mark: str = "") -> None:
        """Another step begins, with ``mark``: the present one where nothing happened in it yet."""
        with self._lock:
            self._next(mark)

    def steps(self) -> list[Step]:
        """All steps, the present one last, as far as it has come."""
        with self._lock:
            self._steps[-1].connected = self._connected()
            return list(self._steps)

    def _next(self, mark: str) -> None:
        """Acts that follow one another at once are one beginning."""
        last = self._steps[-1]
        last.connected = self._connected()
        if not last.is_empty:
            self._steps.append(last := Step(self._now()))
        if mark:
            last.marks.append(mark)

    def _hear(self, event: Event) -> None:
        with self._lock:
            if event.source == "attacker":
                self._attack(event)
            elif event.kind in ("sent", "not sent") and event.source == "device":
                self._steps[-1].sent += 1
            elif event.kind == "telemetry" and event.source == "hub":
                self._steps[-1].received += int(event.details.get("count", 1))
            elif event.kind == "refused" and event.source in ("dps", "hub"):
                self._refused(event)
            elif event.kind in ("assigned", "connected") and event.source in ("dps", "hub"):
                self._let_in(event)
            elif is_act(event):
                self._next(event.text)

    def _attack(self, event: Event) -> None:
        step, tracking_id = self._steps[-1], event.details.get("tracking_id")
        if event.kind == GOT_IN:
            step.got_in, step.last_got_in = step.got_in + 1, event.at
            step.stolen += event.details.get("service") == DPS
        elif "service" in event.details:
            step.kept_out += 1
        if tracking_id:
            self.theirs.add(tracking_id)

    def _refused(self, event: Event) -> None:
        device, tracking_id = str(event.details["device"]), str(event.details["tracking_id"])
        step, refused = self._steps[-1], Refused(device, tracking_id, event.at)
        step.refusals.append(refused)
        self._open.setdefault(device, []).append(refused)
        self._refusals.append((step, refused))
        if len(self._refusals) > REFUSALS_KEPT:
            self._make_room()

    def _make_room(self) -> None:
        """The oldest refusal goes: it is the first of its step, and of its device if that was not
        let in since."""
        step, oldest = self._refusals.popleft()
        del step.refusals[0]
        self.theirs.discard(oldest.tracking_id)
        waiting = self._open.get(oldest.device, [])
        if waiting and waiting[0] is oldest:
            del waiting[0]
        if not waiting:
            self._open.pop(oldest.device, None)

    def _let_in(self, event: Event) -> None:
        if event.kind == "assigned":
            self._steps[-1].assigned += 1
        for refused in self._open.pop(str(event.details.get("device")), []):
            refused.until = event.at


def is_act(event: Event) -> bool:
    """Whether the operator of the cloud did it."""
    if event.source == "dps":
        return event.kind not in _NO_ACTS
    return event.source == "hub" and event.kind in _ACTS_AT_HUB and "name" in event.details
