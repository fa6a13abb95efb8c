"""Jobs of one hub: a method called on many devices, or their twins changed, and how far it is."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select

from labkit.clock import Clock
from labkit.cloud import codes
from labkit.cloud.hub import job_tables as tables
from labkit.cloud.hub import methods
from labkit.cloud.hub.job_runner import JobRunner
from labkit.cloud.hub.job_tables import DeviceJobRow, Job, JobRow
from labkit.cloud.hub.query import Queries
from labkit.cloud.refusals import Denial, Refusals
from labkit.database import Database
from labkit.events import Events
from labkit.trace import failed
from labkit.work import Stage, Work

FORM = "the job is one that a hub takes"
EXISTS = "the hub has a job of this ID"
ABSENT = "the hub has no job of this ID yet"
USUAL_SECONDS, LONGEST_SECONDS = 3_600, 48 * 3_600
"""How long a job may run."""
LISTED = 1_000
"""Jobs that are listed at the most, the newest first."""

_ID = re.compile(r"[A-Za-z0-9\-.%_*?!(),:=@$']{1,128}")
_SOURCE = "Azure documentation, IoT Hub: schedule jobs on multiple devices"


@dataclass(frozen=True, slots=True)
class Plan:
    """A job to be. ``request`` is a method (``methodName``, ``payload`` and the two timeouts), or
    a twin's patch (``tags``, ``desired``). Without a ``start`` it begins at once."""

    id: str
    kind: str
    condition: str
    request: Mapping[str, Any]
    start: datetime | None = None
    max_seconds: int = USUAL_SECONDS


