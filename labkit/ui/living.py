"""What the live boards have in common: a board that morphs, an inspector, answers about nodes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import traitlets

from labkit.graph.family import Family
from labkit.graph.kinds import read
from labkit.graph.states import STATES
from labkit.ui.answering import Answering, Json
from labkit.ui.inspection import Inspection


class Living(Answering):
    """``svg`` is the board as it is drawn now, ``scene`` everything beside it."""

    svg = traitlets.Unicode().tag(sync=True)

    def __init__(self) -> None:
        super().__init__()
        self._revision = 0

    @abstractmethod
    def graph(self) -> Any:
        """The networkx graph of the board that is shown."""

    @abstractmethod
    def inspections(self) -> Mapping[str, Inspection]:
        """What there is to say about the nodes of that board."""

    def show(self, svg: str, scene: Json) -> None:
        """Puts a board and what stands beside it on the screen, at one stroke."""
        self._revision += 1
        with self.hold_sync():
            self.svg, self.scene = svg, {**scene, "revision": self._revision}

    # ---- answers

    def answer(self, message: Json) -> Json:
        """What the browser asked for. Raises LabError for what this widget does not know."""
        match message.get("do"):
            case "inspect":
                return {"inspection": self._inspection(message["node"])}
            case "bytes":
                return {"bytes": self._bytes(message["node"], message["form"])}
            case "members":
                return {"members": self._members(message["fold"])}
        return super().answer(message)

    def _inspection(self, node: str) -> Json | None:
        found, graph = self.inspections().get(node), self.graph()
        if found is None or node not in graph:
            return None
        state = STATES[graph.nodes[node].get("state", "unknown")]
        return {
            "title": found.title,
            "kind": found.kind,
            "state": {"word": state.word, "slug": state.slug, "icon": state.icon},
            "meaning": state.meaning,
            "facts": [list(fact) for fact in found.facts],
            "certificate": found.certificate is not None,
        }

    def _bytes(self, node: str, form: str) -> str:
        found = self.inspections()[node]
        return found.openssl if form == "openssl" else found.pem

    def _members(self, fold: str) -> list[Json]:
        board = read(self.graph())
        found = Family(board).folds.get(fold)
        nodes = [board.nodes[member] for member in (found.members if found else ())]
        return [{"id": n.id, "label": n.label, "state": STATES[n.state].slug} for n in nodes]
