"""DPS as its callers know it: registration, and the books behind it. Sockets are elsewhere."""

from __future__ import annotations

import secrets
import uuid
import zlib
from dataclasses import dataclass

from sqlalchemy.orm import Session

from labkit import ids
from labkit.clock import Clock
from labkit.cloud import codes, presentations
from labkit.cloud.certificates import CaCertificates
from labkit.cloud.dps.attestation import Attested, attest, no_certificate
from labkit.cloud.dps.enrollment_groups import EnrollmentGroup, EnrollmentGroups
from labkit.cloud.dps.registrations import Registration, Registrations, assign
from labkit.cloud.hub import Hub, Hubs
from labkit.cloud.presented import Presented
from labkit.cloud.refusals import Refusals
from labkit.cloud.store import new_id_scope, setting
from labkit.database import Database
from labkit.errors import AzureError, ServiceRefusal
from labkit.events import Events
from labkit.pki import chain
from labkit.trace import Check, failed

SERVICE = "dps"
_ID_SCOPE = "the ID scope is this provisioning service's"
_REGISTRATION_ID = "the registration ID is well formed"
_CLIENT_ID = "the MQTT client ID is the registration ID"
_HUB = "a hub is linked"


@dataclass(frozen=True, slots=True)
class Caller:
    """A device as it introduced itself: the IDs that it claims and what it showed in TLS."""

    id_scope: str
    registration_id: str
    presented: Presented


