"""What must not hold up the event loop, and where it is done instead: a webhook, a long query, a
signature."""

from __future__ import annotations

import asyncio
from collections import deque
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

AT_A_TIME = 2 * THREADS
"""So many errands are in steps at a time. Who waits is looked at when the turn comes: a device that
is disallowed meanwhile is not let in by what was known when it came."""

T = TypeVar("T")


class Workers:
    """A bounded number of threads, and other processes for the tasks of steps when they get many.
    ``loop`` is told of each result, in its own thread; ``do`` does a task in any."""

    def __init__(self, loop: asyncio.AbstractEventLoop, do: Do) -> None:
        self._loop, self._task = loop, do
        self._pool = ThreadPoolExecutor(THREADS, "labkit worker")
        self._cores = Cores(loop, self._do_task, crowd=THREADS, most=spare())
        self._taken, self._later = 0, deque[Callable[[], None]]()
        self._stopped = False

    def run(
        self, errand: Errand[T], then: Callable[[T], None], fail: Callable[[Exception], None]
    ) -> None:
        """Does an errand; ``then`` gets what it returns, ``fail`` what it raises. A call that
        returns a future is over when that is, and keeps no thread meanwhile. Steps are taken on
        the loop, where this is called then, and their tasks done elsewhere."""
        if not isinstance(errand, Generator):
            self._submit(errand, then, fail)
            return
        ends = (partial(self._taken_last, call) for call in (then, fail))
        self._later.append(partial(follow, errand, self._cores.do, *ends))
        self._take_next()

    def leave(self) -> None:
        """On the loop's thread: nothing is begun any more that is done in steps."""
        self._later.clear()
        self._cores.leave()

    def stop(self) -> None:
        """After that: waits for the jobs that have begun; the others are never done."""
        self._stopped = True
        self._pool.shutdown(cancel_futures=True)
        self._cores.wait()

    def _take_next(self) -> None:
        """From the loop's next round on: who is answered at once may have asked again by then."""
        if self._later and self._taken < AT_A_TIME:
            self._taken += 1
            self._loop.call_soon(self._later.popleft())

    def _taken_last(self, call: Callable[[Any], None], what: Any) -> None:
        self._taken -= 1
        self._take_next()
        call(what)

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
        try:
            self._pool.submit(self._do, job, then, fail)
        except RuntimeError as error:  # stopped, when everybody has gone; or no thread is left
            if not self._stopped:
                self._loop.call_soon_threadsafe(fail, error)

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
