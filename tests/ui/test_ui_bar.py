"""Long work in a notebook's cell gets a bar; elsewhere, and for short work, nothing is shown."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from labkit.ui import bar
from labkit.ui.bar import FEWEST, Bar, Bars
from labkit.work import Stage


@pytest.fixture
def displayed(monkeypatch: pytest.MonkeyPatch) -> list[Bar]:
    """What a notebook would show."""
    shown: list[Bar] = []
    monkeypatch.setattr(bar, "_in_a_notebook", lambda: True)
    monkeypatch.setattr("IPython.display.display", shown.append)
    return shown


def test_one_bar_follows_one_piece_of_work(displayed: list[Bar]) -> None:
    bars = Bars()
    for done in (0, 7, FEWEST):
        bars(Stage("making devices", done, FEWEST))
    (shown,) = displayed
    assert shown.stage == {"doing": "making devices", "done": FEWEST, "whole": FEWEST}
    bars(Stage("signing", 0, FEWEST))
    assert len(displayed) == 2


def test_work_within_work_has_a_bar_of_its_own(displayed: list[Bar]) -> None:
    bars = Bars()
    bars(Stage("days", 0, 30))
    for done in (0, FEWEST):
        bars(Stage("renewals", done, FEWEST))
    bars(Stage("days", 30, 30))
    assert [shown.stage["doing"] for shown in displayed] == ["days", "renewals"]
    assert all(shown.stage["done"] == shown.stage["whole"] for shown in displayed)


def test_short_work_is_not_worth_a_bar(displayed: list[Bar]) -> None:
    Bars()(Stage("making devices", 0, FEWEST - 1))
    assert displayed == []


def test_work_of_another_thread_does_not_write_below_a_cell(displayed: list[Bar]) -> None:
    thread = threading.Thread(target=Bars(), args=(Stage("serving", 0, FEWEST),))
    thread.start()
    thread.join()
    assert displayed == []


def test_outside_a_notebook_nothing_is_shown(capsys: Any) -> None:
    Bars()(Stage("making devices", 0, FEWEST))
    assert capsys.readouterr().out == ""


def test_without_a_kernel_the_words_say_what_it_was() -> None:
    """And it is the same text at every run, whenever the notebook was saved."""
    shown = Bar(Stage("making devices", 3, 40))
    data, _ = shown._repr_mimebundle_()
    assert data["text/plain"] == "making devices (40)"
