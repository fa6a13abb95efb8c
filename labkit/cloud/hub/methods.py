"""Direct methods: a call, the device's answer to it, and what is said where none comes.

    begin ──the device listens──> sent ──answer──> result
      │                             └──no answer in time──> 504101
      └──it does not──> waiting ──it comes and listens──> sent
                           └──it does not come in time──> 404103

Nobody waits in a thread: a call is a future, and one thread counts the time of all.
"""

from __future__ import annotations

import itertools
import json
import re
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from labkit.cloud import codes
from labkit.cloud.hub.live import Connections, MethodCall, Subject
from labkit.cloud.hub.timers import Timers
from labkit.errors import AzureError, ServiceRefusal
from labkit.trace import Check, failed

LARGEST_PAYLOAD = 128 * 1024
"""Bytes of JSON, of a call and of its answer."""
LONGEST_WAIT = 300.0
"""Seconds that a call may wait for the device to come, and as many for its answer."""
USUAL_WAIT = 30.0
"""Seconds for the answer where the caller names none."""

ONLINE = "the device is connected and listens to methods"
ANSWERED = "the device answers in time"
CALL = "the call of a method is well formed"
ANSWER = "the answer to a method can be read"
_SOURCE = "Azure documentation, IoT Hub: understand and invoke direct methods"
_NAME = re.compile(r"[!-~]{1,128}")
_NOT_IN_NAMES = frozenset('$()<>@,;:\\"/[]?={}')

Refuse = Callable[[AzureError, Check], ServiceRefusal]


@dataclass(frozen=True, slots=True)
class MethodResult:
    """What the device answered: its own status, and any JSON."""

    status: int
    payload: Any


@dataclass(eq=False, slots=True)
class _Call:
    key: tuple[str, str]
    call: MethodCall
    response_timeout: float
    connect_timeout: float
    refuse: Refuse
    future: Future[MethodResult] = field(default_factory=Future)


def fault(name: str, payload: Any, response_timeout: float, connect_timeout: float) -> str:
    """What is wrong with a call; empty where nothing is."""
    if not _NAME.fullmatch(name) or _NOT_IN_NAMES & set(name):
        return f"{name!r} cannot be a method's name: 1 to 128 printable ASCII, no {_listed()}"
    if not 0 < response_timeout <= LONGEST_WAIT or not 0 <= connect_timeout <= LONGEST_WAIT:
        return f"it would wait {response_timeout:g} s and {connect_timeout:g} s to connect"
    try:
        size = len(json.dumps(payload, allow_nan=False).encode())
    except (TypeError, ValueError, RecursionError) as error:
        return f"its payload is no JSON: {error}"
    if size > LARGEST_PAYLOAD:
        return f"its payload is {size:,} bytes of JSON; {LARGEST_PAYLOAD:,} at most"
    return ""


def _listed() -> str:
    return "blank and none of " + " ".join(sorted(_NOT_IN_NAMES))


class Methods:
    """The calls of a lab that have no answer yet. Safe in any thread; nothing here waits."""

    def __init__(self, connections: Connections) -> None:
        self._connections, self._timers = connections, Timers()
        self._lock, self._numbers = threading.Lock(), itertools.count(1)
        self._waiting: dict[tuple[str, str], list[_Call]] = {}
        self._sent: dict[str, _Call] = {}

    def begin(
        self,
        hub: str,
        device_id: str,
        name: str,
        payload: Any,
        response_timeout: float,
        connect_timeout: float,
        refuse: Refuse,
    ) -> Future[MethodResult]:
        """Calls a method. The future has the device's answer, or the refusal that ``refuse``
        makes: 404103 where the device does not come, 504101 where it does not answer."""
        made = MethodCall(str(next(self._numbers)), name, payload)
        call = _Call((hub, device_id), made, response_timeout, connect_timeout, refuse)
        with self._lock:
            sent = self._send(call)
            if not sent and connect_timeout:
                self._waiting.setdefault(call.key, []).append(call)
        if not sent and connect_timeout:
            self._timers.after(connect_timeout, partial(self._absent, call))
        elif not sent:
            self._give(call, *self._not_online(call, 0))
        return call.future

    def came(self, hub: str, device_id: str) -> None:
        """The device listens to methods from now on: calls that wait for it are made."""
        with self._lock:
            for call in self._waiting.pop((hub, device_id), []):
                if not self._send(call):
                    self._waiting.setdefault(call.key, []).append(call)

    def answer(self, hub: str, device_id: str, request_id: str, result: MethodResult) -> bool:
        """The device's answer to a call. False where nobody waits for it, any more or at all."""
        with self._lock:
            call = self._sent.get(request_id)
            if call is None or call.key != (hub, device_id):
                return False
            del self._sent[request_id]
        return _settle(call, result)

    def close(self) -> None:
        """Nobody will answer: those who wait are told so (CancelledError)."""
        self._timers.stop()
        with self._lock:
            left = [*self._sent.values(), *itertools.chain(*self._waiting.values())]
            self._sent.clear()
            self._waiting.clear()
        for call in left:
            call.future.cancel()

    def _send(self, call: _Call) -> bool:
        """With the lock held, so that no answer comes before the call is known."""
        outlet = self._connections.reach(*call.key, Subject.METHODS)
        if outlet is None:
            return False
        self._sent[call.call.request_id] = call
        self._timers.after(call.response_timeout, partial(self._silent, call))
        outlet.deliver(call.call)
        return True

    def _absent(self, call: _Call) -> None:
        with self._lock:
            waiting = self._waiting.get(call.key, [])
            if call not in waiting:
                return
            waiting.remove(call)
            if not waiting:
                del self._waiting[call.key]
        self._give(call, *self._not_online(call, call.connect_timeout))

    def _silent(self, call: _Call) -> None:
        with self._lock:
            if self._sent.pop(call.call.request_id, None) is None:
                return
        self._give(call, *_no_answer(call))

    def _not_online(self, call: _Call, waited: float) -> tuple[AzureError, Check]:
        """Azure's answer is the same where the device is there, and deaf."""
        why = f"it did not come within {waited:g} s" if waited else "it is not there"
        cures = ["connect the device and set its handler for methods", "give it time to connect"]
        if self._connections.find(*call.key) is not None:
            why, cures = "it is connected, and has set no handler for methods", cures[:1]
        return codes.NOT_ONLINE, failed(ONLINE, call.key[1], why, *cures, source=_SOURCE)

    def _give(self, call: _Call, error: AzureError, check: Check) -> None:
        try:
            refusal: Exception = call.refuse(error, check)
        except Exception as failure:  # whatever it is, nobody may be left waiting
            refusal = failure
        _settle(call, refusal)


def _settle(call: _Call, outcome: MethodResult | Exception) -> bool:
    """False where the caller gave up, and cancelled the future."""
    if not call.future.set_running_or_notify_cancel():
        return False
    if isinstance(outcome, Exception):
        call.future.set_exception(outcome)
    else:
        call.future.set_result(outcome)
    return True


def _no_answer(call: _Call) -> tuple[AzureError, Check]:
    why = f"{call.call.name} was brought to it, and no answer came in {call.response_timeout:g} s"
    cures = ("see what the device's handler does", "wait longer: response_timeout")
    return codes.NO_ANSWER, failed(ANSWERED, call.key[1], why, *cures, source=_SOURCE)
