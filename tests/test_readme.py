"""The first page keeps its word: what it shows runs as pasted."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", README, re.DOTALL)
    assert found
    return found[1]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("readme")


def run(home: Path, *command: str) -> str:
    environment = {**os.environ, "LABKIT_HOME": str(home)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout


def test_the_python_block_runs_as_pasted(home: Path) -> None:
    program = block("python") + "\nprint(lab.hub().messages())"
    assert '[<Message from smart-x-widget-001: {"temperature": 21.5}>]' in run(
        home, sys.executable, "-c", program
    )


def test_the_explanation_it_shows_is_the_one_that_is_printed(home: Path) -> None:
    """Continues the workspace of the block: the chain is cut, and the command explains it."""
    cut = """
from labkit import Lab
lab = Lab.open("first-device")
widget = lab.device("smart-x-widget-001")
widget.install_chain([widget.certificate])
try:
    widget.provision()
except Exception:
    pass
"""
    run(home, sys.executable, "-c", block("python") + cut)
    command = ("explain", "--last", "--workspace", "first-device")
    printed = run(home, sys.executable, "-m", "labkit", *command)
    assert [line for line in block("text").splitlines() if line not in printed] == []


def test_every_link_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
