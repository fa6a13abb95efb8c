"""The trainee's desk: copies without the answers, and nobody's work is ever overwritten."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from labkit.notebooks import lend

LESSONS = Path(__file__).parents[2] / "notebooks"


@pytest.fixture
def lessons(tmp_path: Path) -> Path:
    folder = tmp_path / "lessons"
    folder.mkdir()
    for path in LESSONS.glob("*.ipynb"):
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def answer(path: Path) -> None:
    """A trainee works on a copy."""
    notebook = json.loads(path.read_text())
    notebook["cells"][-1]["source"] = "my answer"
    path.write_text(json.dumps(notebook))


def revise(path: Path) -> None:
    """A new edition of a lesson."""
    notebook = json.loads(path.read_text())
    notebook["cells"][0]["source"] = "# A new edition"
    path.write_text(json.dumps(notebook))


def test_copies_have_the_words_and_not_the_answers(lessons: Path, tmp_path: Path) -> None:
    desk = tmp_path / "desk"
    assert lend(lessons, desk) == []
    for path in lessons.glob("*.ipynb"):
        lent, original = (json.loads(p.read_text()) for p in (desk / path.name, path))
        assert [c["source"] for c in lent["cells"]] == [c["source"] for c in original["cells"]]
        assert not any(c.get("outputs") or c.get("execution_count") for c in lent["cells"])


def test_work_is_kept_when_the_lab_is_started_again(lessons: Path, tmp_path: Path) -> None:
    desk = tmp_path / "desk"
    lend(lessons, desk)
    answer(desk / "01-first-device.ipynb")
    before = (desk / "01-first-device.ipynb").read_bytes()
    assert lend(lessons, desk) == []
    assert (desk / "01-first-device.ipynb").read_bytes() == before


def test_a_new_edition_replaces_a_copy_that_nobody_touched(lessons: Path, tmp_path: Path) -> None:
    desk = tmp_path / "desk"
    lend(lessons, desk)
    revise(lessons / "00-start.ipynb")
    assert lend(lessons, desk) == []
    assert "A new edition" in (desk / "00-start.ipynb").read_text()


def test_a_new_edition_never_replaces_work(lessons: Path, tmp_path: Path) -> None:
    desk = tmp_path / "desk"
    lend(lessons, desk)
    answer(desk / "01-first-device.ipynb")
    revise(lessons / "01-first-device.ipynb")
    (line,) = lend(lessons, desk)
    assert line.startswith("01-first-device.ipynb has changed since you began it")
    assert "my answer" in (desk / "01-first-device.ipynb").read_text()


def test_a_copy_that_was_thrown_away_comes_back(lessons: Path, tmp_path: Path) -> None:
    desk = tmp_path / "desk"
    lend(lessons, desk)
    (desk / "00-start.ipynb").unlink()
    assert lend(lessons, desk) == []
    assert (desk / "00-start.ipynb").exists()


def test_a_lending_that_was_cut_off_leaves_nothing_stuck(lessons: Path, tmp_path: Path) -> None:
    """Killed after the copies and before the book; or the book itself was damaged."""
    desk = tmp_path / "desk"
    for spoil in (lambda book: book.unlink(), lambda book: book.write_text("{")):
        lend(lessons, desk)
        spoil(desk / ".lent.json")
        assert lend(lessons, desk) == []