class Jobs:
    """The jobs of one hub: iterate, the newest first. ``work`` is told how far one is."""

    def __init__(
        self,
        hub: str,
        database: Database,
        clock: Clock,
        events: Events,
        refusals: Refusals,
        queries: Queries,
        runner: JobRunner,
        work: Work,
    ) -> None:
        self._hub, self._database, self._clock = hub, database, clock
        self._events, self._refusals = events, refusals
        self._queries, self._runner, self._work = queries, runner, work

    # ---- as the service API has it

    def create(self, plan: Plan) -> Job:
        """Puts a job into the queue. Raises ServiceRefusal: 400004 for what cannot be, 409002 for
        an ID that is taken."""
        self._queries.condition(plan.condition)
        now = self._clock.now()
        start = max(plan.start or now, now)
        status = tables.SCHEDULED if start > now else tables.QUEUED
        with self._refusals.told("hub", plan.id):
            _check(plan)
            with self._database.write() as session:
                if session.get(JobRow, (self._hub, plan.id)) is not None:
                    raise _taken(plan.id)
                session.add(
                    JobRow(
                        self._hub,
                        plan.id,
                        plan.kind,
                        plan.condition,
                        dict(plan.request),
                        now,
                        start,
                        plan.max_seconds,
                        status,
                    )
                )
        text = f"job {plan.id} of {self._hub} is {status}: {_said(plan)} where {plan.condition}"
        self._events.record("hub", "job", text, name=plan.id)
        self._runner.look()
        return self.get(plan.id)

    def get(self, job_id: str) -> Job:
        """A job as it stands. Raises ServiceRefusal (404002), which is a NotFound."""
        found = self._find(job_id)
        if found is None:
            raise self._refusals.of(self._missing(job_id), "hub", job_id, quiet=True)
        return found

    def cancel(self, job_id: str) -> Job:
        """Ends a job where it is; one that is over stays as it is. Raises ServiceRefusal
        (404002)."""
        self.get(job_id)
        self._runner.cancel(self._hub, job_id)
        return self.get(job_id)

    def find(self, kind: str = "", status: str = "") -> list[Job]:
        """The jobs of a kind, of a status, or both; the newest first."""
        wanted = select(JobRow).where(JobRow.hub == self._hub)
        for column, value in ((JobRow.kind, kind), (JobRow.status, status)):
            wanted = wanted.where(column == value) if value else wanted
        with self._database.read() as session:
            rows = list(session.scalars(wanted.order_by(JobRow.created.desc()).limit(LISTED)))
            return [self._snapshot(session.connection(), row) for row in rows]

    def outcomes(self, job_id: str) -> list[DeviceJobRow]:
        """What came of a job at each of its devices."""
        mine = (DeviceJobRow.hub == self._hub) & (DeviceJobRow.job_id == job_id)
        with self._database.read() as session:
            wanted = select(DeviceJobRow).where(mine).order_by(DeviceJobRow.device_id)
            return list(session.scalars(wanted))

    # ---- as it is said in Python

    def invoke_method(
        self,
        where: str,
        name: str,
        payload: Any = None,
        *,
        response_timeout: int = int(methods.USUAL_WAIT),
        connect_timeout: int = 0,
        job_id: str = "",
        wait: bool = True,
    ) -> Job:
        """Calls a direct method on all devices of which a condition is true (``*`` for all), and
        waits until that is over, unless told not to. A device that is not there has failed.

        Raises ServiceRefusal (400004; 409002 where another job has the ID).
        """
        request = {
            "methodName": name,
            "payload": payload,
            "responseTimeoutInSeconds": response_timeout,
            "connectTimeoutInSeconds": connect_timeout,
        }
        return self._do(tables.METHOD, where, request, job_id, f"calling {name}", wait)

    def update_twin(
        self,
        where: str,
        *,
        desired: Mapping[str, Any] | None = None,
        tags: Mapping[str, Any] | None = None,
        job_id: str = "",
        wait: bool = True,
    ) -> Job:
        """Merges patches into the twins of all devices of which a condition is true, and waits
        until that is over, unless told not to. Raises as :meth:`invoke_method` does."""
        parts = {"desired": desired, "tags": tags}
        request = {name: dict(part) for name, part in parts.items() if part is not None}
        return self._do(tables.UPDATE_TWIN, where, request, job_id, "changing twins", wait)

    def __iter__(self) -> Iterator[Job]:
        return iter(self.find())

    def __repr__(self) -> str:
        return f"<{len(self.find())} jobs of {self._hub}>"

    # ---- inside

    def _do(
        self,
        kind: str,
        where: str,
        request: Mapping[str, Any],
        job_id: str,
        doing: str,
        wait: bool,
    ) -> Job:
        plan = Plan(job_id or uuid.uuid4().hex, kind, where, request)
        found = self._find(plan.id)
        if found is not None and (found.kind, found.condition, found.request) == (
            kind,
            where,
            request,
        ):
            self._events.record("hub", "again", f"job {plan.id} was there already", name=plan.id)
        else:
            found = self.create(plan)
        return self._awaited(found, doing) if wait else found

    def _awaited(self, job: Job, doing: str) -> Job:
        """Says how far it is, until it is over."""
        told = self._runner.told
        while not job.is_over:
            self._work.tell(Stage(doing, job.done, max(job.devices, 1)))
            self._runner.wait(told, 1.0)
            told, job = self._runner.told, self.get(job.id)
        self._work.tell(Stage(doing, job.devices, job.devices))
        return job

    def _find(self, job_id: str) -> Job | None:
        with self._database.read() as session:
            row = session.get(JobRow, (self._hub, job_id))
            return None if row is None else self._snapshot(session.connection(), row)

    def _snapshot(self, connection: Any, row: JobRow) -> Job:
        return tables.snapshot(row, tables.counts(connection, self._hub, row.job_id))

    def _missing(self, job_id: str) -> Denial:
        known = ", ".join(job.id for job in self.find()[:5]) or "none yet"
        why = f"{self._hub} has no job {job_id!r}; the newest are: {known}"
        return Denial(codes.NO_SUCH_JOB, failed(EXISTS, job_id, why, "look at its ID: case counts"))


def _check(plan: Plan) -> None:
    """Raises Denial (400004)."""
    if why := _fault(plan):
        cure = "see Azure's documents on jobs"
        raise Denial(codes.BAD_REQUEST, failed(FORM, plan.id, why, cure, source=_SOURCE))


def _fault(plan: Plan) -> str:
    if not _ID.fullmatch(plan.id):
        return f"{plan.id[:20]!r} cannot be a job's ID"
    if plan.kind not in (tables.METHOD, tables.UPDATE_TWIN):
        return f"its type is {plan.kind!r}, not {tables.METHOD} or {tables.UPDATE_TWIN}"
    if not 0 < plan.max_seconds <= LONGEST_SECONDS:
        return f"it would run for {plan.max_seconds} s; {LONGEST_SECONDS} at most"
    if plan.kind == tables.METHOD:
        wanted = plan.request
        return methods.fault(
            wanted["methodName"],
            wanted.get("payload"),
            wanted["responseTimeoutInSeconds"],
            wanted["connectTimeoutInSeconds"],
        )
    return "" if plan.request else "it changes neither tags nor desired properties"


def _taken(job_id: str) -> Denial:
    why = f"there is a job {job_id!r} already"
    return Denial(codes.JOB_EXISTS, failed(ABSENT, job_id, why, "choose another ID"))


def _said(plan: Plan) -> str:
    if plan.kind == tables.METHOD:
        return f"{plan.request['methodName']} is called"
    return "twins are changed"
