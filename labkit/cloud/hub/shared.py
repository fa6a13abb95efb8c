"""What the hubs of a lab share while it is open: hub objects themselves are made for each call."""

from __future__ import annotations

from labkit.clock import Clock
from labkit.cloud.hub.commands import Commands
from labkit.cloud.hub.running import Running
from labkit.cloud.hub.telemetry import Inbox
from labkit.database import Database
from labkit.events import Events


class Shared:
    """``running`` is what no disk holds, ``inbox`` the telemetry, ``commands`` the queues."""

    def __init__(self, database: Database, clock: Clock, events: Events) -> None:
        self.running, self.inbox = Running(clock.now), Inbox(database)
        self.commands = Commands(
            database, self.running, clock.now, lambda kind, text: events.record("hub", kind, text)
        )
