"""Registrations that wait for somebody else: one of each device at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

from labkit import ids
from labkit.cloud import codes
from labkit.cloud.refusals import Denial
from labkit.trace import failed

ALONE = "no other registration of this device is under way"


class UnderWay:
    """The devices whose registration waits for a webhook, or for an authority."""

    def __init__(self) -> None:
        self._devices: set[str] = set()
        self._lock = threading.Lock()

    def enter(self, registration_id: str) -> Callable[[], None]:
        """Returns what ends it. Raises Denial (409) where there is one already (sdk-c,
        common_prov_e2e)."""
        key = ids.key(registration_id)
        with self._lock:
            if key not in self._devices:
                self._devices.add(key)
                return partial(self._leave, key)
        why, cure = "an earlier one waits for an answer", "wait, and register again"
        raise Denial(codes.AT_WORK, failed(ALONE, registration_id, why, cure))

    def _leave(self, key: str) -> None:
        with self._lock:
            self._devices.discard(key)
