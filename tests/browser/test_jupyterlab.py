"""The first notebook opens and runs; and what would spoil a lesson does not go unnoticed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest


def test_the_start_runs_from_top_to_bottom(notebook: Any) -> None:
    notebook.open("00-start.ipynb")
    notebook.run_all()
    code = [cell for cell in notebook.cells() if cell["cell_type"] == "code"]
    assert code
    assert all(cell["execution_count"] for cell in code)


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("import sys; print('spoken on stderr', file=sys.stderr)", "spoken on stderr"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
    ],
    ids=["on stderr", "with an error"],
)
def test_a_cell_that_complains_is_noticed(
    notebook: Any, tmp_path: Path, source: str, complaint: str
) -> None:
    notebook.open(written(tmp_path, nbformat.v4.new_code_cell(source)))
    with pytest.raises(AssertionError, match=complaint):
        notebook.run_all()


def test_a_page_that_leaves_this_machine_is_noticed(notebook: Any, tmp_path: Path) -> None:
    picture = nbformat.v4.new_markdown_cell("![](http://elsewhere.invalid/picture.png)")
    notebook.open(written(tmp_path, picture))
    notebook.page.locator("img[src*='elsewhere.invalid']").wait_for(state="attached")
    assert notebook.troubles == ["left this machine: http://elsewhere.invalid/picture.png"]
    notebook.troubles.clear()


def written(directory: Path, *cells: Any) -> Path:
    path = directory / "made-by-a-test.ipynb"
    notebook = nbformat.v4.new_notebook(cells=list(cells))
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, path)
    return path
