"""What becomes of a device that was admitted: its hub, its identity there, its record.

── reprovision policy ──> stays   or   allocation ──> what it ordered is signed
                                           │           └ one transaction: identity, twin, record,
                                           │             certificate, what was presented
                                           ├ the webhook is busy: asked again later
                                           └ no hub: the record says that it failed, and why
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from labkit.clock import Clock
from labkit.cloud import presentations
from labkit.cloud.dps import registrations
from labkit.cloud.dps.allocation import (
    Choice,
    Request,
    TryAgain,
    Webhook,
    choose,
)
from labkit.cloud.dps.attestation import Attested
from labkit.cloud.dps.entries import (
    Enrollment,
    Entry,
    InitialTwin,
    SymmetricKeyAttestation,
)
from labkit.cloud.dps.registrations import (
    AGAIN,
    ASSIGNED,
    ASSIGNING,
    FAILED,
    INITIAL,
    MIGRATED,
    RESET,
    Registration,
)
from labkit.cloud.dps.switches import Switches
from labkit.cloud.hub import limits, placement
from labkit.cloud.hub.credentials import Credentials
from labkit.cloud.hub.links import LinkedHub, LinkedHubs
from labkit.cloud.hub.placement import TwinState
from labkit.cloud.presented import Presented
from labkit.cloud.refusals import Denial
from labkit.cloud.store import new_etag
from labkit.cloud.trust import Uploaded
from labkit.database import Database
from labkit.errors import LabError
from labkit.pki import chain
from labkit.steps import Steps
from labkit.trace import failed

if TYPE_CHECKING:
    from labkit.cloud.dps.issuance import Commission

SERVICE = "dps"
ATTEMPTS = 10
"""How often a webhook that is busy is asked: at first after a second, then nine later each time
(Azure documentation, DPS: custom allocation policies, troubleshooting)."""
_FIRST_WAIT, _LONGER_EACH_TIME = 1, 9


def unplugged(url: str, body: bytes) -> Any:
    """The webhook of a service that nobody gave a way to the network."""
    raise LabError("This service has no way to the network", cure="set lab.dps.webhook")


@dataclass(frozen=True, slots=True)
class Situation:
    """What the books say about one device at one moment: its individual enrollment, its record,
    the CAs that were uploaded, the hubs that are linked."""

    individual: Enrollment | None
    known: Registration | None
    uploaded: Uploaded
    linked: tuple[LinkedHub, ...]


@dataclass(frozen=True, slots=True)
class Wish:
    """What a device asks for: a ``payload`` is for a custom allocation's webhook, ``csr`` and
    ``client_csr`` are to be signed, each by another issuer. ``force`` chooses the hub anew,
    whatever the reprovision policy says."""

    payload: Any = None
    force: bool = False
    csr: str | None = None
    client_csr: str | None = None

    @classmethod
    def put_off(cls, said: Mapping[str, Any]) -> Wish:
        """The one that a device sent with a registration that was put off."""
        return cls(
            said.get("payload"),
            bool(said.get("force")),
            said.get("csr"),
            said.get("client_csr"),
        )


class Assignments:
    """Assigns devices to hubs, as the service's switches and each entry say. A hub that a device
    ``left`` is told so, by its name."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        linked: LinkedHubs,
        switches: Switches,
        left: Callable[[str, str], None],
    ) -> None:
        self._database, self._clock, self.linked = database, clock, linked
        self._switches, self._left = switches, left
        self.webhook: Webhook = unplugged

    def assign(
        self,
        name: str,
        attested: Attested,
        situation: Situation,
        presented: Presented,
        wish: Wish,
        commission: Commission,
    ) -> Steps[Registration]:
        """Registers an admitted device under ``name``, and has its certificate issued where it
        ordered one. Raises Denial where it gets no hub, or nothing is issued for it there; the
        record says so too. A record that is ``assigning`` has a busy webhook behind it, or a busy
        authority."""
        assert attested.entry is not None, "admitted by an entry"
        known, linked = situation.known, situation.linked
        request = Request(name, attested.entry, known, linked, presented, wish.payload)
        try:
            choice = self._choose(request, force=wish.force)
            return (yield from self._carry_out(request, choice, commission))
        except TryAgain as busy:
            return self._put_off(request, wish, busy)
        except Denial as denial:
            self._note_failure(request, denial)
            raise

    def _choose(self, request: Request, *, force: bool) -> Choice:
        """The hub that it has, where the entry's policy is that it stays; else by allocation."""
        entry, known = request.entry, request.known
        stays = not (entry.reprovision_policy.update_hub_assignment or force)
        if known is not None and known.assigned_hub and stays:
            return Choice(known.assigned_hub, payload=known.payload)
        policy = entry.allocation_policy or self._switches.allocation_policy
        return choose(request, policy, self.linked, self.webhook)

    def _carry_out(
        self, request: Request, choice: Choice, commission: Commission
    ) -> Steps[Registration]:
        """Identity, certificate, record and what was presented, in one transaction: all of it or
        nothing. Where the same device has registered meanwhile, it begins anew: what was signed
        may be for another spelling of its name."""
        delay, written = self._switches.assignment_delay, False
        while not written:
            record = _record(request, choice, self._clock.now(), delay)
            carried = yield from commission.carry_out(record.device_id, _label(choice.hub))
            with self._database.quick_write() as connection:
                written = registrations.still(connection, request.registration_id, request.known)
                if written:
                    number = carried.keep(connection)
                    record = replace(record, issued=number, issued_by=commission.by)
                    self._write(connection, request, carried.credentials, choice, record)
                else:
                    known = registrations.find(connection, request.registration_id)
                    request = replace(request, known=known)
        if request.known is not None and _moves(request.known, choice, record):
            self._left(_label(request.known.assigned_hub), request.known.device_id)
        return record

    def _write(
        self,
        connection: Connection,
        request: Request,
        credentials: Credentials,
        choice: Choice,
        record: Registration,
    ) -> None:
        self._place(connection, request, credentials, choice, record)
        registrations.save(connection, record)
        about = (SERVICE, record.registration_id, record.updated)
        presentations.keep(connection, *about, request.presented, accepted=True)

    def _place(
        self,
        connection: Connection,
        request: Request,
        credentials: Credentials,
        choice: Choice,
        record: Registration,
    ) -> None:
        """The identity in the hub. One that moves takes its twin along, or begins anew."""
        entry, known = request.entry, request.known
        left = None
        if known is not None and _moves(known, choice, record):
            left = placement.remove(connection, _label(known.assigned_hub), known.device_id)
        placement.place(
            connection,
            _label(choice.hub),
            record.device_id,
            credentials,
            record.updated,
            iot_edge=entry.capabilities.iot_edge,
            twin=_twin(entry, known, choice, left),
        )

    def _put_off(self, request: Request, wish: Wish, busy: TryAgain) -> Registration:
        known, now = request.known, self._clock.now()
        waiting = known if known is not None and known.status == ASSIGNING else None
        attempts = 1 + (waiting.pending or {}).get("attempts", 0) if waiting is not None else 1
        if attempts > ATTEMPTS:
            why = f"it had too much to do {ATTEMPTS} times"
            denial = Denial(busy.error, failed(busy.rule, request.entry.id, why, busy.cure))
            self._note_failure(request, denial)
            raise denial
        wait = _FIRST_WAIT + _LONGER_EACH_TIME * (attempts - 1)
        record = _attempt(
            request,
            now,
            status=ASSIGNING,
            due=now + timedelta(seconds=wait),
            pending={"attempts": attempts, **asdict(wish)},
            operation_id=waiting.operation_id if waiting is not None else "",
        )
        with self._database.quick_write() as connection:
            registrations.save(connection, record)
        return record

    def _note_failure(self, request: Request, denial: Denial) -> None:
        """On the record of now: the same device may have registered meanwhile, and where it was
        assigned is not forgotten."""
        with self._database.quick_write() as connection:
            known = registrations.find(connection, request.registration_id)
            record = _attempt(
                replace(request, known=known),
                self._clock.now(),
                status=FAILED,
                error_code=int(denial.error.code),
                error_message=denial.error.message,
            )
            about = (SERVICE, record.registration_id, record.updated)
            registrations.save(connection, record)
            presentations.keep(connection, *about, request.presented, accepted=False)


