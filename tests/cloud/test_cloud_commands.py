"""Cloud-to-device messages: kept, brought in order, completed, and what becomes of the others."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from complaints import refused
from hub_world import HUB, NAME, Line, World
from provisioning import Emulated, emulated

from labkit.cloud.hub import commands, placement
from labkit.cloud.hub.live import CloudMessage, Subject
from labkit.errors import ServiceRefusal


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[Emulated]:
    with emulated(tmp_path / "cloud") as opened:
        yield opened


@pytest.fixture
def world(emulator: Emulated) -> World:
    return World(emulator)


def brought(line: Line) -> list[CloudMessage]:
    assert all(isinstance(one, CloudMessage) for one in line.delivered)
    return line.delivered  # type: ignore[return-value]


def texts(line: Line) -> list[str]:
    return [one.body.decode() for one in brought(line)]


def waiting(world: World) -> list[str]:
    return [one.text for one in world.hub.queued(NAME)]


def test_a_message_waits_for_the_device_and_goes_when_it_is_completed(world: World) -> None:
    world.hub.send(NAME, "wake up", message_id="m-1", priority="high")
    assert waiting(world) == ["wake up"]
    line = world.connect(Subject.MESSAGES)
    (message,) = brought(line)
    assert message.properties == {"priority": "high"}
    assert message.system == {"mid": "m-1", "to": f"/devices/{NAME}/messages/devicebound"}
    assert waiting(world) == ["wake up"], "until the device says that it has it"
    world.hub.complete(NAME, message.number)
    assert waiting(world) == []


def test_a_connected_device_gets_each_once_and_in_order(world: World) -> None:
    line = world.connect(Subject.MESSAGES)
    for number in range(5):
        world.hub.send(NAME, f"{number}")
    assert texts(line) == ["0", "1", "2", "3", "4"]


def test_who_does_not_listen_gets_none_until_it_does(world: World) -> None:
    line = world.connect(Subject.METHODS)
    world.hub.send(NAME, "later")
    assert line.delivered == []
    world.hub.listen(NAME, line, {Subject.MESSAGES: 1}, clean=True)
    assert texts(line) == ["later"]
    world.hub.listen(NAME, line, {Subject.MESSAGES: 1, Subject.METHODS: 1}, clean=True)
    assert texts(line) == ["later"], "a further subscription brings nothing twice"


def test_what_was_not_completed_is_brought_to_the_next_connection(world: World) -> None:
    first = world.connect(Subject.MESSAGES)
    world.hub.send(NAME, "a")
    world.hub.send(NAME, "b")
    world.hub.complete(NAME, brought(first)[0].number)
    assert texts(world.connect(Subject.MESSAGES)) == ["b"]


def test_bytes_text_and_json_are_bodies(world: World) -> None:
    line = world.connect(Subject.MESSAGES)
    for body in (b"\xff\x00", "text", {"a": [1]}, 7):
        world.hub.send(NAME, body)
    assert [one.body for one in brought(line)] == [b"\xff\x00", b"text", b'{"a": [1]}', b"7"]
    assert ["ct" in one.system for one in brought(line)] == [False, False, True, True]


# ---- limits and ends


def test_the_51st_message_is_refused_with_azures_code_until_there_is_room(world: World) -> None:
    for number in range(commands.MOST_QUEUED):
        world.hub.send(NAME, str(number))
    with refused(ServiceRefusal, "403 403004", "purge the queue"):
        world.hub.send(NAME, "one more")
    line = world.connect(Subject.MESSAGES)
    assert len(line.delivered) == commands.MOST_QUEUED
    world.hub.complete(NAME, brought(line)[0].number)
    world.hub.send(NAME, "one more")
    assert world.hub.purge(NAME) == commands.MOST_QUEUED
    assert waiting(world) == []


def test_a_queue_of_fifty_holds_when_many_send_at_a_time(world: World) -> None:
    """Nobody gets in between the count and the message."""
    refusals: list[ServiceRefusal] = []

    def send() -> None:
        for _ in range(10):
            try:
                world.hub.send(NAME, "x")
            except ServiceRefusal as refusal:
                refusals.append(refusal)

    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(waiting(world)), len(refusals)) == (50, 10)


def test_a_message_expires_by_the_labs_clock(world: World, emulator: Emulated) -> None:
    world.hub.send(NAME, "short", expires_in=60)
    world.hub.send(NAME, "an hour")
    emulator.clock.advance(minutes=2)
    assert waiting(world) == ["an hour"]
    assert texts(world.connect(Subject.MESSAGES)) == ["an hour"]
    emulator.clock.advance(hours=2)
    assert texts(world.connect(Subject.MESSAGES)) == []
    assert [e.kind for e in emulator.events.about(kind="expired")] == ["expired"] * 2


def test_a_message_that_ten_connections_did_not_complete_is_given_up(
    world: World, emulator: Emulated
) -> None:
    """A message that a device dies of does not block its queue for ever."""
    world.hub.send(NAME, "poison")
    for _ in range(commands.MOST_DELIVERIES):
        assert texts(world.connect(Subject.MESSAGES)) == ["poison"]
    assert texts(world.connect(Subject.MESSAGES)) == []
    assert emulator.events.about(kind="dead-lettered")


@pytest.mark.parametrize(
    ("device", "body", "options", "code"),
    [
        ("nobody", "x", {}, "404001"),
        (NAME, "x" * (commands.LARGEST + 1), {}, "400004"),
        (NAME, "x", {"big": "y" * commands.LARGEST}, "400004"),
        (NAME, {1, 2}, {}, "400004"),
        (NAME, float("nan"), {}, "400004"),
        (NAME, "x", {"expires_in": 0}, "400004"),
        (NAME, "x", {"expires_in": 2 * 24 * 3600 + 1}, "400004"),
        (NAME, "x", {"count": 7}, "400004"),
        (NAME, "x", {"half": "\ud800"}, "400004"),
        (NAME, "x", {"long": "ü" * (commands.LARGEST_BAG // 6)}, "400004"),
    ],
)
def test_what_no_hub_takes_is_refused_and_not_kept(
    world: World, device: str, body: object, options: dict[str, object], code: str
) -> None:
    with refused(ServiceRefusal, code):
        world.hub.send(device, body, **options)  # type: ignore[arg-type]
    assert waiting(world) == []


def test_only_its_own_messages_can_be_completed(world: World, emulator: Emulated) -> None:
    World(emulator, "another")
    sent = world.hub.send(NAME, "x")
    world.hub.complete("another", sent.number)
    emulator.cloud.hubs.get("beta-hub").complete(NAME, sent.number)
    assert waiting(world) == ["x"]


def test_a_late_word_on_a_message_that_is_gone_is_none_on_the_next(world: World) -> None:
    """SQLite would give the next message the number of the last one, once that is gone."""
    line = world.connect(Subject.MESSAGES)
    older = world.hub.send(NAME, "older")
    world.hub.purge(NAME)
    world.hub.send(NAME, "newer")
    world.hub.complete(NAME, older.number)
    assert waiting(world) == ["newer"]
    assert texts(line) == ["older", "newer"]


def test_a_device_made_anew_can_fetch_what_has_the_number_of_a_lost_lock(
    world: World, emulator: Emulated
) -> None:
    world.hub.send(NAME, "for the old one")
    assert world.hub.fetch(NAME) is not None
    world.hub.devices.delete(NAME)
    again = World(emulator)
    again.hub.send(NAME, "for the new one")
    found = again.hub.fetch(NAME)
    assert found is not None
    assert found.message.text == "for the new one"


def test_a_queue_and_what_was_listened_to_go_with_the_identity(
    world: World, emulator: Emulated
) -> None:
    """A device that is made anew under an old name gets nothing of the old one's."""
    line = world.connect()
    world.hub.listen(NAME, line, {Subject.MESSAGES: 1}, clean=False)
    world.hub.disconnected(NAME, line)
    world.hub.send(NAME, "for the old one")
    with emulator.cloud.database.quick_write() as connection:
        placement.remove(connection, HUB, NAME)
    again = World(emulator)
    assert waiting(again) == []
    assert again.hub.resume(NAME, Line(), clean=False) == {}


# ---- sessions


def test_what_a_lasting_session_listens_to_holds_until_a_clean_one(world: World) -> None:
    line = world.connect()
    granted = {Subject.MESSAGES: 1, Subject.METHODS: 0}
    world.hub.listen(NAME, line, granted, clean=False)
    world.hub.send(NAME, "x")
    again = world.connect()
    assert world.hub.resume(NAME, again, clean=False) == granted
    assert texts(again) == ["x"], "without a subscription of its own"
    assert world.hub.resume(NAME, world.connect(), clean=True) == {}
    assert world.hub.resume(NAME, world.connect(), clean=False) == {}
