"""Attackers on the board: what they have, where they come to, how often they got in.

    Mallory ──got in 2, refused 5──> the entry of DPS that decides on the device they play
        └──────got in 3────────────> the device's identity in the hub

They stand in the lane of the supply chain, below nobody: no CA has a part in them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from labkit import ids
from labkit.drill.attempts import DPS, Tally
from labkit.graph.kinds import add_node

if TYPE_CHECKING:
    from networkx import DiGraph

    from labkit.cloud.dps.registrations import Registration
    from labkit.cloud.presentations import Presentation
    from labkit.drill import Attacker
    from labkit.lab import Lab


def node_of(attacker: Attacker) -> str:
    """Its ID in the picture."""
    return f"attacker {attacker.name}"


def draw(graph: DiGraph[str], lab: Lab) -> None:
    """Adds the attackers of a lab, once all the rest is there."""
    for attacker in lab.attackers:
        armed = any(map(attacker.has_key_of, attacker.victims))
        add_node(
            graph,
            node_of(attacker),
            kind="attacker",
            label=attacker.name,
            detail=_loot(attacker),
            state="has a key" if armed else "has no key",
        )
        for target, tally in _by_target(graph, lab, attacker).items():
            words = {"kind": "attacks", "label": tally.words, "broken": not tally.last_got_in}
            graph.add_edge(node_of(attacker), target, **words)


def _loot(attacker: Attacker) -> str:
    """What they have, in a few words."""
    keys = [name for name in attacker.victims if attacker.has_key_of(name)]
    what, whose = ("key", keys) if keys else ("certificates", attacker.victims)
    if not whose:
        return "attacker · has stolen nothing"
    return f"{what} of {whose[0] if len(whose) == 1 else f'{len(whose)} devices'}"


def _by_target(graph: DiGraph[str], lab: Lab, attacker: Attacker) -> dict[str, Tally]:
    """What they tried, by the node that they came to; what is not drawn cannot be come to."""
    found: dict[str, Tally] = {}
    for tally in lab.attempts.tallies(attacker.name):
        target = _target(graph, lab, tally)
        if target in graph:
            found[target] = found[target] + tally if target in found else tally
    return found


def _target(graph: DiGraph[str], lab: Lab, tally: Tally) -> str:
    record = lab.dps.registrations.find(tally.device)
    candidates = _entries(graph, record, tally) if tally.service == DPS else _known(record, tally)
    return next((node for node in candidates if node in graph), "")


def _entries(graph: DiGraph[str], record: Registration | None, tally: Tally) -> Iterator[str]:
    """The entry of the device, or of its group; without one, whatever DPS has."""
    wanted = f"enrollment {ids.key(tally.device)}"
    yield from (node for node in graph if ids.key(node) == wanted)
    if record is not None and record.group_id:
        yield f"group {record.group_id}"
    yield from (node for node, data in graph.nodes(data=True) if data["zone"] == "dps")


def _known(record: Registration | None, tally: Tally) -> Iterator[str]:
    """The device's identity in the hub; where there is none any more, the hub."""
    device_id = record.device_id if record is not None else tally.device
    yield f"identity {tally.service}/{device_id}"
    yield f"hub {tally.service}"


def behind(lab: Lab, visit: Presentation) -> str:
    """The attacker whose visit to DPS this was, by the lab's own book; empty for a device's."""
    last = lab.attempts.last(DPS, visit.device)
    came = last is not None and last.at <= visit.at <= last.ended
    return last.attacker if last is not None and came else ""
