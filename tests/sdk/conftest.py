"""Microsoft's Node clients, installed once, and a lab where they find it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sdk_clients import story_on_443
from stories import Story

SCRIPTS = Path(__file__).parent / "node"
_INSTALL_SECONDS, _RUN_SECONDS = 180, 60
_NOT_TESTED = "NOT TESTED: the Node clients. "

Run = Callable[..., Any]


@pytest.fixture(scope="session")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the clients in it, of the versions that package.json pins."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            pytest.skip(f"{_NOT_TESTED}{program} is not installed")
    place = tmp_path_factory.mktemp("node")
    for file in SCRIPTS.iterdir():
        if file.is_file():
            shutil.copy(file, place)
    # No script of a package is run: none of these needs one.
    install = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]
    try:
        done = subprocess.run(
            install, cwd=place, capture_output=True, timeout=_INSTALL_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"{_NOT_TESTED}npm did not come to an end")
    if done.returncode:
        pytest.skip(f"{_NOT_TESTED}npm could not install them: {done.stderr.decode()[-300:]}")
    return place


@pytest.fixture(scope="module")
def on_443(told: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """A lab whose HTTPS is on port 443: most of these clients know no other."""
    place = tmp_path_factory.mktemp("node-443") / "lab"
    with story_on_443(told, place, "the Node clients") as opened:
        yield opened


@pytest.fixture
def run(modules: Path, on_443: Story) -> Run:
    """Runs one of the scripts, which trusts the lab, and returns what it printed."""

    def run(script: str, **wanted: Any) -> Any:
        done = subprocess.run(
            ["node", script, json.dumps(wanted)],
            cwd=modules,
            capture_output=True,
            text=True,
            timeout=_RUN_SECONDS,
            check=False,
            env={**os.environ, "NODE_EXTRA_CA_CERTS": str(on_443.lab.server.root_file)},
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run
