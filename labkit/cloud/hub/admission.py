"""The door of a hub: a device is examined, what it presented is kept, and it is let in or not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection, select

from labkit.clock import Clock
from labkit.cloud import codes, policies, presentations, sas
from labkit.cloud.adr import advice
from labkit.cloud.certificates import CaCertificates
from labkit.cloud.cures import Place
from labkit.cloud.hub.authentication import House, Visitor, authenticate
from labkit.cloud.hub.tables import DeviceIdentity
from labkit.cloud.policies import Policies
from labkit.cloud.presented import Presented
from labkit.cloud.refusals import Refusals
from labkit.cloud.store import machine_time
from labkit.cloud.trust import Trust
from labkit.database import Database
from labkit.pki import verdict
from labkit.trace import Check, first_failure

_REGISTRATION = "registration"
"""What a device that signs with its own key may call that key (``skn``)."""
_SOURCE = "Azure documentation, IoT Hub: X.509 certificate authority (CA) authentication"


class Admission:
    """Who comes in to one hub. ``real_time`` is the time of SAS tokens."""

    def __init__(
        self,
        hub: str,
        host_name: str,
        database: Database,
        clock: Clock,
        refusals: Refusals,
        certificates: CaCertificates,
    ) -> None:
        self._hub, self._host_name = hub, host_name
        self._database, self._clock, self._refusals = database, clock, refusals
        self._place = Place("the hub", certificates, _SOURCE)
        self._trust = Trust(hub, database)
        self._policies = Policies(hub, policies.HUB, database)
        self.real_time: Callable[[], datetime] = machine_time

    def admit(self, visitor: Visitor, then: Callable[[], None] = lambda: None) -> None:
        """Examines a visitor, and does ``then`` for one that may come in. Raises ServiceRefusal
        (401003).

        All in one transaction: who disables the identity does so before, and is obeyed, or
        behind, and finds the connection to end.
        """
        now, house, presented = self._clock.now(), self._house(visitor.token), visitor.presented
        with self._database.quick_write() as connection:
            identity = self._identity(connection, visitor.device_id)
            checks = authenticate(house, visitor, identity, now, self.real_time())
            accepted = first_failure(checks) is None
            device = visitor.device_id
            presentations.keep(connection, self._hub, device, now, presented, accepted)
            if accepted:
                then()
        if not accepted:
            error, told = codes.HUB_UNAUTHORIZED, self._advised(checks, presented)
            raise self._refusals.refuse("hub", device, error, told, presented, door=self._hub)

    def _advised(self, checks: tuple[Check, ...], presented: Presented) -> tuple[Check, ...]:
        """The checks, with the cure for a chain that the Device Registry has issued: its CAs are
        brought to the hub, and nobody has to upload and prove them."""
        failure = first_failure(checks)
        if failure is None or failure.name not in (verdict.ANCHOR, verdict.ISSUER):
            return checks
        cures = advice.cures(self._database, self._hub, presented.chain)
        better = replace(failure, cures=cures, source=advice.SOURCE) if cures else failure
        return tuple(better if check is failure else check for check in checks)

    def _house(self, token: str) -> House:
        """Looked up before the transaction: a policy that is asked for the first time is made."""
        said = sas.read(token)
        named = said.policy if said is not None else ""
        policy = self._policies.find(named) if named not in ("", _REGISTRATION) else None
        return House(self._host_name, self._place, self._trust.now().verified, policy)

    def _identity(self, connection: Connection, device_id: str) -> DeviceIdentity | None:
        table = DeviceIdentity.__table__
        wanted = select(table).where(table.c.hub == self._hub, table.c.device_id == device_id)
        row = connection.execute(wanted).first()
        return None if row is None else DeviceIdentity(**row._mapping)
