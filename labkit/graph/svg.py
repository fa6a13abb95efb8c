"""Draws a placed board as one SVG text, byte by byte the same on every machine.

Everything it needs is inside: style, icons, words. Each node is a group that carries ``data-id``,
``data-kind``, ``data-state``, ``data-parent`` and ``data-presented``, each link one with
``data-kind``, ``data-from`` and ``data-to``.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape as escape_html
from typing import Final

from labkit.graph.blocks import CARD_PAD, FOLD_HEAD, FOLD_PAD, ROW_H, SHEETS, Box, FoldBox, Point
from labkit.graph.family import Family
from labkit.graph.hub_signs import signs
from labkit.graph.icons import ARROW, CROSS, KEY, KINDS
from labkit.graph.kinds import Board, Node, printable
from labkit.graph.layout import MARGIN, SLIP_H, SLIPS_HEAD, Lane, Layout
from labkit.graph.legend import Entry
from labkit.graph.legible import ATTACKS, CROSS_R, Link
from labkit.graph.links import LANE_PAD
from labkit.graph.metrics import NAME, SMALL, TITLE, fit, width
from labkit.graph.presented import HELD, MISSING, SENT, Mark, Presented
from labkit.graph.states import STATES
from labkit.graph.style import css
from labkit.graph.words import EMPTY, LANES, fold_words, node_words, sent_words, states_words

PAD: Final = CARD_PAD
HOLDS_KEY: Final = frozenset({"token", "root-ca", "intermediate-ca", "device"})
CORNER: Final = {"device": 3, "identity": 3, "enrollment": 16, "enrollment-group": 16, "hub": 16}


def draw_svg(board: Board, family: Family, presented: Presented, placed: Layout, text: str) -> str:
    """The SVG of a board; ``text`` becomes its description."""
    return "\n".join(_Drawer(board, family, presented, placed).svg(text)) + "\n"


class _Drawer:
    def __init__(self, board: Board, family: Family, presented: Presented, placed: Layout) -> None:
        self.board, self.family, self.presented, self.placed = board, family, presented, placed
        self.signs = signs(board)

    def svg(self, text: str) -> Iterator[str]:
        w, h, title = self.placed.width, self.placed.height, escape(self.board.title)
        yield (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="lab-board" role="img"'
            f' aria-label="{title}" width="{w}" height="{h}" viewBox="0 0 {w} {h}">'
        )
        yield f"<title>{title}</title>"
        yield f"<desc>{escape(text)}</desc>"
        states = (node.state for node in self.board.nodes.values())
        yield f"<style>{css(states, self.signs.values())}</style>"
        yield f'<rect class="panel" x=".5" y=".5" width="{w - 1}" height="{h - 1}" rx="10"/>'
        yield from self.heading()
        for lane in self.placed.lanes:
            yield from self.lane(lane)
        yield from (self.link(link) for link in self.placed.links)
        yield from (self.fold(fold) for fold in self.placed.folds.values())
        yield from self.envelope()
        yield from (self.node(box) for box in self.placed.boxes.values())
        yield from (self.words(link) for link in self.placed.links if link.words)
        yield from (self.entry(entry) for entry in self.placed.legend)
        yield "</svg>"

    # --- the board -------------------------------------------------------------------------

    def heading(self) -> Iterator[str]:
        room = self.placed.width - 2 * MARGIN
        yield _text("title", MARGIN, MARGIN + 16, fit(self.board.title, room, TITLE, True))
        if self.board.caption:
            yield _text("soft", MARGIN, MARGIN + 36, fit(self.board.caption, room, SMALL))

    def lane(self, lane: Lane) -> Iterator[str]:
        x, y, w, h = lane.rect.x, lane.rect.y, lane.rect.w, lane.rect.h
        name, role = LANES[lane.zone]
        yield f'<rect class="lane" x="{x}" y="{y}" width="{w}" height="{h}" rx="8"/>'
        yield _text("name", x + LANE_PAD, y + 24, fit(name, w - LANE_PAD, NAME, True))
        yield _text("soft", x + LANE_PAD, y + 41, fit(role, w - LANE_PAD, SMALL))
        if lane.empty:
            yield _text("soft", x + w // 2, y + h // 2 + 24, EMPTY[lane.zone], "middle")

    def entry(self, entry: Entry) -> str:
        x, y = entry.x, entry.y
        caption = _text("soft", 30, 4, entry.text)
        if entry.form == "hub":
            return f'<g transform="translate({x},{y})">{self.sign(entry.sign, 4, -8)}{caption}</g>'
        if entry.form != "state":
            tag = _tag_sign(SENT if entry.form == "sent" else MISSING, 0, -8)
            return f'<g transform="translate({x},{y})">{tag}{caption}</g>'
        state = STATES[entry.sign]
        return (
            f'<g class="s-{state.slug}" transform="translate({x},{y})">'
            f'<rect class="box" x="1" y="-8" width="22" height="16" rx="3"/>'
            f"{_icon('icon', 6, -6, state.icon, 12)}{caption}</g>"
        )

    # --- links -----------------------------------------------------------------------------

    def link(self, link: Link) -> str:
        corners = " ".join(f"{x},{y}" for x, y in link.points)
        head = "" if link.kind == "stopped" else f'<path class="head" d="{_head(link.points)}"/>'
        return (
            f'<g class="{_link_class(link)}" data-kind="{link.kind}"'
            f' data-from="{escape(link.source)}" data-to="{escape(link.target)}">'
            f'<polyline class="line" points="{corners}"/>{head}{_cross(link)}</g>'
        )

    def words(self, link: Link) -> str:
        texts = "".join(
            _text("word", word.x, word.y, word.text, word.anchor) for word in link.words
        )
        return f'<g class="{_link_class(link)}">{texts}</g>'

    # --- nodes -----------------------------------------------------------------------------

    def node(self, box: Box) -> str:
        node, state = self.board.nodes[box.id], STATES[self.board.nodes[box.id].state]
        assigned = f", assigned to {self.board.nodes[node.hub].label}" if self.signed(node) else ""
        said = escape(node_words(node, self.presented) + assigned)
        sent = {True: "true", False: "false", None: ""}[node.presented]
        hub = f' data-hub="{escape(node.hub)}"' if self.signed(node) else ""
        draw = {"card": self.card, "row": self.row, "tile": self.tile}[box.form]
        return (
            f'<g class="node {box.form} s-{state.slug}" data-id="{escape(node.id)}"'
            f' data-kind="{node.kind}" data-state="{node.state}"'
            f' data-parent="{escape(self.family.parent[node.id])}" data-presented="{sent}"{hub}'
            f' role="img" aria-label="{said}" transform="translate({box.rect.x},{box.rect.y})">'
            f"<title>{said}</title>{draw(node, box.rect.w)}</g>"
        )

    def card(self, node: Node, w: int) -> str:
        state, room = STATES[node.state], w - 2 * PAD
        key = node.kind in HOLDS_KEY and bool(node.detail)
        left = PAD + 18 if key else PAD
        parts = [
            f'<rect class="box" width="{w}" height="68" rx="{CORNER.get(node.kind, 7)}"/>',
            _text("name", PAD, 22, fit(node.label, room, NAME, True)),
            _text("soft", left, 40, fit(node.detail, w - left - PAD, SMALL)),
            _icon("icon", PAD, 46, state.icon, 14),
            _text("state", PAD + 19, 57, state.word),
        ]
        if width(node.label, NAME, bold=True) <= room - 22:
            icon = _icon("icon thin", w - PAD - 16, 9, KINDS[node.kind], 16)
            parts.append(self.sign(node.hub or node.id, w - PAD - 16, 9) or icon)
        if key:
            parts.append(_icon("icon thin", PAD - 1, 29, KEY, 14))
        return "".join([*parts, self.tag(node, w)])

    def tag(self, node: Node, w: int) -> str:
        mark = self.presented.marks.get(node.id)
        taken = PAD + 19 + width(node.state, SMALL, bold=True)
        if mark is None or mark.word == node.state:
            return ""
        wide = _tag_width(mark)
        if taken + wide + 8 < w:
            return _tag(mark, w - wide - 8, 43)
        beside = taken + 30 < w  # else it would lie on the state's last letters
        return _tag_sign(mark, w - 30, 43 if beside else 59)

    def row(self, node: Node, w: int) -> str:
        mark = self.presented.marks.get(node.id)
        sign = _tag_sign(mark, w - 30, 2) if mark else self.sign(node.hub, w - 26, 3, 14)
        room = w - 28 - (32 if sign else 8)
        return (
            f'<rect class="ground" width="{w}" height="{ROW_H - 2}" rx="3"/>'
            f"{_icon('icon', 8, 3, STATES[node.state].icon, 14)}"
            f"{_text('', 28, 14, fit(node.label, room, SMALL))}{sign}"
        )

    def tile(self, node: Node, w: int) -> str:
        """A device that is well shows its hub's sign, any other what is wrong with it."""
        sign = self.sign(node.hub, 4, 4, 12) if node.state == "trusted" else ""
        icon = sign or _icon("icon", 4, 4, STATES[node.state].icon, 12)
        return f'<rect class="box" x="1" y="1" width="{w - 2}" height="{w - 2}" rx="3"/>{icon}'

    def signed(self, node: Node) -> bool:
        """Whether a device is drawn with the sign of its hub."""
        return node.hub in self.signs

    def sign(self, hub: str, x: int, y: int, size: int = 16) -> str:
        """The sign of a hub, by its node; nothing where hubs need none."""
        found = self.signs.get(hub)
        return _icon(f"sign {found.slug}", x, y, found.shape, size) if found else ""

    def fold(self, fold: FoldBox) -> str:
        rect, nodes = fold.rect, [self.board.nodes[member] for member in fold.members]
        counted = fold_words(self.board, fold.members)
        heading = fit(counted.partition(":")[0], rect.w - 2 * FOLD_PAD, SMALL, True)
        stacked = fold.form == "stack"
        inside = self.sheets(fold) if stacked else _sheet(rect.w, rect.h, 0)
        taken = FOLD_PAD + width(heading, SMALL, bold=True) + 6
        counts = self.counts(nodes) if stacked else self.tally(nodes, taken, rect.w - FOLD_PAD)
        return (
            f'<g class="folded {fold.form}" data-id="{escape(fold.id)}" role="img"'
            f' aria-label="{escape(counted)}" transform="translate({rect.x},{rect.y})">'
            f"<title>{escape(counted)}</title>{inside}"
            f"{_text('state', FOLD_PAD, 18, heading)}{counts}</g>"
        )

    def tally(self, nodes: list[Node], left: int, right: int) -> str:
        """Each state's icon and number, right-aligned; nothing if there is no room for all."""
        signs: list[str] = []
        for key, state in reversed(list(STATES.items())):
            number = str(sum(node.state == key for node in nodes))
            if number != "0":
                right -= 14 + width(number, SMALL)
                icon = _icon("icon", right, 8, state.icon, 12)
                count = _text("", right + 14, 18, number)
                signs.append(f'<g class="s-{state.slug}">{icon}{count}</g>')
                right -= 5
        return "".join(signs) if right + 5 >= left else ""

    def sheets(self, fold: FoldBox) -> str:
        w, h = fold.rect.w - SHEETS, fold.rect.h - SHEETS
        return "".join(_sheet(w, h, shift) for shift in (SHEETS, SHEETS // 2, 0))

    def counts(self, nodes: list[Node]) -> str:
        lines, y = [], FOLD_HEAD
        for key, state in STATES.items():
            some = [node for node in nodes if node.state == key]
            if some:
                icon = _icon("icon", FOLD_PAD, y + 3, state.icon, 14)
                words = _text("state", FOLD_PAD + 20, y + 14, states_words(some))
                lines.append(f'<g class="s-{state.slug}">{icon}{words}</g>')
                y += ROW_H
        return "".join(lines)

    # --- what the device sent --------------------------------------------------------------

    def envelope(self) -> Iterator[str]:
        rect = self.placed.envelope
        if rect is None:
            return
        torn = " torn" if self.presented.missing else ""
        w, y = rect.w, SLIPS_HEAD
        said = escape(sent_words(self.board, self.presented))
        yield (
            f'<g class="sent{torn}" data-kind="envelope" role="img" aria-label="{said}"'
            f' transform="translate({rect.x},{rect.y})"><title>{said}</title>'
        )
        yield f'<rect class="envelope" width="{w}" height="{rect.h}" rx="4"/>'
        yield f'<path class="flap" d="M2 2 {w // 2} 26 {w - 2} 2"/>'
        for slip in self.presented.slips:
            yield self.slip(self.board.nodes[slip.node], slip.mark, w, y)
            y += SLIP_H
        yield "</g>"

    def slip(self, node: Node, mark: Mark, w: int, y: int) -> str:
        if mark.tone == "quiet":
            said = f"DPS has {node.label}" if mark is HELD else f"{node.label} {mark.word}"
            return _text("soft", PAD, y + 14, fit(said, w - 2 * PAD, SMALL))
        said = mark.word if mark.tone == "missing" else ""
        right = w - 8 - width(said, SMALL)
        name = _text("", 36, y + 13, fit(node.label, right - 40, SMALL))
        return f"{_tag_sign(mark, 8, y)}{name}{_text('lost', right, y + 13, said)}"


def escape(text: str) -> str:
    """The text as XML can hold it, in content or in an attribute."""
    return escape_html(printable(text))


def _text(style: str, x: int, y: int, text: str, anchor: str = "start") -> str:
    if not text:
        return ""
    named = f' class="{style}"' if style else ""
    hung = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text{named} x="{x}" y="{y}"{hung}>{escape(text)}</text>'


def _icon(style: str, x: int, y: int, path: str, size: int) -> str:
    """A glyph of the 16 by 16 grid at another size; SVG scales its stroke with it."""
    scale = "" if size == 16 else f" scale({size / 16:g})"
    return f'<path class="{style}" transform="translate({x},{y}){scale}" d="{path}"/>'


def _tag_width(mark: Mark) -> int:
    plain = width(mark.word, SMALL, bold=mark.tone != "quiet")
    return plain if mark.tone == "quiet" else plain + 30


def _tag(mark: Mark, x: int, y: int) -> str:
    """A pill with a sign and a word; a quiet mark is its word alone."""
    wide = _tag_width(mark)
    if mark.tone == "quiet":
        return f'<g class="t-quiet">{_text("soft", x, y + 14, mark.word)}</g>'
    return (
        f'<g class="t-{mark.tone}" transform="translate({x},{y})">'
        f'<rect class="tag" width="{wide}" height="18" rx="9"/>'
        f"{_icon('tag-icon', 6, 2, _sign(mark), 14)}{_text('', 23, 13, mark.word)}</g>"
    )


def _tag_sign(mark: Mark, x: int, y: int) -> str:
    """The pill without its word, where there is no room for it."""
    if mark.tone == "quiet":
        return ""
    return (
        f'<g class="t-{mark.tone}" transform="translate({x},{y})">'
        f'<rect class="tag" width="22" height="16" rx="8"/>'
        f"{_icon('tag-icon', 4, 1, _sign(mark), 14)}</g>"
    )


def _sign(mark: Mark) -> str:
    return ARROW if mark.tone == "sent" else CROSS


def _sheet(w: int, h: int, shift: int) -> str:
    return f'<rect class="fold" x="{shift}" y="{shift}" width="{w}" height="{h}" rx="6"/>'


def _link_class(link: Link) -> str:
    shown = " shown" if link.kind in ("presents", "provisioned") else ""
    inside = " in-lane" if link.kind in ("signed", "knows") else ""
    attack = " attack" if link.kind == ATTACKS else ""
    return f"link{shown}{inside}{attack}{' broken' if link.cross else ''}"


def _head(points: tuple[Point, ...]) -> str:
    (xa, ya), (xb, yb) = points[-2:]
    if xa == xb:
        back = yb - 8 if yb > ya else yb + 8
        return f"M{xb} {yb}L{xb - 5} {back}L{xb + 5} {back}Z"
    back = xb - 8 if xb > xa else xb + 8
    return f"M{xb} {yb}L{back} {yb - 5}L{back} {yb + 5}Z"


def _cross(link: Link) -> str:
    if link.cross is None:
        return ""
    x, y = link.cross
    arms = f"M{x - 4} {y - 4}L{x + 4} {y + 4}M{x + 4} {y - 4}L{x - 4} {y + 4}"
    return (
        f'<circle class="cross" cx="{x}" cy="{y}" r="{CROSS_R}"/><path class="cross" d="{arms}"/>'
    )
