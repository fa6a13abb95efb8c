"""All the services of one lab, on one database."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from labkit.clock import Clock
from labkit.cloud import codes, handshakes, policies, presentations
from labkit.cloud.adr.registry import DeviceRegistry
from labkit.cloud.dps import ProvisioningService
from labkit.cloud.handshakes import Served
from labkit.cloud.hub import Hubs
from labkit.cloud.policies import Policies
from labkit.cloud.presentations import Presentation
from labkit.cloud.presented import Presented
from labkit.cloud.refusals import Refusals
from labkit.cloud.store import Base
from labkit.database import Database
from labkit.errors import ServiceRefusal
from labkit.events import Events
from labkit.hsm import TokenStore
from labkit.steps import Task
from labkit.trace import Check, failed

T = TypeVar("T")

CUT_OFF = "the connection was closed, and nothing was said"


class Cloud:
    """``dps``, ``hubs``, the Device ``registry`` and the book of ``refusals``. ``path`` is the
    database's file; ``tokens`` hold the keys of the registry's CAs, which can make none without."""

    def __init__(
        self, path: Path, clock: Clock, events: Events, tokens: TokenStore | None = None
    ) -> None:
        self.database = Database(path, Base.metadata)
        self.refusals = Refusals(self.database, clock, events)
        self.hubs = Hubs(self.database, clock, events, self.refusals)
        self.registry = DeviceRegistry(
            self.database, clock, events, self.hubs, self.refusals, tokens
        )
        self.dps = ProvisioningService(
            self.database,
            clock,
            events,
            self.refusals,
            self.hubs,
            self.registry.issuer,
            self.do,
        )

    def do(self, task: Task[T]) -> T:
        """Does a task of these services in this process."""
        return self.registry.signers.do(task)

    def policies(self, service: str) -> Policies:
        """The shared access policies of a service: ``dps``, or a hub's name."""
        kind = policies.DPS if service == "dps" else policies.HUB
        return Policies(service, kind, self.database)

    def stranger(self, client_id: str, user_name: str, presented: Presented) -> ServiceRefusal:
        """The refusal of an MQTT client whose user name is neither DPS's nor a hub's."""
        check = failed(
            "the user name names DPS or a hub",
            client_id,
            f"it is {user_name!r}",
            "for DPS: {idScope}/registrations/{registrationId}/api-version=2019-03-31",
            "for a hub: {hub host name}/{deviceId}/?api-version=2021-04-12",
        )
        return self.refusals.refuse("mqtt", client_id, codes.UNAUTHORIZED, (check,), presented)

    def rule_broken(self, client_id: str, why: str, cure: str) -> None:
        """Keeps why the connection of a client that had been let in was closed. It is told nothing:
        MQTT 3.1.1 has no word for it."""
        source = "Azure documentation, IoT: communicate with an IoT hub using MQTT"
        check = failed("the client keeps to the rules", client_id, why, cure, source=source)
        self.refusals.note("mqtt", CUT_OFF, check, Presented(), client_id)

    def handshake_failed(self, reason: str, presented: Presented, served: Served) -> None:
        """Keeps a TLS handshake that failed (``reason`` is OpenSSL's) where that can be explained
        to somebody: ``presented`` is what the client had shown by then, ``served`` what it was."""
        failure = handshakes.explained(reason, presented, served)
        if failure is not None:
            self.refusals.note("tls", failure.message, failure.check, presented)

    def device_left(self, device: str, checks: tuple[Check, ...]) -> None:
        """Keeps what the lab knows of a device of its own that ended a handshake. The service's
        side of it, which knows no name, is kept by :meth:`handshake_failed`."""
        self.refusals.note_of("tls", device, handshakes.BY_CLIENT, checks)

    def visits(self, service: str) -> list[Presentation]:
        """The last visit of each device to a service (``dps``, or a hub's name), newest first."""
        return [v for v in presentations.all_of(self.database) if v.service == service]

    def attempts(self, service: str) -> list[Presentation]:
        """The last refused visit under each device's name by somebody who did not hold the key
        that the device is known by, newest first."""
        return [v for v in presentations.attempts(self.database) if v.service == service]

    def close(self) -> None:
        self.hubs.close()
        self.database.close()
