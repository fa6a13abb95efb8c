"""A stand-in for the one call of ``select`` that paho makes, which is Microsoft's MQTT client.

``select()`` cannot watch a file number above 1,023. A lab with a few hundred connected devices has
higher ones: a client with such a number would wait for ever. ``poll()`` has no such bound.
"""

from __future__ import annotations

import select
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

from paho.mqtt import client as paho  # type: ignore[import-untyped]

_READ = select.POLLIN | select.POLLPRI
_ENDED = select.POLLERR | select.POLLHUP | select.POLLNVAL


def wait(
    readers: Iterable[Any], writers: Iterable[Any], _: Iterable[Any], seconds: float | None = None
) -> tuple[list[Any], list[Any], list[Any]]:
    """As :func:`select.select`, but for what is exceptional: paho asks for nothing there.

    Raises ValueError for what is closed, as that does.
    """
    readers, writers, poll = list(readers), list(writers), select.poll()
    wanted: dict[int, int] = {}
    for items, flag in ((readers, _READ), (writers, select.POLLOUT)):
        for item in items:
            number = item if isinstance(item, int) else item.fileno()
            wanted[number] = wanted.get(number, 0) | flag
            poll.register(number, wanted[number])
    found = dict(poll.poll(None if seconds is None else max(0, round(seconds * 1000))))
    return _ready(readers, found, _READ), _ready(writers, found, select.POLLOUT), []


def _ready(items: list[Any], found: dict[int, int], flag: int) -> list[Any]:
    """Those that can be read or written, or have ended: the next call will say so."""
    numbers = {number for number, seen in found.items() if seen & (flag | _ENDED)}
    return [i for i in items if (i if isinstance(i, int) else i.fileno()) in numbers]


def install() -> None:
    """Lets all paho clients of this process wait so. Harmless when it is done twice."""
    if hasattr(select, "poll"):
        paho.select = SimpleNamespace(select=wait, error=select.error)
