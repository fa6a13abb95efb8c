"""Other processes that do an event loop's tasks: on other cores.

To verify a request and to sign a certificate take longer than all else that a registration needs,
and while the one is done in this process, nothing else is. So a crowd is served by more of them:

    a few tasks at a time ──> threads of this process
    more than that        ──> a process for each spare core is started, three at the most, and they
                              get all tasks once they are there
    a process has ended   ──> what it has not answered is done by threads

What goes over the socket between the two are tasks and results, pickled, each of the other's
making; where a task signs, the PIN of the token is in it. The processes end with this one.
"""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import socket
import struct
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import IO, Any, NamedTuple, NoReturn

from labkit.hsm.visitor import Visitor
from labkit.pki.tasks import Signers
from labkit.processes import python
from labkit.steps import DoLater, Task

_MOST = 3
"""Processes, however many cores there are: the event loop has no more for them to do."""

_PAUSE = 30.0
"""Seconds from a start to the next, where those that were started have ended."""
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
        self._over, self._not_before = False, 0.0
        self._ready: list[_Core] = []
        self._all: list[_Core] = []
        self._connecting: list[asyncio.Task[None]] = []  # nobody else holds them

    def do(
        self, task: Task[Any], then: Callable[[Any], None], fail: Callable[[Exception], None]
    ) -> None:
        """Has a task done: see :data:`labkit.steps.DoLater`."""
        asked = _Asked(task, then, fail)
        if self._ready:
            min(self._ready, key=_line).ask(asked)
            return
        if self._under_way >= self._crowd and self._may_start():
            self._start()
        self._do_here(asked)

    def leave(self) -> None:
        """Lets the processes go. What they have not answered nobody waits for any more."""
        self._over = True
        self._ready.clear()
        for core in self._all:
            core.leave()

    def wait(self) -> None:
        """Returns when the processes have ended: after :meth:`leave`, by any thread."""
        for core in self._all:
            core.wait()

    def _may_start(self) -> bool:
        """Whether there is none, nor was a moment ago."""
        none = not any(core.is_there for core in self._all)
        return none and not self._over and self._loop.time() >= self._not_before

    def _start(self) -> None:
        self._not_before = self._loop.time() + _PAUSE
        try:
            for _ in range(self._most):
                process, link = _process()
                self._all.append(_Core(self, process))
                connecting = self._connect(self._all[-1], link)
                self._connecting.append(self._loop.create_task(connecting))
        except OSError as error:  # this machine has no more of them: threads go on
            _log.warning("no other process can be started: %s", error)

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
        """It is there."""
        if not self._over:
            self._ready.append(core)

    def gone(self, core: _Core) -> None:
        """It has ended: what it has not answered is done here, where it can be told why."""
        if core in self._ready:
            self._ready.remove(core)
        if self._over:
            return
        _log.warning("a process that verifies and signs has ended; %d are left", len(self._ready))
        for asked in core.asked:
            self._do_here(asked)


class _Core(asyncio.Protocol):
    """One process, as its parent sees it. It answers in the order in which it is asked."""

    def __init__(self, cores: Cores, process: subprocess.Popen[bytes]) -> None:
        self._cores, self._process = cores, process
        self._heard = bytearray()
        self._transport: asyncio.Transport | None = None
        self._greeted = self._left = False
        self.is_there = True
        """Or is starting."""
        self.asked: deque[_Asked] = deque()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if self._left:
            transport.abort()

    def data_received(self, data: bytes) -> None:
        self._heard += data
        while (answer := self._next()) is not None:
            if self._greeted:
                self.asked.popleft().then(pickle.loads(answer))
            else:
                self._greeted = True
                self._cores.ready(self)

    def connection_lost(self, _: Exception | None) -> None:
        self.is_there = False
        self._cores.gone(self)

    def ask(self, asked: _Asked) -> None:
        """Puts a task behind those that it has."""
        assert self._transport is not None, "it is asked when it is there"
        message = _framed(asked.task)  # before it counts as asked: this may fail
        self.asked.append(asked)
        self._transport.write(message)

    def leave(self) -> None:
        """It ends when it reads that nobody is there any more. One that has not said a word has no
        token open either."""
        self._left = True
        if self._transport is not None:
            self._transport.abort()
        if not self._greeted:
            self._process.terminate()

    def wait(self) -> None:
        """Until it has ended."""
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


def spare() -> int:
    """How many cores an event loop leaves to others."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min((usable or 1) - 1, _MOST)


def _process() -> tuple[subprocess.Popen[bytes], socket.socket]:
    """A new one, and the way to it. In a group of its own: Ctrl-C, and the interrupt of a notebook,
    are its parent's affair. Raises OSError."""
    ours, theirs = socket.socketpair()
    command = python(__name__, serve.__name__, str(theirs.fileno()))
    try:
        with theirs:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()], process_group=0
            )
    except OSError:
        ours.close()
        raise
    return process, ours


def _framed(content: Any) -> bytes:
    data = pickle.dumps(content)
    return _SIZE.pack(len(data)) + data


# ---- the other process


def serve() -> None:
    """Does tasks, one after the other, until nobody is there any more who would want them. One that
    it cannot do ends it: its parent does that itself, and has the error where it can be told."""
    link = socket.socket(fileno=int(sys.argv[1]))
    with link, link.makefile("rb") as stream:
        try:
            _serve(link, stream)
        except (EOFError, ConnectionError):
            return  # nobody is there any more
        except Exception as error:
            _log.warning("what was asked of process %d was not done: %r", os.getpid(), error)


def _serve(link: socket.socket, stream: IO[bytes]) -> NoReturn:
    signers = Signers(Visitor())
    link.sendall(_framed("here"))
    while True:
        (size,) = _SIZE.unpack(_read(stream, _SIZE.size))
        task: Task[Any] = pickle.loads(_read(stream, size))
        link.sendall(_framed(task.do(signers)))


def _read(stream: IO[bytes], size: int) -> bytes:
    """So many bytes. Raises EOFError where there are no more."""
    found = stream.read(size)
    if len(found) < size:
        raise EOFError
    return found
