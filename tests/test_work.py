"""Long work tells how far it is, and whoever listens cannot harm it."""

from __future__ import annotations

import time

import pytest

from labkit.work import PAUSE, Stage, Work


def test_beginning_and_end_are_told_and_every_item_comes() -> None:
    work, heard = Work(), []
    with work.heard(heard.append):
        assert list(work.each("abc", "spelling")) == ["a", "b", "c"]
    assert heard[0] == Stage("spelling", 0, 3)
    assert heard[-1] == Stage("spelling", 3, 3)
    assert heard[-1].over
    assert str(heard[0]) == "spelling: 0 of 3"


def test_quick_items_are_not_told_one_by_one() -> None:
    work, heard = Work(), []
    with work.heard(heard.append):
        began = time.monotonic()
        for _ in work.each(range(10_000), "counting"):
            pass
        spent = time.monotonic() - began
    assert len(heard) <= spent / PAUSE + 3


def test_after_the_block_nobody_is_told() -> None:
    work, heard = Work(), []
    with work.heard(heard.append):
        pass
    list(work.each([1], "late"))
    assert heard == []


def test_a_listener_that_fails_does_not_stop_the_work() -> None:
    def broken(_: Stage) -> None:
        raise RuntimeError("no screen")

    work, heard = Work(), []
    with work.heard(broken), work.heard(heard.append):
        assert list(work.each([1, 2], "counting")) == [1, 2]
    assert heard[-1].over


def test_work_that_fails_is_not_told_as_done() -> None:
    def fail() -> None:
        for _ in work.each([1, 2], "failing"):
            raise ValueError("no")

    work, heard = Work(), []
    with work.heard(heard.append), pytest.raises(ValueError, match="no"):
        fail()
    assert not any(stage.over for stage in heard)


def test_while_nobody_listens_the_other_is_told() -> None:
    otherwise: list[Stage] = []
    work = Work(otherwise.append)
    list(work.each([1], "alone"))
    assert [stage.done for stage in otherwise] == [0, 1]
    with work.heard(lambda _: None):
        list(work.each([1], "heard"))
    assert {stage.doing for stage in otherwise} == {"alone"}
