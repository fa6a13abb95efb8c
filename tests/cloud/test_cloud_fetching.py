"""Cloud-to-device messages that a device fetches, locks and settles: one is never with two."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from complaints import refused
from hub_world import HUB, NAME, World
from provisioning import Emulated, emulated

from labkit.cloud.hub import commands, placement
from labkit.cloud.hub.commands import Fetched
from labkit.cloud.hub.live import Subject
from labkit.errors import ServiceRefusal


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[Emulated]:
    with emulated(tmp_path / "cloud") as opened:
        yield opened


@pytest.fixture
def world(emulator: Emulated) -> World:
    return World(emulator)


def fetch(world: World) -> Fetched:
    found = world.hub.fetch(NAME)
    assert found is not None
    return found


def waiting(world: World) -> list[str]:
    return [one.text for one in world.hub.queued(NAME)]


def test_the_oldest_is_fetched_first_and_none_twice(world: World) -> None:
    for text in "ab":
        world.hub.send(NAME, text)
    assert [fetch(world).message.text for _ in "ab"] == ["a", "b"]
    assert world.hub.fetch(NAME) is None
    assert waiting(world) == ["a", "b"], "until the device says that it has them"


def test_completed_and_rejected_are_gone_and_abandoned_waits_again(
    world: World, emulator: Emulated
) -> None:
    for text in "abc":
        world.hub.send(NAME, text)
    locks = [fetch(world).lock for _ in "abc"]
    for lock, how in zip(locks, ("complete", "reject", "abandon"), strict=True):
        world.hub.settle(NAME, lock, how)  # type: ignore[arg-type]
    assert waiting(world) == ["c"]
    assert fetch(world).message.text == "c"
    kinds = [event.kind for event in emulator.events.about(source="hub")]
    assert [kinds.count(kind) for kind in ("completed", "dead-lettered")] == [1, 1]


def test_a_lock_lasts_a_minute_by_the_labs_clock(world: World, emulator: Emulated) -> None:
    world.hub.send(NAME, "a")
    first = fetch(world)
    emulator.clock.advance(seconds=59)
    assert world.hub.fetch(NAME) is None
    emulator.clock.advance(seconds=2)
    second = fetch(world)
    with refused(ServiceRefusal, "412 412002", "DeviceMessageLockLost", "within 60 s"):
        world.hub.settle(NAME, first.lock, "complete")
    assert waiting(world) == ["a"]
    world.hub.settle(NAME, second.lock, "complete")
    assert waiting(world) == []


def test_a_lock_settles_once_and_for_its_own_device_only(world: World, emulator: Emulated) -> None:
    other = World(emulator, "another")
    world.hub.send(NAME, "a")
    lock = fetch(world).lock
    with refused(ServiceRefusal, "412002"):
        other.hub.settle("another", lock, "complete")
    world.hub.settle(NAME, lock, "abandon")
    with refused(ServiceRefusal, "412002"):
        world.hub.settle(NAME, lock, "complete")
    assert waiting(world) == ["a"]


def test_a_message_is_with_one_of_the_two_transports(world: World) -> None:
    """What was brought over MQTT is not fetched beside it, and the other way round."""
    world.hub.send(NAME, "locked")
    lock = fetch(world).lock
    line = world.connect(Subject.MESSAGES)
    assert line.delivered == []
    world.hub.send(NAME, "brought")
    assert len(line.delivered) == 1
    assert world.hub.fetch(NAME) is None
    world.hub.settle(NAME, lock, "abandon")
    assert len(line.delivered) == 2, "who listens is brought it at once"
    world.hub.disconnected(NAME, line)
    assert {fetch(world).message.text for _ in range(2)} == {"locked", "brought"}


def test_a_message_that_was_fetched_ten_times_in_vain_is_given_up(
    world: World, emulator: Emulated
) -> None:
    world.hub.send(NAME, "poison")
    for _ in range(commands.MOST_DELIVERIES):
        world.hub.settle(NAME, fetch(world).lock, "abandon")
    assert world.hub.fetch(NAME) is None
    assert waiting(world) == []


def test_what_is_locked_for_the_tenth_time_is_not_taken_away_by_the_next_message(
    world: World,
) -> None:
    world.hub.send(NAME, "slow")
    for _ in range(commands.MOST_DELIVERIES - 1):
        world.hub.settle(NAME, fetch(world).lock, "abandon")
    lock = fetch(world).lock
    world.hub.send(NAME, "next")
    assert waiting(world) == ["slow", "next"]
    world.hub.settle(NAME, lock, "complete")
    assert waiting(world) == ["next"]


def test_what_has_expired_is_not_fetched(world: World, emulator: Emulated) -> None:
    world.hub.send(NAME, "short", expires_in=60)
    emulator.clock.advance(minutes=2)
    assert world.hub.fetch(NAME) is None


def test_a_purge_ends_the_locks(world: World) -> None:
    world.hub.send(NAME, "a")
    lock = fetch(world).lock
    assert world.hub.purge(NAME) == 1
    with refused(ServiceRefusal, "412002"):
        world.hub.settle(NAME, lock, "complete")


def test_an_old_lock_does_not_settle_a_new_devices_message(
    world: World, emulator: Emulated
) -> None:
    """Nor does its number come again, though SQLite would give it to the next row."""
    world.hub.send(NAME, "the old one's")
    old = fetch(world)
    with emulator.cloud.database.quick_write() as connection:
        placement.remove(connection, HUB, NAME)
    again = World(emulator)
    emulator.clock.advance(seconds=1)
    assert again.hub.send(NAME, "the new one's").number > old.message.number
    again.hub.settle(NAME, old.lock, "complete")
    assert waiting(again) == ["the new one's"]
