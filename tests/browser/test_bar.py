"""Long work in a notebook's cell, as a trainee sees it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
from playwright.sync_api import expect

if TYPE_CHECKING:
    from conftest import Notebook

WORK = """
import time
from labkit import Lab

lab = Lab.open("busy")
for _ in lab.work.each(range(30), "making devices"):
    time.sleep(0.02)
"""


def test_a_cell_that_works_long_shows_how_far_it_is(notebook: Notebook, tmp_path: Path) -> None:
    """One bar below the cell; when the work is over, it says so and stays."""
    page = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(WORK.strip())])
    page.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(page, tmp_path / "busy.ipynb")
    notebook.open(tmp_path / "busy.ipynb")
    notebook.run_all()
    bar = notebook.page.get_by_role("progressbar", name="making devices")
    expect(bar).to_have_count(1)
    expect(bar).to_have_attribute("value", "30")
    expect(notebook.page.get_by_text("making devices: all 30").first).to_be_visible()
