"""The switches of a DPS: how it answers where Azure leaves a choice, and what it limits."""

from __future__ import annotations

from labkit.cloud.dps.entries import ALLOCATION_POLICIES, HASHED
from labkit.cloud.dps.limits import Limits
from labkit.cloud.switches import Switch, Switchboard, one_of, seconds_from
from labkit.database import Database

REFUSE, STATUS = "refuse", "status"


class Switches(Switchboard):
    """``allocation_policy`` is for entries that have none of their own; ``assignment_delay`` the
    seconds of the lab's time for which an assignment is told to be under way; ``retry_after``
    what clients are told to wait, in seconds; ``disabled_answer`` is ``refuse`` (401002) or
    ``status``, for Azure's documents name both; ``limits`` are Azure's."""

    allocation_policy = Switch(HASHED, *one_of(*ALLOCATION_POLICIES))
    assignment_delay = Switch(0.0, *seconds_from(0))
    retry_after = Switch(3, *seconds_from(1))
    disabled_answer = Switch(REFUSE, *one_of(REFUSE, STATUS))

    def __init__(self, database: Database) -> None:
        super().__init__(database, "switches")
        self.limits = Limits(**self.kept.get("limits", {}))
        self.limits.changed = lambda: self.keep("limits", self.limits.settings)
