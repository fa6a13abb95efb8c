"""Links with their words, and whether these can be read where they stand, once all links are
routed: a number may move, and a word that is in the way of something is left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final, Literal

from labkit.graph.blocks import Point
from labkit.graph.kinds import EdgeKind
from labkit.graph.metrics import SMALL, width

LinkKind = EdgeKind | Literal["presents", "stopped"]

ATTACKS: Final = "attacks"
PORT_GAP: Final = 16
CROSS_R: Final = 9
_TOUCH: Final = 8


@dataclass(frozen=True, slots=True)
class Word:
    """A text on a link; ``x``, ``y`` is its baseline's start, middle or end."""

    text: str
    x: int
    y: int
    anchor: Literal["start", "middle", "end"]


@dataclass(frozen=True, slots=True)
class Link:
    """One line: its corners up to the arrowhead, its words, and its cross if it is broken.

    ``source`` and ``target`` are unit IDs in the direction of the verb.
    """

    kind: LinkKind
    source: str
    target: str
    points: tuple[Point, ...]
    words: tuple[Word, ...]
    cross: Point | None = None


def legible(links: Sequence[Link]) -> tuple[Link, ...]:
    """The links with the words that can be read."""
    moved = [_moved(link, links) for link in links]
    return tuple(_legible(link, moved) for link in moved)


def _moved(link: Link, links: Sequence[Link]) -> Link:
    """The link with an attacker's number where no line strikes it through: on the arrow's other
    side, or beyond the next line. Where there is no such place, it stays."""
    if link.kind != ATTACKS:
        return link
    (word,), y = link.words, link.points[-1][1]
    lines = [other.points for other in links if other is not link]
    others = [other for each in links if each is not link for other in _kept(each)]
    places = (word.y, y - 12, y + 20, y + 20 + PORT_GAP, y - 12 - PORT_GAP)
    tried = (replace(word, y=place) for place in places)
    unstruck = (word for word in tried if not any(_struck(word, line) for line in lines))
    free = (word for word in unstruck if not any(_meet(word, other) for other in others))
    return replace(link, words=(next(free, word),))


def _kept(link: Link) -> tuple[Word, ...]:
    """The words that a link keeps in any case: a broken one's, and an attacker's number."""
    return link.words if link.cross is not None or link.kind == ATTACKS else ()


def _legible(link: Link, links: Sequence[Link]) -> Link:
    """The link without the words that another link would strike through, or its cross or an
    attacker's number cover; a broken one keeps its own, and an attacker's its number."""
    if link.cross is not None or link.kind == ATTACKS or not link.words:
        return link
    others = [other for other in links if other is not link]
    numbers = [word for other in others if other.kind == ATTACKS for word in other.words]
    words = (word for word in link.words if not any(_struck(word, o.points) for o in others))
    words = (word for word in words if not any(_covers(o.cross, word) for o in others))
    return replace(link, words=tuple(w for w in words if not any(_meet(w, n) for n in numbers)))


def _covers(cross: Point | None, word: Word) -> bool:
    """Whether a link's cross lies on the word."""
    if cross is None:
        return False
    (left, right), (x, y) = _span(word), cross
    return left - CROSS_R < x < right + CROSS_R and -9 - CROSS_R < y - word.y < 3 + CROSS_R


def _meet(one: Word, other: Word) -> bool:
    """Whether two words stand on each other."""
    (left, right), (start, end) = _span(one), _span(other)
    return abs(one.y - other.y) <= 12 and left < end and start < right


def _span(word: Word) -> tuple[int, int]:
    wide = width(word.text, SMALL)
    left = word.x - {"start": 0, "middle": wide // 2, "end": wide}[word.anchor]
    return left, left + wide


def _struck(word: Word, line: Sequence[Point]) -> bool:
    """Whether a level piece of the line lies on the word, and does more than touch its end."""
    left, right = _span(word)
    level = ((xa, xb) for (xa, ya), (xb, yb) in pairwise(line) if ya == yb and _at(word, ya))
    overlaps = (min(max(ends), right) - max(min(ends), left) for ends in level)
    return any(overlap > _TOUCH for overlap in overlaps)


def _at(word: Word, y: int) -> bool:
    return word.y - 9 < y < word.y + 3
