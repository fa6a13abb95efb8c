"""What happened, in order. Every room records here; nobody reads it to decide anything."""

from __future__ import annotations

import itertools
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from labkit.clock import Clock

_log = logging.getLogger("labkit.events")

KEPT = 10_000
"""Events kept in memory; older ones fall off."""


@dataclass(frozen=True, slots=True)
class Event:
    """One happening: ``number`` counts from 1, ``at`` is the lab's time.

    ``source`` is the room it happened in (``hsm``, ``supply chain``, ``tls``, ``mqtt``,
    ``https``, ``server``, ``dps``, ``registry``, ``certificate service``, ``hub``, ``device``,
    ``attacker``, ``lab``),
    ``kind`` a short constant word, ``text`` a sentence for people, ``details`` plain values: what
    went over the wire may be among them, a private key or a PIN never.
    """

    number: int
    at: datetime
    source: str
    kind: str
    text: str
    details: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.at:%H:%M:%S} {self.source:<12} {self.text}"


class Events:
    """The log of one lab. Recording is safe from any thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._numbers = itertools.count(1)
        self._kept: deque[Event] = deque(maxlen=KEPT)
        self._listeners: list[Callable[[Event], None]] = []
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """The lab's time, which events are dated by."""
        return self._clock.now()

    def record(self, source: str, kind: str, text: str, **details: Any) -> Event:
        with self._lock:
            event = Event(next(self._numbers), self._clock.now(), source, kind, text, details)
            self._kept.append(event)
        _log.info("%s: %s", source, text)
        for listener in list(self._listeners):
            self._tell(listener, event)
        return event

    def _tell(self, listener: Callable[[Event], None], event: Event) -> None:
        """Who listens must not be able to stop what happens."""
        try:
            listener(event)
        except Exception:
            _log.exception("a listener failed at %s", event)

    def listen(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Calls ``listener`` with each event from now on; returns what ends it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def about(self, *, source: str = "", kind: str = "") -> list[Event]:
        """The events of one source, of one kind, or both; all of them when neither is named."""
        return [e for e in self if source in ("", e.source) and kind in ("", e.kind)]

    def __iter__(self) -> Iterator[Event]:
        with self._lock:
            return iter(list(self._kept))

    def __len__(self) -> int:
        return len(self._kept)
