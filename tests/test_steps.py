"""Functions that decide in steps: whoever runs them, they find the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from labkit.steps import Steps, Task, done, follow, nothing_to_do, run


class Half(NamedTuple):
    number: int

    def do(self, _: Any) -> int:
        if self.number % 2:
            raise ValueError(self.number)
        return self.number // 2


def halvings(number: int) -> Steps[list[int]]:
    """How often a number can be halved; the one that cannot be comes last."""
    found = [number]
    try:
        while True:
            found.append((yield Half(found[-1])))
    except ValueError as error:
        return [*found, -error.args[0]]


def careless(number: int) -> Steps[int]:
    return (yield Half(number))


def do(task: Task[Any]) -> Any:
    return task.do(None)


class Later:
    """Does tasks when it is told to."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []

    def __call__(
        self, task: Task[Any], then: Callable[[Any], None], fail: Callable[[Exception], None]
    ) -> None:
        def call_back() -> None:
            try:
                found = do(task)
            except ValueError as error:
                fail(error)
            else:
                then(found)

        self.waiting.append(call_back)

    def all(self) -> None:
        while self.waiting:
            self.waiting.pop(0)()


def test_results_and_errors_of_tasks_come_to_where_they_were_asked_for() -> None:
    assert run(halvings(12), do) == [12, 6, 3, -3]
    with pytest.raises(ValueError, match="7"):
        run(careless(7), do)


def test_followed_they_find_the_same_and_take_turns() -> None:
    """Nobody waits for the tasks of another: all of them are asked for at first."""
    later, found, failed = Later(), list[Any](), list[Exception]()
    for number in (12, 8, 5):
        follow(halvings(number), later, found.append, failed.append)
    follow(careless(7), later, found.append, failed.append)
    assert len(later.waiting) == 4
    later.all()
    assert found == [[5, -5], [12, 6, 3, -3], [8, 4, 2, 1, -1]]
    assert [error.args for error in failed] == [(7,)]


def test_who_waits_for_nothing_is_done_at_once() -> None:
    found: list[int] = []
    follow(done(3), nothing_to_do, found.append, found.append)
    assert found == [3]
    assert run(done(4), nothing_to_do) == 4
    with pytest.raises(AssertionError, match="Half"):
        run(careless(2), nothing_to_do)
