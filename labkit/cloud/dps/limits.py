"""Azure's limits, as switches: off in lessons, where nobody wants to wait, on to teach them.

The windows are of real time, measured by a clock that nobody sets.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from labkit.cloud import codes
from labkit.cloud.refusals import Denial
from labkit.trace import failed

RATE = "the service is not asked more often than it answers"
QUOTA = "the service has room for one more"
SIZE = "the message is no larger than the service takes"
_SOURCE = "Azure documentation, IoT Hub Device Provisioning Service: quotas and limits"
_POLLING_WINDOW = 10.0
_DEVICES_COUNTED = 1_000
"""Of more, those that were silent for a window are forgotten."""


@dataclass
class Limits:
    """What is limited, and to how much.

    ``throttling``: operations of back ends and registrations, each a minute for the whole
    service. ``polling``: questions of one device in ten seconds. ``quotas``: CA certificates
    and X.509 or symmetric-key groups. ``message_size``: bytes of a device's payload. ``changed``
    is called whenever one of them was set.
    """

    throttling: bool = False
    polling: bool = False
    quotas: bool = False
    message_size: bool = False
    operations_a_minute: int = 1_000
    registrations_a_minute: int = 1_000
    polls_in_ten_seconds: int = 5
    ca_certificates: int = 25
    groups: int = 100
    message_bytes: int = 96 * 1024
    changed: Callable[[], None] | None = field(default=None, repr=False)
    timer: Callable[[], float] = field(default=time.monotonic, repr=False)
    _calls: dict[str, deque[float]] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
        if name in _SETTINGS and self.changed is not None:
            self.changed()

    @property
    def settings(self) -> dict[str, int]:
        """What is switched on, and the numbers: what :class:`Limits` can be made of again."""
        return {name: getattr(self, name) for name in _SETTINGS}

    def on(self) -> None:
        """Switches all of them on."""
        self.throttling = self.polling = self.quotas = self.message_size = True

    def off(self) -> None:
        """Switches all of them off, and forgets what was counted."""
        self.throttling = self.polling = self.quotas = self.message_size = False
        with self._lock:
            self._calls.clear()

    def count_operation(self) -> None:
        """One request of a back end. Raises Denial (429)."""
        if self.throttling:
            self._count("operations", self.operations_a_minute, 60.0)

    def count_registration(self) -> None:
        """One registration of a device. Raises Denial (429)."""
        if self.throttling:
            self._count("registrations", self.registrations_a_minute, 60.0)

    def count_poll(self, device: str) -> None:
        """One question of a device how its registration stands. Raises Denial (429)."""
        if self.polling:
            self._count(f"poll {device}", self.polls_in_ten_seconds, _POLLING_WINDOW)

    def check_quota(self, what: str, has: int, most: int) -> None:
        """Whether one more of these may be made. Raises Denial (400)."""
        if self.quotas and has >= most:
            why = f"it has {has} {what}; Azure's limit is {most}"
            cure = f"delete {what} that are not used any more"
            raise Denial(codes.TOO_MANY, failed(QUOTA, what, why, cure, source=_SOURCE))

    def check_size(self, device: str, size: int) -> None:
        """Whether a device's payload of ``size`` bytes is taken. Raises Denial (400)."""
        if self.message_size and size > self.message_bytes:
            why = f"it has {size:,} bytes; {self.message_bytes:,} at most"
            raise Denial(codes.BAD_REQUEST, failed(SIZE, device, why, "send less", source=_SOURCE))

    def _count(self, what: str, most: int, window: float) -> None:
        now = self.timer()
        with self._lock:
            if len(self._calls) > _DEVICES_COUNTED:
                self._forget_silent(now)
            calls = self._calls.setdefault(what, deque())
            while calls and calls[0] <= now - window:
                calls.popleft()
            if len(calls) < most:
                calls.append(now)
                return
            first = calls[0] if calls else now  # none is allowed at all
            wait = max(1, math.ceil(first + window - now))
        why = f"{most} in {window:g} s is the limit"
        cures = (f"wait {wait} s, as retry-after says", "lab.dps.limits.off()")
        denial = Denial(codes.THROTTLED, failed(RATE, what, why, *cures, source=_SOURCE))
        denial.retry_after = wait
        raise denial

    def _forget_silent(self, now: float) -> None:
        recent = {
            what: calls for what, calls in self._calls.items() if calls and calls[-1] > now - 60
        }
        self._calls.clear()
        self._calls.update(recent)


_SETTINGS = frozenset(
    {
        *("throttling", "polling", "quotas", "message_size", "message_bytes"),
        *("operations_a_minute", "registrations_a_minute", "polls_in_ten_seconds"),
        *("ca_certificates", "groups"),
    }
)
