"""Certificates that devices ask their hubs for, while they are connected.

    nothing ──begin──> waiting ──signed, or refused──> decided ──brought──> nothing
                          └──begin, with replace──> waiting, for the newer one

One at a time for each device, and on disk: a device that was away, or a server that was, finds it
again. Whoever is killed between signature and answer has the certificate on record, and brings
that one.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Table, delete, func, select, update
from sqlalchemy.orm import Session

from labkit.cloud import codes
from labkit.cloud.adr import renewal_requests
from labkit.cloud.adr.books import Books
from labkit.cloud.adr.issuing import RegistryIssuer
from labkit.cloud.adr.renewal_requests import ANY, Asked
from labkit.cloud.adr.tables import RenewalRow
from labkit.cloud.hub.issuing import Begun
from labkit.cloud.hub.live import CertificateAnswer, Outlet, Subject
from labkit.cloud.refusals import Denial, Refusals
from labkit.cloud.store import azure_time
from labkit.errors import AzureError, LabError, ServiceRefusal
from labkit.steps import run
from labkit.trace import Check, failed

LIFE = timedelta(hours=12)
"""For so long a device may be away and still get its answer."""
ALONE = "no other request of the device is under way"
REPLACED = "the request that is to be replaced is under way"
ROOM = "not too many devices of the hub wait for certificates"
SIGNED = "the registry could sign it"

_SOURCE = "Azure documentation, IoT: communicate with an IoT hub using MQTT (issue certificate)"
_Key = tuple[str, str]
_table: Table = RenewalRow.__table__  # type: ignore[assignment]


class Renewals:
    """The requests of all devices: see :class:`labkit.cloud.hub.issuing.Issuing`."""

    def __init__(self, books: Books, issuer: RegistryIssuer, refusals: Refusals) -> None:
        self._books, self._issuer, self._refusals = books, issuer, refusals
        self._lock = threading.Lock()
        self._at_work: set[_Key] = set()
        self._brought: dict[_Key, tuple[str, Outlet]] = {}

    def begin(self, hub: str, device_id: str, request_id: str, body: bytes) -> Begun:
        """Puts a request on record. Raises ServiceRefusal: 400004, 400006 for what cannot be read,
        409004, 409005 where another is under way, 412001 where there is nothing to be replaced,
        429002 where too many wait."""
        with self._refusals.told("hub", device_id):
            asked = renewal_requests.read(body, device_id, request_id)
            # The last two are said, for a default is not merged: where this takes the place of a
            # request that was decided, the answer to that would stay.
            row = RenewalRow(
                hub,
                device_id,
                request_id,
                str(uuid.uuid4()),
                asked.csr,
                self._books.clock.now() + LIFE,
                number=0,
                failure={},
            )
            with self._books.database.write() as session:
                self._check(session, row, asked)
                session.merge(row)
        text = f"{device_id} asks {hub} for its next certificate"
        self._books.record("renewal", text)
        return Begun(row.correlation_id, row.expires)

    def bring(self, hub: str, device_id: str) -> None:
        """Decides what is on record, and brings it. Another that does so already does it for both:
        it looks who listens once it has decided."""
        key = (hub, device_id)
        with self._lock:
            if key in self._at_work:
                return
            self._at_work.add(key)
        try:
            while (row := self._next(key)) is not None:
                self._decide(row)
        except BaseException:
            with self._lock:
                self._at_work.discard(key)
            raise

    def _next(self, key: _Key) -> RenewalRow | None:
        """The request that is to be decided on. Without one, what is decided is brought, and the
        work is over: in one step, for whoever comes meanwhile leaves a newer one to it."""
        with self._lock:
            row = self._found(key)
            if row is not None and not row.is_decided:
                return row
            self._at_work.discard(key)
            self._hand_over(key)
            return None

    # ---- one at a time

    def _check(self, session: Session, wanted: RenewalRow, asked: Asked) -> None:
        """Raises Denial."""
        key, now = (wanted.hub, wanted.device_id), self._books.clock.now()
        row = session.get(RenewalRow, key)
        if row is not None and (row.expires <= now or self._has_it(key, row)):
            row = None
        if asked.replace in ("", ANY):
            if row is not None and not asked.replace:
                raise _under_way(row)
        elif row is None or row.request_id != asked.replace:
            raise _nothing_to_replace(wanted.device_id, asked.replace)
        waiting = select(func.count()).where(RenewalRow.hub == wanted.hub, RenewalRow.expires > now)
        most = self._books.switches.most_renewals_waiting
        if row is None and (session.scalar(waiting) or 0) >= most:
            raise _backlog(wanted.device_id, most)

    def _has_it(self, key: _Key, row: RenewalRow) -> bool:
        """Whether the answer was sent over the connection that the device has: it is as good as
        acknowledged, and the next request may come in front of that."""
        found = self._brought.get(key)
        live = self._books.hubs.connections.find(*key)
        return found is not None and found == (row.correlation_id, live)

    # ---- decided

    def _found(self, key: _Key) -> RenewalRow | None:
        with self._books.database.read() as session:
            row = session.get(RenewalRow, key)
        return row if row is not None and row.expires > self._books.clock.now() else None

    def _decide(self, row: RenewalRow) -> None:
        """Signs or refuses, and puts that on record. A request that was replaced meanwhile has its
        certificate on record, and nobody is told."""
        keep: Callable[[Connection], int] = _no_number
        failure: dict[str, Any] = {}
        try:
            asked = self._issuer.renew(row.hub, row.device_id, row.request)
            keep = run(asked, self._books.signers.do)
        except Denial as denial:
            failure = self._refused(row, denial)
        except LabError as error:  # a token that is gone, or a registry without one
            failure = self._refused(row, _not_signed(row, codes.UNAVAILABLE, error))
        except Exception as error:  # the device is told, and not left to wait twelve hours
            failure = self._refused(row, _not_signed(row, codes.SERVER_ERROR, error))
        same = _table.c.correlation_id == row.correlation_id
        with self._books.database.quick_write() as connection:
            decided = {"number": keep(connection), "failure": failure}
            connection.execute(update(_table).where(same).values(**decided))

    def _refused(self, row: RenewalRow, denial: Denial) -> dict[str, Any]:
        refusal, error = self._refusals.of(denial, "hub", row.device_id), denial.error
        return {
            "status": error.status,
            "code": error.code,
            "message": error.message,
            "tracking_id": refusal.tracking_id,
            "info": {"correlationId": row.correlation_id, "credentialMessage": error.message},
        }

    # ---- brought

    def _hand_over(self, key: _Key) -> None:
        """To a device that listens, once over each of its connections."""
        row, outlet = (
            self._found(key),
            self._books.hubs.connections.reach(*key, Subject.CERTIFICATES),
        )
        if row is None or not row.is_decided or outlet is None:
            return
        if self._brought.get(key) == (row.correlation_id, outlet):
            return
        self._brought[key] = (row.correlation_id, outlet)
        outlet.deliver(self._answer(row))

    def arrived(self, hub: str, device_id: str, correlation_id: str) -> None:
        """The device has the answer: nothing is under way any more."""
        same = RenewalRow.correlation_id == correlation_id
        with self._books.database.write() as session:
            session.execute(delete(RenewalRow).where(same))
        with self._lock:
            self._brought.pop((hub, device_id), None)

    def _answer(self, row: RenewalRow) -> CertificateAnswer:
        if row.number:
            found = self._issuer.chain(row.number)
            return CertificateAnswer(row.request_id, row.correlation_id, found)
        told = row.failure
        error = AzureError(told["status"], told["code"], told["message"])
        refusal = ServiceRefusal(error, tracking_id=told["tracking_id"])
        refusal.info = told["info"]
        return CertificateAnswer(row.request_id, row.correlation_id, refusal=refusal)


def _no_number(_: Connection) -> int:
    """There is no certificate to be put on record."""
    return 0


def _under_way(row: RenewalRow) -> Denial:
    state = (
        "was decided, and its answer waits for the device" if row.is_decided else "is decided on"
    )
    check = failed(
        ALONE,
        row.device_id,
        f"request {row.request_id} {state}, until {row.expires:%Y-%m-%d %H:%M} at the latest",
        "listen to $iothub/credentials/res/#, and wait for its answer",
        f'or take its place: "replace": "{row.request_id}", or "replace": "{ANY}"',
        source=_SOURCE,
    )
    info = {
        "requestId": row.request_id,
        "operationExpires": azure_time(row.expires),
        "correlationId": row.correlation_id,
    }
    error = codes.CREDENTIAL_ACTIVE if row.is_decided else codes.CREDENTIAL_PENDING
    return Denial(error, check, info=info)


def _nothing_to_replace(device_id: str, named: str) -> Denial:
    why = f"none of the ID {named} is: it has its answer, or there never was one"
    cures = (f'say "replace": "{ANY}", whatever there is', "leave replace out")
    check = failed(REPLACED, device_id, why, *cures, source=_SOURCE)
    return Denial(codes.NOTHING_TO_REPLACE, check, info={"requestId": named})


def _backlog(device_id: str, most: int) -> Denial:
    why = f"{most} wait already"
    cures = ("ask again later", "allow more: lab.registry.most_renewals_waiting")
    return Denial(codes.CREDENTIAL_BACKLOG, failed(ROOM, device_id, why, *cures))


def _not_signed(row: RenewalRow, error: AzureError, cause: Exception) -> Denial:
    check: Check = failed(SIGNED, row.device_id, f"{type(cause).__name__}: {cause}", "ask again")
    return Denial(error, check)
