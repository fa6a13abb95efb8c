"""A world for firmware's decisions: a device, its certificates, DPS, a hub and a CA, as plain
values, and a clock that jumps to the next moment that firmware has named. Nothing is random but
what the weather says."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from labkit.device.firmware.decisions import after, decide
from labkit.device.firmware.policies import Policies
from labkit.device.firmware.values import (
    ATTEMPTS,
    ORDERS,
    Decision,
    Held,
    Memory,
    Outcome,
    Situation,
    Step,
)

START = datetime(2030, 1, 1, tzinfo=UTC)
LIFE = timedelta(days=3)
LOOKS = timedelta(hours=2)
"""A program looks at least so often, whatever was named."""
DONE, REFUSED, FAILED = Outcome.DONE, Outcome.REFUSED, Outcome.FAILED

Weather = Callable[[Step, datetime], Outcome]
"""How each attempt goes at each moment, where the certificate does not decide."""


@dataclass
class World:
    """``weather`` decides how attempts go; ``takes`` which certificates the cloud takes."""

    policies: Policies = field(default_factory=Policies)
    weather: Weather = lambda step, now: DONE
    takes: Callable[[str], bool] = lambda certificate: True
    can_ask: bool = True
    now: datetime = START
    memory: Memory = field(default_factory=Memory)
    use: Held = field(default_factory=lambda: Held("1", START, START + LIFE))
    reserve: Held | None = None
    assigned: bool = False
    connected: bool = False
    registered: str = ""
    taken: str = ""
    operational: Held | None = None
    operational_reserve: Held | None = None
    operational_taken: str = ""
    reported: str = ""
    done: list[tuple[datetime, Step, Outcome]] = field(default_factory=list)
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(2))

    @property
    def situation(self) -> Situation:
        return Situation(
            "widget",
            self.now,
            self.use,
            self.reserve,
            self.assigned,
            self.registered == self.use.id,
            self.taken == self.use.id,
            self.connected,
            self.can_ask,
            self.operational,
            self.operational_reserve,
            self.operational is not None and self.operational_taken == self.operational.id,
            self.operational is not None and self.reported == self.memory.report(self.operational),
        )

    def step(self) -> Decision:
        """One decision, done, and remembered as flash would keep it."""
        situation = self.situation
        decision = decide(self.policies, self.memory, situation)
        if decision.step in (Step.WAIT, Step.REST):
            return decision
        outcome = self._do(decision.step)
        self.done.append((self.now, decision.step, outcome))
        changed = after(self.policies, self.memory, situation, decision.step, outcome)
        self.memory = Memory.from_json(changed.to_json())
        assert self.memory == changed, "flash keeps all of it"
        return decision

    def settle(self, most: int = 60) -> Decision:
        """Until there is nothing to do at this moment."""
        for _ in range(most):
            decision = self.step()
            if decision.step in (Step.WAIT, Step.REST):
                return decision
        raise AssertionError(f"it goes on and on: {self.done[-6:]}")

    def live(self, until: datetime) -> None:
        """Settles at each moment that firmware has named, and each time the program looks."""
        while self.now < until:
            decision = self.settle()
            assert decision.until is None or decision.until > self.now
            named = decision.until or until
            self.now = min(named, self.now + LOOKS, until)

    def attempts(self, *steps: Step) -> list[tuple[datetime, Step, Outcome]]:
        wanted = steps or ATTEMPTS
        return [one for one in self.done if one[1] in wanted]

    def _do(self, step: Step) -> Outcome:
        if step is Step.SWITCH:
            assert self.reserve is not None, "there was nothing to switch to"
            assert self.reserve.is_valid(self.now), "to one that is not valid"
            self.use, self.reserve = self.reserve, self.use
            return DONE
        if step is Step.RETIRE:
            assert self.reserve is not None, "there was nothing to retire"
            assert self.taken == self.use.id, "the new one has worked"
            self.reserve = None
            return DONE
        if step is Step.FALL_BACK:
            assert self.operational_reserve is not None, "there was nothing to fall back to"
            assert self.operational_taken == self.operational_reserve.id, "to one that worked"
            self.operational, self.operational_reserve = self.operational_reserve, None
            return DONE
        to_hub = step in (Step.CONNECT, Step.ASK_HUB, Step.REPORT)
        shown = self.situation.shown if to_hub else self.use
        assert shown.is_valid(self.now), "nobody asks with a certificate that is not valid"
        outcome = self.weather(step, self.now)
        if outcome is DONE and step is not Step.RENEW and not self.takes(shown.id):
            outcome = REFUSED
        if outcome is DONE:
            self._succeed(step)
        elif step is Step.CONNECT:
            self.connected = False
        return outcome

    def _succeed(self, step: Step) -> None:
        if step is Step.RENEW:
            made = Held(str(next(self.numbers)), self.now, self.now + LIFE)
            self.use, self.reserve = made, self.use
        elif step in ORDERS:
            assert self.operational is None or self.operational_reserve is None, "one at a time"
            if self.situation.operational_taken:
                self.operational_reserve = self.operational
            self.operational = Held(str(next(self.numbers)), self.now, self.now + LIFE)
            self.assigned, self.connected = True, self.connected and step is Step.ORDER
        elif step is Step.REPORT:
            assert self.operational is not None, "there was nothing to report"
            self.reported = self.memory.report(self.operational)
        elif step is Step.PROVISION:
            self.assigned, self.connected, self.registered = True, False, self.use.id
        else:
            self.connected, self.taken = True, self.use.id
            if self.operational is not None:
                self.operational_taken, self.operational_reserve = self.operational.id, None


def settled(**start: object) -> World:
    """A world in which the device is provisioned and connected."""
    world = World(**start)  # type: ignore[arg-type]
    weather, world.weather = world.weather, lambda step, now: DONE
    takes, world.takes = world.takes, lambda certificate: True
    world.settle()
    world.done.clear()
    world.memory = replace(world.memory, attempts=0)
    world.weather, world.takes = weather, takes
    return world
