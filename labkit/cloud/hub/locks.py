"""Cloud-to-device messages that a device has fetched over HTTPS and not settled yet.

Nobody holds a connection meanwhile, so a message is locked for a while: who has the lock's token
may complete, abandon or reject it. Locks are in memory only: what was locked when the lab ended is
in its queue again.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

LOCK_SECONDS = 60.0
"""By the lab's clock, as the messages' own life is."""


@dataclass(frozen=True, slots=True)
class Lock:
    """A message, by its ``number``, is its device's until a moment."""

    number: int
    until: datetime


class Locks:
    """Those of all hubs of a lab, one for a message at the most. ``now`` is its clock. Used by one
    thread at a time."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._held: dict[tuple[str, str], dict[str, Lock]] = {}

    def take(self, hub: str, device_id: str, number: int) -> str:
        """Locks a message; returns the token."""
        token = str(uuid.uuid4())
        until = self._now() + timedelta(seconds=LOCK_SECONDS)
        self._held.setdefault((hub, device_id), {})[token] = Lock(number, until)
        return token

    def release(self, hub: str, device_id: str, token: str) -> int | None:
        """Ends a lock and returns its message's number; None where there is none of this token,
        any more or at all."""
        if token not in self._of(hub, device_id):
            return None
        held = self._held[hub, device_id]
        found = held.pop(token).number
        if not held:
            del self._held[hub, device_id]
        return found

    def numbers(self, hub: str, device_id: str) -> set[int]:
        """The messages that are locked."""
        return {lock.number for lock in self._of(hub, device_id).values()}

    def forget(self, hub: str, device_id: str) -> None:
        """No message of a device is locked any more."""
        self._held.pop((hub, device_id), None)

    def _of(self, hub: str, device_id: str) -> dict[str, Lock]:
        """Without those whose time is over."""
        now, held = self._now(), self._held.get((hub, device_id), {})
        for token in [token for token, lock in held.items() if lock.until <= now]:
            del held[token]
        return held
