"""The lines between the boxes: straight where two things stand on one line, else orthogonal.

Every gutter between two lanes has channels for the vertical pieces, and every side of a box has
ports for the ends, so that no two links lie on each other. A box is drawn over the lines: no line
ever crosses a text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal

from labkit.graph.blocks import CARD_H, FOLD_HEAD, Joint, Point, Rect
from labkit.graph.family import Family
from labkit.graph.kinds import Board, Edge
from labkit.graph.legible import ATTACKS, PORT_GAP, Link, Word, legible
from labkit.graph.metrics import SMALL, fit, width
from labkit.graph.presented import SENT, Presented

Groups = dict[tuple[str, str], list[Edge]]

LANE_PAD: Final = 12
GUTTER: Final = 56  # between two lanes; with their paddings, room for an arrow's word
CHANNELS: Final = (-3, 6, 15, 24, 33, 42)  # offsets into a gutter
STOP: Final = LANE_PAD + GUTTER // 2  # where a connection that goes no further ends
ENVELOPE: Final = "envelope"
WORD_W: Final = 78
VERBS: Final[Mapping[str, str]] = {
    "signed": "signed",
    "uploaded": "uploaded",
    "names": "trusts",
    "assigns": "assigns to",
    "provisioned": "provisioned",
    "knows": "knows",
    "attacks": "comes to",
}
BROKEN_VERBS: Final[Mapping[str, str]] = {"signed": "not sent", "provisioned": "refused"}


class Router:
    """Routes all links of a board over placed rectangles (units, envelope, passages)."""

    def __init__(
        self,
        board: Board,
        family: Family,
        presented: Presented,
        rects: Mapping[str, Rect],
        lanes: Sequence[Rect],
    ) -> None:
        self._board, self._family, self._presented = board, family, presented
        self._rects, self._lanes = rects, lanes
        self._folds = family.folds
        self._ends: list[list[int]] = [[], [], []]  # for each gutter, the heights of its links
        self._used = [0, 0, 0]
        self._spoken: list[list[Word]] = [[], [], []]

    def links(
        self, joints: Iterable[Joint], passages: Mapping[tuple[str, str], str]
    ) -> tuple[Link, ...]:
        """Every link, in the order in which they are drawn."""
        groups = self._grouped()
        if self._presented.stopped:
            self._keep_clear(self._rects[ENVELOPE])
        found = [self._joint(joint, groups) for joint in joints]
        for pair, via in passages.items():
            found += self._through(groups.pop(pair, []), *pair, via)
        for (source, target), edges in groups.items():
            found.append(self._plain(edges, source, target))
        return legible(found)

    def _keep_clear(self, envelope: Rect) -> None:
        """No link and no word where the connection ends that goes no further."""
        self._ends[1] += [envelope.mid, envelope.mid - PORT_GAP // 2]  # its word is above it
        self._spoken[1].append(Word("", envelope.right + STOP, envelope.mid + 2, "middle"))

    def _grouped(self) -> Groups:
        groups: Groups = {}
        # An attacker's first: their words are numbers, and those must not be left out.
        for edge in sorted(self._board.edges, key=lambda edge: edge.kind != ATTACKS):
            pair = self._family.unit_of(edge.source), self._family.unit_of(edge.target)
            groups.setdefault(pair, []).append(edge)
        return groups

    # --- inside a lane ---------------------------------------------------------------------

    def _joint(self, joint: Joint, groups: Groups) -> Link:
        pair, points = (joint.parent, joint.unit), joint.points
        if pair not in groups and pair[::-1] in groups:
            pair, points = pair[::-1], points[::-1]
        edges = groups.pop(pair, [Edge(*pair, "knows", False, "")])
        broken = any(edge.broken for edge in edges)
        (x, top), (right, low) = joint.points[:2]
        if top == low:
            return self._level(joint, edges, (x + right) // 2)
        straight = len(points) == 2
        texts = (" ".join(_texts(edges)),) if joint.named or broken else ()
        above = low - CARD_H // 2 - 2  # between the card and its elder sibling
        y = (top + low) // 2 + 4 if straight else top + 15 if joint.named else above
        cross = (x, (top + low) // 2 if straight else low - 12) if broken else None
        shift = 14 if cross and straight else 8
        fitted = (fit(text, joint.room - shift - 4, SMALL, broken) for text in texts)
        words = tuple(Word(text, x + shift, y, "start") for text in fitted)
        return Link(edges[0].kind, *pair, points, words, cross)

    def _level(self, joint: Joint, edges: list[Edge], middle: int) -> Link:
        """From one box to the next on the same line, its word above."""
        (_, y), text = joint.points[0], " ".join(_texts(edges))
        word = Word(fit(text, joint.room, SMALL), middle, y - 6, "middle")
        return Link(edges[0].kind, joint.parent, joint.unit, joint.points, (word,))

    def _around(self, source: str, target: str) -> tuple[Point, ...]:
        """Two units of one lane that are not parent and child: out into the gutter and back."""
        a, b = self._rects[source], self._rects[target]
        lane = self._lane(a)
        gutter = max(0, lane - 1)
        x = self._channel(gutter)
        start = self._end(source, gutter, b.mid)
        end = self._end(target, gutter, a.mid)
        xa, xb = (a.x, b.x) if lane else (a.right, b.right)
        return (xa, start), (x, start), (x, end), (xb, end)

    # --- across the lanes ------------------------------------------------------------------

    def _plain(self, edges: list[Edge], source: str, target: str) -> Link:
        left, right = self._lane(self._rects[source]), self._lane(self._rects[target])
        if left == right:
            points = self._around(source, target)
            return _link(edges, source, target, points, (), points[1:3])
        points = self._across(source, target) if left < right else self._across(target, source)
        words = self._spoken_of(edges, points, min(left, right))
        drawn = points if left < right else points[::-1]
        return _link(edges, source, target, drawn, words, points[-2:])

    def _through(self, edges: list[Edge], source: str, target: str, via: str) -> Iterator[Link]:
        """Supply chain to hub, through the envelope or a passage of the lane between them."""
        first = self._across(source, via)
        if via == ENVELOPE:
            yield self._presents(source, first)
        if via == ENVELOPE and (_broken(edges) or not target):
            yield from self._stopped(edges, target)
        else:
            last = self._across(via, target)
            points = last if via == ENVELOPE else first[:-1] + last[1:]
            words = self._spoken_of(edges, last, 1)
            yield _link(edges, via if via == ENVELOPE else source, target, points, words, last[-2:])

    def _presents(self, source: str, points: tuple[Point, ...]) -> Link:
        sent = sum(slip.mark is SENT for slip in self._presented.slips)
        all_ = sent + len(self._presented.missing)
        count = f"sends {sent}" if sent == all_ else f"sends {sent} of {all_}"
        texts = count, "certificate" if all_ == 1 else "certificates"
        words = self._words(texts, points, 0, False)
        return Link("presents", source, ENVELOPE, points, words)

    def _stopped(self, edges: list[Edge], target: str) -> Iterator[Link]:
        """A connection that gets no further than DPS."""
        rect, texts = self._rects[ENVELOPE], _texts(edges) if edges else ("stops here",)
        if edges or self._presented.stopped:
            end = rect.right + STOP, rect.mid
            points = (rect.right, rect.mid), end
            words = self._words(texts, points, 1, True)
            yield Link("stopped", ENVELOPE, target, points, words, end)

    def _across(self, left: str, right: str) -> tuple[Point, ...]:
        """From the right side of one unit to the left side of another one farther right."""
        a, b = self._rects[left], self._rects[right]
        low, high = (
            max(a.y + _inset(a), b.y + _inset(b)),
            min(a.bottom - _inset(a), b.bottom - _inset(b)),
        )
        gutter = self._lane(b) - 1
        wish = min(max(self._wish(left), low), high)
        if low <= high and not self._blocked(a, wish):
            y = self._free(gutter, wish, low, high, wish)
            return (a.right, y), (b.x, y)
        x = self._channel(gutter)
        end = self._end(right, gutter, a.mid)
        if not self._blocked(a, self._wish(left)):
            start = self._end(left, gutter, end)
            return (a.right, start), (x, start), (x, end), (b.x, end)
        out = a.right - 16
        over, edge = (a.y - 9, a.y) if not self._blocked(a, a.y - 9) else (a.bottom + 9, a.bottom)
        return (out, edge), (out, over), (x, over), (x, end), (b.x, end)

    def _blocked(self, rect: Rect, y: int) -> bool:
        """Whether another unit of its lane stands to the right of a rectangle at this height."""
        lane = self._lane(rect)
        return any(
            other.x >= rect.right
            and self._lane(other) == lane
            and other.y - 3 <= y <= other.bottom + 3
            for other in self._rects.values()
        )

    # --- ports, channels, words ------------------------------------------------------------

    def _lane(self, rect: Rect) -> int:
        return sum(rect.x >= lane.x for lane in self._lanes) - 1

    def _wish(self, unit: str) -> int:
        rect = self._rects[unit]
        return rect.y + FOLD_HEAD // 2 if unit in self._folds else rect.mid

    def _end(self, unit: str, gutter: int, toward: int) -> int:
        rect, wish = self._rects[unit], self._wish(unit)
        return self._free(gutter, wish, rect.y + _inset(rect), rect.bottom - _inset(rect), toward)

    def _free(self, gutter: int, wish: int, low: int, high: int, toward: int) -> int:
        """The height nearest to the wish that keeps its distance from the gutter's other links."""
        taken = self._ends[gutter]
        steps = sorted(range(low, high + 1), key=lambda y: (abs(y - wish), abs(y - toward)))
        free = (y for y in steps if all(abs(y - other) >= PORT_GAP for other in taken))
        y = next(free, wish)
        taken.append(y)
        return y

    def _channel(self, gutter: int) -> int:
        self._used[gutter] += 1
        offset = CHANNELS[(self._used[gutter] - 1) % len(CHANNELS)]
        return self._lanes[gutter].right + LANE_PAD + offset

    def _with_proof(self, edges: list[Edge]) -> tuple[str, ...]:
        """The words of a link; an upload that was followed by its proof says so."""
        edge, texts = edges[0], _texts(edges)
        proven = self._board.nodes[edge.target].state == "verified"
        if edge.kind == "uploaded" and proven and not edge.label and not edge.broken:
            return *texts, "and verified"
        return texts

    def _spoken_of(
        self, edges: list[Edge], points: tuple[Point, ...], gutter: int
    ) -> tuple[Word, ...]:
        if edges[0].kind == ATTACKS:
            return (self._number(" ".join(_texts(edges)), points, gutter),)
        return self._words(self._with_proof(edges), points, gutter, _broken(edges))

    def _number(self, text: str, points: tuple[Point, ...], gutter: int) -> Word:
        """How often an attacker got in, beside the arrow's head: above or below, never left out.
        Links that are routed later keep clear of it."""
        x, y = self._lanes[gutter + 1].x - 6, points[-1][1]  # left of the trunk of stacked cards
        short = text if width(text, SMALL, bold=True) < WORD_W else text.replace(" of ", "/")
        fitted = fit(short, 2 * WORD_W, SMALL, True)
        words = [Word(fitted, x, line, "end") for line in (y - 12, y + 20)]
        said = [other.y for other in self._spoken[gutter]]
        free = (word for word in words if all(abs(word.y - y) >= 2 * PORT_GAP for y in said))
        farthest = max(words, key=lambda word: min((abs(word.y - y) for y in said), default=0))
        self._spoken[gutter].append(word := next(free, farthest))
        side = 1 if word.y > y else -1
        self._ends[gutter] += [y + side * PORT_GAP, y - side * PORT_GAP // 4]
        return word

    def _words(
        self, texts: tuple[str, ...], points: tuple[Point, ...], gutter: int, broken: bool
    ) -> tuple[Word, ...]:
        """Words around a straight piece; beside a corner only the first, and not in its way.

        Where another link's words stand already, the line has to do without.
        """
        x, y = self._lanes[gutter].right + LANE_PAD + GUTTER // 2, points[-1][1]
        lines = y - (12 if broken else 6), y + (20 if broken else 15)
        if len(points) > 2:
            x, texts = points[-1][0] - 6, texts[:1]
            lines = lines[::-1] if points[-3][1] < y else lines
        anchor: Literal["middle", "end"] = "middle" if len(points) == 2 else "end"
        fitted = [fit(text, WORD_W, SMALL, broken) for text in texts]
        words = [Word(text, x, y, anchor) for text, y in zip(fitted, lines, strict=False)]
        free = [word for word in words if not self._drowned(word, gutter)]
        self._spoken[gutter] += free
        return tuple(free)

    def _drowned(self, word: Word, gutter: int) -> bool:
        """Whether a word would stand on another one, or say again what is said close by."""
        near = (other for other in self._spoken[gutter] if abs(other.y - word.y) <= 40)
        return any(abs(other.y - word.y) <= 12 or other.text == word.text for other in near)


def _inset(rect: Rect) -> int:
    return min(14, rect.h // 2)


def _broken(edges: list[Edge]) -> bool:
    return any(edge.broken for edge in edges)


def _texts(edges: list[Edge]) -> tuple[str, ...]:
    """A link's word; one that stands for many says for how many."""
    edge, bad = edges[0], sum(edge.broken for edge in edges)
    verbs = BROKEN_VERBS if bad else VERBS
    verb = edge.label or verbs.get(edge.kind, VERBS[edge.kind])
    if len(edges) == 1:
        return (verb,)
    return verb, f"{bad} of {len(edges)}" if 0 < bad < len(edges) else str(len(edges))


def _link(
    edges: list[Edge],
    source: str,
    target: str,
    points: tuple[Point, ...],
    words: tuple[Word, ...],
    marked: Sequence[Point],
) -> Link:
    """``marked``: the piece that carries the cross if the link is broken."""
    (xa, ya), (xb, yb) = marked
    cross = ((xa + xb) // 2, (ya + yb) // 2) if _broken(edges) else None
    return Link(edges[0].kind, source, target, points, words, cross)
