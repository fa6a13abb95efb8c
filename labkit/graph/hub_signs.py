"""Signs by which hubs are told apart where there are several: a shape and a colour each.

A hub carries its sign, and so does each device that is assigned to it: a fleet of tiles then shows
at one glance who went where. One hub needs no sign.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from labkit.graph.family import Family
from labkit.graph.kinds import Board, Edge, Node
from labkit.graph.states import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, Hue


@dataclass(frozen=True, slots=True)
class HubSign:
    """``shape`` is the path of a filled 16 by 16 glyph, ``place`` counts the hubs from 1."""

    place: int
    shape: str
    hue: Hue

    @property
    def slug(self) -> str:
        """Its CSS class."""
        return f"hub-{self.place}"


_SHAPES: Final = (
    ("M8 1.6a6.4 6.4 0 1 0 .01 0z", BLUE),  # a circle
    ("M2.2 2.2h11.6v11.6H2.2z", ORANGE),  # a square
    ("M8 1 15.4 14.2H.6z", PURPLE),  # a triangle
    ("M8 .6 15.4 8 8 15.4.6 8z", GREY),  # a diamond
    ("M5.8 1h4.4v4.8H15v4.4h-4.8V15H5.8v-4.8H1V5.8h4.8z", SKY),  # a plus
    ("M1 5h14v6H1z", GREEN),  # a bar
)
SIGNS: Final = tuple(HubSign(place, *look) for place, look in enumerate(_SHAPES, 1))


def signs(board: Board) -> Mapping[str, HubSign]:
    """The sign of each hub, by the hub's node; none where there is one hub only. Hubs after the
    sixth have none."""
    hubs = [node.id for node in board.nodes.values() if node.kind == "hub"]
    return dict(zip(hubs, SIGNS, strict=False)) if len(hubs) > 1 else {}


def spread(board: Board, nodes: Iterable[Node]) -> str:
    """How many of these devices went to which hub: "34 to contoso-asia, 33 to contoso-europe";
    empty where there is one hub only, or where nobody was assigned."""
    if not signs(board):
        return ""
    counts = Counter(node.hub for node in nodes if node.hub)
    named = ((board.nodes[hub].label, counts[hub]) for hub in board.nodes if counts[hub])
    return ", ".join(f"{count} to {label}" for label, count in named)


def without_repeats(board: Board, family: Family) -> Board:
    """The board without the lines that its signs make needless: those of a fold's devices to
    several hubs. The line of the connection that is drawn out stays, and is that device's alone.
    """
    if not signs(board):
        return board

    def needed(edge: Edge) -> bool:
        many = edge.kind == "provisioned" and family.unit_of(edge.source) in family.folds
        return not many or edge.source == board.connection

    return replace(board, edges=tuple(filter(needed, board.edges)))
