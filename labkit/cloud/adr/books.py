"""What every part of the Device Registry works with, and how it is set."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from labkit.clock import Clock
from labkit.cloud.adr.authorities import Authorities
from labkit.cloud.hub import Hubs
from labkit.cloud.switches import Switch, Switchboard, one_of, whole_numbers
from labkit.database import Database
from labkit.events import Events
from labkit.pki.tasks import Signers

SERVICE = "registry"
"""Under this name the event log keeps what the Device Registry did."""
DPS = "dps"
"""The provisioning service among the linked services; hubs have their names."""
P384, EC = "P-384", "EC"


class Switches(Switchboard):
    """Where Azure's documents disagree with one another, or with Microsoft's own samples.

    ``request_key`` is the key that a request may have: ``P-384``, as the documents demand, or
    ``EC``: P-256 too, as the C sample makes it. ``shortest_validity`` is 1 or 7: the overview and
    the specification name different fewest days for a policy. ``one_policy`` allows a credential
    one policy only, as the preview does. ``synchronizes_itself`` brings the CA of a new policy to
    the linked hubs at once, as later documents have it. ``most_renewals_waiting`` is how many
    devices of a hub may wait for certificates that they asked it for; the next one is refused.
    """

    request_key = Switch(P384, *one_of(P384, EC))
    shortest_validity = Switch(1, *one_of(1, 7))
    one_policy = Switch(False, *one_of(False, True))
    synchronizes_itself = Switch(False, *one_of(False, True))
    most_renewals_waiting = Switch(1_000, *whole_numbers(0, 1_000_000))

    def __init__(self, database: Database) -> None:
        super().__init__(database, "registry switches")


@dataclass(frozen=True, slots=True)
class Books:
    """``changing`` is held by whoever makes or deletes something."""

    database: Database
    clock: Clock
    hubs: Hubs
    authorities: Authorities
    signers: Signers
    switches: Switches
    events: Events
    changing: threading.RLock = field(default_factory=threading.RLock)

    def record(self, kind: str, text: str) -> None:
        """Puts an event of the registry on record."""
        self.events.record(SERVICE, kind, text)
