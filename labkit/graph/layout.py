"""Where everything stands: a pure function from a board to whole-pixel positions.

Three lanes, always the same three, so that the board stays put while the story goes on: the supply
chain, DPS and the hub. Things that belong together stand on one line across the lanes: a CA entry
beside its certificate, a hub beside its enrollment group, an identity beside its device. Below
them, where it is asked for, lies a band with the servers' certificates.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Final

from labkit.graph import servers
from labkit.graph.blocks import CARD_H, FOLD_HEAD, Blocks, Box, FoldBox, Joint, Rect
from labkit.graph.family import Family, Fold
from labkit.graph.kinds import Board, Edge, Zone
from labkit.graph.legend import Entry, legend
from labkit.graph.legible import Link
from labkit.graph.links import ENVELOPE, GUTTER, LANE_PAD, Router
from labkit.graph.presented import Presented

MARGIN: Final = 16
LANE_HEAD: Final = 58
LANE_W: Final[dict[Zone, int]] = {"supply-chain": 364, "dps": 220, "hub": 208}
LEAST_H: Final = 112  # of an empty lane's content
PASSAGE_H: Final = 20
SLIPS_HEAD: Final = 32
SLIP_H: Final = 20


@dataclass(frozen=True, slots=True)
class Lane:
    """One column of the board; ``empty`` where nothing stands in it yet."""

    zone: Zone
    rect: Rect
    empty: bool


@dataclass(frozen=True, slots=True)
class Layout:
    """The finished positions, all in whole pixels inside ``width`` by ``height``.

    ``boxes`` by node ID (a stack's members have none), ``folds`` by fold ID, ``envelope``: where
    the certificates of the drawn-out connection are listed, None without one.
    """

    width: int
    height: int
    lanes: tuple[Lane, ...]
    boxes: dict[str, Box]
    folds: dict[str, FoldBox]
    envelope: Rect | None
    links: tuple[Link, ...]
    legend: tuple[Entry, ...]


def layout(board: Board, family: Family, presented: Presented) -> Layout:
    """Place a board; equal boards give equal layouts."""
    return _Planner(board, family, presented).plan()


class _Planner:
    def __init__(self, board: Board, family: Family, presented: Presented) -> None:
        self.board, self.family, self.presented = board, family, presented
        self.top = MARGIN + (44 if board.caption else 26) + LANE_HEAD
        self.inner = self._lanes()
        self.rects: dict[str, Rect] = {}  # every unit, and the passages between the lanes
        self.boxes: dict[str, Box] = {}
        self.folds: dict[str, FoldBox] = {}
        self.joints: list[Joint] = []
        self.envelope: Rect | None = None
        self.passages: dict[tuple[str, str], str] = {}

    def plan(self) -> Layout:
        self._supply_chain()
        self._dps()
        self._hub()
        bottom = max(rect.bottom for rect in chain(self.rects.values(), [self._least()]))
        lanes = tuple(self._lane(zone, bottom + LANE_PAD) for zone in LANE_W)
        right = lanes[-1].rect.right
        lanes += self._band(Rect(MARGIN, lanes[0].rect.bottom + 12, right - MARGIN, 0))
        entries, height = legend(self.board, self.presented, MARGIN, lanes[-1].rect.bottom + 14)
        return Layout(
            width=right + MARGIN,
            height=height + MARGIN,
            lanes=lanes,
            boxes=self.boxes,
            folds=self.folds,
            envelope=self.envelope,
            links=self._router().links(self.joints, self.passages),
            legend=entries,
        )

    def _lanes(self) -> dict[Zone, Rect]:
        blocks, x, inner = Blocks(self.family), MARGIN, {}
        for zone, usual in LANE_W.items():
            w = max(usual - 2 * LANE_PAD, blocks.need(self.family.roots(zone)))
            inner[zone] = Rect(x + LANE_PAD, self.top, w, 0)
            x += w + 2 * LANE_PAD + GUTTER
        return inner

    def _least(self) -> Rect:
        return Rect(0, self.top, 0, LEAST_H)

    def _lane(self, zone: Zone, bottom: int) -> Lane:
        inner, top = self.inner[zone], self.top - LANE_HEAD
        rect = Rect(inner.x - LANE_PAD, top, inner.w + 2 * LANE_PAD, bottom - top)
        return Lane(zone, rect, not any(n.zone == zone for n in self.board.nodes.values()))

    def _router(self) -> Router:
        return Router(self.board, self.family, self.presented, self.rects, [*self.inner.values()])

    # --- the lanes -------------------------------------------------------------------------

    def _place(self, zone: Zone, units: list[str | Fold], y: int, floor: dict[str, int]) -> int:
        lane, blocks = self.inner[zone], Blocks(self.family, floor)
        bottom = blocks.forest(units, lane.x, y, lane.w)
        self.boxes |= blocks.boxes
        self.folds |= blocks.folds
        self.joints += blocks.joints
        cards = (box for box in blocks.boxes.values() if box.form == "card")
        self.rects |= {card.id: card.rect for card in cards}
        self.rects |= {fold.id: fold.rect for fold in blocks.folds.values()}
        return bottom

    def _supply_chain(self) -> None:
        self._place("supply-chain", self.family.roots("supply-chain"), self.top, {})

    def _dps(self) -> None:
        """Trees at the height of what they belong to, passages between them, top to bottom."""
        wishes: list[tuple[int, int, str | Fold | tuple[str, str]]] = []
        wishes += [(self._wish(unit), 0, unit) for unit in self.family.roots("dps")]
        wishes += [(self._passage_top(*pair), 1, pair) for pair in self._crossings()]
        y = self.top
        for wish, _, thing in sorted(wishes, key=lambda wish: wish[:2]):
            y = max(y, wish)
            if isinstance(thing, tuple):
                y = self._passage(thing, y) + 12
            else:
                y = self._place("dps", [thing], y, {}) + 24

    def _wish(self, unit: str | Fold) -> int:
        """The height of the certificate that a record of DPS belongs to."""
        for edge in self.board.edges:
            other = {edge.source: edge.target, edge.target: edge.source}.get(str(unit))
            if other in self.boxes and edge.kind in ("uploaded", "names"):
                return self.boxes[other].rect.y
        return self.top

    def _crossings(self) -> Iterator[tuple[str, str]]:
        """(unit of the supply chain, unit of the hub) that DPS must let through; "" ends there."""
        pairs = dict.fromkeys(
            (self.family.unit_of(edge.source), self.family.unit_of(edge.target))
            for edge in self.board.edges
            if self._zones(edge) == ("supply-chain", "hub")
        )
        sender = self.board.connection
        if self.presented.slips and not any(source == sender for source, _ in pairs):
            yield (self.family.unit_of(sender), "")
        yield from pairs

    def _zones(self, edge: Edge) -> tuple[Zone, Zone]:
        return self.board.nodes[edge.source].zone, self.board.nodes[edge.target].zone

    def _passage_h(self, source: str, target: str) -> int:
        """An envelope's height for the connection that is drawn out, else room for a line."""
        if not target or (self.presented.slips and source == self.board.connection):
            return SLIPS_HEAD + SLIP_H * len(self.presented.slips) + 8
        return PASSAGE_H

    def _passage_top(self, source: str, target: str) -> int:
        height = self._passage_h(source, target)
        if source in self.folds and height > PASSAGE_H:
            return self.rects[source].y
        return self._entry(source, self.rects[source].y) - height // 2

    def _passage(self, pair: tuple[str, str], y: int) -> int:
        lane, height = self.inner["dps"], self._passage_h(*pair)
        rect = Rect(lane.x, y, lane.w, height)
        if height > PASSAGE_H and self.envelope is None:
            self.envelope = rect
            name = ENVELOPE
        else:
            name = f"passage {len(self.passages)}"
        self.passages[pair] = name
        self.rects[name] = rect
        return rect.bottom

    def _hub(self) -> None:
        floor: dict[str, int] = {}
        roots = self.family.roots("hub")
        for (_, target), name in self.passages.items():
            if target and len(roots) == 1:  # several stay put, whoever connects to which
                floor.setdefault(target, self.rects[name].mid - self._entry(target, 0))
        for edge in self.board.linked("assigns"):
            group = self.boxes.get(edge.source)
            if group and len(roots) == 1:
                floor[edge.target] = group.rect.y  # stays there, whoever connects
        self._place("hub", roots, self.top, floor)

    def _band(self, rect: Rect) -> tuple[Lane, ...]:
        """Below the lanes, where there is something of the servers to show: a row for each root."""
        if not any(node.zone == "server" for node in self.board.nodes.values()):
            return ()
        inner = Rect(rect.x + LANE_PAD, rect.y + LANE_HEAD, rect.w - 2 * LANE_PAD, 0)
        boxes, joints = servers.rows(self.board, inner)
        self.boxes |= boxes
        self.joints += joints
        bottom = max(box.rect.bottom for box in boxes.values()) + LANE_PAD
        return (Lane("server", Rect(rect.x, rect.y, rect.w, bottom - rect.y), False),)

    def _entry(self, unit: str, y: int) -> int:
        """Where a link meets a unit that stands at y: a card's middle, a fold's heading."""
        return y + (FOLD_HEAD if unit in self.family.folds else CARD_H) // 2
