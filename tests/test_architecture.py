"""The house rules: imports run downwards, words are said where they belong."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "labkit"
MODULES = sorted(PACKAGE.rglob("*.py"))
ROOMS = {path.stem for path in PACKAGE.iterdir()}

LEVELS = (
    ("steps", "trace", "work"),
    ("errors",),
    ("files", "ids", "processes"),
    ("progress",),
    ("clock",),
    ("events", "database"),
    ("workspace",),
    ("hsm",),
    ("pki",),
    ("cloud", "supplychain", "device", "thirdparty"),
    ("wire",),
    ("drill",),
    ("explanation", "rooms", "lab"),
    ("graph",),
    ("doctor", "monitor", "remote", "serve", "notebooks", "ui"),
    ("scenarios",),
    ("cli", "__main__", "__init__"),
)
"""From the ground up. A room may import from its own level where WITHIN says so, and below."""

WITHIN = {
    ("rooms", "explanation"),
    ("lab", "rooms"),
    ("lab", "explanation"),
    ("notebooks", "doctor"),
    ("serve", "doctor"),
    ("ui", "doctor"),
    ("ui", "notebooks"),
    ("__main__", "cli"),
}
UPWARDS = {
    ("lab", "graph"),  # lab.graph() and lab.view(): imported when they are called
    ("lab", "ui"),
    ("__init__", "lab"),
}
LEVEL = {room: number for number, rooms in enumerate(LEVELS) for room in rooms}

ids = [str(path.relative_to(ROOT)) for path in MODULES]
each_module = pytest.mark.parametrize("path", MODULES, ids=ids)


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def room(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[0]


def imported(path: Path) -> Iterator[str]:
    """The rooms of labkit that a module imports, wherever in the file it does."""
    for node in ast.walk(tree(path)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "labkit":
                yield parts[1] if parts[1] in ROOMS else "lab"  # from labkit import Lab


@each_module
def test_every_room_has_its_level(path: Path) -> None:
    assert room(path) in LEVEL, f"say in LEVELS where {room(path)} stands"


@each_module
def test_imports_run_downwards(path: Path) -> None:
    own = room(path)
    for other in set(imported(path)) - {own}:
        allowed = LEVEL[other] < LEVEL[own] or (own, other) in WITHIN | UPWARDS
        assert allowed, f"{own} imports {other}"


def imports_of(*rooms: str) -> set[str]:
    return {other for path in MODULES if room(path) in rooms for other in imported(path)}


def test_the_cloud_knows_nothing_of_sockets() -> None:
    assert "wire" not in imports_of("cloud")
    names = {
        alias.name.split(".")[0]
        for path in MODULES
        if room(path) == "cloud"
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert not names & {"socket", "ssl", "asyncio"}


def test_devices_know_the_cloud_only_through_the_network() -> None:
    assert not imports_of("device") & {"cloud", "wire", "supplychain"}


def test_the_supply_chain_knows_neither_cloud_nor_device() -> None:
    assert not imports_of("supplychain") & {"cloud", "wire", "device"}


def test_another_company_knows_none_of_us() -> None:
    assert not imports_of("thirdparty") & {"cloud", "wire", "device", "supplychain"}


@pytest.mark.parametrize("path", [p for p in MODULES if room(p) == "pki"], ids=lambda p: p.name)
def test_pki_has_never_heard_of_azure(path: Path) -> None:
    """Its comments and docstrings may draw the comparison; its names and texts may not."""
    found = tree(path)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(found)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    texts = [
        node.value
        for node in ast.walk(found)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if id(node) not in docstrings and "\n" not in node.value
    ]
    readable = io.StringIO(path.read_text()).readline
    names = [t.string for t in tokenize.generate_tokens(readable) if t.type == tokenize.NAME]
    for word in ("azure", "dps", "iothub", "iot hub"):
        assert not [text for text in texts + names if word in text.lower().split()]
        assert not [text for text in texts + names if word == "azure" and word in text.lower()]


def public(found: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    """Module, classes, functions and methods whose names do not begin with an underscore."""
    yield "the module", found
    for node in found.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node.name, node
            inner = node.body if isinstance(node, ast.ClassDef) else []
            for member in inner:
                if isinstance(member, ast.FunctionDef) and not member.name.startswith("_"):
                    yield f"{node.name}.{member.name}", member


@each_module
def test_everything_public_has_a_docstring(path: Path) -> None:
    """Modules, classes and functions. A method whose name says it all may go without."""
    bare = [
        name
        for name, node in public(tree(path))
        if "." not in name and not ast.get_docstring(node)  # type: ignore[arg-type]
    ]
    assert bare == []


@each_module
def test_a_file_has_at_most_400_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400


MAY_PRINT = {"lab", "cli", "serve", "monitor", "ui", "doctor"}


@each_module
def test_only_the_front_doors_print(path: Path) -> None:
    calls = [
        node.lineno
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]
    assert room(path) in MAY_PRINT or calls == []


@each_module
def test_no_module_asks_the_machine_what_time_it_is_to_judge(path: Path) -> None:
    """Whatever judges a certificate asks the lab's clock; time of day is the clock's to know."""
    if room(path) in ("clock", "wire", "graph", "device", "doctor", "serve", "cli", "notebooks"):
        return
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Attribute) and node.attr in ("now", "utcnow", "today"):
            owner = node.value
            assert not (isinstance(owner, ast.Name) and owner.id in ("datetime", "date"))
