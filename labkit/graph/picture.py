"""A picture that a notebook shows without a kernel, without trust and without a network."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.graph.family import Family
from labkit.graph.hub_signs import without_repeats
from labkit.graph.kinds import read
from labkit.graph.layout import layout
from labkit.graph.presented import Presented
from labkit.graph.svg import draw_svg
from labkit.graph.words import tell

if TYPE_CHECKING:
    import networkx as nx


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawn board: ``svg`` is the file's text, ``text`` tells the same in words."""

    svg: str
    title: str
    text: str

    @classmethod
    def of(cls, graph: nx.DiGraph[Any]) -> Picture:
        """The picture of a graph as ``labkit.graph.kinds`` describes it; equal graphs, equal bytes.

        Raises ValueError where a node or an edge is not of a known kind, state or zone.
        """
        board = read(graph)
        family = Family(board)
        text = tell(board, family, Presented(board, family))
        board = without_repeats(board, family)
        presented = Presented(board, family)
        placed = layout(board, family, presented)
        return cls(draw_svg(board, family, presented, placed, text), board.title, text)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Mapping[str, str]:
        """An image and its words; no image/svg+xml, which an untrusted notebook drops."""
        return {"text/html": self.html, "text/plain": self.text}

    @property
    def html(self) -> str:
        """One self-contained ``<img>``."""
        data = b64encode(self.svg.encode()).decode()
        alt = escape(self.text)
        return f'<img alt="{alt}" src="data:image/svg+xml;base64,{data}" style="max-width:100%">'

    def save(self, path: str | PathLike[str]) -> Path:
        """Write the SVG, in UTF-8 with line feeds; returns the path."""
        target = Path(path)
        target.write_text(self.svg, encoding="utf-8", newline="\n")
        return target
