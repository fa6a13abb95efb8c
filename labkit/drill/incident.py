"""An incident: an attacker with a stolen key, a fleet at work, and an operator between them.

    theft ──> [the operator acts] ──> round 1 ──> [the operator acts] ──> round 2 ...

Its clock counts rounds and not minutes: the same decisions have the same end on every machine.
"""

from __future__ import annotations

from collections.abc import Callable

from labkit.drill.attacker import Attacker
from labkit.drill.fleet import Fleet
from labkit.drill.history import is_act
from labkit.drill.score import Act, Round, Score
from labkit.errors import counted
from labkit.events import Event, Events

_ACTS = {
    ("supply chain", "renewed"): Act.RENEWED,
    ("supply chain", "revoked"): Act.REVOKED,
    ("device", "provisioned"): Act.PROVISIONED,
    ("hub", "deleted"): Act.DELETED,
    ("hub", "disabled"): Act.DISABLED,
}


class Incident:
    """``attacker`` against ``fleet``. What the operator does between two rounds is heard from
    ``events``, whatever it was done with: a cell, the portal, a player, a service's SDK."""

    def __init__(
        self, fleet: Fleet, attacker: Attacker, events: Events, settle: Callable[[], None]
    ) -> None:
        self.fleet, self.attacker, self._settle = fleet, attacker, settle
        self._rounds: list[Round] = []
        self._acts: set[Act] = set()
        events.listen(self._hear)

    def __repr__(self) -> str:
        against = f"{self.attacker.name} against {counted(len(self.fleet.devices), 'device')}"
        return f"<Incident: {against}, {counted(len(self._rounds), 'round')} played>"

    @property
    def rounds(self) -> tuple[Round, ...]:
        """The rounds so far."""
        return tuple(self._rounds)

    @property
    def score(self) -> Score:
        """The score of the rounds so far."""
        return Score(self.rounds)

    def round(self) -> Round:
        """One round: the robbed devices sleep, the attacker tries to be each of them, at DPS and
        then at the hub; then every device of the fleet comes anew. Returns what came of it.

        Raises NotFound where nothing was stolen.
        """
        acts, victims = frozenset(self._acts), self.attacker.victims
        for device in self.fleet.devices:
            if device.name in victims:
                device.disconnect()
        self._settle()
        dps, hub = self._attack(victims)
        self._settle()
        visits = self.fleet.round(anew=True)
        self._settle()
        self._rounds.append(
            Round(
                acts,
                dps,
                hub,
                lost=tuple(visit.device for visit in visits if not visit.sent),
                turned_away=tuple(v.device for v in visits if v.sent and not v.registered),
            )
        )
        self._acts.clear()
        return self._rounds[-1]

    def _attack(self, victims: list[str]) -> tuple[int, int]:
        """How often they got in at DPS and at hubs. Without a victim, NotFound is raised."""
        dps = hub = 0
        for name in victims or [""]:
            dps += self.attacker.try_dps(name).got_in
            if self.attacker.as_device(name).assignment is not None:
                hub += self.attacker.try_hub(device=name).got_in
        return dps, hub

    def _hear(self, event: Event) -> None:
        """What happens within a round is heard too, and forgotten at its end."""
        if event.details.get("by") == self.attacker.name:
            if event.kind == "stolen":  # what was done before is no answer to it
                self._acts.clear()
            return
        act = _ACTS.get((event.source, event.kind))
        if act is None and is_act(event):
            act = Act.ENTRY if event.source == "dps" else Act.CHANGED
        if act is not None:
            self._acts.add(act)
