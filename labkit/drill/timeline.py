"""A fleet's history in numbers: who was let in, who was not, for how long, and what was lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from labkit.drill.history import Refused, Step


@dataclass(frozen=True)
class Timeline:
    """``steps`` in order; ``theirs`` are the tracking IDs of refusals that attackers got, so that
    they are not counted as devices'; ``now`` is the lab's time at which it was read."""

    steps: tuple[Step, ...]
    theirs: frozenset[str]
    now: datetime

    def after(self, step: int) -> Timeline:
        """The same from a step on, counted from 0."""
        return type(self)(self.steps[step:], self.theirs, self.now)

    # ---- devices

    @property
    def accepted(self) -> int:
        """Registrations of devices."""
        return sum(map(accepted_in, self.steps))

    @property
    def refused(self) -> int:
        """How often a device was refused, by DPS or a hub."""
        return len(self._refusals())

    @property
    def downtime(self) -> timedelta:
        """The lab's time that devices were kept out: each from its first refusal until it was let
        in again, all of them added up. Zero where no device was refused."""
        spans: dict[tuple[str, datetime], datetime] = {}
        for one in self._refusals():
            end = (one.device, one.until or self.now)
            spans[end] = min(spans.get(end, one.at), one.at)
        return sum((end - begin for (_, end), begin in spans.items()), timedelta())

    @property
    def sent(self) -> int:
        """Messages that somebody tried to send."""
        return sum(step.sent for step in self.steps)

    @property
    def lost(self) -> int:
        """Messages that somebody tried to send, and that no hub has."""
        return max(0, self.sent - sum(step.received for step in self.steps))

    @property
    def most_connected(self) -> int:
        """How many identities had a connection, where those were most."""
        return max((step.connected for step in self.steps), default=0)

    # ---- attackers

    @property
    def got_in(self) -> int:
        """How often an attacker was taken for a device, by DPS or a hub."""
        return sum(step.got_in for step in self.steps)

    @property
    def kept_out(self) -> int:
        """How often not."""
        return sum(step.kept_out for step in self.steps)

    @property
    def breach(self) -> timedelta | None:
        """The lab's time from the beginning of the step in which an attacker got in first until
        they did so last; None where they never did."""
        inside = [step for step in self.steps if step.last_got_in is not None]
        if not inside or inside[-1].last_got_in is None:
            return None
        return inside[-1].last_got_in - inside[0].at

    # ---- in words

    @property
    def marks(self) -> list[tuple[int, str]]:
        """What the operator did: the step that it began, and the words."""
        return [(place, mark) for place, step in enumerate(self.steps) for mark in step.marks]

    def refused_in(self, step: Step) -> int:
        """The refusals of devices in one step."""
        return len(self._of_devices(step.refusals))

    def _refusals(self) -> list[Refused]:
        return [one for step in self.steps for one in self._of_devices(step.refusals)]

    def _of_devices(self, refusals: Sequence[Refused]) -> list[Refused]:
        return [one for one in refusals if one.tracking_id not in self.theirs]


def accepted_in(step: Step) -> int:
    """The registrations of devices in one step, without those of attackers."""
    return step.assigned - step.stolen
