"""Runs the jobs of a lab's hubs, one after the other, in a thread of its own.

    scheduled ──its time comes──> queued ──> running ──> completed
        └──────── cancel ──────────┴────────────┘──> cancelled

A job is about the devices that its condition names when it begins. At each of them it is pending,
running, and then completed, failed or canceled; what came of it is kept as it comes. A job that
was under way when the lab was closed has failed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import CancelledError, Future
from datetime import datetime
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from sqlalchemy import Table, bindparam, insert, select, update
from sqlalchemy.orm import Session

from labkit.cloud.hub import job_tables as tables
from labkit.cloud.hub.job_tables import DeviceJobRow, JobRow
from labkit.cloud.hub.methods import MethodResult
from labkit.database import Database
from labkit.errors import ServiceRefusal

AT_ONCE = 100
"""Devices that a job calls at a time; the others wait their turn."""
_LOOK_SECONDS = 0.2
"""Between two looks at the lab's clock, which may be moved, for a job whose time has come."""
_CLOSED = "the lab was closed before it was over"
_TOO_LATE = "the job's time was over"

_log = logging.getLogger("labkit.jobs")
_parts: Table = DeviceJobRow.__table__  # type: ignore[assignment]


class Target(Protocol):
    """The hub of a job, as far as jobs need it."""

    def named_by(self, condition: str) -> list[str]:
        """The devices of which the condition is true."""
        ...

    def begin_method(
        self,
        device_id: str,
        name: str,
        payload: Any,
        response_timeout: float,
        connect_timeout: float,
    ) -> Future[MethodResult]: ...

    def patch_twin(self, device_id: str, patch: Mapping[str, Any]) -> None: ...


