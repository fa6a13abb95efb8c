"""What a device sent in its last connection, and what was missing.

In TLS the device presents its own certificate and the intermediate certificates up to, but not
including, the CA that the service holds already. Which of them it did not send, and whether that
matters, is what a trainee must see first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from labkit.graph.family import Family
from labkit.graph.kinds import Board, Node

Tone = Literal["sent", "missing", "quiet"]


@dataclass(frozen=True, slots=True)
class Mark:
    """A word beside a certificate, and how loud it is said."""

    word: str
    tone: Tone


@dataclass(frozen=True, slots=True)
class Slip:
    """One certificate of the connection that is drawn out."""

    node: str
    mark: Mark


SENT: Final = Mark("sent", "sent")
MISSING: Final = Mark("not sent", "missing")
HELD: Final = Mark("DPS has it", "quiet")
NOT_SENT: Final = Mark("not sent", "quiet")


class Presented:
    """The marks of a board: ``marks`` by node, ``slips`` of the drawn-out connection, leaf first.

    ``stopped``: it was refused, for no link leads on from the device.
    """

    def __init__(self, board: Board, family: Family) -> None:
        self._held = {e.source for e in board.linked("uploaded") if _is_in_dps(board, e.target)}
        self._held |= {
            e.target for e in board.linked("names") if _is_group(board, e.source) and not e.broken
        }
        self._broken = {edge.source for edge in board.linked("signed") if edge.broken}
        path = list(family.path(board.connection)) if board.connection else []
        self.slips = self._slips(path)
        self.marks = {n.id: mark for n in board.nodes.values() if (mark := self._mark(n))}
        self.marks.update({slip.node: slip.mark for slip in self.slips})
        self.missing = [slip.node for slip in self.slips if slip.mark is MISSING]
        arrived = {edge.source for edge in board.linked("provisioned")}
        self.stopped = bool(self.slips) and board.connection not in arrived

    def _slips(self, path: list[Node]) -> tuple[Slip, ...]:
        """All that was sent, and what was needed: up to the first CA that DPS holds."""
        sent = max((place for place, node in enumerate(path) if node.presented), default=0)
        held = (p for p, node in enumerate(path) if p >= sent and node.id in self._held)
        needed = path[: next(held, len(path)) + 1]
        lacking = any(self._is_gap(node) for node in needed)
        slips = (Slip(node.id, self._mark_on_path(node, lacking)) for node in needed)
        return tuple(slip for slip in slips if slip.mark.word)

    def _mark_on_path(self, node: Node, lacking: bool) -> Mark:
        mark = self._mark(node) or Mark("", "quiet")
        if mark is NOT_SENT and lacking and node.kind != "root-ca":
            return MISSING
        return mark

    def _mark(self, node: Node) -> Mark | None:
        if node.presented is None:
            return None
        if node.presented:
            return SENT
        if node.id in self._held:
            return HELD
        return MISSING if self._is_gap(node) else NOT_SENT

    def _is_gap(self, node: Node) -> bool:
        if node.presented is not False or node.id in self._held:
            return False
        return node.state == "not sent" or (node.kind != "root-ca" and node.id in self._broken)


def _is_in_dps(board: Board, node: str) -> bool:
    """A hub has a list of its own."""
    return board.nodes[node].zone == "dps"


def _is_group(board: Board, node: str) -> bool:
    """An individual enrollment that names a CA does not make DPS trust it."""
    return board.nodes[node].kind == "enrollment-group"
