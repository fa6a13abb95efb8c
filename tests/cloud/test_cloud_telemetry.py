"""Telemetry: kept, found again, followed, and let go."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_world import HUB, NAME, World
from provisioning import Emulated, emulated
from stories import PATIENCE

from labkit.clock import Clock
from labkit.cloud import Cloud
from labkit.cloud.hub import Hub, telemetry
from labkit.cloud.hub.telemetry import Telemetry
from labkit.events import Events


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[Emulated]:
    with emulated(tmp_path / "cloud") as opened:
        yield opened


@pytest.fixture
def hub(emulator: Emulated) -> Hub:
    return World(emulator).hub


def send(hub: Hub, *texts: str, device: str = NAME, **properties: str) -> None:
    hub.receive(device, [Telemetry(text.encode(), properties) for text in texts])


def test_messages_are_found_by_device_moment_number_and_properties(
    hub: Hub, emulator: Emulated
) -> None:
    send(hub, "a", "b", device="one", alert="yes")
    emulator.clock.advance(days=1)
    moment = emulator.clock.now()
    send(hub, "c", device="two", alert="yes", unit="K")
    send(hub, "d", device="two")
    assert [m.text for m in hub.messages("one")] == ["a", "b"]
    assert [m.text for m in hub.messages(since=moment)] == ["c", "d"]
    assert [m.text for m in hub.messages(properties={"alert": "yes"})] == ["a", "b", "c"]
    assert [m.text for m in hub.messages(properties={"alert": "yes", "unit": "K"})] == ["c"]
    assert [m.text for m in hub.messages(after=hub.messages()[1].number)] == ["c", "d"]
    assert hub.newest_message() == hub.messages()[-1].number
    assert emulator.cloud.hubs.get("beta-hub").messages() == []


def test_a_group_is_kept_whole_or_not_at_all(hub: Hub) -> None:
    rows = [Telemetry(b"good"), Telemetry(None)]  # type: ignore[arg-type]
    with pytest.raises((TypeError, sqlite3.IntegrityError)):
        hub.receive(NAME, rows)
    assert hub.messages() == []
    send(hub, "next")
    assert [m.text for m in hub.messages()] == ["next"]


# ---- following


def test_who_follows_gets_what_was_kept_and_then_what_comes_each_once(hub: Hub) -> None:
    send(hub, "before")
    sender = threading.Thread(
        target=lambda: [(time.sleep(0.02), send(hub, f"{n}")) for n in range(10)]
    )
    sender.start()
    found = [message.text for message in hub.messages(follow=True, patience=1)]
    sender.join()
    assert found == ["before", *map(str, range(10))]


def test_a_follower_that_filters_gets_what_it_wants_only(hub: Hub) -> None:
    send(hub, *map(str, range(1200)), device="noise")
    send(hub, "mine", alert="yes")
    follower = hub.messages(NAME, follow=True, properties={"alert": "yes"}, patience=0.2)
    assert [message.text for message in follower] == ["mine"]


def test_another_process_can_follow_what_this_one_keeps(hub: Hub, emulator: Emulated) -> None:
    """As ``labkit monitor`` does: it has the database, and nobody wakes it."""
    path = Path(emulator.cloud.database._engine.url.database or "")
    clock = Clock()
    other = Cloud(path, clock, Events(clock))
    followed = other.hubs.get(HUB).messages(follow=True, patience=PATIENCE)
    send(hub, "from afar")
    assert next(iter(followed)).text == "from afar"
    other.close()


def test_a_follower_is_woken_and_does_not_only_look_now_and_then(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telemetry, "_LOOK_SECONDS", 60.0)
    followed = iter(hub.messages(follow=True, patience=60))
    sender = threading.Timer(0.1, send, [hub, "now"])
    sender.start()
    assert next(followed).text == "now"
    sender.join()


# ---- retention


def test_the_oldest_make_room(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """By number, over all hubs of the lab; looked at now and then."""
    monkeypatch.setattr(telemetry, "KEPT_MESSAGES", 100)
    for start in range(0, 3000, 500):
        send(hub, *map(str, range(start, start + 500)))
    assert len(hub.messages()) < 100 + telemetry._PRUNE_AT[0]
    assert hub.messages()[-1].text == "2999"


def test_large_messages_make_room_by_their_size(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "KEPT_BYTES", 1_000_000)
    for number in range(100):
        send(hub, f"{number}".ljust(100_000))
    kept = hub.messages()
    assert sum(len(m.body) for m in kept) < 1_000_000 + telemetry._PRUNE_AT[1] + 100_000
    assert kept[-1].text.startswith("99")


def test_a_lab_that_is_opened_again_goes_on_counting(tmp_path: Path) -> None:
    with emulated(tmp_path / "cloud") as one:
        send(World(one).hub, "a")
        first = one.cloud.hubs.get(HUB).newest_message()
    with emulated(tmp_path / "cloud") as two:
        send(two.cloud.hubs.get(HUB), "b")
        assert two.cloud.hubs.get(HUB).newest_message() > first
