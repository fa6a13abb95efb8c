"""Which signs a picture uses, explained below it in plain half-sentences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from labkit.graph.hub_signs import signs as hub_signs
from labkit.graph.kinds import Board
from labkit.graph.presented import MISSING, SENT, Presented
from labkit.graph.states import STATES

LINE_H: Final = 24
COLUMNS: Final = 3
COLUMN_W: Final = 304


Form = Literal["state", "sent", "missing", "hub"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One sign and its meaning; ``x``, ``y`` is the middle of the sign's left edge."""

    sign: str
    form: Form
    text: str
    x: int
    y: int


def legend(board: Board, presented: Presented, x: int, y: int) -> tuple[tuple[Entry, ...], int]:
    """The entries from (x, y) on, in lines, and the y below them."""
    entries: list[Entry] = []
    signs = _signs(board, presented)
    for i, (sign, form, text) in enumerate(signs):
        left, line = x + i % COLUMNS * COLUMN_W, y + LINE_H // 2 + i // COLUMNS * LINE_H
        entries.append(Entry(sign, form, text, left, line))
    return tuple(entries), y + -(-len(signs) // COLUMNS) * LINE_H


def _signs(board: Board, presented: Presented) -> list[tuple[str, Form, str]]:
    used = {node.state for node in board.nodes.values()}
    signs: list[tuple[str, Form, str]] = [
        (key, "state", f"{key}: {state.meaning}") for key, state in STATES.items() if key in used
    ]
    marks = set(presented.marks.values())
    if SENT in marks:
        signs.append(("sent", "sent", "sent: shown when it last connected"))
    if MISSING in marks and "not sent" not in used:
        signs.append(("missing", "missing", f"not sent: {STATES['not sent'].meaning}"))
    assigned = {node.hub for node in board.nodes.values()}
    named = [(hub, board.nodes[hub].label) for hub in hub_signs(board) if hub in assigned]
    return [*signs, *((hub, "hub", f"assigned to {label}") for hub, label in named)]
