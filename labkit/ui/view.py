"""The lab's board as a thing that lives: it follows the lab, and every node can be asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import WeakMethod

from labkit.errors import WorkspaceError
from labkit.graph import Picture
from labkit.graph.kinds import KIND_WORDS, read
from labkit.graph.model import of_lab
from labkit.ui.assets import module, style_sheet
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
        _after_each_cell(self)

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


def _after_each_cell(view: ChainView) -> None:
    """IPython calls whatever is registered for ever; the view must be free to go."""
    from IPython import get_ipython

    shell, refresh = get_ipython(), WeakMethod(view.refresh)
    if shell is None:
        return

    def follow(*_: object) -> None:
        alive = refresh()
        if alive is None or not _refreshed(alive):
            shell.events.unregister("post_run_cell", follow)

    shell.events.register("post_run_cell", follow)


def _refreshed(refresh: Callable[[], None]) -> bool:
    """False once its lab was closed or started over: then the last picture stays."""
    try:
        refresh()
    except WorkspaceError:
        return False
    return True