class ProvisioningService:
    """One Device Provisioning Service.

    ``certificates``, ``enrollment_groups`` and ``registrations`` are its books; devices come
    through :meth:`connect`, :meth:`register` and :meth:`operation`.
    """

    def __init__(
        self, database: Database, clock: Clock, events: Events, refusals: Refusals, hubs: Hubs
    ) -> None:
        self._database, self._clock, self._events = database, clock, events
        self._refusals, self._hubs = refusals, hubs
        self.id_scope = setting(database, "id_scope", new_id_scope)
        self.certificates = CaCertificates(SERVICE, database, clock, events, refusals)
        self.enrollment_groups = EnrollmentGroups(database, clock, events)
        self.registrations = Registrations(database)

    def connect(self, caller: Caller, client_id: str) -> None:
        """What is asked of an MQTT client before it may speak at all. Raises ServiceRefusal.

        The chain is not judged yet: Azure answers that to the registration itself.
        """
        if not caller.presented.chain:
            raise self._refuse(caller, codes.UNAUTHORIZED, no_certificate(caller.registration_id))
        self._check_id(caller)
        if not ids.same(client_id, caller.registration_id):
            check = failed(
                _CLIENT_ID,
                caller.registration_id,
                f"the client ID is {client_id!r}, the user name says {caller.registration_id!r}",
                "use the registration ID as MQTT client ID",
            )
            raise self._refuse(caller, codes.UNAUTHORIZED, check)

    def register(self, caller: Caller, *, named: str | None = None) -> Registration:
        """Attests the device and assigns it to a hub, where it gets an identity.

        ``named`` is the registration ID that the request itself holds, where it holds one.
        Raises ServiceRefusal.
        """
        if named is not None and not ids.same(named, caller.registration_id):
            raise self.refuse_request(
                caller,
                f"the body names {named!r}, the connection is for {caller.registration_id!r}",
                "name one registration ID",
            )
        group = self._admit(caller)
        registration = self._assign(caller, group, self._allocate(caller))
        self._events.record(
            SERVICE,
            "assigned",
            f"{caller.registration_id} was assigned to {registration.assigned_hub} "
            f"through enrollment group {group.id!r}",
            device=caller.registration_id,
        )
        return registration

    def operation(self, caller: Caller, operation_id: str) -> Registration:
        """The state of an earlier registration. Raises ServiceRefusal.

        Who asks is judged as at the registration: to know an operation's ID proves nothing.
        """
        self._admit(caller)
        found = self.registrations.by_operation(caller.registration_id, operation_id)
        if found is None:
            check = failed(
                "the operation is known",
                caller.registration_id,
                f"no registration of this device has the operation ID {operation_id!r}",
                "register again: an operation ID is good until the next registration",
            )
            raise self._refuse(caller, codes.NO_SUCH_OPERATION, check)
        return found

    def refuse_request(self, caller: Caller, why: str, cure: str) -> ServiceRefusal:
        """The answer to a request that could not be understood."""
        check = failed("the request can be read", caller.registration_id, why, cure)
        return self._refuse(caller, codes.BAD_REQUEST, check)

    def _admit(self, caller: Caller) -> EnrollmentGroup:
        """The enrollment that admits this device, by its chain. Raises ServiceRefusal."""
        self._check_scope(caller)
        self._check_id(caller)
        attested = attest(
            caller.registration_id,
            caller.presented,
            self.certificates,
            self.enrollment_groups,
            self._clock.now(),
        )
        if attested.refusal or attested.group is None:
            raise self._turn_away(caller, attested)
        return attested.group

    def _check_id(self, caller: Caller) -> None:
        if not ids.is_valid(caller.registration_id):
            check = failed(
                _REGISTRATION_ID,
                caller.registration_id,
                f"it is {caller.registration_id!r}",
                f"choose {ids.RULE}; with X.509 at most 64, for it is the CN",
            )
            raise self._refuse(caller, codes.UNAUTHORIZED, check)

    def _check_scope(self, caller: Caller) -> None:
        if caller.id_scope != self.id_scope:
            check = failed(
                _ID_SCOPE,
                caller.registration_id,
                f"the device names {caller.id_scope!r}, this service has {self.id_scope!r}",
                f"configure the device with the ID scope {self.id_scope}",
            )
            raise self._refuse(caller, codes.UNAUTHORIZED, check)

    def _allocate(self, caller: Caller) -> Hub:
        """The hub that the device has; a new one falls evenly to any."""
        hubs = list(self._hubs)
        known = self.registrations.find(caller.registration_id)
        kept = [hub for hub in hubs if known and hub.host_name == known.assigned_hub]
        if kept:
            return kept[0]
        if not hubs:
            check = failed(_HUB, caller.registration_id, "no hub is linked", "link a hub")
            raise self._refuse(caller, codes.NO_HUB, check)
        return hubs[zlib.crc32(ids.key(caller.registration_id).encode()) % len(hubs)]

    def _assign(self, caller: Caller, group: EnrollmentGroup, hub: Hub) -> Registration:
        """Identity, record and what was presented, in one transaction: all of it or nothing."""
        assert caller.presented.leaf is not None, "admitted by its certificate"
        now, name = self._clock.now(), chain.common_name(caller.presented.leaf)
        with self._database.write() as session:
            row = assign(session, name, group.id, hub.host_name, _operation_id(), now)
            # Its first spelling stays the device's ID: a hub tells upper and lower case apart.
            hub.provision(session, row.device_id, caller.presented, now)
            self._remember(session, caller, accepted=True)
        return row

    def _turn_away(self, caller: Caller, attested: Attested) -> ServiceRefusal:
        with self._database.write() as session:
            self._remember(session, caller, accepted=False)
        return self._refuse(caller, attested.refusal or codes.UNAUTHORIZED, *attested.checks)

    def _remember(self, session: Session, caller: Caller, *, accepted: bool) -> None:
        now, device = self._clock.now(), caller.registration_id
        presentations.keep(session, SERVICE, device, now, caller.presented, accepted)

    def _refuse(self, caller: Caller, error: AzureError, *checks: Check) -> ServiceRefusal:
        return self._refusals.refuse(
            SERVICE, caller.registration_id, error, checks, caller.presented
        )


def _operation_id() -> str:
    """The form that DPS gives it: a digit, 16 hex digits, a GUID."""
    return f"5.{secrets.token_hex(8)}.{uuid.uuid4()}"
