"""DPS as its callers know it: registration, and the books behind it. Sockets are elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

from labkit import ids
from labkit.clock import Clock
from labkit.cloud import codes, presentations
from labkit.cloud.dps import registrations, symmetric_keys
from labkit.cloud.dps.allocation import Webhook
from labkit.cloud.dps.assignment import (
    SERVICE,
    Assignments,
    Situation,
    Wish,
    new_operation_id,
    registered_name,
)
from labkit.cloud.dps.attestation import Attested, attest, no_certificate
from labkit.cloud.dps.ca_issuing import AuthorityIssuer
from labkit.cloud.dps.caller import Caller
from labkit.cloud.dps.certificate_authorities import CertificateAuthorities
from labkit.cloud.dps.certificates import DpsCertificates
from labkit.cloud.dps.enrollment_groups import EnrollmentGroups
from labkit.cloud.dps.enrollments import Enrollments
from labkit.cloud.dps.entries import CUSTOM, Entry
from labkit.cloud.dps.issuance import (
    AUTHORITY,
    Commission,
    Issuance,
    Issuer,
    knows_authorities,
)
from labkit.cloud.dps.registrations import (
    ASSIGNED,
    ASSIGNING,
    DISABLED,
    Operation,
    Registration,
    Registrations,
)
from labkit.cloud.dps.switches import STATUS, Switches
from labkit.cloud.dps.symmetric_keys import Claim
from labkit.cloud.dps.trust_bundles import TrustBundles
from labkit.cloud.dps.under_way import UnderWay
from labkit.cloud.hub import Hubs
from labkit.cloud.hub.links import LinkedHubs
from labkit.cloud.refusals import Denial, Refusals
from labkit.cloud.store import machine_time, new_id_scope, setting
from labkit.cloud.trust import Trust
from labkit.database import Database
from labkit.errors import AzureError, ServiceRefusal
from labkit.events import Events
from labkit.steps import Do, Steps, run
from labkit.trace import Check, failed

T = TypeVar("T")

_ID_SCOPE = "the ID scope is this provisioning service's"
_REGISTRATION_ID = "the registration ID is well formed"
_CLIENT_ID = "the MQTT client ID is the registration ID"
_OPERATION = "the operation is known"
_SCOPES = "Azure documentation, DPS: terminology (ID scope)"
_RECORD = "the device has a registration record"


class ProvisioningService(Switches):
    """One Device Provisioning Service.

    ``certificates``, ``enrollments``, ``enrollment_groups``, ``certificate_authorities``,
    ``trust_bundles`` and ``registrations`` are its books, ``linked_hubs`` the hubs that it knows;
    devices come through :meth:`connect`,
    :meth:`register`, :meth:`operation` and :meth:`lookup`. Its switches are kept in the
    database. ``hub_address`` is what devices are told in place of their hub's name, where it is
    not empty: an address, for those who cannot look up the name. ``do`` does the tasks of a
    registration that is not to wait for them elsewhere.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        events: Events,
        refusals: Refusals,
        hubs: Hubs,
        issuer: Issuer,
        do: Do,
    ) -> None:
        super().__init__(database)
        self._database, self._clock, self._events = database, clock, events
        self._refusals, self._hubs, self._do = refusals, hubs, do
        self.id_scope = setting(database, "id_scope", new_id_scope)
        self._trust = Trust(SERVICE, database)
        everywhere = (database, clock, events, refusals, self.limits)
        self.certificates = DpsCertificates(SERVICE, *everywhere)
        self.enrollments = Enrollments(*everywhere)
        self.enrollment_groups = EnrollmentGroups(*everywhere, self._trust)
        self.registrations = Registrations(database, events, refusals)
        self.linked_hubs = LinkedHubs(database, events)
        self._assignments = Assignments(database, clock, self.linked_hubs, self, hubs.cut_off)
        books = (database, clock, events, refusals)
        self.certificate_authorities = CertificateAuthorities(*books)
        self.trust_bundles = TrustBundles(*books)
        authority = AuthorityIssuer(database, clock, events, self.certificate_authorities)
        self._issuance = Issuance(issuer, authority)
        self.hub_address = ""
        self.real_time: Callable[[], datetime] = machine_time
        self._under_way = UnderWay()

    @property
    def webhook(self) -> Webhook:
        """What posts to the webhooks of custom allocation."""
        return self._assignments.webhook

    @webhook.setter
    def webhook(self, webhook: Webhook) -> None:
        self._assignments.webhook = webhook

    @property
    def may_wait(self) -> bool:
        """Whether a registration may have to wait for a webhook: where none can, it is sooner
        done than handed to another thread."""
        return (
            self.allocation_policy == CUSTOM
            or self.enrollment_groups.asks_webhooks
            or self.enrollments.asks_webhooks
        )

    @property
    def polls_may_wait(self) -> bool:
        """The same for a poll, which goes on with a registration that was put off."""
        return self.may_wait or bool(self.certificate_authorities)

    # ---- devices

    def connect(self, caller: Caller, client_id: str) -> None:
        """What is asked of an MQTT client before it may speak at all. Raises ServiceRefusal.

        A chain is not judged yet: Azure answers that to the registration itself. A token is.
        """
        if not caller.presented.chain and not caller.token:
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
        if caller.token:
            self._admit(caller, self._situation(caller), disabled_too=True)

    def register(self, caller: Caller, **said: Any) -> Operation:
        """Registers a device at once: see :meth:`registering`. Raises ServiceRefusal."""
        return self.at_once(self.registering(caller, **said))

    def at_once(self, steps: Steps[T]) -> T:
        """All that a device asked for, with its tasks done here and now."""
        return run(steps, self._do)

    def registering(
        self,
        caller: Caller,
        *,
        named: str | None = None,
        payload: Any = None,
        force: bool = False,
        csr: str | None = None,
        client_csr: str | None = None,
    ) -> Steps[Operation]:
        """Attests the device and assigns it to a hub, where it gets an identity.

        ``named`` is the registration ID that the request itself holds, where it holds one;
        ``payload`` is for a custom allocation's webhook, for whose answer this waits. ``force``
        chooses the hub anew whatever the reprovision policy says. ``csr`` (base64 of DER) is to be
        signed by the credential policy of the enrollment, ``client_csr`` (PEM) by its certificate
        authority, for whose answer this waits, too. Raises ServiceRefusal.
        """
        with self.told(caller):
            self.limits.count_registration()
            if payload is not None:
                size = len(json.dumps(payload, separators=(",", ":")).encode())
                self.limits.check_size(caller.registration_id, size)
        if named is not None and not ids.same(named, caller.registration_id):
            raise self.refuse_request(
                caller,
                f"the body names {named!r}, the connection is for {caller.registration_id!r}",
                "name one registration ID",
            )
        situation = self._situation(caller)
        attested = self._admit(caller, situation, disabled_too=self.disabled_answer == STATUS)
        if attested.refusal is not None:
            return self._say_disabled(caller, attested, situation)
        wish = Wish(payload, force, csr, client_csr)
        return (yield from self._assign(caller, attested, situation, wish))

    def operation(self, caller: Caller, operation_id: str) -> Operation:
        """The state of an earlier registration. Raises ServiceRefusal.

        Who asks is judged as at the registration: to know an operation's ID proves nothing.
        """
        with self.told(caller):
            self.limits.count_poll(ids.key(caller.registration_id))
        situation = self._situation(caller)
        attested, found = self._admit(caller, situation), situation.known
        if found is None or found.operation_id != operation_id:
            check = failed(
                _OPERATION,
                caller.registration_id,
                f"no registration of this device has the operation ID {operation_id!r}",
                "register again: an operation ID is good until the next registration",
            )
            raise self._refuse(caller, codes.NO_SUCH_OPERATION, check)
        if found.pending is None or found.waits(self._clock.now()):
            return self._operation(caller, found, attested.entry)
        wish = Wish.put_off(found.pending)
        return self.at_once(self._assign(caller, attested, situation, wish))

    def lookup(self, caller: Caller) -> Registration:
        """The device's registration record, without an operation. Raises ServiceRefusal."""
        situation = self._situation(caller)
        self._admit(caller, situation)
        found = situation.known
        if found is None:
            why, cure = "it has never registered", "register first"
            check = failed(_RECORD, caller.registration_id, why, cure)
            raise self._refuse(caller, codes.NO_SUCH_REGISTRATION, check)
        return self._as_told(found)

    def told(self, caller: Caller) -> AbstractContextManager[None]:
        """Raises a Denial from within as the refusal of this device."""
        return self._refusals.told(SERVICE, caller.registration_id)

    def refuse_request(self, caller: Caller, why: str, cure: str) -> ServiceRefusal:
        """The answer to a device's request that could not be understood."""
        check = failed("the request can be read", caller.registration_id, why, cure)
        return self._refuse(caller, codes.BAD_REQUEST, check)

    def count_operation(self) -> None:
        """Counts one request of a back end. Raises ServiceRefusal (429), where that is limited."""
        with self._refusals.told(SERVICE, ""):
            self.limits.count_operation()

    def refuse_service(
        self, code: AzureError, why: str, cure: str, *, about: str = ""
    ) -> ServiceRefusal:
        """The answer to a back end's request: Azure's ``code``, and why. ``about`` is the
        enrollment or the device that it is about."""
        check = failed("the request of a back end can be served", about, why, cure)
        return self._refusals.refuse(SERVICE, about, code, (check,))

    # ---- inside

    def _situation(self, caller: Caller) -> Situation:
        """What the books say about the caller. Raises ServiceRefusal for what is no caller."""
        self._check_scope(caller)
        self._check_id(caller)
        who = (caller.registration_id, caller.presented.leaf)
        with self._database.quick_read() as connection:
            return Situation(
                self.enrollments.deciding(connection, *who),
                registrations.find(connection, caller.registration_id),
                self._trust.read(connection),
                self.linked_hubs.read(connection),
            )

    def _admit(
        self, caller: Caller, situation: Situation, *, disabled_too: bool = False
    ) -> Attested:
        """The enrollment that admits this device. Raises ServiceRefusal; not for a disabled entry
        where the caller looks at that himself."""
        attested = self._attest(caller, situation)
        if attested.refusal is None or (disabled_too and attested.entry is not None):
            return attested
        raise self._turn_away(caller, attested)

    def _attest(self, caller: Caller, situation: Situation) -> Attested:
        name, now = caller.registration_id, self._clock.now()
        if caller.token and not caller.presented.chain:
            claim = Claim(name, caller.token, f"{self.id_scope}/registrations/{name}")
            groups = self.enrollment_groups.with_keys()
            return symmetric_keys.attest(claim, situation.individual, groups, self.real_time())
        books = (self.certificates, situation.uploaded.verified, self.enrollment_groups)
        return attest(name, caller.presented, situation.individual, *books, now)

    def _assign(
        self, caller: Caller, attested: Attested, situation: Situation, wish: Wish
    ) -> Steps[Operation]:
        name = registered_name(caller.presented, caller.registration_id)
        with self.told(caller):
            asked = self._issuance.accept(name, attested, wish, caller.api_version)
            commission = yield from asked
        try:
            with self._alone(caller, attested.entry, commission):
                record = yield from self._assignments.assign(
                    name, attested, situation, caller.presented, wish, commission
                )
        except Denial as denial:
            self._refuse(caller, denial.error, *denial.checks)
            return self._operation(caller, self.registrations.get(name), attested.entry)
        self._say_assigned(caller, record)
        return self._operation(caller, record, attested.entry)

    @contextmanager
    def _alone(self, caller: Caller, entry: Entry | None, commission: Commission) -> Iterator[None]:
        """A webhook takes its time, and so does an authority of another company. Without them,
        registrations simply follow one another."""
        policy = (entry.allocation_policy if entry is not None else "") or self.allocation_policy
        if policy != CUSTOM and commission.by != AUTHORITY:
            yield
            return
        with self.told(caller):
            leave = self._under_way.enter(caller.registration_id)
        try:
            yield
        finally:
            leave()

    def _operation(self, caller: Caller, record: Registration, entry: Entry | None) -> Operation:
        delayed = record.due is not None and record.waits(self._clock.now())
        if record.status == ASSIGNING or delayed:
            return Operation(record.operation_id, ASSIGNING, None, self.retry_after)
        told = (record.operation_id, record.status, self._as_told(record))
        if record.status != ASSIGNED:
            return Operation(*told)
        named = entry.trust_bundle if entry and knows_authorities(caller.api_version) else ""
        bundle = self.trust_bundles.delivered(named, record.registration_id)
        return Operation(*told, chain=self._issuance.chain(record), trust_bundle=bundle)

    def _as_told(self, record: Registration) -> Registration:
        """The record as its device is told of it."""
        if not (self.hub_address and record.assigned_hub):
            return record
        return replace(record, assigned_hub=self.hub_address)

    def _say_assigned(self, caller: Caller, record: Registration) -> None:
        device, through = caller.registration_id, f"enrollment group {record.group_id!r}"
        if record.status == ASSIGNING:
            text = f"{device} has to wait: whom {through} has DPS ask is busy"
            self._events.record(SERVICE, "assigning", text, device=device)
            return
        through = through if record.group_id else "its individual enrollment"
        text = f"{device} was assigned to {record.assigned_hub} through {through}"
        self._events.record(SERVICE, "assigned", text, device=device)

    def _say_disabled(self, caller: Caller, attested: Attested, situation: Situation) -> Operation:
        """The answer that custom allocation's troubleshooting table has for a disabled entry."""
        self._turn_away(caller, attested)
        return Operation(new_operation_id(), DISABLED, situation.known)

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
                source=_SCOPES,
            )
            raise self._turn_away(caller, Attested((check,), codes.UNAUTHORIZED))

    def _turn_away(self, caller: Caller, attested: Attested) -> ServiceRefusal:
        now, device = self._clock.now(), caller.registration_id
        with self._database.quick_write() as connection:
            presentations.keep(connection, SERVICE, device, now, caller.presented, accepted=False)
        return self._refuse(caller, attested.refusal or codes.UNAUTHORIZED, *attested.checks)

    def _refuse(self, caller: Caller, error: AzureError, *checks: Check) -> ServiceRefusal:
        """401 is for who is not admitted; any other is for who is in, or was not looked at yet."""
        name, door = caller.registration_id, SERVICE if error.status == 401 else ""
        return self._refusals.refuse(SERVICE, name, error, checks, caller.presented, door=door)
