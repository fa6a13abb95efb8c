"""Somebody who plays a device: with a copy of its key nothing on the wire shows the difference,
with a key of their own they have only what the device shows to everybody."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from labkit.device.assignment import Assignment
from labkit.device.device import Device
from labkit.device.flash import Flash
from labkit.device.network import Network
from labkit.errors import LabError
from labkit.events import Events
from labkit.pki.identity import Identity


class Impostor(Device):
    """A device in the hands of ``holder``: the same name, the same certificates, and another copy
    of the same key, or another key. Its flash is its own, so the true device knows nothing of
    it. ``target`` is where they connect to, whatever DPS has told them. A line that breaks is not
    made again by itself: so each attempt is one that somebody counts."""

    _reconnects = False

    def __init__(
        self,
        holder: str,
        copy: Identity,
        flash: Flash,
        network: Callable[[], Network],
        events: Events,
    ) -> None:
        super().__init__(copy, flash, network, events)
        self.holder = holder
        self.target: Assignment | None = None

    def __repr__(self) -> str:
        has_copy = self.certificate.public_key() == self.key.public_key()
        key = "a copy of its key" if has_copy else "a key of their own"
        return f"<{self.holder} as {self.name!r}, with {key}>"

    @property
    def assignment(self) -> Assignment | None:
        """The hub that they aim at: :attr:`target`, else what DPS or the device's flash said."""
        return self.target or super().assignment

    def request_certificate(self, *_: object, **__: object) -> NoReturn:
        """Raises LabError: the token that they have is not the device's."""
        raise LabError(
            f"{self.holder} makes no request in the name of {self.name}",
            expected="the device's own token, where its next key would be born",
            found=f"the token of {self.holder}",
            cure=f"have the device ask: lab.device({self.name!r}).renew(...)",
        )

    def _record(self, kind: str, text: str) -> None:
        told = f"{self.holder}, as {self.name}, {text}"
        self._events.record("device", kind, told, device=self.name, by=self.holder)
