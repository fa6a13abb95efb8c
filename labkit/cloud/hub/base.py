"""What every part of a hub stands on."""

from __future__ import annotations

from typing import Any

from labkit.clock import Clock
from labkit.cloud import codes
from labkit.cloud.certificates import CaCertificates
from labkit.cloud.hub.admission import Admission
from labkit.cloud.hub.authentication import KNOWN
from labkit.cloud.hub.documents import Documents
from labkit.cloud.hub.jobs import Jobs
from labkit.cloud.hub.names import DOMAIN
from labkit.cloud.hub.query import Queries
from labkit.cloud.hub.registry import Devices
from labkit.cloud.hub.shared import Shared
from labkit.cloud.hub.twins import Twins
from labkit.cloud.refusals import Denial, Refusals
from labkit.database import Database
from labkit.errors import ServiceRefusal
from labkit.events import Events
from labkit.trace import failed


class HubBase:
    """A hub's name, and what it works with. ``dialled`` is what a client calls it beside that,
    such as an address; ``connections`` is who is connected now, ``devices`` its identity registry,
    ``certificates`` the CAs that were uploaded to it, ``jobs`` what is done at many devices."""

    def __init__(
        self,
        name: str,
        database: Database,
        clock: Clock,
        events: Events,
        refusals: Refusals,
        shared: Shared,
    ) -> None:
        self.name, self.host_name = name, f"{name}.{DOMAIN}"
        self.dialled: tuple[str, ...] = ()
        self._database, self._clock = database, clock
        self._events, self._refusals = events, refusals
        self._running, self._shared = shared.running, shared
        self._twins = Twins(name, database, shared.running, clock.now)
        self.connections = shared.running.connections
        self.certificates = CaCertificates(name, database, clock, events, refusals)
        self.admission = Admission(
            name, self.host_name, database, clock, refusals, self.certificates
        )
        self.devices = Devices(name, database, clock, events, refusals, self.connections)
        self.queries = Queries(Documents(name, database, self.connections), refusals)
        self.jobs = Jobs(
            name,
            database,
            clock,
            events,
            refusals,
            self.queries,
            shared.runner,
            shared.work,
        )

    def query(self, text: str) -> list[dict[str, Any]]:
        """All rows of a query in IoT Hub's language: ``SELECT * FROM devices WHERE …``.

        Raises ServiceRefusal (400004), which says at which character it cannot be read.
        """
        return self.queries.all(text)

    def refuse_request(
        self, device_id: str, why: str, cure: str, *, rule: str = "the request can be read"
    ) -> ServiceRefusal:
        """The answer to a request that could not be understood, or asks for too much."""
        check = failed(rule, device_id, why, cure)
        return self._refusals.refuse("hub", device_id, codes.BAD_REQUEST, (check,))

    def _unknown(self, device_id: str) -> Denial:
        why = f"{self.name} has no identity {device_id!r}"
        return Denial(codes.NO_SUCH_DEVICE, failed(KNOWN, device_id, why, "see .devices"))

    def _record(self, kind: str, text: str, **details: Any) -> None:
        self._events.record("hub", kind, text, **details)
