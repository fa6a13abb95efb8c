"""What the hubs of a lab hold while it is open, and no disk does."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime

from labkit.cloud.hub.live import Connections
from labkit.cloud.hub.methods import Methods


class Running:
    """``connections`` and ``methods`` of all hubs of a lab. What is pushed to devices is decided
    and handed out under ``order``, so that a device gets it in the order of its making."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.connections = Connections(now)
        self.methods = Methods(self.connections)
        self.order = threading.RLock()

    def close(self) -> None:
        """Whoever waits for a device's answer is told that none will come."""
        self.methods.close()
