"""Jobs: a method on many devices, many twins changed; progress, cancelling, and what is kept."""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from complaints import refused
from provisioning import Emulated, emulated
from sqlalchemy import Engine, event
from stories import eventually

from labkit.cloud.hub import Hub, job_tables
from labkit.cloud.hub.job_runner import AT_ONCE
from labkit.cloud.hub.job_tables import Job
from labkit.cloud.hub.jobs import Plan
from labkit.cloud.hub.live import MethodCall, Subject, ToDevice
from labkit.errors import Conflict, NotFound, ServiceRefusal
from labkit.work import Stage

METHOD = {
    "methodName": "reboot",
    "payload": None,
    "responseTimeoutInSeconds": 30,
    "connectTimeoutInSeconds": 0,
}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Emulated]:
    with emulated(tmp_path / "cloud", hubs=("alpha-hub", "beta-hub")) as opened:
        yield opened


@pytest.fixture
def hub(service: Emulated) -> Hub:
    return service.cloud.hubs.get("alpha-hub")


class Online:
    """A device that is connected and answers each method as it is told to, or never."""

    def __init__(self, hub: Hub, name: str, answer: Callable[[MethodCall], Any] | None) -> None:
        self.hub, self.name, self.answer = hub, name, answer
        self.calls: list[MethodCall] = []
        hub.connections.enter(hub.name, name, self)
        hub.listen(name, self, {Subject.METHODS: 1}, clean=True)

    def deliver(self, message: ToDevice) -> None:
        assert isinstance(message, MethodCall)
        self.calls.append(message)
        if self.answer is not None:
            payload = self.answer(message)
            reply = (self.name, message.request_id, 200, payload)
            threading.Thread(target=self.hub.answer_method, args=reply).start()

    def end(self, why: str) -> None:
        """Nothing is left to end."""


def fleet(hub: Hub, *online: str, offline: tuple[str, ...] = (), answers: bool = True) -> list[Any]:
    for name in (*online, *offline):
        hub.devices.create(name, ca=True)
        hub.update_twin(name, tags={"line": name[0]})
    answer = (lambda call: {"got": call.payload}) if answers else None
    return [Online(hub, name, answer) for name in online]


@contextmanager
def statements_on(table: str) -> Iterator[list[str]]:
    """What any database is asked about a table, meanwhile."""
    said: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_others: Any) -> None:
        if table in statement:
            said.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield said
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def over(hub: Hub, job_id: str) -> Job:
    eventually(lambda: hub.jobs.get(job_id).is_over)
    return hub.jobs.get(job_id)


# ---- methods


def test_a_method_is_called_on_the_devices_of_a_condition(hub: Hub) -> None:
    devices = fleet(hub, "a1", "a2", "b1")
    job = hub.jobs.invoke_method("tags.line = 'a'", "reboot", {"delay": 3})
    assert (job.status, dict(job.counts)) == ("completed", {"completed": 2})
    assert [len(device.calls) for device in devices] == [1, 1, 0]
    answer = {"status": 200, "payload": {"got": {"delay": 3}}}
    outcomes = {row.device_id: row.outcome for row in hub.jobs.outcomes(job.id)}
    assert outcomes == {name: {"deviceMethodResponse": answer} for name in ("a1", "a2")}


def test_a_device_that_is_not_there_has_failed_and_the_job_goes_on(hub: Hub) -> None:
    fleet(hub, "a1", offline=("a2",))
    job = hub.jobs.invoke_method("*", "reboot")
    assert (job.status, dict(job.counts)) == ("completed", {"completed": 1, "failed": 1})
    (failed,) = [row for row in hub.jobs.outcomes(job.id) if row.status == "failed"]
    assert (failed.device_id, failed.error["code"]) == ("a2", "404103")


def test_more_devices_than_are_called_at_a_time(hub: Hub) -> None:
    names = [f"w-{number:03}" for number in range(230)]
    devices = fleet(hub, *names)
    job = hub.jobs.invoke_method("", "reboot")
    assert dict(job.counts) == {"completed": 230}
    assert {len(device.calls) for device in devices} == {1}