def new_operation_id() -> str:
    """The form that DPS gives it: a digit, 16 hex digits, a GUID."""
    return f"5.{secrets.token_hex(8)}.{uuid.uuid4()}"


def _moves(known: Registration, choice: Choice, record: Registration) -> bool:
    """Whether the device goes to another hub, or under another name."""
    had = (known.assigned_hub, known.device_id)
    return bool(known.assigned_hub) and had != (choice.hub, record.device_id)


def _label(host_name: str) -> str:
    return host_name.partition(".")[0]


def _attempt(
    request: Request, now: datetime, operation_id: str = "", **outcome: Any
) -> Registration:
    """The device's record, or its first one, after another attempt; a new operation, or one that
    goes on."""
    entry = request.entry
    symmetric = isinstance(entry.attestation, SymmetricKeyAttestation)
    plain = {
        "group_id": "" if isinstance(entry, Enrollment) else entry.id,
        "updated": now,
        "etag": new_etag(),
        "attestation": "symmetricKey" if symmetric else "x509",
        "payload": None,
        "error_code": 0,
        "error_message": "",
        "due": None,
        "pending": None,
        "issued": 0,
        "issued_by": "",
    }
    operation = operation_id or new_operation_id()
    return replace(_known(request, now), **{**plain, "operation_id": operation, **outcome})


