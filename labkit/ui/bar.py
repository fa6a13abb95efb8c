"""How far long work is, below the notebook's cell that does it."""

from __future__ import annotations

import threading
from dataclasses import asdict
from typing import Any

import anywidget
import traitlets

from labkit.ui.assets import module, style_sheet
from labkit.work import Stage

FEWEST = 20
"""Pieces of work that are worth a bar: it depends on nothing that differs from run to run."""


class Bar(anywidget.AnyWidget):
    """One piece of long work, from its first stage on."""

    _esm = module("bar")
    _css = style_sheet()
    stage = traitlets.Dict().tag(sync=True)

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self._text = f"{stage.doing} ({stage.whole})"
        self.tell(stage)

    def tell(self, stage: Stage) -> None:
        """The next stage of the same work."""
        self.stage = asdict(stage)

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Without a kernel the words say what it was, and nothing of how it ended."""
        data, metadata = super()._repr_mimebundle_(**options) or ({}, {})
        return {**dict(data), "text/plain": self._text}, dict(metadata)


class Bars:
    """Shows long work of a notebook's cell; called with each stage. Elsewhere it shows nothing.

    Work within work has a bar of its own; work that failed keeps the bar where it stopped.
    """

    def __init__(self) -> None:
        self._bars: dict[str, Bar] = {}

    def __call__(self, stage: Stage) -> None:
        if stage.whole < FEWEST or threading.current_thread() is not threading.main_thread():
            return
        if stage.done == 0 and _in_a_notebook():
            from IPython.display import display

            self._bars[stage.doing] = Bar(stage)
            display(self._bars[stage.doing])  # type: ignore[no-untyped-call]
        elif stage.doing in self._bars:
            self._bars[stage.doing].tell(stage)
        if stage.over:
            self._bars.pop(stage.doing, None)


def _in_a_notebook() -> bool:
    from IPython import get_ipython

    return getattr(get_ipython(), "kernel", None) is not None
