"""What must not hold up the event loop, and where it is done instead: a webhook, a long query, a
signature."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from labkit.steps import Do, Task, follow
from labkit.wire.channel import Errand
from labkit.wire.cores import Cores, spare

THREADS = 8
"""As many jobs are done at a time; the others wait in the order in which they came."""

T = TypeVar("T")


class Workers:
    """A bounded number of threads, and other processes for the tasks of steps when they get many.
    ``loop`` is told of each result, in its own thread; ``do`` does a task in any."""

    def __init__(self, loop: asyncio.AbstractEventLoop, do: Do) -> None:
        self._loop, self._task = loop, do
        self._pool = ThreadPoolExecutor(THREADS, "labkit worker")
        self._cores = Cores(loop, self._do_task, crowd=THREADS, most=spare())

    def run(
        self, work: Errand[T], then: Callable[[T], None], fail: Callable[[Exception], None]
    ) -> None:
        """Does ``work``; ``then`` gets what it returns, ``fail`` what it raises. A call that
        returns a future is over when that is, and keeps no thread meanwhile. Steps are taken on
        the loop, from its next round on, and their tasks done elsewhere."""
        if isinstance(work, Generator):
            self._loop.call_soon(follow, work, self._cores.do, then, fail)
        else:
            self._submit(work, then, fail)

    def leave(self) -> None:
        """On the loop's thread: no task is done any more that has not begun."""
        self._cores.leave()

    def stop(self) -> None:
        """After that: waits for the jobs that have begun; the others are never done."""
        self._pool.shutdown(cancel_futures=True)
        self._cores.wait()

    def _do_task(
        self, task: Task[Any], then: Callable[[Any], None], fail: Callable[[Exception], None]
    ) -> None:
        self._submit(partial(self._task, task), then, fail)

    def _submit(
        self,
        job: Callable[[], T | Future[T]],
        then: Callable[[T], None],
        fail: Callable[[Exception], None],
    ) -> None:
        with suppress(RuntimeError):  # stopped: everybody has gone
            self._pool.submit(self._do, job, then, fail)

    def _do(
        self,
        job: Callable[[], T | Future[T]],
        then: Callable[[T], None],
        fail: Callable[[Exception], None],
    ) -> None:
        try:
            result = job()
        except Exception as error:
            self._tell(fail, error)
            return
        if isinstance(result, Future):
            result.add_done_callback(lambda done: self._do(done.result, then, fail))
        else:
            self._tell(then, result)

    def _tell(self, what: Callable[[T], None], value: T) -> None:
        with suppress(RuntimeError):  # a loop that is closed: everybody has gone
            self._loop.call_soon_threadsafe(what, value)
