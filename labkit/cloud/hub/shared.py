"""What the hubs of a lab share while it is open: hub objects themselves are made for each call."""

from __future__ import annotations

from collections.abc import Callable

from labkit.clock import Clock
from labkit.cloud.hub.commands import Commands
from labkit.cloud.hub.issuing import Issuing
from labkit.cloud.hub.job_runner import JobRunner, Target
from labkit.cloud.hub.running import Running
from labkit.cloud.hub.telemetry import Inbox
from labkit.database import Database
from labkit.events import Events
from labkit.work import Work


class Shared:
    """``running`` is what no disk holds, ``inbox`` the telemetry, ``commands`` the queues,
    ``runner`` what runs jobs; ``work`` is told how far they are; ``issuing`` has certificates
    issued. ``hub`` finds a job's hub."""

    def __init__(
        self, database: Database, clock: Clock, events: Events, hub: Callable[[str], Target]
    ) -> None:
        self.runner, self.work = JobRunner(database, clock.now, hub), Work()
        self.issuing: Issuing | None = None
        self.running, self.inbox = Running(clock.now), Inbox(database)
        self.commands = Commands(
            database, self.running, clock.now, lambda kind, text: events.record("hub", kind, text)
        )

    def close(self) -> None:
        """No job goes on, and nobody waits for a device any more."""
        self.runner.close()
        self.running.close()
        self.runner.join()
