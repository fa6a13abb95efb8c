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
from dataclasses import replace
from datetime import datetime, timedelta

from labkit.device.firmware import upkeep
from labkit.device.firmware.policies import Policies
from labkit.device.firmware.upkeep import past
from labkit.device.firmware.values import (
    ATTEMPTS,
    ORDERS,
    Decision,
    Memory,
    Outcome,
    Situation,
    Step,
)


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
    yield from upkeep.wishes(p, m, s)
    if not past(m.wait_until, s.now):
        return
    if s.is_valid and (why := _provisioning(p, m, s)):
        yield Decision(Step.PROVISION, why)
    if s.may_connect and _is_to_connect(p, s):
        trial = "no hub has taken its new certificate yet"
        is_new = s.on_trial or s.untested
        yield Decision(Step.CONNECT, trial if is_new else "it is not connected")
    yield from upkeep.reports(p, s)
    if s.is_valid and s.reserve is not None and p.retire_old_key and m.try_again is None:
        yield Decision(Step.RETIRE, "its new certificate has worked")


def _falls_back(p: Policies, m: Memory, s: Situation) -> bool:
    """Once: where the old one is refused, too, there is nothing to fall back to."""
    refused = s.on_trial and m.refused == s.use.id
    return p.fall_back and refused and s.can_switch and m.try_again is None


def _renewal(p: Policies, m: Memory, s: Situation) -> str:
    """Why it renews now; empty where it does not. While a new one waits to be taken, it asks for
    no other."""
    waiting = s.on_trial or m.try_again is not None
    if waiting or not s.can_ask or not s.is_valid or not past(m.renew_after, s.now):
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
    if not s.assigned and not upkeep.has_none(p, s):
        return "it has no hub yet"
    if p.reprovision_after_renewal and s.on_trial and not s.registered:
        return "DPS has not seen its new certificate yet"
    return ""


def _idle(p: Policies, m: Memory, s: Situation) -> Decision:
    until = min((at for at in _appointments(p, m, s) if at > s.now), default=None)
    if not s.may_connect and not (p.keep_operational and s.is_valid):
        return Decision(Step.REST, "it has no valid certificate: somebody has to bring one", until)
    busy = _provisioning(p, m, s) or _is_to_connect(p, s) or upkeep.has_none(p, s)
    if busy:
        failed = m.failures or m.orders_failed
        why = f"{failed} in a row have failed" if failed else "too many have failed"
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
    yield from upkeep.appointments(p, m, s)


def _is_to_connect(p: Policies, s: Situation) -> bool:
    """Whether there is a reason to, a hub to go to and something to show there."""
    if upkeep.has_none(p, s):
        return False
    return not s.connected or s.on_trial or s.untested


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
    if step in ORDERS:
        return upkeep.after_order(p, m, s, step, outcome)
    if step is Step.FALL_BACK:
        return upkeep.after_fall_back(p, m, s)
    if step is Step.SWITCH:
        return _after_switch(p, m, s)
    if step not in ATTEMPTS:
        return m
    if outcome is not Outcome.DONE:
        return _after_failure(p, m, s, step, outcome)
    if step is Step.REPORT:
        return m
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
    if lasted or s.on_trial or s.untested:
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
    if refused and step is Step.CONNECT and s.operational is not None:
        m = replace(m, order_refused=s.operational.id)
    if (at_once or _falls_back(p, m, s)) and failures < p.attempts:
        return replace(m, failures=failures)
    return _waiting(p, m, s, failures)


def _waiting(p: Policies, m: Memory, s: Situation, failures: int) -> Memory:
    until = s.now + p.wait(failures, s.name)
    return replace(m, failures=failures % p.attempts, wait_until=until)