def test_what_becomes_of_devices_is_written_for_a_hundred_at_a_time(hub: Hub) -> None:
    """However many a job is about, the database is not asked for each of them."""
    fleet(hub, offline=tuple(f"w-{number:03}" for number in range(230)))
    with statements_on("device_job") as said:
        job = hub.jobs.invoke_method("*", "reboot")
    assert dict(job.counts) == {"failed": 230}
    written = [statement for statement in said if "count(" not in statement]
    rounds = math.ceil(230 / AT_ONCE)
    assert len(written) == 2 * rounds + 2, "begun and over, all of them pending, and the end"


def test_nobody_is_named_and_the_job_is_done_at_once(hub: Hub) -> None:
    job = hub.jobs.invoke_method("tags.line = 'x'", "reboot")
    assert (job.status, job.devices) == ("completed", 0)


def test_progress_is_told_to_whom_it_concerns(service: Emulated, hub: Hub) -> None:
    fleet(hub, "a1", "a2")
    stages: list[Stage] = []
    with service.cloud.hubs.work.heard(stages.append):
        hub.jobs.invoke_method("*", "reboot")
    assert stages[-1] == Stage("calling reboot", 2, 2)
    assert [stage.done for stage in stages] == sorted(stage.done for stage in stages)


# ---- twins


def test_twins_are_changed_by_condition(hub: Hub) -> None:
    fleet(hub, offline=("a1", "a2", "b1"))
    job = hub.jobs.update_twin("tags.line = 'a'", desired={"interval": 5}, tags={"wave": 1})
    assert dict(job.counts) == {"completed": 2}
    assert hub.query("SELECT deviceId FROM devices WHERE tags.wave = 1") == [
        {"deviceId": "a1"},
        {"deviceId": "a2"},
    ]
    assert hub.twin("a1").desired == {"interval": 5}
    assert hub.twin("b1").desired == {}


def test_a_twin_that_cannot_hold_it_has_failed(hub: Hub) -> None:
    fleet(hub, offline=("a1",))
    job = hub.jobs.update_twin("*", desired={"text": "x" * 40_000})
    assert dict(job.counts) == {"failed": 1}
    assert hub.jobs.outcomes(job.id)[0].error["code"] == "400004"


# ---- what is asked of jobs


def test_jobs_are_found_and_listed(hub: Hub) -> None:
    fleet(hub, "a1")
    hub.jobs.invoke_method("*", "reboot", job_id="one")
    hub.jobs.update_twin("*", tags={"x": 1}, job_id="two")
    assert [job.id for job in hub.jobs] == ["two", "one"]
    assert [job.id for job in hub.jobs.find(job_tables.METHOD)] == ["one"]
    assert [job.id for job in hub.jobs.find(status="completed")] == ["two", "one"]
    rows = hub.query("SELECT * FROM devices.jobs WHERE devices.jobs.jobId = 'one'")
    assert [(row["deviceId"], row["jobType"], row["status"]) for row in rows] == [
        ("a1", "scheduleDeviceMethod", "completed")
    ]
    assert rows[0]["outcome"]["deviceMethodResponse"]["status"] == 200
    with refused(NotFound, "404002", "two, one"):
        hub.jobs.get("three")
    assert list(hub.jobs) != []


def test_hubs_have_jobs_of_their_own(service: Emulated, hub: Hub) -> None:
    hub.jobs.update_twin("*", tags={"x": 1}, job_id="one")
    other = service.cloud.hubs.get("beta-hub")
    assert list(other.jobs) == []
    other.jobs.update_twin("*", tags={"x": 1}, job_id="one")


def test_the_same_job_again_is_not_done_again(service: Emulated, hub: Hub) -> None:
    (device,) = fleet(hub, "a1")
    hub.jobs.invoke_method("*", "reboot", job_id="one")
    again = hub.jobs.invoke_method("*", "reboot", job_id="one")
    assert (len(device.calls), again.status) == (1, "completed")
    assert len([e for e in service.events.about(kind="again") if "job one" in e.text]) == 1
    with refused(Conflict, "409002"):
        hub.jobs.invoke_method("*", "restart", job_id="one")


_numbers = itertools.count()


