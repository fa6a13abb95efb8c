"""The lab's board as a thing that lives: it follows the lab, and every node can be asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from labkit.graph import Picture
from labkit.graph.kinds import KIND_WORDS, read
from labkit.graph.model import of_lab
from labkit.ui.assets import module, style_sheet
from labkit.ui.cells import after_each_cell
from labkit.ui.inspection import Inspection
from labkit.ui.inspector import inspect_all
from labkit.ui.living import Living

if TYPE_CHECKING:
    from networkx import DiGraph

    from labkit.lab import Lab

    Shown: TypeAlias = Lab | DiGraph[Any]


class ChainView(Living):
    """The board of ``shown``, a lab or a graph that :mod:`labkit.graph.kinds` describes.

    In a notebook it is up to date after each cell; :meth:`refresh` is for within one.
    """

    _esm = module("view")
    _css = style_sheet()

    def __init__(self, shown: Shown) -> None:
        super().__init__()
        self._shown = shown
        self.refresh()
        after_each_cell(self.refresh)

    def refresh(self) -> None:
        """Draws what there is now; what has changed moves to its new place."""
        self._graph, self._inspections = _read(self._shown)
        self.picture = Picture.of(self._graph)
        if self.picture.svg != self.svg:
            self.show(self.picture.svg, {"title": self.picture.title})

    def graph(self) -> Any:
        return self._graph

    def inspections(self) -> Mapping[str, Inspection]:
        return self._inspections

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The live view, and the picture for when there is no kernel."""
        live, metadata = self.live_bundle(**options)
        return {**live, **self.picture._repr_mimebundle_()}, metadata


def _read(shown: Shown) -> tuple[DiGraph[Any], dict[str, Inspection]]:
    from labkit.lab import Lab

    if isinstance(shown, Lab):
        return of_lab(shown), inspect_all(shown)
    return shown, _from_attributes(shown)


def _from_attributes(graph: DiGraph[Any]) -> dict[str, Inspection]:
    """Where there is no lab behind it, a node knows what it was given."""
    sent = {True: "sent", False: "not sent"}
    told = {}
    for node in read(graph).nodes.values():
        facts = [("about it", node.detail)] if node.detail else []
        if node.presented is not None:
            facts.append(("last connection", sent[node.presented]))
        told[node.id] = Inspection(node.label, KIND_WORDS[node.kind], tuple(facts))
    return told
