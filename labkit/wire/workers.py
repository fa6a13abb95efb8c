"""Threads for what must not hold up the event loop: a webhook, a long query."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

THREADS = 8
"""As many jobs are done at a time; the others wait in the order in which they came."""

T = TypeVar("T")


class Workers:
    """A bounded number of threads. ``loop`` is told of each result, in its own thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._pool = ThreadPoolExecutor(THREADS, "labkit worker")

    def run(
        self,
        job: Callable[[], T | Future[T]],
        then: Callable[[T], None],
        fail: Callable[[Exception], None],
    ) -> None:
        """Does ``job``; ``then`` gets what it returns, ``fail`` what it raises. A job that returns
        a future is over when that is, and keeps no thread meanwhile."""
        self._pool.submit(self._do, job, then, fail)

    def stop(self) -> None:
        """Waits for the jobs that have begun; the others are never done."""
        self._pool.shutdown(cancel_futures=True)

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
