"""Other processes that do an event loop's tasks: on other cores.

To verify a request and to sign a certificate take longer than all else that a registration needs,
and while the one is done in this process, nothing else is. So a crowd is served by more of them:

    a few tasks at a time ──> threads of this process
    more than that        ──> a process for each spare core is started, and gets all tasks from then
                              on that it is there
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

_MOST = 3
"""Processes, however many cores there are: the event loop has no more for them to do."""

_PATIENCE = 5.0
_SIZE = struct.Struct("!I")

_log = logging.getLogger(__name__)


class _Asked(NamedTuple):
    task: Task[Any]
    then: Callable[[Any], None]
    fail: Callable[[Exception], None]


class Cores:
    """Does tasks for one event loop. ``otherwise`` does them in this process; ``crowd`` of them at
    a time are left to it, before so many processes as ``most`` are started. Everything but
    :meth:`wait` is called on the loop's thread."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, otherwise: DoLater, crowd: int, most: int
    ) -> None:
        self._loop, self._otherwise, self._crowd, self._most = loop, otherwise, crowd, most
        self._under_way = 0
        self._started = self._over = False
        self._ready: list[_Core] = []
        self._processes: list[subprocess.Popen[bytes]] = []

    def do(
        self, task: Task[Any], then: Callable[[Any], None], fail: Callable[[Exception], None]
    ) -> None:
        """Has a task done: see :data:`labkit.steps.DoLater`."""
        asked = _Asked(task, then, fail)
        if self._ready:
            min(self._ready, key=_line).ask(asked)
            return
        if self._under_way >= self._crowd and not self._started:
            self._start()
        self._do_here(asked)

    def leave(self) -> None:
        """Lets the processes go. What they have not answered nobody waits for any more."""
        self._over = True
        for core in [*self._ready]:
            core.leave()

    def wait(self) -> None:
        """Returns when the processes have ended: after :meth:`leave`, by any thread."""
        for process in self._processes:
            try:
                process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _start(self) -> None:
        self._started = True
        try:
            for _ in range(self._most):
                process, link = _process()
                self._processes.append(process)
                self._loop.create_task(self._connect(link))
        except OSError as error:  # this machine has no more of them: threads go on
            _log.warning("no other process can be started: %s", error)

    async def _connect(self, link: socket.socket) -> None:
        await self._loop.create_connection(lambda: _Core(self), sock=link)

    def _do_here(self, asked: _Asked) -> None:
        self._under_way += 1
        then, fail = (partial(self._done_here, call) for call in (asked.then, asked.fail))
        self._otherwise(asked.task, then, fail)

    def _done_here(self, call: Callable[[Any], None], what: Any) -> None:
        self._under_way -= 1
        call(what)

    # ---- what the processes say

    def ready(self, core: _Core) -> None:
        """It is there."""
        if self._over:
            core.leave()
        else:
            self._ready.append(core)

    def answered(self, asked: _Asked, went_well: bool, result: Any) -> None:
        """What did not go well is done once more here, where it can be told why."""
        if went_well:
            asked.then(result)
        else:
            self._do_here(asked)

    def gone(self, core: _Core) -> None:
        """It has ended."""
        if core in self._ready:
            self._ready.remove(core)
        for asked in core.asked if not self._over else ():
            self._do_here(asked)


class _Core(asyncio.Protocol):
    """One process, as its parent sees it. It answers in the order in which it is asked."""

    def __init__(self, cores: Cores) -> None:
        self._cores, self._heard = cores, bytearray()
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
        self._cores.gone(self)

    def ask(self, asked: _Asked) -> None:
        """Puts a task behind those that it has."""
        self.asked.append(asked)
        self._transport.write(pickle.dumps(asked.task))

    def leave(self) -> None:
        """It ends when it reads that nobody is there any more."""
        self._transport.abort()

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


def spare() -> int:
    """How many cores an event loop leaves to others."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min((usable or 1) - 1, _MOST)


def _process() -> tuple[subprocess.Popen[bytes], socket.socket]:
    """A new one, and the way to it. Raises OSError."""
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-c", f"from {__name__} import serve; serve()", str(theirs.fileno())]
    try:
        with theirs:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()]
            ), ours
    except OSError:
        ours.close()
        raise


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
    except Exception as error:  # whatever it is: the parent does the task once more, and has it too
        _log.warning("%s was not done here: %r", type(task).__name__, error)
        return False, None


def _send(link: socket.socket, answer: bytes) -> None:
    link.sendall(_SIZE.pack(len(answer)) + answer)
