"""docs/coverage.md says the truth: what it names is there, and no heading is missing."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SEEDS = ROOT.parent / "shared" / "seeds"
COLUMNS = 6
FEATURES = "Overview of features"


@dataclass(frozen=True)
class Row:
    """One procedure: ``places``, ``tests`` and ``lessons`` are what its cells name."""

    heading: str
    files: list[str]
    procedure: str
    places: list[str]
    tests: list[str]
    lessons: list[str]

    @classmethod
    def read(cls, line: str) -> Row:
        cells = [cell.strip().replace("`", "") for cell in line.strip().strip("|").split("|")]
        assert len(cells) == COLUMNS, line
        heading, files, procedure, *named = cells
        return cls(heading, files.split(", "), procedure, *(cell.split(", ") for cell in named))


def rows() -> list[Row]:
    lines = (ROOT / "docs" / "coverage.md").read_text().splitlines()
    return [Row.read(line) for line in lines if line.startswith("| ")][1:]


each_row = pytest.mark.parametrize("row", rows(), ids=lambda row: row.procedure)


@each_row
def test_what_a_row_names_is_there(row: Row) -> None:
    assert row.places
    for place in row.places:
        assert (ROOT / place).is_file(), place
    for test in row.tests:
        path, _, name = test.partition("::")
        assert path.startswith("tests/")
        assert not name or name in functions(ROOT / path), test
        assert (ROOT / path).is_file(), test
    for lesson in row.lessons:
        assert (ROOT / "notebooks" / f"{lesson}.ipynb").is_file(), lesson


def functions(path: Path) -> set[str]:
    """The names of a module's functions."""
    return {node.name for node in ast.parse(path.read_text()).body if hasattr(node, "name")}


def test_every_test_of_a_procedure_has_its_row() -> None:
    named = {test.partition("::")[2] for row in rows() for test in row.tests}
    walked = (
        name
        for path in Path(__file__).parent.glob("test_procedure_*.py")
        for name in functions(path)
        if "__" in name
    )
    assert set(walked) <= named


@pytest.mark.parametrize("number", ["000", "001"])
def test_no_heading_of_the_documents_is_missing(number: str) -> None:
    """Word for word, in both directions; where the documents lie beside the project."""
    if not (found := list(SEEDS.glob(f"{number}_*.txt"))):
        pytest.skip("NOT TESTED: the documents are not beside the project")
    covered = {row.heading for row in rows() if number in row.files}
    assert covered == headings(found[0].read_text())


def test_no_row_of_the_feature_table_is_missing() -> None:
    """Of the document on certificate management, word for word and in both directions; and the
    name of the test is the row's."""
    if not (found := list(SEEDS.glob("003_*.txt"))):
        pytest.skip("NOT TESTED: the documents are not beside the project")
    lines = [line for line in found[0].read_text().splitlines() if line.startswith("| ")]
    features = {line.split("|")[1].strip() for line in lines[1:]}
    covered = [row for row in rows() if "003" in row.files and row.heading == FEATURES]
    assert {row.procedure for row in covered} == features
    for row in covered:
        words = "_".join(re.findall(r"[a-z]+", row.procedure.lower()))
        assert row.tests[0].endswith(f"__{words}")


def headings(text: str) -> set[str]:
    """Lines behind number signs; where a document has none, the short ones that are no sentence.
    The first one is the document's own title."""
    lines = [line.strip() for line in text.splitlines()]
    marked = {line.lstrip("#").strip() for line in lines if line.startswith("#")}
    short = [line for line in lines[1:] if 0 < len(line) < 60 and line[0] != "-"]
    return marked or {line for line in short if line[-1] not in ".:"}
