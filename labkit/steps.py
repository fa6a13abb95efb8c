"""What is decided in steps, with tasks between them that need nothing but themselves.

A function that decides in steps is a generator: it yields a task and goes on with its result. So it
knows neither threads nor processes; whoever runs it says where tasks are done:

    decide ── task ──> here and now (run), or anywhere and later (follow)
           <─ result ─┘
    decide further, return
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from typing import Any, NoReturn, Protocol, TypeAlias, TypeVar

T = TypeVar("T")
Result = TypeVar("Result", covariant=True)


class Task(Protocol[Result]):
    """A piece of work: its arguments, which can be pickled. Done twice, it does no harm."""

    def do(self, tools: Any) -> Result: ...


Steps: TypeAlias = Generator[Task[Any], Any, T]
Do: TypeAlias = Callable[[Task[Any]], Any]
"""Does a task and returns its result, or raises."""
DoLater: TypeAlias = Callable[
    [Task[Any], Callable[[Any], None], Callable[[Exception], None]],
    None,
]
"""Has a task done, and calls back with its result, or with what it raised."""


def run(steps: Steps[T], do: Do) -> T:
    """All of it, one after the other."""
    how, what = steps.send, None
    while True:
        try:
            task = how(what)
        except StopIteration as end:
            found: T = end.value
            return found
        try:
            how, what = steps.send, do(task)
        except Exception as error:
            how, what = steps.throw, error


def follow(
    steps: Steps[T], do: DoLater, then: Callable[[T], None], fail: Callable[[Exception], None]
) -> None:
    """The same without waiting: goes on where it is called back. ``then`` gets what it returns in
    the end, ``fail`` what it raises."""

    def go_on(how: Callable[[Any], Task[Any]], what: Any) -> None:
        try:
            task = how(what)
        except StopIteration as end:
            then(end.value)
        except Exception as error:
            fail(error)
        else:
            try:
                do(task, partial(go_on, steps.send), partial(go_on, steps.throw))
            except Exception as error:  # it was not even asked for
                go_on(steps.throw, error)

    go_on(steps.send, None)


def nothing_to_do(task: Task[Any]) -> NoReturn:
    """The ``do`` of those who have no tasks."""
    raise AssertionError(f"nobody here can do {task!r}")


def done(value: T) -> Steps[T]:
    """Steps that are over before the first: for those who have to wait for nothing."""
    return value
    yield
