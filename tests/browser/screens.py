"""What tests of a widget on the screen share: themes, the kernel, axe, a notebook of one cell."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import pytest
from playwright.sync_api import Browser, Page

if TYPE_CHECKING:
    from conftest import JupyterLab, Notebook

AXE = """async root => {
    // The one rule is an experiment of axe's: the texts of a node lie in one another's lines, and
    // its name tells them as a sentence.
    const look = () => axe.run(document.querySelector(root), {
        runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"],
        rules: { "label-content-name-mismatch": { enabled: false } } });
    const found = [await look()];
    // JupyterLab's body has no height and hides what overflows it: axe has seen little so far.
    document.body.style.height = "100vh";
    found.push(await look());
    document.body.style.height = "";
    const looked = found.some(({ passes }) => passes.some(({ id }) => id === "color-contrast"));
    const wrong = found.flatMap(({ violations }) => violations.flatMap(({ id, nodes }) =>
        nodes.map((n) => `${id}: ${n.html}\\n${n.failureSummary}`)));
    return [...(looked ? [] : ["no colour was looked at"]), ...wrong];
}"""
"""What axe finds wrong below an element; the page must have loaded the `axe` fixture."""
IN_THE_KERNEL = """code => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel
    .requestExecute({ code }).done.then(() => null)"""
SET_THEME = """theme => window.jupyterapp.commands.execute("apputils:change-theme", { theme })"""
HIDE_SIDEBAR = """() => window.jupyterapp.shell.collapseLeft()"""
DARK, LIGHT = "JupyterLab Dark", "JupyterLab Light"


def tools(request: pytest.FixtureRequest) -> Any:
    """The conftest of this folder: by its name alone, it could be that of the folder above."""
    return request.config.pluginmanager.get_plugin(str(Path(__file__).with_name("conftest.py")))


@contextmanager
def alone(
    source: str,
    directory: Path,
    browser: Browser,
    jupyterlab: JupyterLab,
    request: pytest.FixtureRequest,
) -> Iterator[Notebook]:
    """A notebook of one cell, run, open for as long as this lasts."""
    page = browser.new_page(viewport={"width": 1440, "height": 1200}, reduced_motion="reduce")
    page.set_default_timeout(30_000)
    notebook = tools(request).Notebook(page, jupyterlab)
    notebook.open(written(directory, nbformat.v4.new_code_cell(source.strip())))
    notebook.run_all()
    page.evaluate(HIDE_SIDEBAR)
    yield notebook
    page.close()
    jupyterlab.forget()


def check_calm(notebook: Notebook, name: str) -> None:
    """Saves the last view of a test; the page must not have done what it should not."""
    notebook.screenshot(name)
    troubles = list(notebook.troubles)
    notebook.troubles.clear()
    assert not troubles, "\n".join(troubles)


def written(directory: Path, cell: Any) -> Path:
    path = directory / "written.ipynb"
    notebook = nbformat.v4.new_notebook(cells=[cell])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, path)
    return path


def themed(page: Page, theme: str) -> None:
    """Waits for the veil to lift that JupyterLab draws over a change of theme."""
    page.evaluate(SET_THEME, theme)
    light = json.dumps(theme == LIGHT)
    page.wait_for_selector(f'body[data-jp-theme-light="{light}"]', state="attached")
    page.wait_for_selector("#jupyterlab-splash", state="detached")


def shots(name: str) -> Path:
    return Path(__file__).parent / "screenshots" / f"{name}.png"
