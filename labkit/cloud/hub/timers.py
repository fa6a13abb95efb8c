"""Calls to be made later: any number of them in one thread, which is there while any wait."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable

_log = logging.getLogger(__name__)


class Timers:
    """By the machine's time: how long somebody waits for an answer is nothing that the lab's
    clock could move."""

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._waiting: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._running = self._stopped = False

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        """Makes the call so much later. It has to be quick, and harmless where it comes late."""
        with self._lock:
            if self._stopped:
                return
            due = time.monotonic() + seconds
            heapq.heappush(self._waiting, (due, next(self._numbers), call))
            if not self._running:
                self._running = True
                threading.Thread(target=self._run, name="labkit timers", daemon=True).start()
            elif self._waiting[0][0] == due:
                self._lock.notify()

    def stop(self) -> None:
        """What has not been called by now never is."""
        with self._lock:
            self._stopped = True
            self._waiting.clear()
            self._lock.notify()

    def _run(self) -> None:
        while (call := self._next()) is not None:
            try:
                call()
            except Exception:
                _log.exception("what was to be done later failed")

    def _next(self) -> Callable[[], None] | None:
        """The call that is due; None when no more are waiting, and the thread may go."""
        with self._lock:
            while self._waiting:
                left = self._waiting[0][0] - time.monotonic()
                if left <= 0:
                    return heapq.heappop(self._waiting)[2]
                self._lock.wait(left)
            self._running = False
            return None
