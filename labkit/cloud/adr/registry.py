"""The Device Registry of one lab: its namespaces, and what it does for DPS and for hubs."""

from __future__ import annotations

from labkit.clock import Clock
from labkit.cloud.adr.authorities import Authorities
from labkit.cloud.adr.books import Books, Switches
from labkit.cloud.adr.issuing import RegistryIssuer
from labkit.cloud.adr.namespaces import Namespaces
from labkit.cloud.adr.renewals import Renewals
from labkit.cloud.hub import Hubs
from labkit.cloud.refusals import Refusals
from labkit.database import Database
from labkit.events import Events
from labkit.hsm import TokenStore
from labkit.pki.tasks import Signers


class DeviceRegistry(Switches):
    """``namespaces`` are its books, ``issuer`` signs for the devices of the provisioning service,
    and for those that ask their hubs; its switches say what it takes where the documents differ.
    ``tokens`` hold the keys of its CAs: without them it can make none. ``signers`` do in this
    process what takes these keys."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        events: Events,
        hubs: Hubs,
        refusals: Refusals,
        tokens: TokenStore | None = None,
    ) -> None:
        super().__init__(database)
        authorities = Authorities(database, clock, tokens)
        self.signers = Signers(authorities)
        books = Books(database, clock, hubs, authorities, self.signers, self, events)
        self.namespaces, self.issuer = Namespaces(books), RegistryIssuer(books)
        hubs.have_issued_by(Renewals(books, self.issuer, refusals))

    def __repr__(self) -> str:
        return f"<Device registry: {len(self.namespaces)} namespaces>"
