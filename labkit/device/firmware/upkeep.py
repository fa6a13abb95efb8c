"""How firmware keeps its operational certificate: what it does and when, and what it remembers.

none ──ORDER──> untested ──taken by the hub──> in use ──at a share of its life──> ORDER, or ASK_HUB
                   └──refused──> FALL_BACK: the one before, for as long as that is valid; the next
                                 is asked for later

Whoever shows it to the hub need not have a valid onboarding certificate; to DPS one needs it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from labkit.device.firmware.policies import Policies
from labkit.device.firmware.values import Decision, Held, Memory, Outcome, Situation, Step


def has_none(p: Policies, s: Situation) -> bool:
    """Whether it is to have one, and has none yet."""
    return p.keep_operational and s.operational is None


def wishes(p: Policies, m: Memory, s: Situation) -> Iterator[Decision]:
    """What could be done about it now."""
    if not p.keep_operational:
        return
    if why := _falls_back(m, s):
        yield Decision(Step.FALL_BACK, why)
    why = _need(p, s)
    if not why or not past(m.order_after, s.now):
        return
    if _asks_hub(p, m, s):
        yield Decision(Step.ASK_HUB, why)
    elif s.is_valid:
        yield Decision(Step.ORDER, why)


def reports(p: Policies, s: Situation) -> Iterator[Decision]:
    """The twin is told last, of what has worked."""
    worked = s.operational is not None and s.operational_taken and s.connected
    if p.keep_operational and p.report_certificate and worked and not s.reported:
        yield Decision(Step.REPORT, "its twin does not tell of its certificate yet")


def appointments(p: Policies, m: Memory, s: Situation) -> Iterator[datetime]:
    """When something may become due."""
    if not p.keep_operational:
        return
    if m.order_after is not None:
        yield m.order_after
    if s.operational is not None:
        yield _due(p, s, s.operational)
        yield s.operational.end + timedelta(seconds=1)


def after_order(p: Policies, m: Memory, s: Situation, step: Step, outcome: Outcome) -> Memory:
    """The next attempt is never so late that the certificate expires before it."""
    held = s.operational
    if outcome is Outcome.DONE:
        m = replace(m, orders_failed=0, order_after=None, order_refused="", wait_until=None)
        m = replace(m, renewals=m.renewals + (held is not None), connected_at=None)
        return replace(m, provision="") if step is Step.ORDER else m
    return _missed(p, m, s, timedelta(seconds=p.first_wait))


def after_fall_back(p: Policies, m: Memory, s: Situation) -> Memory:
    """It asks for another, and not at once: the hub may refuse that one, too."""
    m = replace(m, provision="", wait_until=None, order_refused="")
    return _missed(p, m, s, timedelta(seconds=p.longest_wait))


def past(moment: datetime | None, now: datetime) -> bool:
    """Whether it is that time; always where there is none."""
    return moment is None or moment <= now


def _missed(p: Policies, m: Memory, s: Situation, shortest: timedelta) -> Memory:
    failed, held = m.orders_failed + 1, s.operational_reserve or s.operational
    wait = p.wait(failed, s.name)
    if held is not None:
        wait = min(wait, max(timedelta(), held.end - s.now) / 4)
    until, missed = s.now + max(shortest, wait), m.missed + (held is not None)
    return replace(m, orders_failed=failed % p.attempts, order_after=until, missed=missed)


def _falls_back(m: Memory, s: Situation) -> str:
    """Why it uses the one before; empty where it does not, or cannot."""
    if s.operational is None or s.operational_reserve is None or s.operational_taken:
        return ""
    if not s.operational_reserve.is_valid(s.now):
        return ""
    refused = m.order_refused == s.operational.id
    return "the hub has refused its new certificate, and the old one is valid" if refused else ""


def _need(p: Policies, s: Situation) -> str:
    """Why it needs another one now; empty where it does not. While the hub has not seen the last,
    it asks for no other."""
    held = s.operational
    if held is None:
        return "it has no operational certificate yet"
    if not held.is_valid(s.now):
        return "its operational certificate is not valid"
    if s.untested or s.now < _due(p, s, held):
        return ""
    return f"its operational certificate expires on {held.end:%Y-%m-%d}"


def _due(p: Policies, s: Situation, held: Held) -> datetime:
    return p.renewal_due(held.begin, held.end, s.name)


def _asks_hub(p: Policies, m: Memory, s: Situation) -> bool:
    """Where the hub has it not issued, each second attempt goes to DPS: a hub that never will is no
    reason to let it expire."""
    if not p.renew_at_hub or s.operational is None or not s.operational.is_valid(s.now):
        return False
    return m.orders_failed % 2 == 0 or not s.is_valid
