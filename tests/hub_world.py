"""A hub without sockets, with one device whose connection is a plain list."""

from __future__ import annotations

import forge
from provisioning import Emulated

from labkit.cloud import Presented
from labkit.cloud.hub import Hub
from labkit.cloud.hub.credentials import Credentials
from labkit.cloud.hub.live import MethodCall, Subject, ToDevice
from labkit.cloud.hub.placement import place
from labkit.pki import chain

HUB, NAME = "alpha-hub", "widget"


class Line:
    """A connection that keeps what it is given."""

    def __init__(self) -> None:
        self.delivered: list[ToDevice] = []
        self.ends: list[str] = []

    def deliver(self, message: ToDevice) -> None:
        self.delivered.append(message)

    def end(self, why: str) -> None:
        self.ends.append(why)

    @property
    def call(self) -> MethodCall:
        (found,) = self.delivered
        assert isinstance(found, MethodCall)
        return found


class World:
    """A hub with one device identity, and the device's certificate."""

    def __init__(self, emulator: Emulated, name: str = NAME) -> None:
        self.name, self.hub = name, emulator.cloud.hubs.get(HUB)
        self.device = forge.device(name, None)
        add_identity(emulator, self.hub, name, self.device)

    def connect(self, *subjects: Subject) -> Line:
        line, presented = Line(), Presented((self.device.certificate,))
        self.hub.connect(self.name, self.name, presented, outlet=line)
        self.hub.listen(self.name, line, dict.fromkeys(subjects, 1), clean=True)
        return line


def add_identity(emulator: Emulated, hub: Hub, name: str, device: forge.Forged) -> None:
    with emulator.cloud.database.quick_write() as connection:
        held = Credentials(thumbprint=chain.thumbprint(device.certificate))
        place(connection, hub.name, name, held, emulator.clock.now())
