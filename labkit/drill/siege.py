"""Somebody who keeps trying, in the background, until they are stopped or have tried enough."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from labkit.errors import LabError

SHORTEST: Final = 0.05
LONGEST: Final = 3_600.0
MOST: Final = 10_000
_PATIENCE: Final = 30.0
"""Seconds that an attempt under way is waited for: the SDK's own patience is shorter."""


class Siege:
    """Does ``attempt`` again and again, ``every`` so many seconds of the machine's time, ``most``
    times at the most. It has begun when it is made; a ``with`` block ends it. What an attempt
    raises ends it, too, and is its ``failure``: the lab was closed, for instance.

    Raises LabError for bounds that cannot be.
    """

    def __init__(self, attempt: Callable[[], object], *, every: float, most: int) -> None:
        _check(every, most)
        self._attempt, self._every, self._most = attempt, every, most
        self._end = threading.Event()
        self.done = 0
        self.failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="attacker", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        return f"<Siege: {'goes on' if self.running else 'is over'}, {self.done} rounds done>"

    @property
    def running(self) -> bool:
        """Whether it still tries."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Ends it; an attempt that is under way is waited for. Harmless when it is over."""
        self._end.set()
        if self._thread is not threading.current_thread():
            self._thread.join(_PATIENCE)

    def wait(self, patience: float = 60.0) -> bool:
        """Waits until it has tried as often as it may; False where that takes longer."""
        self._thread.join(patience)
        return not self.running

    def __enter__(self) -> Siege:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _run(self) -> None:
        while self.done < self._most and not self._end.is_set():
            try:
                self._attempt()
            except Exception as error:  # kept: nobody hears what a thread of its own raises
                self.failure = error
                return
            self.done += 1
            self._end.wait(self._every)


def _check(every: float, most: int) -> None:
    if SHORTEST <= every <= LONGEST and 1 <= most <= MOST:
        return
    raise LabError(
        "Nobody can keep trying so",
        expected=f"every {SHORTEST:g} to {LONGEST:g} seconds, and 1 to {MOST} times at the most",
        found=f"every={every!r}, most={most!r}",
        cure="every=0.5, most=200, for instance",
    )
