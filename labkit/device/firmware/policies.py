"""What firmware does by itself, as switches: each is a behaviour that device makers choose."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any

from labkit.errors import LabError


@dataclass(frozen=True, slots=True)
class Policies:
    """Times are seconds of the device's clock, fractions are of a certificate's lifetime.

    ``reprovision_when_unauthorized``  the hub says no: ask DPS, the hub may know another
                                       certificate, or it is another hub by now
    ``reprovision_on_command``         the direct method ``reprovision`` does so, too
    ``renew_on_command``               the direct method ``renew``: ask the issuer now
    ``accept_updates``                 the direct method ``installUpdate``, and messages of the
                                       kind ``update``
    ``renew_before_expiry``            at ``renew_at``, and up to ``renew_spread`` later: another
                                       moment for each device, so that a fleet does not ask at once
    ``reprovision_after_renewal``      tell DPS of a new certificate before the hub refuses it
    ``fall_back``                      back to the old certificate, while it is valid, where the
                                       new one is refused
    ``retire_old_key``                 destroy the old key once the new certificate has worked
    ``keep_operational``               have an operational certificate issued by DPS, show it to the
                                       hub, and renew it like the other: at ``renew_at``
    ``renew_at_hub``                   ask the hub for the next one, while there is a valid one;
                                       where that fails, DPS and the hub in turn
    ``report_certificate``             tell in the twin until when it is valid, and how often it
                                       was renewed: see ``labkit.device.operational``
    ``keep_hub``                       after a restart, go where it went before; without, ask DPS
                                       at each start

    Failed attempts are ``first_wait`` apart, then twice as long each time up to ``longest_wait``,
    each shortened by up to ``jitter`` of it. After ``attempts`` of them there is a ``pause``. A
    connection counts as good once it has lasted for ``steady``.
    """

    reprovision_when_unauthorized: bool = True
    reprovision_on_command: bool = True
    renew_on_command: bool = True
    accept_updates: bool = True
    renew_before_expiry: bool = True
    renew_at: float = 0.7
    renew_spread: float = 0.1
    reprovision_after_renewal: bool = True
    fall_back: bool = True
    retire_old_key: bool = True
    keep_operational: bool = False
    renew_at_hub: bool = False
    report_certificate: bool = True
    keep_hub: bool = True
    first_wait: float = 5.0
    longest_wait: float = 600.0
    jitter: float = 0.3
    attempts: int = 8
    pause: float = 3600.0
    steady: float = 60.0

    def changed(self, **changes: Any) -> Policies:
        """These with some changed. Raises LabError for what is no policy, or cannot be."""
        known = {field.name: type(getattr(self, field.name)) for field in fields(self)}
        for name, value in changes.items():
            if name not in known:
                raise LabError(
                    f"Firmware has no policy {name!r}",
                    expected=", ".join(known),
                    found=name,
                    cure="choose one of these",
                )
            kind = known[name]
            fits = type(value) is kind or (kind is float and type(value) is int)
            if not fits:
                raise LabError(
                    f"{name} cannot be {value!r}",
                    expected=f"a value of type {kind.__name__}, such as {getattr(self, name)!r}",
                    found=f"one of type {type(value).__name__}",
                )
        return replace(self, **changes)._checked()

    def _checked(self) -> Policies:
        rules = {
            "0 < renew_at and renew_at + renew_spread < 1": self.renew_at > 0
            and self.renew_spread >= 0
            and self.renew_at + self.renew_spread < 1,
            "0 < first_wait <= longest_wait <= pause": 0
            < self.first_wait
            <= self.longest_wait
            <= self.pause
            <= 366 * 86_400,
            "0 <= jitter < 1": 0 <= self.jitter < 1,
            "1 <= attempts <= 100": 1 <= self.attempts <= 100,
            "0 <= steady <= pause": 0 <= self.steady <= self.pause,
        }
        for rule, holds in rules.items():
            if not holds:
                raise LabError(
                    "These policies do not go together",
                    expected=rule,
                    found=repr(self),
                    cure="change both sides of it in one call",
                )
        return self

    def to_json(self) -> dict[str, Any]:
        """As flash keeps it."""
        return asdict(self)

    @classmethod
    def from_json(cls, kept: dict[str, Any]) -> Policies:
        """The inverse of :meth:`to_json`; what an older firmware did not know is as usual."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in kept.items() if name in known})

    def wait(self, failures: int, name: str) -> timedelta:
        """How long a device waits after so many failures in a row; after all of them it pauses."""
        if failures >= self.attempts:
            return timedelta(seconds=self.pause)
        longest = min(self.longest_wait, self.first_wait * 2.0 ** (failures - 1))
        return timedelta(seconds=longest * (1 - self.jitter * spread(name, "wait", failures)))

    def renewal_due(self, begin: datetime, end: datetime, name: str) -> datetime:
        """When a device renews a certificate of this validity: always the same moment for the
        same device and certificate. Which share of the spread it has depends on the day alone, so
        that a story that is told again is the same."""
        share = self.renew_at + self.renew_spread * spread(name, "renew", f"{begin:%Y-%m-%d}")
        return begin + (end - begin) * share


def spread(*what: object) -> float:
    """A number from 0 up to 1, spread evenly over names and always the same for the same: chance
    that can be repeated."""
    digest = hashlib.sha256("\0".join(map(str, what)).encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48
