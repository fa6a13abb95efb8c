"""Who hangs below whom, and which siblings are too many to be drawn one by one.

Every lane of the picture is a forest: certificates below their issuer, enrollment groups below the
CA entry that they name, device identities below their hub.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from labkit.graph.kinds import Board, EdgeKind, Node, Zone

FoldForm = Literal["rows", "tiles", "stack"]
MOST_CARDS: Final = 3
MOST_ROWS: Final = 12
MOST_TILES: Final = {"device": 200, "client-certificate": 60, "enrollment": 60, "identity": 60}
"""Enrollments and identities repeat what the devices show. Where there are several hubs, the
devices even show whose they are: then many identities are a stack."""


@dataclass(frozen=True, slots=True)
class Fold:
    """Siblings drawn as one: as rows of names, as a grid of tiles, or as a counted stack."""

    id: str
    form: FoldForm
    members: tuple[str, ...]


class Family:
    """The forests of a board.

    ``parent`` maps a node to its parent ("" for none), ``units(parent)`` lists what is drawn below
    it: a node's ID or a ``Fold``; ``unit_of(node)`` is the ID of the unit that a node is part of,
    and ``folds`` has every fold by its ID.
    """

    def __init__(self, board: Board) -> None:
        self.board = board
        self.parent = _parents(board)
        self._hubs = sum(node.kind == "hub" for node in board.nodes.values())
        self._children: dict[str, list[str]] = {}
        for child, parent in self.parent.items():
            self._children.setdefault(parent, []).append(child)
        self._fold_of: dict[str, Fold] = {}
        self._units = {parent: self._grouped(parent) for parent in ["", *board.nodes]}
        self.folds = {fold.id: fold for fold in self._fold_of.values()}

    def units(self, parent: str) -> Sequence[str | Fold]:
        return self._units[parent]

    def roots(self, zone: Zone) -> list[str | Fold]:
        """The units of a lane that hang below nothing."""
        return [unit for unit in self._units[""] if self._member(unit).zone == zone]

    def unit_of(self, node: str) -> str:
        fold = self._fold_of.get(node)
        return fold.id if fold else node

    def path(self, node: str) -> Iterator[Node]:
        """The node, its parent, and so on up to the root."""
        while node:
            yield self.board.nodes[node]
            node = self.parent[node]

    def _member(self, unit: str | Fold) -> Node:
        return self.board.nodes[unit if isinstance(unit, str) else unit.members[0]]

    def _grouped(self, parent: str) -> list[str | Fold]:
        children = self._children.get(parent, [])
        units: list[str | Fold] = [child for child in children if not self._is_leaf(child)]
        for kind, most in MOST_TILES.items():
            leaves = [c for c in children if self._is_leaf(c) and self._kind(c) == kind]
            repeated = kind == "identity" and self._hubs > 1
            units += self._folded(parent, kind, leaves, MOST_ROWS if repeated else most)
        return units

    def _folded(self, parent: str, kind: str, leaves: list[str], most: int) -> list[str | Fold]:
        if len(leaves) <= MOST_CARDS:
            return list(leaves)
        form: FoldForm = "rows" if len(leaves) <= MOST_ROWS else "tiles"
        fold = Fold(
            f"{kind}s below {parent}", form if len(leaves) <= most else "stack", tuple(leaves)
        )
        self._fold_of.update(dict.fromkeys(leaves, fold))
        return [fold]

    def _kind(self, node: str) -> str:
        return self.board.nodes[node].kind

    def _is_leaf(self, node: str) -> bool:
        return self._kind(node) in MOST_TILES and node not in self._children


def _parents(board: Board) -> dict[str, str]:
    parents = dict.fromkeys(board.nodes, "")
    for child, parent in _claims(board):
        same_lane = board.nodes[child].zone == board.nodes[parent].zone
        if same_lane and not parents[child] and not _reaches(parents, parent, child):
            parents[child] = parent
    return parents


def _claims(board: Board) -> Iterator[tuple[str, str]]:
    """(child, parent) as the edges say; an identity that no hub claims goes to the first hub."""
    below: dict[EdgeKind, bool] = {"signed": True, "knows": True, "names": False}
    for kind, target_is_child in below.items():
        for edge in board.linked(kind):
            yield (edge.target, edge.source) if target_is_child else (edge.source, edge.target)
    hub = next((node.id for node in board.nodes.values() if node.kind == "hub"), None)
    if hub is not None:
        yield from ((n.id, hub) for n in board.nodes.values() if n.kind == "identity")


def _reaches(parents: dict[str, str], start: str, goal: str) -> bool:
    while start and start != goal:
        start = parents[start]
    return start == goal