def _known(request: Request, now: datetime) -> Registration:
    """What is on record of the device. Its first spelling stays its ID: a hub tells upper and
    lower case apart."""
    return request.known or Registration(
        request.registration_id, "", "", "", ASSIGNING, "", now, now, "", ""
    )


def _record(request: Request, choice: Choice, now: datetime, delay: float) -> Registration:
    known, entry = request.known, request.entry
    waiting = known is not None and known.status == ASSIGNING
    named = entry.device_id if isinstance(entry, Enrollment) else ""
    return _attempt(
        request,
        now,
        device_id=named or _spelled(_known(request, now)),
        assigned_hub=choice.hub,
        status=ASSIGNED,
        substatus=_substatus(entry, known, choice),
        payload=choice.payload,
        due=now + timedelta(seconds=delay) if delay > 0 else None,
        operation_id=known.operation_id if waiting and known else "",
    )


def _spelled(record: Registration) -> str:
    """The CN as the certificate has it, for a device that comes for the first time."""
    if record.device_id and record.device_id.lower() == record.registration_id.lower():
        return record.device_id
    return record.registration_id


def _substatus(entry: Entry, known: Registration | None, choice: Choice) -> str:
    if known is None or not known.assigned_hub:
        return INITIAL
    if known.assigned_hub == choice.hub:
        return AGAIN
    migrates = entry.reprovision_policy.migrate_device_data and choice.twin is None
    return MIGRATED if migrates else RESET


def _twin(
    entry: Entry, known: Registration | None, choice: Choice, left: TwinState | None
) -> TwinState | None:
    """The twin to begin with; None keeps the one that is there. A webhook's overrides all."""
    if choice.twin is not None:
        return _begun(choice.twin)
    policy = entry.reprovision_policy
    if policy.update_hub_assignment and not policy.migrate_device_data:
        return _begun(entry.initial_twin or InitialTwin())
    if known is None or not known.assigned_hub:
        return _begun(entry.initial_twin) if entry.initial_twin is not None else None
    return left


def _begun(twin: InitialTwin) -> TwinState:
    return TwinState(limits.writable(twin.tags), limits.writable(twin.desired))


def registered_name(presented: Presented, claimed: str) -> str:
    """How a device is spelled: as its certificate says, else as it says itself."""
    return chain.common_name(presented.leaf) if presented.leaf is not None else claimed
