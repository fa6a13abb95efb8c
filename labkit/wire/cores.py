"""Other processes that do an event loop's tasks: on other cores.

To verify a request and to sign a certificate take longer than all else that a registration needs,
and while the one is done in this process, nothing else is. So a crowd is served by more of them:

    a few tasks at a time ──> threads of this process
    more than that        ──> a process for each core is started, and gets tasks once it is there
    a process has ended   ──> what it has not answered is done by threads

What goes over the socket between the two are tasks and results, pickled, each of the other's
making; where a task signs, the PIN of the token is in it. The processes end with this one.
"""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import signal
import socket
import struct
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

from labkit.hsm.visitor import Visitor
from labkit.pki.tasks import Signers
from labkit.steps import DoLater, Task

CROWD = 4
"""Tasks under way at a time for which other processes are started."""
MOST = 4
"""Processes, however many cores there are: the event loop has no more for them to do."""

_PATIENCE = 5.0
_SIZE = struct.Struct("!I")

_log = logging.getLogger(__name__)


class _Asked(NamedTuple):
    task: Task[Any]
    then: Callable[[Any], None]
    fail: Callable[[Exception], None]


class Cores:
    """Does tasks for one event loop. ``otherwise`` does them in this process. Everything but
    :meth:`stop` is called on the loop's thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, otherwise: DoLater) -> None:
        self._loop, self._otherwise = loop, otherwise
        self._under_way = 0
        self._started: list[_Core] = []
        self._ready: list[_Core] = []

    def do(
        self, task: Task[Any], then: Callable[[Any], None], fail: Callable[[Exception], None]
    ) -> None:
        """Has a task done: see :data:`labkit.steps.DoLater`."""
        asked = _Asked(task, then, fail)
        if self._ready:
            min(self._ready, key=_line).ask(asked)
            return
        if self._under_way >= CROWD and not self._started:
            self._start()
        self._do_here(asked)

    def stop(self) -> None:
        """Ends the processes. Called by another thread, while the loop still runs."""
        for core in self._started:
            core.stop()

    def _start(self) -> None:
        for _ in range(_number()):
            ours, theirs = socket.socketpair()
            core = _Core(self, _process(theirs))
            theirs.close()
            self._started.append(core)
            self._loop.create_task(self._connect(core, ours))

    async def _connect(self, core: _Core, link: socket.socket) -> None:
        await self._loop.create_connection(lambda: core, sock=link)

    def _do_here(self, asked: _Asked) -> None:
        self._under_way += 1
        then, fail = (partial(self._done_here, call) for call in (asked.then, asked.fail))
        self._otherwise(asked.task, then, fail)

    def _done_here(self, call: Callable[[Any], None], what: Any) -> None:
        self._under_way -= 1
        call(what)

    # ---- what the processes say

    def ready(self, core: _Core) -> None:
        self._ready.append(core)

    def answered(self, asked: _Asked, went_well: bool, result: Any) -> None:
        """What did not go well is done once more here, where it can be told why."""
        if went_well:
            asked.then(result)
        else:
            self._do_here(asked)

    def gone(self, core: _Core) -> None:
        if core in self._ready:
            self._ready.remove(core)
        for asked in core.asked:
            self._do_here(asked)


class _Core(asyncio.Protocol):
    """One process, as its parent sees it. It answers in the order in which it is asked."""

    def __init__(self, cores: Cores, process: subprocess.Popen[bytes]) -> None:
        self._cores, self._process = cores, process
        self._heard = bytearray()
        self._transport: asyncio.Transport | None = None
        self.asked: deque[_Asked] = deque()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._heard += data
        while (answer := self._next()) is not None:
            if answer == _HELLO:
                self._cores.ready(self)
            else:
                self._cores.answered(self.asked.popleft(), *pickle.loads(answer))

    def connection_lost(self, _: Exception | None) -> None:
        self._transport = None
        self._cores.gone(self)

    def ask(self, asked: _Asked) -> None:
        self.asked.append(asked)
        assert self._transport is not None, "it is asked while it is there"
        self._transport.write(pickle.dumps(asked.task))

    def stop(self) -> None:
        if self._transport is not None:
            self._cores._loop.call_soon_threadsafe(self._transport.close)
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _next(self) -> bytes | None:
        """The next whole answer."""
        if len(self._heard) < _SIZE.size:
            return None
        end = _SIZE.size + _SIZE.unpack_from(self._heard)[0]
        if len(self._heard) < end:
            return None
        answer = bytes(self._heard[_SIZE.size : end])
        del self._heard[:end]
        return answer


def _line(core: _Core) -> int:
    """How many tasks wait for it."""
    return len(core.asked)


def _number() -> int:
    """A core for each, that of the event loop too: it is not always busy."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(usable or 1, MOST) if usable != 1 else 0


def _process(link: socket.socket) -> subprocess.Popen[bytes]:
    number = str(link.fileno())
    command = [sys.executable, "-c", f"from {__name__} import serve; serve()", number]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[link.fileno()])


# ---- the other process

_HELLO = b""


def serve() -> None:
    """Does tasks, one after the other, until nobody is there any more who would want them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is its parent's affair
    link = socket.socket(fileno=int(sys.argv[1]))
    signers = Signers(Visitor())
    with suppress(EOFError, OSError), link.makefile("rb") as stream:
        _send(link, _HELLO)
        while True:
            _send(link, pickle.dumps(_done(pickle.load(stream), signers)))


def _done(task: Task[Any], signers: Signers) -> tuple[bool, Any]:
    try:
        return True, task.do(signers)
    except Exception:  # whatever it is: the parent does the task once more, and has it too
        _log.exception("%r was not done", task)
        return False, None


def _send(link: socket.socket, answer: bytes) -> None:
    link.sendall(_SIZE.pack(len(answer)) + answer)
