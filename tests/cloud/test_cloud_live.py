"""Who is connected to a hub, and direct methods, without sockets."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future, wait
from pathlib import Path
from typing import Any

import pytest
from complaints import refused
from hub_world import HUB, NAME, Line, World, add_identity
from provisioning import Emulated, emulated
from stories import eventually

from labkit.cloud import Presented
from labkit.cloud.hub import methods
from labkit.cloud.hub.live import Connections, Subject
from labkit.cloud.hub.methods import MethodResult
from labkit.errors import ServiceRefusal


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[Emulated]:
    with emulated(tmp_path / "cloud") as opened:
        yield opened


@pytest.fixture
def world(emulator: Emulated) -> World:
    return World(emulator)


# ---- connections


def test_the_newer_connection_ends_the_older_and_the_device_can_ask_why(
    world: World, emulator: Emulated
) -> None:
    """Azure's 400027. The older's own end comes later, and takes nothing from the newer."""
    older, newer = world.connect(), world.connect()
    assert len(older.ends) == 1
    assert newer.ends == []
    world.hub.disconnected(NAME, older)
    assert world.hub.connections.find(HUB, NAME) is newer
    why = emulator.cloud.refusals.last(NAME)
    assert why is not None
    assert why.code == "400027"
    assert emulator.cloud.refusals.last() is None, "nobody was refused: it is no one's last refusal"


def test_a_device_of_the_same_name_in_another_hub_is_another_device(emulator: Emulated) -> None:
    world = World(emulator)
    line = world.connect()
    other = emulator.cloud.hubs.get("beta-hub")
    add_identity(emulator, other, NAME, world.device)
    other.connect(NAME, NAME, Presented((world.device.certificate,)), outlet=Line())
    assert line.ends == []


def test_end_reaches_the_device_once_and_only_while_it_is_connected(world: World) -> None:
    line = world.connect(Subject.METHODS)
    assert world.hub.connections.end(HUB, NAME, "disabled") is True
    assert world.hub.connections.end(HUB, NAME, "disabled") is False
    assert line.ends == ["disabled"]
    assert world.hub.connections.reach(HUB, NAME, Subject.METHODS) is None


def test_every_hub_object_of_a_lab_knows_of_the_same_connections(
    world: World, emulator: Emulated
) -> None:
    """Hub objects are made for each call; what is live belongs to the lab."""
    line = world.connect()
    (found,) = emulator.cloud.hubs.get(HUB).connected()
    assert (found.device_id, found.connected) == (NAME, True)
    world.hub.disconnected(NAME, line)
    assert emulator.cloud.hubs.get(HUB).connected() == []


def test_presence_is_told_in_the_labs_time(world: World, emulator: Emulated) -> None:
    line, connections = world.connect(), world.hub.connections
    came = emulator.clock.now()
    emulator.clock.advance(days=1)
    connections.heard(HUB, NAME, emulator.clock.now())
    emulator.clock.advance(days=1)
    world.hub.disconnected(NAME, line)
    found = connections.presence(HUB, NAME)
    assert found is not None
    assert not found.connected
    assert [(moment - came).days for moment in (found.last_activity, found.since)] == [1, 2]
    connections.forget(HUB, NAME)
    assert connections.presence(HUB, NAME) is None


def test_connections_made_and_ended_by_many_threads_leave_one_and_no_ends_twice() -> None:
    import datetime as dt

    connections = Connections(lambda: dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
    lines = [Line() for _ in range(200)]

    def enter(some: list[Line]) -> None:
        for line in some:
            connections.enter(HUB, NAME, line)

    threads = [threading.Thread(target=enter, args=(lines[n::4],)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    left = [line for line in lines if not line.ends]
    assert left == [connections.find(HUB, NAME)]
    assert all(len(line.ends) <= 1 for line in lines)


# ---- methods


def outcome(begun: Future[MethodResult]) -> MethodResult:
    return begun.result(timeout=5)


def test_a_method_is_brought_and_its_answer_is_the_result(world: World) -> None:
    line = world.connect(Subject.METHODS)
    begun = world.hub.begin_method(NAME, "reboot", {"delay": 5})
    assert not begun.done(), "it never blocks"
    assert (line.call.name, line.call.payload) == ("reboot", {"delay": 5})
    world.hub.answer_method(NAME, line.call.request_id, 200, {"ok": True})
    assert outcome(begun) == MethodResult(200, {"ok": True})


@pytest.mark.parametrize("listens", [(), (Subject.MESSAGES, Subject.DESIRED)])
def test_a_device_that_does_not_listen_to_methods_is_not_online(
    world: World, listens: tuple[Subject, ...]
) -> None:
    """As in Azure: a connected device that has set no handler answers 404103 too."""
    world.connect(*listens)
    with refused(ServiceRefusal, "404 404103", "connect the device"):
        world.hub.invoke(NAME, "reboot")


def test_a_device_that_comes_in_time_gets_the_call(world: World) -> None:
    begun = world.hub.begin_method(NAME, "reboot", connect_timeout=5)
    line = world.connect(Subject.METHODS)
    world.hub.answer_method(NAME, line.call.request_id, 200, None)
    assert outcome(begun).status == 200


def test_a_device_that_does_not_come_in_time_is_404103(world: World) -> None:
    begun = world.hub.begin_method(NAME, "reboot", connect_timeout=0.05)
    with refused(ServiceRefusal, "404 404103", "within 0.05 s"):
        outcome(begun)
    line = world.connect(Subject.METHODS)
    assert line.delivered == [], "and the call is not made behind the caller's back"


def test_no_answer_in_time_is_504101_and_a_late_one_is_passed_over(world: World) -> None:
    line = world.connect(Subject.METHODS)
    with refused(ServiceRefusal, "504 504101", "no answer came in 0.05 s"):
        world.hub.invoke(NAME, "reboot", response_timeout=0.05)
    world.hub.answer_method(NAME, line.call.request_id, 200, None)


def test_only_the_device_that_was_called_can_answer(world: World, emulator: Emulated) -> None:
    line = world.connect(Subject.METHODS)
    begun = world.hub.begin_method(NAME, "reboot")
    world.hub.answer_method("another", line.call.request_id, 500, None)
    emulator.cloud.hubs.get("beta-hub").answer_method(NAME, line.call.request_id, 500, None)
    world.hub.answer_method(NAME, "nobody asked", 500, None)
    assert not begun.done()


@pytest.mark.parametrize(
    ("device", "name", "payload", "timeouts", "code"),
    [
        ("nobody", "reboot", None, (30, 0), "404001"),
        (NAME, "", None, (30, 0), "400004"),
        (NAME, "a/b", None, (30, 0), "400004"),
        (NAME, "a b", None, (30, 0), "400004"),
        (NAME, "reboot", None, (0, 0), "400004"),
        (NAME, "reboot", None, (301, 0), "400004"),
        (NAME, "reboot", None, (30, 301), "400004"),
        (NAME, "reboot", None, (30, -1), "400004"),
        (NAME, "reboot", float("nan"), (30, 0), "400004"),
        (NAME, "reboot", {1, 2}, (30, 0), "400004"),
        (NAME, "reboot", "x" * methods.LARGEST_PAYLOAD, (30, 0), "400004"),
    ],
)
def test_a_call_that_cannot_be_made_is_refused(
    world: World, device: str, name: str, payload: Any, timeouts: tuple[float, float], code: str
) -> None:
    line = world.connect(Subject.METHODS)
    with refused(ServiceRefusal, code):
        outcome(world.hub.begin_method(device, name, payload, *timeouts))
    assert line.delivered == []


def test_a_thousand_calls_at_a_time_take_one_thread(emulator: Emulated) -> None:
    """Half of the devices never come, half of them never answer: all are told so, in time."""
    worlds = [World(emulator, f"widget-{n}") for n in range(10)]
    for world in worlds[:5]:
        world.connect(Subject.METHODS)
    before = threading.active_count()
    begun = [
        world.hub.begin_method(world.name, "reboot", None, 0.5, 0.5)
        for world in worlds
        for _ in range(100)
    ]
    assert threading.active_count() <= before + 1
    assert not wait(begun, timeout=20).not_done
    assert [call.exception().error.code for call in begun] == [504101] * 500 + [404103] * 500  # type: ignore[union-attr]
    eventually(lambda: threading.active_count() <= before)


def test_who_waits_when_the_lab_closes_is_told(world: World, emulator: Emulated) -> None:
    world.connect(Subject.METHODS)
    begun = world.hub.begin_method(NAME, "reboot")
    World(emulator, "absent")
    waits = world.hub.begin_method("absent", "reboot", connect_timeout=5)
    emulator.cloud.hubs.close()
    for call in (begun, waits):
        with pytest.raises(CancelledError):
            outcome(call)


def test_a_caller_that_gives_up_harms_nobody(world: World) -> None:
    line = world.connect(Subject.METHODS)
    begun = world.hub.begin_method(NAME, "reboot", response_timeout=0.05)
    assert begun.cancel()
    world.hub.answer_method(NAME, line.call.request_id, 200, None)
    time.sleep(0.1)
    assert world.hub.begin_method(NAME, "again") is not None
