"""What nbval would let pass in silence: cells that it executes but compares with nothing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
UNSTABLE = {
    "a GUID": re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"),
    "a thumbprint or serial": re.compile(r"\b[0-9A-Fa-f]{32,64}\b"),
    "a clock time": re.compile(r"\b\d\d:\d\d:\d\d\b"),
    "an object's address": re.compile(r"0x[0-9a-f]{6,}"),
    "a loopback address, which differs from lab to lab": re.compile(r"\b127\.0\.0\.\d+"),
    "a path of this machine": re.compile(r"/(?:home|root|tmp|work|Users)/"),
}


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request: pytest.FixtureRequest) -> Any:
    return nbformat.read(request.param, as_version=4)


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def text_of(cell: Any) -> str:
    """What the cell printed, but for pictures: those are compared as they are."""
    parts = [output.get("text", "") for output in cell.outputs]
    parts += [output.get("data", {}).get("text/plain", "") for output in cell.outputs]
    return "\n".join(parts)


def test_there_are_notebooks() -> None:
    assert [path.stem for path in NOTEBOOKS][:2] == ["00-start", "01-first-device"]


def test_every_code_cell_was_executed_in_order(notebook: Any) -> None:
    """nbval compares nothing for a cell without an execution count."""
    counts = [cell.execution_count for cell in code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1)), "run: ./lab run labkit notebooks refresh"


def test_no_cell_is_skipped_or_ignored(notebook: Any) -> None:
    for cell in code_cells(notebook):
        assert "NBVAL_" not in cell.source
        assert not any("nbval" in tag for tag in cell.metadata.get("tags", []))


def test_no_error_was_committed(notebook: Any) -> None:
    for cell in code_cells(notebook):
        kinds = {(output.output_type, output.get("name")) for output in cell.outputs}
        assert not any(kind == "error" or name == "stderr" for kind, name in kinds), cell.source


def test_no_widget_state_is_stored(notebook: Any) -> None:
    """Model IDs are random, and without a kernel a widget shows nothing."""
    assert "widgets" not in notebook.metadata
    for cell in code_cells(notebook):
        for output in cell.outputs:
            assert WIDGET_VIEW not in output.get("data", {}), cell.source


def test_outputs_hold_nothing_that_changes_from_run_to_run(notebook: Any) -> None:
    for cell in code_cells(notebook):
        for what, pattern in UNSTABLE.items():
            assert not pattern.search(text_of(cell)), f"{what} in the output of {cell.source!r}"


def test_pictures_survive_without_kernel_and_without_trust(notebook: Any) -> None:
    """An untrusted notebook shows no SVG output, but an <img> with alternative text."""
    for cell in code_cells(notebook):
        for output in cell.outputs:
            data = output.get("data", {})
            assert "image/svg+xml" not in data
            if "data:image/svg+xml" in data.get("text/html", ""):
                assert re.search(r'<img [^>]*alt="[^"]{40,}"', data["text/html"])


def test_metadata_is_the_same_everywhere(notebook: Any) -> None:
    """No trace of the author's Python or editor."""
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert notebook.metadata.language_info == {"name": "python"}


def test_headings_follow_the_house(notebook: Any, request: pytest.FixtureRequest) -> None:
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    if "00-start" in request.node.name:
        return
    for heading in (
        "What you will do",
        "What you will learn",
        "What you need",
        "Break it",
        "Your turn",
        "In production",
        "Further reading",
    ):
        assert re.search(rf"^## {heading}", text, re.MULTILINE), heading
