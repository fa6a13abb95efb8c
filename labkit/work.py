"""Long work, and how far it is. Whoever works tells; whoever shows it (a player, a terminal, a
notebook's cell) listens. Nobody decides anything by it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

_log = logging.getLogger("labkit.work")

T = TypeVar("T")

PAUSE = 0.1
"""Seconds between two reports: a screen shows no more, and telling costs time too."""


@dataclass(frozen=True, slots=True)
class Stage:
    """``done`` of ``whole`` pieces of ``doing``, such as "making devices"."""

    doing: str
    done: int
    whole: int

    @property
    def over(self) -> bool:
        return self.done >= self.whole

    def __str__(self) -> str:
        return f"{self.doing}: {self.done} of {self.whole}"


class Work:
    """The long work of one lab. ``otherwise`` is told while nobody else listens."""

    def __init__(self, otherwise: Callable[[Stage], None] = lambda _: None) -> None:
        self._otherwise = otherwise
        self._listeners: list[Callable[[Stage], None]] = []
        self._lock = threading.Lock()

    @contextmanager
    def heard(self, listener: Callable[[Stage], None]) -> Iterator[None]:
        """Tells ``listener`` of the stages while the block runs."""
        with self._lock:
            self._listeners.append(listener)
        try:
            yield
        finally:
            with self._lock:
                self._listeners.remove(listener)

    def each(self, items: Sequence[T], doing: str) -> Iterator[T]:
        """The items, one after the other; one counts as done when the next is asked for.

        The first and the last are always told, the others ten times a second at most.
        """
        whole, told = len(items), 0.0
        for done, item in enumerate(items):
            if time.monotonic() - told >= PAUSE:
                self.tell(Stage(doing, done, whole))
                told = time.monotonic()
            yield item
        self.tell(Stage(doing, whole, whole))

    def tell(self, stage: Stage) -> None:
        """One stage, as it is: for work that is no loop."""
        for listener in list(self._listeners) or [self._otherwise]:
            try:
                listener(stage)
            except Exception:  # who listens must not be able to stop what is done
                _log.exception("a listener failed at %s", stage)
