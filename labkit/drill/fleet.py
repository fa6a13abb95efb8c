"""A fleet at work: devices that provision, connect and send, round by round, with Microsoft's
client, so that a roll can be measured at those who must not notice it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

from cryptography import x509

from labkit.device import Device
from labkit.drill.history import History
from labkit.errors import LabError
from labkit.events import Events

MOST: Final = 500
_WORKERS: Final = 4
"""Devices that are at it at the same time: the machine's cores are shared with the cloud."""


@dataclass(frozen=True, slots=True)
class Visit:
    """What became of one ``device`` in a round: whether DPS ``registered`` it, and whether the hub
    has what it ``sent``."""

    device: str
    registered: bool
    sent: bool


class Fleet:
    """``devices``, at work. A round has each of them register with DPS, connect where its
    certificate is another one than that of its connection, and send one message.

    ``at_a_time`` of them are at it at once. Raises LabError for none, and for more than 500.
    """

    def __init__(
        self,
        devices: Sequence[Device],
        events: Events,
        history: History,
        *,
        at_a_time: int = _WORKERS,
    ) -> None:
        if not 0 < len(devices) <= MOST:
            raise LabError(
                f"{len(devices)} devices are no fleet that can be run",
                expected=f"1 to {MOST} devices, each with Microsoft's client and its threads",
                cure="name them: lab.fleet(lab.devices[:100])",
            )
        self.devices, self.rounds = tuple(devices), 0
        self._events, self._history, self._at_a_time = events, history, at_a_time
        self._locks = {device.name: threading.Lock() for device in devices}
        self._speaks: dict[str, x509.Certificate] = {}

    def __repr__(self) -> str:
        return f"<Fleet of {len(self.devices)} devices, {self.rounds} rounds done>"

    def round(self, *, anew: bool = False) -> list[Visit]:
        """One round, which begins a step of the timeline. What fails is counted there, and is in
        what is returned, a visit for each device. ``anew``: each leaves its hub first, as one
        that was switched off and on, so that no old connection hides what it would be told."""
        self._history.begin()
        with ThreadPoolExecutor(self._at_a_time, "fleet") as workers:
            visits = list(workers.map(partial(self._visit, anew=anew), self.devices))
        self.rounds += 1
        return visits

    @contextmanager
    def working(self, *, most: int = 1_000) -> Iterator[Fleet]:
        """Rounds one after the other in the background, ``most`` at the most, until the block
        ends; the round that is under way then is finished. Raises what a round has raised."""
        end = threading.Event()

        def work() -> None:
            for _ in range(most):
                if end.is_set():
                    return
                self.round()

        with ThreadPoolExecutor(1, "fleet at work") as worker:
            working = worker.submit(work)
            try:
                yield self
            finally:
                end.set()
            working.result()

    def roll(self, renew: Callable[[Device], object], mark: str = "the fleet is renewed") -> None:
        """Gives every device another certificate, as ``renew`` does it, one after the other and
        never in the middle of what a device is doing. Raises what ``renew`` raises."""
        self._history.begin(mark)
        for device in self.devices:
            with self._locks[device.name]:
                renew(device)

    def leave(self) -> None:
        """Every device disconnects."""
        for device in self.devices:
            with self._locks[device.name]:
                device.disconnect()
        self._speaks.clear()

    def _visit(self, device: Device, *, anew: bool) -> Visit:
        with self._locks[device.name]:
            if anew:
                device.disconnect()
            return Visit(device.name, self._registers(device), self._sends(device))

    def _registers(self, device: Device) -> bool:
        try:
            device.provision()
        except LabError:  # the refusal is on record; what is connected stays so
            return False
        return True

    def _sends(self, device: Device) -> bool:
        try:
            self._connect(device)
            device.send({"round": self.rounds})
        except LabError as error:
            text = f"{device.name} could not send: {error.found or error.message}"
            self._events.record("device", "not sent", text, device=device.name)
            return False
        return True

    def _connect(self, device: Device) -> None:
        """With its present certificate: a connection lasts longer than what it began with."""
        if self._speaks.get(device.name) != device.certificate:
            device.disconnect()
        device.connect()
        self._speaks[device.name] = device.certificate
