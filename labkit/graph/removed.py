"""Which entries of DPS were deleted since the lab was opened, as the events tell it: the picture
shows them for a while, so that a deletion is seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from labkit.graph.kinds import NodeKind

if TYPE_CHECKING:
    from labkit.events import Event
    from labkit.lab import Lab

MOST: Final = 6
"""Older deletions are no longer drawn: the picture is of what there is."""

_KINDS: Final[Mapping[str, tuple[NodeKind, str]]] = {
    "CA certificate": ("ca-entry", "entry {name}"),
    "individual enrollment": ("enrollment", "enrollment {name}"),
    "enrollment group": ("enrollment-group", "group {name}"),
}


@dataclass(frozen=True, slots=True)
class Removed:
    """One deleted thing: ``node`` is the ID that it had in the picture."""

    node: str
    kind: NodeKind
    name: str
    event: Event


def removed(lab: Lab) -> list[Removed]:
    """The last deletions, oldest first. What was made again since may be among them."""
    found: dict[str, Removed] = {}
    for thing in _all(lab):
        found.pop(thing.node, None)  # deleted once more: it is the last again
        found[thing.node] = thing
    return list(found.values())[-MOST:]


def _all(lab: Lab) -> Iterator[Removed]:
    for event in lab.events.about(source="dps", kind="deleted"):
        what, name = str(event.details.get("what")), str(event.details.get("name"))
        if what in _KINDS:
            kind, node = _KINDS[what]
            yield Removed(node.format(name=name), kind, name, event)
