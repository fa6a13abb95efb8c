"""Notebooks as files: executed and stored for authors, lent to trainees without the answers."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from labkit.files import write_whole

_WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"  # random IDs, no use without a kernel
_METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
_CELL_SECONDS = 120
_LENT = ".lent.json"  # for each lesson: the digest of its edition, and of the copy as it was lent


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
    after = written(notebook)
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
        coalesce_streams=True,  # a slow cell prints in portions: how many depends on the machine
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


def written(notebook: Any) -> str:
    """The text of its file."""
    import nbformat

    text: str = nbformat.writes(notebook)  # type: ignore[no-untyped-call]
    return text.rstrip("\n") + "\n"


def lend(lessons: Path, desk: Path) -> list[str]:
    """Puts a copy of each lesson on the trainee's desk, without outputs, and says what it did not.

    The lessons are executed so that they can be read without a kernel; whoever *plays* them must
    not see the answers first, nor change the files that the tests compare. A copy that was
    worked on is never replaced: then the returned lines say that the lesson has changed since.
    """
    desk.mkdir(parents=True, exist_ok=True)
    book = desk / _LENT
    lent = _read_book(book)
    kept = [line for path in sorted(lessons.glob("*.ipynb")) for line in _lend(path, desk, lent)]
    write_whole(book, json.dumps(lent, indent=1))
    return kept


def _read_book(book: Path) -> dict[str, list[str]]:
    """What was lent; nothing where the book is missing or damaged: then every copy that differs
    from its lesson counts as worked on."""
    try:
        found: dict[str, list[str]] = json.loads(book.read_text())
    except (OSError, ValueError):
        return {}
    return found


def _lend(lesson: Path, desk: Path, lent: dict[str, list[str]]) -> Iterator[str]:
    copy, edition = desk / lesson.name, _digest(lesson)
    first_edition, as_lent = lent.get(lesson.name, ["", ""])
    if copy.exists() and edition == first_edition:
        return
    untouched = (as_lent, hashlib.sha256(_without_outputs(lesson).encode()).hexdigest())
    if copy.exists() and _digest(copy) not in untouched:
        yield f"{lesson.name} has changed since you began it; yours was kept ({copy})"
        return
    write_whole(copy, _without_outputs(lesson))
    lent[lesson.name] = [edition, _digest(copy)]


def _without_outputs(lesson: Path) -> str:
    notebook = json.loads(lesson.read_text())
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
