"""The notebooks in a real browser: a private JupyterLab, and Chromium to look at it.

    def test_the_first_lesson(notebook):
        notebook.open("01-first-device.ipynb")
        notebook.run_all()
        notebook.page.get_by_role("button", name="Next").click()
        notebook.screenshot("first-lesson")

Each test gets a fresh copy of the notebook it opens, a new kernel and an empty LABKIT_HOME.
When it ends, its last view is in screenshots/, and the `notebook` fixture fails if the page
raised an error or asked for anything that is not on this machine.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import nbformat
import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
SCREENSHOTS = Path(__file__).parent / "screenshots"

# Generous, because a busy machine with two cores is slow, and only a failure waits this long.
STARTING_SECONDS = 120
RUNNING_SECONDS = 300
expect.set_options(timeout=20_000)

CHROMIUM_ARGUMENTS = [
    "--no-sandbox",  # its sandbox refuses to run as root, which is what containers are
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]

SETTINGS = {
    # Every cell stays in the document, so that a test can find those off screen.
    "notebook-extension/tracker": {"windowingMode": "none"},
    "apputils-extension/notification": {"fetchNews": "false"},
    "docmanager-extension/plugin": {"autosave": False},
}

KERNEL_IDLE = """() => {
    const panel = window.jupyterapp?.shell.currentWidget;
    const kernel = panel?.sessionContext?.session?.kernel;
    return panel?.context?.isReady
        && kernel?.connectionStatus === "connected" && kernel.status === "idle";
}"""

RUN_ALL = """() => {
    window.labRan = false;
    window.jupyterapp.commands.execute("notebook:run-all-cells")
        .finally(() => { window.labRan = true; });
}"""


def find_chromium() -> str | None:
    named = os.environ.get("LAB_CHROMIUM")
    names = [named] if named else ["chromium", "chromium-browser", "google-chrome"]
    return next(filter(None, map(shutil.which, names)), None)


@dataclass
class JupyterLab:
    """A running server: `files` is what it shows, `labs` is its kernels' LABKIT_HOME."""

    url: str
    token: str
    files: Path
    labs: Path

    def forget(self) -> None:
        """Stop every kernel, and remove the labs that they made."""
        for session in self._ask("GET", "api/sessions"):
            self._ask("DELETE", f"api/sessions/{session['id']}")
        for lab in self.labs.iterdir():
            shutil.rmtree(lab)

    def _ask(self, method: str, path: str) -> Any:
        headers = {"Authorization": f"token {self.token}"}
        request = urllib.request.Request(self.url + path, method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read() or b"null")


@dataclass
class Notebook:
    """A notebook in the browser. `troubles` is what the page did and should not have done."""

    page: Page
    server: JupyterLab
    troubles: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("pageerror", lambda error: self.troubles.append(f"page error: {error}"))
        self.page.on("request", lambda request: self._note_foreign(request.url))
        self.page.on("websocket", lambda socket: self._note_foreign(socket.url))

    def _note_foreign(self, url: str) -> None:
        if urlsplit(url).hostname not in (None, "127.0.0.1"):  # None: data:, blob:, about:
            self.troubles.append(f"left this machine: {url}")

    def open(self, path: str | Path) -> None:
        """Open a fresh copy of a notebook, named within notebooks/, and wait for its kernel."""
        copy = self.server.files / "notebooks" / Path(path).name
        shutil.copyfile(NOTEBOOKS / path, copy)
        self._show(copy.name)

    def play(self, lesson: str) -> Locator:
        """Open a lesson as far as its story, run that, and give its player. What comes behind it is
        run by nbval, and would take a browser as long again."""
        found = nbformat.read(NOTEBOOKS / lesson, as_version=4)
        story = next(n for n, cell in enumerate(found.cells) if cell.cell_type == "code")
        found.cells = found.cells[: story + 1]
        nbformat.write(found, self.server.files / "notebooks" / lesson)
        self._show(lesson)
        self.run_all()
        return self.page.locator(".lk-player")

    def _show(self, name: str) -> None:
        where = f"lab/tree/notebooks/{name}?reset&token={self.server.token}"
        self.page.goto(self.server.url + where)
        self._wait(KERNEL_IDLE, STARTING_SECONDS)

    def run_all(self) -> None:
        """Run every cell. Raises AssertionError when one fails or writes to stderr."""
        self.page.evaluate(RUN_ALL)
        self._wait("() => window.labRan", RUNNING_SECONDS)
        complaints = [
            "".join(output.get("text") or [output["ename"], ": ", output["evalue"]])
            for cell in self.cells()
            for output in cell.get("outputs", [])
            if output["output_type"] == "error" or output.get("name") == "stderr"
        ]
        assert not complaints, "\n".join(complaints)

    def _wait(self, condition: str, seconds: float) -> None:
        """Asked five times a second: at each frame, the page would have to draw frames."""
        self.page.wait_for_function(condition, timeout=seconds * 1000, polling=200)

    def cells(self) -> list[dict[str, Any]]:
        """The cells as a notebook file would hold them, with the outputs of now."""
        model = "() => window.jupyterapp.shell.currentWidget.content.model.toJSON().cells"
        cells: list[dict[str, Any]] = self.page.evaluate(model)
        return cells

    def cell(self, index: int) -> Locator:
        """The cell at this position, to look into and to click in."""
        return self.page.locator(".jp-Notebook .jp-Cell").nth(index)

    def screenshot(self, name: str) -> Path:
        """Save the view as screenshots/NAME.png; git does not see them."""
        path = SCREENSHOTS / (re.sub(r"[^\w.-]+", "-", name) + ".png")
        self.page.screenshot(path=path)
        return path