class JobRunner:
    """``hub`` finds the hub of a job by its name, ``now`` is the lab's clock; ``told`` counts what
    has happened to jobs."""

    def __init__(
        self, database: Database, now: Callable[[], datetime], hub: Callable[[str], Target]
    ) -> None:
        self._database, self._now, self._hub = database, now, hub
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._cancelled: set[tuple[str, str]] = set()
        self.told = 0

    def resume(self) -> None:
        """Takes up what an earlier lab left behind."""
        with self._database.write() as session:
            left = list(session.scalars(_with(tables.RUNNING)))
            for row in left:
                self._end(session, row, tables.FAILED, _CLOSED)
            waiting = session.scalar(_with(tables.QUEUED, tables.SCHEDULED).limit(1))
        if waiting is not None:
            self.look()

    def look(self) -> None:
        """There is a new job."""
        with self._wake:
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._run, name="labkit jobs", daemon=True)
                self._thread.start()
            self._wake.notify_all()

    def cancel(self, hub: str, job_id: str) -> None:
        """Ends a job: at devices where it is under way or pending, nothing more comes of it."""
        with self._database.write() as session:
            row = session.get(JobRow, (hub, job_id))
            if row is not None and row.status in (tables.QUEUED, tables.SCHEDULED):
                self._end(session, row, tables.CANCELLED)
            elif row is not None and row.status == tables.RUNNING:
                self._cancelled.add((hub, job_id))
        self._tell()

    def wait(self, told: int, seconds: float) -> None:
        """Until anything has happened to any job since it was ``told``, or so long."""
        with self._wake:
            self._wake.wait_for(lambda: self.told != told or self._closed, seconds)

    def close(self) -> None:
        """No more is begun. Whoever waits for devices must be told by their own."""
        with self._wake:
            self._closed = True
            self._wake.notify_all()

    def join(self) -> None:
        """Waits for the thread, which has nothing left to wait for."""
        if self._thread is not None:
            self._thread.join(10)

    # ---- the thread

    def _run(self) -> None:
        while not self._closed:
            try:
                job = self._due()
                if job is None:
                    continue
                self._work(job)
            except Exception:  # the next job is not to suffer
                if not self._closed:
                    _log.exception("a job failed")

    def _due(self) -> JobRow | None:
        """The job to begin now, which runs from here on; waits a moment where there is none."""
        with self._wake:
            with self._database.write() as session:
                waiting = _with(tables.QUEUED, tables.SCHEDULED)
                rows = list(session.scalars(waiting.order_by(JobRow.start, JobRow.created)))
                due = next((row for row in rows if row.start <= self._now()), None)
                if due is not None:
                    due.status = tables.RUNNING
            if due is None and not self._closed:
                self._wake.wait(_LOOK_SECONDS if rows else None)
        return due

    def _work(self, job: JobRow) -> None:
        status, reason = tables.COMPLETED, ""
        try:
            devices = self._begin(job)
            _Run(self, job, devices).go()
        except Exception as error:
            status, reason = tables.FAILED, str(error)
            if not self._closed:
                _log.warning("job %s failed", job.job_id, exc_info=error)
        if self._closed:
            return  # the next lab says what became of it
        if self.is_cancelled(job):
            status = tables.CANCELLED
        with self._database.write() as session:
            row = session.get_one(JobRow, (job.hub, job.job_id))
            self._end(session, row, status, reason)
        self._cancelled.discard((job.hub, job.job_id))
        self._tell()

    def _begin(self, job: JobRow) -> list[str]:
        devices = self._hub(job.hub).named_by(job.condition)
        now = self._now()
        rows = [_part(job, device, now) for device in devices]
        with self._database.write() as session:
            if rows:
                session.execute(insert(DeviceJobRow), rows)
        self._tell()
        return devices

    def _end(self, session: Session, row: JobRow, status: str, reason: str = "") -> None:
        """The job is over, and so is what was not over at its devices."""
        row.status, row.reason, row.end = status, reason, self._now()
        part = tables.CANCELED if status == tables.CANCELLED else tables.FAILED
        session.execute(
            update(DeviceJobRow)
            .where(DeviceJobRow.hub == row.hub, DeviceJobRow.job_id == row.job_id)
            .where(DeviceJobRow.status.in_((tables.PENDING, tables.RUNNING)))
            .values(status=part, updated=row.end, end=row.end, error=_error(reason))
        )

    # ---- for a run

    def is_cancelled(self, job: JobRow) -> bool:
        """Whether somebody wants it to end."""
        return (job.hub, job.job_id) in self._cancelled

    @property
    def is_closed(self) -> bool:
        """Whether the lab is being closed."""
        return self._closed

    def target(self, job: JobRow) -> Target:
        """The hub of a job."""
        return self._hub(job.hub)

    def note_begun(self, job: JobRow, devices: Iterable[str]) -> None:
        """The job is under way at these devices."""
        self._note(job, "start", {device: {"status": tables.RUNNING} for device in devices})

    def note_over(self, job: JobRow, parts: Mapping[str, Mapping[str, Any]]) -> None:
        """The job is over at these devices; ``parts`` are as :func:`_over` has them."""
        self._note(job, "end", parts)

    def _note(self, job: JobRow, when: str, parts: Mapping[str, Mapping[str, Any]]) -> None:
        """In one transaction and by one statement, for a job may be about thousands: each part
        sets the same columns, and ``when`` is the one of the time."""
        now = self._now()
        rows = [{"of": device, "updated": now, when: now, **part} for device, part in parts.items()]
        mine = (_parts.c.hub == job.hub) & (_parts.c.job_id == job.job_id)
        with self._database.write() as session:
            of_one = mine & (_parts.c.device_id == bindparam("of"))
            session.execute(update(_parts).where(of_one), rows)
        self._tell()

    def _tell(self) -> None:
        with self._wake:
            self.told += 1
            self._wake.notify_all()


