"""A device's next certificate, asked for at its hub, which has it issued by somebody else.

begin ──on record──> told: 202 ──> decided, in its time ──> brought, once the device listens
  └ refused at once: it cannot be read, or another is under way
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Begun:
    """A request that is on record. Its answer has the same ``correlation_id``, and nobody waits for
    it longer than until ``expires``, by the lab's clock."""

    correlation_id: str
    expires: datetime


class Issuing(Protocol):
    """Who has certificates issued for the devices of hubs, which are named by their labels."""

    def begin(self, hub: str, device_id: str, request_id: str, body: bytes) -> Begun:
        """Puts a request on record; ``body`` is as it came. Raises ServiceRefusal."""

    def bring(self, hub: str, device_id: str) -> None:
        """Decides what is on record, and brings the answer to a device that is connected and
        listens. May take its time; harmless where nothing is."""

    def arrived(self, hub: str, device_id: str, correlation_id: str) -> None:
        """The device has the answer."""
