"""For authors: executes notebooks and stores what they print, the same bytes on every machine."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"  # random IDs, no use without a kernel
_METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
_CELL_SECONDS = 120


def refresh(paths: Iterable[Path]) -> list[Path]:
    """Runs each notebook top to bottom, in a home of its own, and writes it back.

    Returns those that changed. Raises nbclient's CellExecutionError when a cell fails.
    """
    return [path for path in paths if _refresh(path)]


def _refresh(path: Path) -> bool:
    import nbformat

    before = path.read_text()
    notebook = nbformat.reads(before, as_version=4)  # type: ignore[no-untyped-call]
    with tempfile.TemporaryDirectory(prefix="labkit-home-") as home:
        execute(notebook, path.parent, Path(home))
    normalise(notebook)
    after: str = nbformat.writes(notebook).rstrip("\n") + "\n"  # type: ignore[no-untyped-call]
    path.write_text(after)
    return after != before


def execute(notebook: Any, directory: Path, home: Path) -> None:
    """Runs a notebook in ``directory``, in a new kernel that has its workspaces below ``home``."""
    from nbclient import NotebookClient

    client = NotebookClient(
        notebook,
        timeout=_CELL_SECONDS,
        record_timing=False,
        store_widget_state=False,
        resources={"metadata": {"path": str(directory)}},
    )
    client.execute(env={**os.environ, "LABKIT_HOME": str(home)})


def normalise(notebook: Any) -> None:
    """Takes out what differs from run to run."""
    import nbformat

    for number, cell in enumerate(notebook.cells, 1):
        cell.id = f"cell-{number:02d}"
        for name in ("execution", "collapsed", "scrolled"):
            cell.metadata.pop(name, None)
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if len(data) > 1:
                data.pop(_WIDGET_VIEW, None)
    notebook.metadata = nbformat.from_dict(_METADATA)  # type: ignore[no-untyped-call]
