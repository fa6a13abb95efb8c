"""What Binder makes of binder/: repo2docker writes its Dockerfile, and builds nothing."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("repo2docker", reason="jupyter-repo2docker is not installed")

ROOT = Path(__file__).parents[1]
COPY_REPOSITORY = "COPY --chown=1000:1000 src/ ${REPO_DIR}/"
INSTALL = '${KERNEL_PYTHON_PREFIX}/bin/pip install --no-cache-dir -r "binder/requirements.txt"'


@pytest.fixture(scope="module")
def dockerfile(tmp_path_factory: pytest.TempPathFactory) -> str:
    repository = tmp_path_factory.mktemp("binder") / "repository"
    repository.mkdir()
    shutil.copytree(ROOT / "binder", repository / "binder")
    for name in ("requirements.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, repository)
    command = [sys.executable, "-m", "repo2docker", "--no-build", "--debug"]
    user = ["--user-id=1000", "--user-name=jovyan"]  # it refuses to name root, as CI may be
    result = subprocess.run(
        [*command, *user, str(repository)], capture_output=True, text=True, check=True, timeout=120
    )
    return result.stdout + result.stderr


def test_python_is_3_12(dockerfile: str) -> None:
    assert re.search(r"^COPY \S+ \S+environment-2epy-2d3-2e12\S+", dockerfile, re.MULTILINE)


def test_softhsm_comes_from_apt(dockerfile: str) -> None:
    assert re.search(r"^apt-get install .*\bsofthsm2\b", dockerfile, re.MULTILINE)


def test_requirements_are_installed_where_their_include_can_be_seen(dockerfile: str) -> None:
    assert dockerfile.index(COPY_REPOSITORY) < dockerfile.index(f"RUN {INSTALL}")
    included = (ROOT / "binder/requirements.txt").read_text().split()[-1]
    assert (ROOT / "binder" / included).samefile(ROOT / "requirements.txt")


def test_postbuild_runs_last(dockerfile: str) -> None:
    assert dockerfile.index(f"RUN {INSTALL}") < dockerfile.index("RUN ./binder/postBuild")


def test_postbuild_makes_labkit_importable_and_keeps_jupyterlab_quiet(tmp_path: Path) -> None:
    for name in ("pip", "jupyter"):
        stand_in = tmp_path / name
        stand_in.write_text(f'#!/bin/sh\necho "{name} $*"\n')
        stand_in.chmod(0o755)
    result = subprocess.run(
        [ROOT / "binder/postBuild"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.splitlines() == [
        "pip install --no-cache-dir --no-deps --editable .",
        "jupyter labextension disable --level=sys_prefix"
        " @jupyterlab/apputils-extension:announcements",
    ]
