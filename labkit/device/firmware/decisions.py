"""What firmware does next: decided from what it knows and what time it is. No sockets, no clock.

decide(policies, memory, situation) -> Decision        what to do, and why
after(policies, memory, situation, step, outcome)      what it remembers of that

renewed ── on trial ──taken by the hub──> in use; the old key is retired
              └──refused──> falls back to the old one ──some time later──> on trial again

no hub, or told to ──> PROVISION ──> CONNECT ──> rests
                          ^             │ unauthorized
                          └─────────────┘ at once the first time, then it waits, twice as long
                                          each time; after so many failures it pauses
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from labkit.device.firmware.policies import Policies


class Step(StrEnum):
    """What firmware can do."""

    RENEW = "renew"
    PROVISION = "provision"
    CONNECT = "connect"
    SWITCH = "use the other certificate"
    RETIRE = "retire the old key"
    WAIT = "wait"
    REST = "rest"


ATTEMPTS = (Step.RENEW, Step.PROVISION, Step.CONNECT)
"""Those that ask somebody else."""


class Outcome(StrEnum):
    """How a step went. ``REFUSED``: the other side said no; ``FAILED``: it was not reached."""

    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Held:
    """A certificate that the device has: its thumbprint, and from when to when it is valid."""

    id: str
    begin: datetime
    end: datetime

    def is_valid(self, moment: datetime) -> bool:
        """Whether it is valid then."""
        return self.begin <= moment <= self.end


@dataclass(frozen=True, slots=True)
class Situation:
    """How things are: the certificate in ``use`` and the one in ``reserve``; whether DPS has
    ``assigned`` a hub, and whether that was with the certificate in use (``registered``); whether
    a hub has ``taken`` that one, whether there is a connection (``connected``), and whether there
    is an issuer to ask (``can_ask``)."""

    name: str
    now: datetime
    use: Held
    reserve: Held | None = None
    assigned: bool = False
    registered: bool = False
    taken: bool = False
    connected: bool = False
    can_ask: bool = False

    @property
    def is_valid(self) -> bool:
        """Whether the certificate in use is valid."""
        return self.use.is_valid(self.now)

    @property
    def can_switch(self) -> bool:
        """Whether the certificate in reserve is valid."""
        return self.reserve is not None and self.reserve.is_valid(self.now)

    @property
    def on_trial(self) -> bool:
        """Whether the certificate in use is a new one that no hub has taken yet."""
        return self.reserve is not None and not self.taken


@dataclass(frozen=True, slots=True)
class Memory:
    """What firmware remembers, in flash: a restart makes it neither forget nor hammer.

    ``failures`` in a row, and ``wait_until``; the same two for renewals; when it connected last;
    why it was told to be provisioned (``provision``) or to renew (``renew``), empty where it was
    not; the certificate that was ``refused`` on trial, and when it is tried again (``try_again``)
    while it is in reserve. ``attempts`` and ``refusals`` count for ever.
    """

    failures: int = 0
    wait_until: datetime | None = None
    renewals_failed: int = 0
    renew_after: datetime | None = None
    connected_at: datetime | None = None
    provision: str = ""
    renew: str = ""
    refused: str = ""
    try_again: datetime | None = None
    attempts: int = 0
    refusals: int = 0

    def to_json(self) -> dict[str, Any]:
        """As flash keeps it."""
        found = asdict(self)
        return {k: v.isoformat() if isinstance(v, datetime) else v for k, v in found.items()}

    @classmethod
    def from_json(cls, kept: dict[str, Any]) -> Memory:
        """The inverse of :meth:`to_json`."""
        known = {field.name: kept[field.name] for field in fields(cls) if field.name in kept}
        for name in ("wait_until", "renew_after", "connected_at", "try_again"):
            if known.get(name):
                known[name] = datetime.fromisoformat(known[name])
        return cls(**known)

    def told_to_provision(self, why: str) -> Memory:
        """Somebody wants it to: it does not wait any longer, and the connection that ends by it
        does not count as one that failed."""
        return replace(self, provision=why, wait_until=None, connected_at=None)

    def told_to_renew(self, why: str) -> Memory:
        """Somebody wants it to: it does not wait any longer."""
        return replace(self, renew=why, renew_after=None)


@dataclass(frozen=True, slots=True)
class Decision:
    """The next step and the reason; ``until`` is when to look again, at the latest."""

    step: Step
    why: str
    until: datetime | None = None

    def __str__(self) -> str:
        end = f" until {self.until:%Y-%m-%d %H:%M:%S}" if self.until else ""
        return f"{self.step}{end}: {self.why}"


def decide(policies: Policies, memory: Memory, situation: Situation) -> Decision:
    """The next step. WAIT and REST come last: while there is one of them, nothing can be done."""
    found = next(_wishes(policies, memory, situation), None)
    return found or _idle(policies, memory, situation)


def _wishes(p: Policies, m: Memory, s: Situation) -> Iterator[Decision]:
    """What could be done now, the most important first."""
    if not s.is_valid and s.can_switch:
        yield Decision(Step.SWITCH, "its certificate is not valid, and the other one is")
    if _falls_back(p, m, s):
        yield Decision(Step.SWITCH, "its new certificate was refused, and the old one is valid")
    if why := _renewal(p, m, s):
        yield Decision(Step.RENEW, why)
    if m.try_again is not None and s.can_switch and m.try_again <= s.now:
        yield Decision(Step.SWITCH, "it is time to try the new certificate again")
    if not s.is_valid or not _past(m.wait_until, s.now):
        return
    if why := _provisioning(p, m, s):
        yield Decision(Step.PROVISION, why)
    if not s.connected or s.on_trial:
        trial = "no hub has taken its new certificate yet"
        yield Decision(Step.CONNECT, trial if s.on_trial else "it is not connected")
    if s.reserve is not None and p.retire_old_key and m.try_again is None:
        yield Decision(Step.RETIRE, "its new certificate has worked")


def _falls_back(p: Policies, m: Memory, s: Situation) -> bool:
    """Once: where the old one is refused, too, there is nothing to fall back to."""
    refused = s.on_trial and m.refused == s.use.id
    return p.fall_back and refused and s.can_switch and m.try_again is None


def _renewal(p: Policies, m: Memory, s: Situation) -> str:
    """Why it renews now; empty where it does not. While a new one waits to be taken, it asks for
    no other."""
    waiting = s.on_trial or m.try_again is not None
    if waiting or not s.can_ask or not s.is_valid or not _past(m.renew_after, s.now):
        return ""
    if m.renew:
        return m.renew
    if p.renew_before_expiry and s.now >= p.renewal_due(s.use.begin, s.use.end, s.name):
        return f"its certificate expires on {s.use.end:%Y-%m-%d}"
    return ""


def _provisioning(p: Policies, m: Memory, s: Situation) -> str:
    """Why it asks DPS now; empty where it does not."""
    if m.provision:
        return m.provision
    if not s.assigned:
        return "it has no hub yet"
    if p.reprovision_after_renewal and s.on_trial and not s.registered:
        return "DPS has not seen its new certificate yet"
    return ""


def _idle(p: Policies, m: Memory, s: Situation) -> Decision:
    until = min((at for at in _appointments(p, m, s) if at > s.now), default=None)
    if not s.is_valid:
        return Decision(Step.REST, "it has no valid certificate: somebody has to bring one", until)
    busy = _provisioning(p, m, s) or not s.connected or s.on_trial
    if busy:
        why = f"{m.failures} in a row have failed" if m.failures else "too many have failed"
        return Decision(Step.WAIT, why, until)
    return Decision(Step.REST, "there is nothing to do", until)


def _appointments(p: Policies, m: Memory, s: Situation) -> Iterator[datetime]:
    """When something may become due."""
    yield from (at for at in (m.wait_until, m.renew_after, m.try_again) if at is not None)
    yield s.use.begin
    if s.can_ask and p.renew_before_expiry:
        yield p.renewal_due(s.use.begin, s.use.end, s.name)
    if s.reserve is not None:
        yield s.reserve.begin
        yield s.use.end + timedelta(seconds=1)


def _past(moment: datetime | None, now: datetime) -> bool:
    return moment is None or moment <= now


# ---- what is remembered


def after(
    policies: Policies, memory: Memory, situation: Situation, step: Step, outcome: Outcome
) -> Memory:
    """What firmware remembers once a step was taken in a situation."""
    p, s, m = policies, situation, memory
    if step in ATTEMPTS:
        refusals = m.refusals + (outcome is Outcome.REFUSED)
        m = replace(m, attempts=m.attempts + 1, refusals=refusals)
    if step is Step.RENEW:
        return _after_renewal(p, m, s, outcome)
    if step is Step.SWITCH:
        return _after_switch(p, m, s)
    if step not in ATTEMPTS:
        return m
    if outcome is not Outcome.DONE:
        return _after_failure(p, m, s, step, outcome)
    return replace(m, provision="") if step is Step.PROVISION else _after_connection(p, m, s)


def _after_renewal(p: Policies, m: Memory, s: Situation, outcome: Outcome) -> Memory:
    """The next attempt is never so late that the certificate expires before it."""
    if outcome is Outcome.DONE:
        return replace(m, renew="", renewals_failed=0, renew_after=None, refused="")
    failed, shortest = m.renewals_failed + 1, timedelta(seconds=p.first_wait)
    wait = max(shortest, min(p.wait(failed, s.name), (s.use.end - s.now) / 4))
    return replace(m, renewals_failed=failed % p.attempts, renew_after=s.now + wait)


def _after_switch(p: Policies, m: Memory, s: Situation) -> Memory:
    """From the new certificate back to the old one, or on to the new one again."""
    if not s.on_trial or m.try_again is not None:
        return replace(m, refused="", try_again=None)
    assert s.reserve is not None, "there was something to switch to"
    rest = max(timedelta(seconds=p.longest_wait), (s.reserve.end - s.now) / 2)
    return replace(m, provision="", try_again=s.now + rest)


def _after_connection(p: Policies, m: Memory, s: Situation) -> Memory:
    """One that ends at once is no success: two devices with one identity end one another's. What
    a device has waited since does not count as time that the connection before has lasted."""
    steady, before = timedelta(seconds=p.steady), m.connected_at
    lasted = before is None or s.now - max(before, m.wait_until or before) >= steady
    m = replace(m, refused="", connected_at=s.now)
    if lasted or s.on_trial:
        return replace(m, failures=0, wait_until=None)
    return _waiting(p, m, s, m.failures + 1)


def _after_failure(p: Policies, m: Memory, s: Situation, step: Step, outcome: Outcome) -> Memory:
    refused, failures = outcome is Outcome.REFUSED, m.failures + 1
    unauthorized = refused and step is Step.CONNECT and p.reprovision_when_unauthorized
    at_once = unauthorized and m.failures == 0
    if unauthorized:
        m = replace(m, provision="the hub does not take it")
    if refused and s.on_trial and not at_once:
        m = replace(m, refused=s.use.id)
    if (at_once or _falls_back(p, m, s)) and failures < p.attempts:
        return replace(m, failures=failures)
    return _waiting(p, m, s, failures)


def _waiting(p: Policies, m: Memory, s: Situation, failures: int) -> Memory:
    until = s.now + p.wait(failures, s.name)
    return replace(m, failures=failures % p.attempts, wait_until=until)
