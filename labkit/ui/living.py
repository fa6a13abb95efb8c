"""What the live widgets have in common: a board that morphs, an inspector, answers to questions.

The browser asks with a message ``{"id": …, "do": …}``; whatever it asks, it gets exactly one
answer ``{"re": …}`` back, and ``{"re": …, "error": …}`` where that failed. A failure is never
silent: a handler's traceback would go nowhere that a trainee looks.
"""

from __future__ import annotations

import logging
from abc import ABCMeta, abstractmethod
from collections.abc import Mapping
from typing import Any

import anywidget
import traitlets

from labkit.errors import LabError
from labkit.graph.family import Family
from labkit.graph.kinds import read
from labkit.graph.states import STATES
from labkit.ui.inspection import Inspection

_log = logging.getLogger("labkit.ui")

Json = dict[str, Any]


class _Meta(ABCMeta, traitlets.MetaHasTraits):
    """Of widgets that leave something to be said by those that inherit."""


class Living(anywidget.AnyWidget, metaclass=_Meta):
    """``svg`` is the board as it is drawn now, ``scene`` everything beside it."""

    svg = traitlets.Unicode().tag(sync=True)
    scene = traitlets.Dict().tag(sync=True)
    busy = traitlets.Bool(False).tag(sync=True)

    def __init__(self) -> None:
        super().__init__()
        self._revision = 0
        self.on_msg(self._receive)

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

    def live_bundle(self, **options: Any) -> tuple[Json, Json]:
        """What shows the widget while there is a kernel, and its metadata."""
        data, metadata = super()._repr_mimebundle_(**options) or ({}, {})
        return dict(data), dict(metadata)

    # ---- answers

    def _receive(self, _: object, message: Json, __: object) -> None:
        try:
            answer = self.answer(message)
        except LabError as error:
            answer = {"error": str(error)}
        except Exception as error:
            _log.exception("%s failed", message.get("do"))
            answer = {"error": f"{type(error).__name__}: {error}"}
        self.send({"re": message.get("id"), **answer})

    def answer(self, message: Json) -> Json:
        """What the browser asked for. Raises LabError for what this widget does not know."""
        match message.get("do"):
            case "inspect":
                return {"inspection": self._inspection(message["node"])}
            case "bytes":
                return {"bytes": self._bytes(message["node"], message["form"])}
            case "members":
                return {"members": self._members(message["fold"])}
        raise LabError(f"There is no answer to {message.get('do')!r}")

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