@pytest.fixture(scope="session")
def jupyterlab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterLab]:
    """A JupyterLab that sees copied notebooks and no configuration of its user."""
    home = tmp_path_factory.mktemp("jupyterlab")
    files, labs = home / "files", home / "labs"
    shutil.copytree(NOTEBOOKS, files / "notebooks")
    labs.mkdir(mode=0o700)
    with (home / "log").open("w") as log:
        process = subprocess.Popen(
            server_command(files), env=server_environment(home), stdout=log, stderr=log
        )
    try:
        info = wait_for_server(process, home)
        yield JupyterLab(info["url"], info["token"], files, labs)
    finally:
        process.terminate()
        process.wait(timeout=30)


def server_command(files: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
        "--ServerApp.ip=127.0.0.1",
        "--ServerApp.port=0",
        f"--ServerApp.root_dir={files}",
        "--LabApp.expose_app_in_browser=True",
    ]


def server_environment(home: Path) -> dict[str, str]:
    for plugin, settings in SETTINGS.items():
        path = home / "settings" / "@jupyterlab" / f"{plugin}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(settings))
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("JUPYTER")}
    return inherited | {
        "HOME": str(home),
        "LABKIT_HOME": str(home / "labs"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
    }


def wait_for_server(process: subprocess.Popen[bytes], home: Path) -> dict[str, str]:
    """What the server says of itself, url and token among it, once it listens."""
    deadline = time.monotonic() + STARTING_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        for path in (home / "runtime").glob("jpserver-*.json"):
            try:
                info: dict[str, str] = json.loads(path.read_text())
            except ValueError:  # half written
                continue
            return info
        time.sleep(0.2)
    raise RuntimeError(f"JupyterLab did not start:\n{(home / 'log').read_text()}")


# Not for the whole session: Playwright's event loop lives as long as this fixture, and
# asyncio.run() in another module's tests would refuse to start beside it.
@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    chromium = find_chromium()
    if not chromium:
        pytest.skip("NO CHROMIUM: install it, or name one in LAB_CHROMIUM")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=CHROMIUM_ARGUMENTS,
            env={**os.environ, "HOME": str(tmp_path_factory.mktemp("chromium"))},
        )
        yield browser
        browser.close()


@pytest.fixture
def notebook(
    browser: Browser, jupyterlab: JupyterLab, request: pytest.FixtureRequest
) -> Iterator[Notebook]:
    page = browser.new_page(viewport={"width": 1440, "height": 1000}, reduced_motion="reduce")
    notebook = Notebook(page, jupyterlab)
    yield notebook
    notebook.screenshot(request.node.name)
    page.close()
    jupyterlab.forget()
    assert not notebook.troubles, "\n".join(notebook.troubles)


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The text of axe-core, fetched with npm; it is a tool of this test and not of the lab."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("AXE NOT RUN: there is no npm")
    home = tmp_path_factory.mktemp("axe")
    install = [npm, "install", "--no-audit", "--no-fund", "--prefix", str(home), "axe-core@4"]
    quick = {**os.environ, "npm_config_fetch_retries": "0", "npm_config_fetch_timeout": "20000"}
    done = subprocess.run(install, capture_output=True, text=True, env=quick, timeout=120)
    if done.returncode:
        pytest.skip(f"AXE NOT RUN: npm could not fetch axe-core: {done.stderr[-300:]}")
    return (home / "node_modules/axe-core/axe.min.js").read_text()
