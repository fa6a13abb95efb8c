"""./lab itself, in a copied tree, with stand-ins for what it would install with."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from labkit.hsm import library

ROOT = Path(__file__).parents[1]
FILES = ["lab", "pyproject.toml", "requirements.txt", "tests/requirements.txt"]
TOOLS = ["cat", "cksum", "date", "dirname", "env", "head", "id", "ln", "ls", "mkdir", "mv"]
TOOLS += ["readlink", "rm", "sh", "sleep"]

# Notes what it is asked, makes real environments, and installs nothing.
UV = """#!/bin/sh
echo "$*" >>"$UV_LOG"
[ "$1" != venv ] || { for place; do :; done; "$REAL_PYTHON" -m venv --without-pip "$place"; }
"""

OLD_PYTHON = """#!/bin/sh
echo 3.9
"""


@dataclass
class Tree:
    """A copy of the project's ./lab, and a PATH on which there is little."""

    root: Path
    bin: Path
    uv_log: Path

    def lab(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            env=self.environment(**environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def command(self, *arguments: str) -> list[str]:
        return [str(self.root / "lab"), *arguments]

    def environment(self, **more: str) -> dict[str, str]:
        return {
            "PATH": str(self.bin),
            "PKCS11_MODULE": str(self.bin / "libsofthsm2.so"),
            "REAL_PYTHON": sys.executable,
            "UV_LOG": str(self.uv_log),
        } | more

    def tool(self, name: str, text: str) -> None:
        path = self.bin / name
        path.write_text(text)
        path.chmod(0o755)

    def installs(self) -> list[str]:
        """What uv was asked since the last time of asking: "venv", "pip"."""
        lines = self.uv_log.read_text().splitlines()
        self.uv_log.write_text("")
        return [line.split()[0] for line in lines]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    tree = Tree(tmp_path / "a checkout", tmp_path / "bin", tmp_path / "uv.log")
    for name in FILES:
        (tree.root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tree.root / name)
    tree.bin.mkdir()
    for name in TOOLS:
        tool = shutil.which(name)
        assert tool, name
        (tree.bin / name).symlink_to(tool)
    (tree.bin / "python3").symlink_to(sys.executable)
    (tree.bin / "libsofthsm2.so").touch()
    tree.tool("uv", UV)
    tree.uv_log.touch()
    return tree


@pytest.fixture
def set_up(tree: Tree) -> Tree:
    result = tree.lab("setup")
    assert result.returncode == 0, result.stderr
    assert tree.installs() == ["venv", "pip"]
    return tree


# --- the script's face -------------------------------------------------------


@pytest.mark.parametrize("shell", ["sh", "dash", "bash"])
def test_every_shell_can_read_it(shell: str) -> None:
    if not shutil.which(shell):
        pytest.skip(f"no {shell} here")
    subprocess.run([shell, "-n", ROOT / "lab"], check=True)


def test_shellcheck_finds_nothing() -> None:
    if not shutil.which("shellcheck"):
        pytest.skip("no shellcheck here")
    subprocess.run(
        ["shellcheck", ROOT / "lab", ROOT / ".ci/run", ROOT / "binder/postBuild"], check=True
    )


@pytest.mark.parametrize("arguments", [[], ["help"], ["--help"]])
def test_help_names_every_command(tree: Tree, arguments: list[str]) -> None:
    result = tree.lab(*arguments)
    assert result.returncode == 0
    for command in ("start", "setup", "run", "test", "bench", "soak"):
        assert re.search(rf"^  {command}\b", result.stdout, re.MULTILINE)


@pytest.mark.parametrize(
    "arguments", [["strat"], ["run"], ["soak", "--kills"], ["soak", "--kills", "x"], ["soak", "2"]]
)
def test_what_it_does_not_understand_is_usage_and_exit_2(tree: Tree, arguments: list[str]) -> None:
    result = tree.lab(*arguments)
    assert result.returncode == 2
    assert "usage: ./lab" in result.stderr
    assert not result.stdout
    assert not tree.installs()


# --- what it needs -----------------------------------------------------------


def test_an_old_python_is_named_with_its_version(tree: Tree) -> None:
    (tree.bin / "python3").unlink()
    tree.tool("python3", OLD_PYTHON)
    result = tree.lab("setup")
    assert result.returncode == 1
    assert "Python 3.11 or newer is needed" in result.stderr
    assert f"{tree.bin}/python3 is Python 3.9" in result.stderr
    assert not (tree.root / ".venv").exists()


def test_a_newer_python_is_found_behind_an_old_one(tree: Tree) -> None:
    (tree.bin / "python3").rename(tree.bin / "python3.13")
    tree.tool("python3", OLD_PYTHON)
    result = tree.lab("setup")
    assert result.returncode == 0, result.stderr
    assert f"{tree.bin}/python3.13" in result.stderr


def test_no_python_at_all_is_said(tree: Tree) -> None:
    (tree.bin / "python3").unlink()
    result = tree.lab("setup")
    assert result.returncode == 1
    assert "there is none (tried: python3 python3.14" in result.stderr


def test_a_module_that_is_not_there_is_named(tree: Tree) -> None:
    result = tree.lab("setup", PKCS11_MODULE="/nowhere/libsofthsm2.so")
    assert result.returncode == 1
    assert "/nowhere/libsofthsm2.so" in result.stderr


def test_it_looks_for_softhsm_where_labkit_looks() -> None:
    block = re.search(r"SOFTHSM_DIRS='([^']+)'", (ROOT / "lab").read_text())
    assert block
    places = [f"{directory}/libsofthsm2.so" for directory in block[1].split()]
    assert places == [place for place in library.PLACES if "{CONDA_PREFIX}" not in place]


# --- setting up once ---------------------------------------------------------


def test_the_second_setup_installs_nothing(set_up: Tree) -> None:
    result = set_up.lab("run", "python", "-c", "print('handed over')")
    assert result.stdout == "handed over\n"
    assert result.stderr == ""
    assert not set_up.installs()


def test_a_command_runs_in_the_environment_and_where_its_user_is(set_up: Tree) -> None:
    show = "import os, sys; print(sys.prefix, os.environ['VIRTUAL_ENV'], os.getcwd(), sep='\\n')"
    result = subprocess.run(
        set_up.command("run", "python", "-c", show),
        env=set_up.environment(),
        cwd=set_up.bin,
        capture_output=True,
        text=True,
        check=True,
    )
    venv = str(set_up.root / ".venv")
    assert result.stdout.splitlines() == [venv, venv, str(set_up.bin.resolve())]


def test_a_changed_requirement_is_installed_into_the_same_environment(set_up: Tree) -> None:
    (set_up.root / "requirements.txt").write_text("six\n")
    set_up.lab("setup")
    assert set_up.installs() == ["pip"]


def test_only_tests_install_the_test_tools(set_up: Tree) -> None:
    set_up.lab("test", "--version")
    assert set_up.installs() == ["pip"]
    set_up.lab("test", "--version")
    assert not set_up.installs()


def test_the_way_to_the_checkout_does_not_matter(set_up: Tree) -> None:
    link = set_up.root.with_name("link")
    link.symlink_to(set_up.root)
    set_up.root = link
    set_up.lab("setup")
    assert not set_up.installs()


def test_a_moved_checkout_gets_a_new_environment(set_up: Tree) -> None:
    set_up.root = set_up.root.rename(set_up.root.with_name("elsewhere"))
    set_up.lab("setup")
    assert set_up.installs() == ["venv", "pip"]


def test_an_environment_whose_python_is_gone_is_made_again(set_up: Tree) -> None:
    (set_up.root / ".venv/bin/python").unlink()
    set_up.lab("setup")
    assert set_up.installs() == ["venv", "pip"]


def test_a_setup_that_broke_off_is_started_again(tree: Tree) -> None:
    tree.tool("uv", UV + '[ "$1" = venv ]\n')
    (tree.bin / "python3").unlink()
    tree.tool(
        "python3", '#!/bin/sh\ncase "$*" in *venv*) exit 1 ;; esac\nexec "$REAL_PYTHON" "$@"\n'
    )
    assert tree.lab("setup").returncode == 1
    assert tree.installs() == ["venv", "pip"]
    tree.tool("uv", UV)
    assert tree.lab("setup").returncode == 0
    assert tree.installs() == ["venv", "pip"]


def test_somebody_elses_directory_is_left_alone(tree: Tree, tmp_path: Path) -> None:
    precious = tmp_path / "mine" / "precious"
    precious.parent.mkdir()
    precious.touch()
    result = tree.lab("setup", LAB_VENV=str(precious.parent))
    assert result.returncode == 1
    assert "was not made by ./lab" in result.stderr
    assert precious.exists()


def test_jupyterlab_will_not_ask_for_news(set_up: Tree) -> None:
    page = set_up.root / ".venv/etc/jupyter/labconfig/page_config.json"
    announcements = "@jupyterlab/apputils-extension:announcements"
    assert json.loads(page.read_text())["disabledExtensions"][announcements] is True


# --- testing -----------------------------------------------------------------


def test_every_stage_is_run_and_counted_whatever_the_others_did(set_up: Tree) -> None:
    result = set_up.lab("test", LAB_CHROMIUM="/nowhere/chromium")  # and no tool is installed
    assert result.returncode == 1
    stages = re.findall(r"^(\w+) +(\w+) +\d+ s$", result.stdout, re.MULTILINE)
    assert stages == [
        ("lint", "FAILED"),
        ("unit", "FAILED"),
        ("cloud", "FAILED"),
        ("system", "FAILED"),
        ("notebooks", "FAILED"),
        ("browser", "skipped"),
    ]
    assert "*** BROWSER TESTS SKIPPED" in result.stdout
    assert result.stdout.endswith("\n0 passed, 5 failed, 1 skipped\n")


def test_one_stage_ends_as_its_tool_did(set_up: Tree) -> None:
    assert set_up.lab("test", "lint").returncode == 1
    assert set_up.lab("test", "browser", LAB_CHROMIUM="/nowhere/chromium").returncode == 0


# --- two at once -------------------------------------------------------------


def test_two_setups_at_once_make_one_environment(tree: Tree) -> None:
    both = [
        subprocess.Popen(
            tree.command("setup"),
            env=tree.environment(),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    for process in both:
        process.communicate(timeout=60)
    assert [process.returncode for process in both] == [0, 0]
    assert tree.installs() == ["venv", "pip"]
    assert not (tree.root / ".venv.lock").is_symlink()


def test_the_lock_of_a_dead_setup_does_not_hold(tree: Tree) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    os.symlink(f"pid-{dead.pid}", tree.root / ".venv.lock")
    assert tree.lab("setup").returncode == 0
    assert not (tree.root / ".venv.lock").is_symlink()
