"""Places one lane's forest, like a pretty-printer breaks lines.

A parent spans its children's block, so a single child stands straight below it and a few children
stand side by side below it where they fit: then the lane has one row per level. Where they do not
fit, they are stacked and indented like an outline. The lane never gets wider because of a branch,
so the text never gets smaller.

    side by side               stacked
    +-----------------+        +-----------------+
    | root            |        | root            |
    +-----------------+        +-+---------------+
        |         |              |  +------------+
    +-------+ +-------+          +->| factory 1  |
    | fac 1 | | fac 2 |          |  +------------+
    +-------+ +-------+          +->| factory 2  |
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from labkit.graph.family import Family, Fold, FoldForm
from labkit.graph.metrics import NAME, width

CARD_H: Final = 68
CARD_MIN_W: Final = 148
CARD_PAD: Final = 10
LEVEL_GAP: Final = 36  # room for an arrow and its word
STACK_GAP: Final = 24
SIBLING_GAP: Final = 12
COLUMN_GAP: Final = 12
INDENT: Final = 18
FOLD_HEAD: Final = 28
FOLD_PAD: Final = 8
ROW_H: Final = 22
TILE: Final = 20
TILE_GAP: Final = 4
SHEETS: Final = 8  # how far the lower sheets of a stack peep out

Point = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Rect:
    """A rectangle in whole pixels, its origin at the top left."""

    x: int
    y: int
    w: int
    h: int

    @property
    def right(self) -> int:
        return self.x + self.w

    @property
    def bottom(self) -> int:
        return self.y + self.h

    @property
    def mid(self) -> int:
        return self.y + self.h // 2


@dataclass(frozen=True, slots=True)
class Box:
    """Where one node is drawn, and how: as a card of three lines, a row or a tile."""

    id: str
    rect: Rect
    form: Literal["card", "row", "tile"]


@dataclass(frozen=True, slots=True)
class FoldBox:
    """Where a fold is drawn; the boxes of its members lie inside, a stack has none."""

    id: str
    rect: Rect
    form: FoldForm
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Joint:
    """The arrow from a parent down to one unit; the first of several stacked ones is ``named``.

    ``room``: how wide a text beside it may be.
    """

    parent: str
    unit: str
    points: tuple[Point, ...]
    named: bool
    room: int


class Blocks:
    """Places forests; ``boxes`` by node, ``folds`` by fold ID and ``joints`` are the outcome.

    ``floor`` holds, by unit, the least y it may be drawn at, to line it up with another lane.
    """

    def __init__(self, family: Family, floor: Mapping[str, int] | None = None) -> None:
        self._family = family
        self._floor = floor or {}
        self.boxes: dict[str, Box] = {}
        self.folds: dict[str, FoldBox] = {}
        self.joints: list[Joint] = []

    def need(self, units: Sequence[str | Fold]) -> int:
        """The least width at which these units and all below them can be drawn."""
        widest = max((self._need(unit) for unit in units), default=CARD_MIN_W)
        return widest if len(units) <= 1 else widest + INDENT

    def forest(self, units: Sequence[str | Fold], x: int, y: int, w: int) -> int:
        """Place units that hang below nothing; the y below them.

        Side by side only where every name can be read whole: trees have nothing to do with one
        another, so nothing is lost when they stand in a row.
        """
        if self._fit_beside(units, w) and self._readable(units, w):
            return self._beside("", units, x, y, w)
        for unit in units:
            y = self._unit(unit, x, y, w) + SIBLING_GAP * 2
        return y - SIBLING_GAP * 2 if units else y

    def _need(self, unit: str | Fold) -> int:
        if isinstance(unit, Fold):
            return CARD_MIN_W
        return self.need(self._family.units(unit))

    def _unit(self, unit: str | Fold, x: int, y: int, w: int) -> int:
        if isinstance(unit, Fold):
            return self._fold(unit, x, max(y, self._floor.get(unit.id, y)), w)
        y = max(y, self._floor.get(unit, y))
        self.boxes[unit] = Box(unit, Rect(x, y, w, CARD_H), "card")
        return self._below(unit, x, y + CARD_H, w)

    def _below(self, parent: str, x: int, y: int, w: int) -> int:
        units = self._family.units(parent)
        if not units:
            return y
        if self._fit_beside(units, w):
            return self._beside(parent, units, x, y + LEVEL_GAP, w)
        return self._stacked(parent, units, x, y, w)

    def _fit_beside(self, units: Sequence[str | Fold], w: int) -> bool:
        share = (w - COLUMN_GAP * (len(units) - 1)) // max(1, len(units))
        return all(self._need(unit) <= share for unit in units) or len(units) == 1

    def _readable(self, units: Sequence[str | Fold], w: int) -> bool:
        """Whether the names of the trees' cards fit into their shares of the lane."""
        share = (w - COLUMN_GAP * (len(units) - 1)) // max(1, len(units))
        names = self._names(units)
        return all(width(name, NAME, bold=True) <= share - 2 * CARD_PAD for name in names)

    def _names(self, units: Sequence[str | Fold]) -> Iterator[str]:
        for unit in units:
            if isinstance(unit, str):
                yield self._family.board.nodes[unit].label
                yield from self._names(self._family.units(unit))

    def _beside(self, parent: str, units: Sequence[str | Fold], x: int, y: int, w: int) -> int:
        bottoms = []
        share = (w - COLUMN_GAP * (len(units) - 1)) // max(1, len(units))
        for column, unit in enumerate(units):
            left = x + column * (share + COLUMN_GAP)
            bottoms.append(self._unit(unit, left, y, share))
            self._straight(parent, unit, left + share // 2, share // 2)
        return max(bottoms, default=y)

    def _straight(self, parent: str, unit: str | Fold, x: int, room: int) -> None:
        if parent:
            points = ((x, self.boxes[parent].rect.bottom), (x, self._rect(unit).y))
            self.joints.append(Joint(parent, _id(unit), points, True, room))

    def _stacked(self, parent: str, units: Sequence[str | Fold], x: int, y: int, w: int) -> int:
        trunk, bottom, above = x + INDENT // 2, y + STACK_GAP - SIBLING_GAP, y
        for unit in units:
            bottom = self._unit(unit, x + INDENT, bottom + SIBLING_GAP, w - INDENT)
            entry = self._rect(unit).y + CARD_H // 2
            points = ((trunk, above), (trunk, entry), (x + INDENT, entry))
            self.joints.append(Joint(parent, _id(unit), points, unit is units[0], w - INDENT))
            above = entry
        return bottom

    def _rect(self, unit: str | Fold) -> Rect:
        return self.folds[unit.id].rect if isinstance(unit, Fold) else self.boxes[unit].rect

    def _fold(self, fold: Fold, x: int, y: int, w: int) -> int:
        draw = {"rows": self._rows, "tiles": self._tiles, "stack": self._stack}[fold.form]
        rect = Rect(x, y, w, draw(fold, x, y, w))
        self.folds[fold.id] = FoldBox(fold.id, rect, fold.form, fold.members)
        return rect.bottom

    def _rows(self, fold: Fold, x: int, y: int, w: int) -> int:
        for line, member in enumerate(fold.members):
            rect = Rect(x + 4, y + FOLD_HEAD + line * ROW_H, w - 8, ROW_H)
            self.boxes[member] = Box(member, rect, "row")
        return FOLD_HEAD + len(fold.members) * ROW_H + FOLD_PAD // 2

    def _tiles(self, fold: Fold, x: int, y: int, w: int) -> int:
        step = TILE + TILE_GAP
        columns = (w - 2 * FOLD_PAD + TILE_GAP) // step
        inset = (w - columns * step + TILE_GAP) // 2
        for i, member in enumerate(fold.members):
            left, top = x + inset + i % columns * step, y + FOLD_HEAD + i // columns * step
            self.boxes[member] = Box(member, Rect(left, top, TILE, TILE), "tile")
        lines = -(-len(fold.members) // columns)
        return FOLD_HEAD + lines * step - TILE_GAP + FOLD_PAD

    def _stack(self, fold: Fold, x: int, y: int, w: int) -> int:
        states = {self._family.board.nodes[member].state for member in fold.members}
        return FOLD_HEAD + len(states) * ROW_H + FOLD_PAD + SHEETS


def _id(unit: str | Fold) -> str:
    return unit.id if isinstance(unit, Fold) else unit
