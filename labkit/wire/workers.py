"""Threads for what must not hold up the event loop: a webhook, a long query."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
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
        self, job: Callable[[], T], then: Callable[[T], None], fail: Callable[[Exception], None]
    ) -> None:
        """Does ``job``; ``then`` gets what it returns, ``fail`` what it raises."""
        self._pool.submit(self._do, job, then, fail)

    def stop(self) -> None:
        """Waits for the jobs that have begun; the others are never done."""
        self._pool.shutdown(cancel_futures=True)

    def _do(
        self, job: Callable[[], T], then: Callable[[T], None], fail: Callable[[Exception], None]
    ) -> None:
        try:
            result = job()
        except Exception as error:
            self._loop.call_soon_threadsafe(fail, error)
        else:
            self._loop.call_soon_threadsafe(then, result)
