"""What DPS told a device."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Assignment:
    """What DPS told the device. ``hub`` is a host name."""

    hub: str
    device_id: str
    status: str
    substatus: str

    def __repr__(self) -> str:
        return f"<{self.status} to {self.hub} as {self.device_id!r}, {self.substatus}>"