@pytest.mark.parametrize(
    "change",
    [
        {"condition": "tags.x == 1"},
        {"kind": "firmwareUpdate"},
        {"max_seconds": 0},
        {"id": "a job"},
        {"request": {**METHOD, "methodName": "no blanks"}},
        {"request": {**METHOD, "responseTimeoutInSeconds": 0}},
        {"kind": "scheduleUpdateTwin", "request": {}},
    ],
)
def test_what_cannot_be_a_job_is_refused(hub: Hub, change: dict[str, Any]) -> None:
    plan = {"id": "j", "kind": "scheduleDeviceMethod", "condition": "*", "request": METHOD}
    with refused(ServiceRefusal, "400004"):
        hub.jobs.create(Plan(**{**plan, **change}))
    assert list(hub.jobs) == []


# ---- when, and how long


def test_a_job_waits_for_its_time_by_the_labs_clock(service: Emulated, hub: Hub) -> None:
    (device,) = fleet(hub, "a1")
    start = service.clock.now() + timedelta(days=2)
    job = hub.jobs.create(Plan("later", job_tables.METHOD, "*", METHOD, start))
    assert job.status == "scheduled"
    assert device.calls == []
    service.clock.advance(days=3)
    assert over(hub, "later").status == "completed"
    assert len(device.calls) == 1


def test_a_scheduled_job_is_cancelled(service: Emulated, hub: Hub) -> None:
    (device,) = fleet(hub, "a1")
    start = service.clock.now() + timedelta(days=2)
    hub.jobs.create(Plan("later", job_tables.METHOD, "*", METHOD, start))
    assert hub.jobs.cancel("later").status == "cancelled"
    service.clock.advance(days=3)
    assert hub.jobs.update_twin("*", tags={"x": 1}).status == "completed"
    assert device.calls == []
    assert hub.jobs.cancel("later").status == "cancelled", "twice is harmless"


def test_a_running_job_is_cancelled_where_it_is(hub: Hub) -> None:
    silent = fleet(hub, "a1", "a2", answers=False)
    hub.jobs.create(Plan("slow", job_tables.METHOD, "*", METHOD))
    eventually(lambda: all(device.calls for device in silent))
    hub.jobs.cancel("slow")
    assert over(hub, "slow").counts == {"canceled": 2}
    assert hub.jobs.get("slow").status == "cancelled"


def test_a_job_ends_when_its_time_is_over(hub: Hub) -> None:
    fleet(hub, "a1", answers=False)
    hub.jobs.create(Plan("slow", job_tables.METHOD, "*", METHOD, max_seconds=1))
    assert over(hub, "slow").counts == {"failed": 1}
    assert hub.jobs.outcomes("slow")[0].error["description"] == "the job's time was over"


def test_jobs_are_done_one_after_the_other(hub: Hub) -> None:
    fleet(hub, "a1", answers=False)
    hub.jobs.create(Plan("slow", job_tables.METHOD, "*", METHOD))
    eventually(lambda: hub.jobs.get("slow").status == "running")
    second = hub.jobs.update_twin("*", tags={"x": 1}, wait=False)
    assert second.status == "queued"
    hub.jobs.cancel("slow")
    assert over(hub, second.id).status == "completed"


def test_a_lab_that_is_closed_leaves_no_job_running(tmp_path: Path) -> None:
    """What was under way has failed, and what was queued is taken up by the next lab."""
    place = tmp_path / "cloud"
    with emulated(place, hubs=("alpha-hub",)) as first:
        hub = first.cloud.hubs.get("alpha-hub")
        fleet(hub, "a1", answers=False)
        hub.jobs.create(Plan("slow", job_tables.METHOD, "*", METHOD))
        eventually(lambda: hub.jobs.get("slow").status == "running")
        hub.jobs.update_twin("*", tags={"x": 1}, job_id="next", wait=False)
    with emulated(place, hubs=("alpha-hub",)) as second:
        hub = second.cloud.hubs.get("alpha-hub")
        slow = hub.jobs.get("slow")
        assert (slow.status, slow.reason) == ("failed", "the lab was closed before it was over")
        assert over(hub, "next").status == "completed"
        assert hub.twin("a1").tags["x"] == 1
