"""A trainee who runs the cells of a lesson, in a process of his own.

IPython's shell runs them as a kernel would, without the kernel: nbval and the browser tests have
real ones. The process is forked from one that has imported the lab already, for half of a
lesson's time would be spent on that. It ends without a goodbye, as a kernel that is killed does.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

_SECONDS = 900
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    [
        *("labkit.scenarios", "labkit.ui.player", "labkit.device.sdk", "labkit.graph.model"),
        *("networkx", "IPython", "ipywidgets"),
    ]
)


class CellFailed(AssertionError):
    """A cell raised; says which, and what it said."""


def run(cells: Sequence[str], home: Path, directory: Path) -> list[str]:
    """What each cell shows as text, with the workspaces below ``home``. Raises CellFailed."""
    ours, theirs = _FORKS.Pipe(duplex=False)
    process = _FORKS.Process(target=_work, args=(theirs, list(cells), str(home), str(directory)))
    process.start()
    theirs.close()
    try:
        assert ours.poll(_SECONDS), f"the lesson takes more than {_SECONDS} s"
        shown, failure = ours.recv()
    finally:
        process.kill()
        process.join()
    if failure:
        raise CellFailed(failure)
    found: list[str] = shown
    return found


def _work(told: Connection, cells: list[str], home: str, directory: str) -> None:
    from IPython.core.interactiveshell import InteractiveShell

    runpy.run_path(str(Path(__file__).parents[2] / "conftest.py"))  # stays on this machine
    os.environ["LABKIT_HOME"] = home
    os.chdir(directory)
    shell = InteractiveShell.instance()
    shown: list[str] = []
    failure = ""
    for number, source in enumerate(cells, 1):
        text, failure = _run_cell(shell, source)
        shown.append(text)
        if failure:
            failure = f"cell {number} failed:\n{source}\n\n{failure}"
            break
    told.send((shown, failure))
    os._exit(0)


def _run_cell(shell: object, source: str) -> tuple[str, str]:
    """The text that a cell showed, and the traceback if it raised."""
    from IPython.utils.capture import capture_output

    with capture_output() as captured:
        result = shell.run_cell(source)  # type: ignore[attr-defined]
    shown = [captured.stdout, *(str(o.data.get("text/plain", "")) for o in captured.outputs)]
    text = "\n".join(part for part in shown if part)
    return text, "" if result.success else text