class _Run:
    """One job at its devices. What comes of a device is put into a queue, by whichever thread;
    the job's own takes it out, and calls the next."""

    def __init__(self, runner: JobRunner, job: JobRow, devices: list[str]) -> None:
        self._runner, self._job, self._waiting = runner, job, devices[::-1]
        self._target = runner.target(job)
        self._came: SimpleQueue[tuple[str, Future[Any]]] = SimpleQueue()
        self._open: dict[str, Future[Any]] = {}
        self._end = time.monotonic() + job.max_seconds

    def go(self) -> None:
        """Until all devices are done, the job is cancelled, or its time is over."""
        while (self._waiting or self._open) and not self._stopped():
            self._call_more()
            self._take_notes()
        for future in self._open.values():
            future.cancel()
        if time.monotonic() >= self._end and (self._waiting or self._open):
            self._give_up()

    def _stopped(self) -> bool:
        over = time.monotonic() >= self._end
        return over or self._runner.is_closed or self._runner.is_cancelled(self._job)

    def _call_more(self) -> None:
        begun = []
        while self._waiting and len(self._open) < AT_ONCE:
            begun.append(self._waiting.pop())
            self._open[begun[-1]] = self._begin(begun[-1])
        if begun:
            self._runner.note_begun(self._job, begun)
            for device in begun:  # not before: what comes of it is noted behind its beginning
                self._listen(device, self._open[device])

    def _listen(self, device: str, future: Future[Any]) -> None:
        future.add_done_callback(lambda done: self._came.put((device, done)))

    def _begin(self, device: str) -> Future[Any]:
        request = self._job.request
        if self._job.kind == tables.METHOD:
            return self._target.begin_method(
                device,
                request["methodName"],
                request.get("payload"),
                request["responseTimeoutInSeconds"],
                request["connectTimeoutInSeconds"],
            )
        done: Future[Any] = Future()
        try:
            self._target.patch_twin(device, request)
            done.set_result(None)
        except ServiceRefusal as refusal:
            done.set_exception(refusal)
        return done

    def _take_notes(self) -> None:
        """What came meanwhile; waits a moment for the first."""
        found = []
        try:
            found.append(self._came.get(timeout=_LOOK_SECONDS))
            while len(found) < AT_ONCE:
                found.append(self._came.get_nowait())
        except Empty:
            pass
        if found and not self._runner.is_closed:
            parts = {device: _outcome(future) for device, future in found}
            self._runner.note_over(self._job, parts)
        for device, _ in found:
            self._open.pop(device, None)

    def _give_up(self) -> None:
        late = _over(tables.FAILED, error=_error(_TOO_LATE))
        self._runner.note_over(self._job, dict.fromkeys((*self._waiting, *self._open), late))


def _outcome(future: Future[Any]) -> Mapping[str, Any]:
    """A device that answers has done its part, whatever its own status says."""
    try:
        result = future.result()
    except CancelledError:
        return _over(tables.CANCELED)
    except ServiceRefusal as refusal:
        said = {"code": str(refusal.error.code), "description": refusal.error.message}
        return _over(tables.FAILED, error=said)
    if isinstance(result, MethodResult):
        answer = {"status": result.status, "payload": result.payload}
        return _over(tables.COMPLETED, outcome={"deviceMethodResponse": answer})
    return _over(tables.COMPLETED)


def _over(
    status: str,
    *,
    outcome: Mapping[str, Any] | None = None,
    error: Mapping[str, Any] | None = None,
) -> Mapping[str, Any]:
    """A device's part that is over; all of them name the same columns."""
    return {"status": status, "outcome": outcome or {}, "error": error or {}}


def _error(description: str) -> dict[str, str]:
    return {"code": "", "description": description} if description else {}


def _with(*statuses: str) -> Any:
    return select(JobRow).where(JobRow.status.in_(statuses))


def _part(job: JobRow, device: str, now: datetime) -> dict[str, Any]:
    return {
        "hub": job.hub,
        "job_id": job.job_id,
        "device_id": device,
        "kind": job.kind,
        "status": tables.PENDING,
        "created": now,
        "updated": now,
        "outcome": {},
        "error": {},
    }
