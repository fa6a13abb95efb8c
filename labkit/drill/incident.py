"""An incident: an attacker with a stolen key, a fleet at work, and an operator between them.

    theft ──> [the operator acts] ──> round 1 ──> [the operator acts] ──> round 2 ...

Its clock counts rounds and not minutes: the same decisions have the same end on every machine.
"""

from __future__ import annotations

from collections.abc import Callable

from labkit.drill.attacker import Attacker
from labkit.drill.fleet import Fleet
from labkit.drill.history import is_act
from labkit.drill.score import UNDO_DISABLED, Act, Deed, Round, Score
from labkit.errors import counted
from labkit.events import Event, Events

_ACTS = {
    ("supply chain", "renewed"): Act.RENEWED,
    ("supply chain", "revoked"): Act.REVOKED,
    ("device", "provisioned"): Act.PROVISIONED,
    ("hub", "deleted"): Act.DELETED,
    ("hub", "disabled"): Act.DISABLED,
    ("hub", "enabled"): Act.ENABLED,
}


class Incident:
    """``attacker`` against ``fleet``. What the operator does between two rounds is heard from
    ``events``, whatever it was done with: a cell, the portal, a player, a service's SDK."""

    def __init__(
        self, fleet: Fleet, attacker: Attacker, events: Events, settle: Callable[[], None]
    ) -> None:
        self.fleet, self.attacker, self._settle = fleet, attacker, settle
        self._rounds: list[Round] = []
        self._deeds: set[Deed] = set()
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
        deeds, victims = frozenset(self._deeds), self.attacker.victims
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
                deeds,
                tuple(victims),
                dps,
                hub,
                lost=tuple(visit.device for visit in visits if not visit.sent),
                turned_away=tuple(v.device for v in visits if v.sent and not v.registered),
            )
        )
        self._deeds.clear()
        return self._rounds[-1]

    def _attack(self, victims: list[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The devices as which they got in at DPS, and at hubs. Without a victim, NotFound is
        raised."""
        dps: list[str] = []
        hub: list[str] = []
        for name in victims or [""]:
            if self.attacker.try_dps(name).got_in:
                dps.append(name)
            known = self.attacker.as_device(name).assignment is not None
            if known and self.attacker.try_hub(device=name).got_in:
                hub.append(name)
        return tuple(dps), tuple(hub)

    def _hear(self, event: Event) -> None:
        """What happens within a round is heard too, and forgotten at its end."""
        if by := event.details.get("by"):  # what somebody else did in a device's name is no deed
            if (by, event.kind) == (self.attacker.name, "stolen"):
                self._forget(str(event.details["device"]))
            return
        act = _ACTS.get((event.source, event.kind))
        if act is None and is_act(event):
            act = Act.ENTRY if event.source == "dps" else Act.CHANGED
        if act is not None:
            self._keep(act, event)

    def _keep(self, act: Act, event: Event) -> None:
        """An entry of a device's own is about that device; any other change in DPS is about all
        devices, as far as anybody can tell."""
        name = str(event.details.get("device") or event.details.get("name", ""))
        if act is Act.REVOKED or (act is Act.ENTRY and name not in self._names()):
            name = ""
        if act in UNDO_DISABLED:
            self._deeds.discard(Deed(Act.DISABLED, name))
        self._deeds.add(Deed(act, name))

    def _forget(self, stolen: str) -> None:
        """What was done before a theft is no answer to it, but may be one to an earlier theft."""
        first = self.attacker.victims == [stolen]
        self._deeds = {deed for deed in self._deeds if not first and deed.device != stolen}

    def _names(self) -> set[str]:
        return {*(device.name for device in self.fleet.devices), *self.attacker.victims}
