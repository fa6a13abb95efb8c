"""How long the hub waits for a client, by the keep-alive that it named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import wire_clients as wire
from hub_world import HUB, NAME, World
from provisioning import emulated

from labkit.cloud import Presented
from labkit.wire.mqtt.connection import MqttConnection


class Plain:
    """A channel without a socket: what is sent and waited for, in lists."""

    is_full = is_closing = False
    peer = "127.0.0.1"

    def __init__(self, presented: Presented) -> None:
        self.presented = presented
        self.sent: list[bytes] = []
        self.waits: list[float] = []

    def send(self, data: bytes) -> None:
        self.sent.append(data)

    def close(self) -> None:
        raise AssertionError("nobody wanted that")

    def expect_within(self, seconds: float, what: str) -> None:
        self.waits.append(seconds)

    def work(self, job: object, then: object) -> None:
        raise AssertionError("nothing here takes its time")

    def soon(self, call: Callable[[], None]) -> None:
        call()


@pytest.mark.parametrize(
    ("keep_alive", "seconds"), [(60, 90), (180, 270), (1177, 1765.5), (1200, 1767), (0, 1767)]
)
def test_one_and_a_half_times_the_keep_alive_and_at_most_1767_seconds(
    tmp_path: Path, keep_alive: int, seconds: float
) -> None:
    """Azure's cap, 29.45 minutes, which also is the patience with who names no keep-alive."""
    with emulated(tmp_path / "cloud", (HUB,)) as emulator:
        world = World(emulator)
        channel = Plain(Presented((world.device.certificate,)))
        connection = MqttConnection(channel, emulator.cloud, emulator.events)
        user = f"{world.hub.host_name}/{NAME}/?api-version=2021-04-12"
        connection.received(wire.connect(NAME, user, keep_alive=keep_alive))
        connection.received(wire.PING[:1])
        assert channel.waits[1:] == [seconds], "and half a packet buys no time"
        connection.received(wire.PING[1:])
        assert channel.waits[1:] == [seconds, seconds]
        connection.closed()
