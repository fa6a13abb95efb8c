"""A fleet on several hubs in a real JupyterLab: whose each tile is can be seen and heard."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
from playwright.sync_api import Locator, expect

if TYPE_CHECKING:
    from conftest import Notebook

FLEET = """
from labkit.graph import add_edge, add_node, new_graph
from labkit.ui.view import ChainView

fleet = new_graph("A fleet of 100")
add_node(fleet, "root", kind="root-ca", label="Root CA", state="trusted")
for hub in ("asia", "europe", "us"):
    add_node(fleet, f"hub {hub}", kind="hub", label=hub, state="enabled")
for number in range(100):
    name = f"widget-{number:03}"
    add_node(fleet, name, kind="device", label=name, state="trusted")
    fleet.nodes[name]["hub"] = "hub asia" if number < 50 else "hub us"
    add_edge(fleet, "root", name, kind="signed")

view = ChainView(fleet)
view
"""
MOVE = """fleet.nodes["widget-007"]["hub"] = "hub europe"; view.refresh()"""
IN_THE_KERNEL = """code => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel
    .requestExecute({ code }).done.then(() => null)"""


def test_a_tile_changes_its_sign_when_its_device_moves(notebook: Notebook, tmp_path: Path) -> None:
    """The same tile, with another shape in another colour; who cannot see it is told."""
    page = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(FLEET.strip())])
    page.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(page, tmp_path / "fleet.ipynb")
    notebook.open(tmp_path / "fleet.ipynb")
    notebook.run_all()
    board = notebook.page.locator(".lk-board").first
    tile = board.locator('.node.tile[data-id="widget-007"]')
    expect(board.locator(".tile .sign.hub-1")).to_have_count(50)
    expect(board.locator(".tile .sign.hub-3")).to_have_count(50)
    before = _look(tile)
    notebook.page.evaluate(IN_THE_KERNEL, MOVE)
    expect(tile).to_have_attribute("data-hub", "hub europe")
    heard = "widget-007, device certificate, trusted, assigned to europe"
    expect(tile).to_have_attribute("aria-label", heard)
    assert all(one != other for one, other in zip(before, _look(tile), strict=True))
    expect(notebook.page.get_by_text("Now: widget-007, trusted")).to_have_count(1)


def _look(tile: Locator) -> list[str | None]:
    """The shape and the colour of a tile's sign."""
    sign = tile.locator(".sign")
    return [sign.get_attribute("d"), sign.evaluate("e => getComputedStyle(e).fill")]
