"""Microsoft's Node device client, unmodified, on a live connection to a hub."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sdk_clients import HUB
from stories import PemDevice, Story, eventually, failed_check, pem_device

from labkit.cloud.hub import authentication
from labkit.cloud.hub.live import Subject

_PATIENCE = 30.0


class Node:
    """A device's process. ``next`` is the next line that it printed."""

    def __init__(self, story: Story, modules: Path, device: PemDevice, **wanted: str) -> None:
        said = {
            "transport": "mqtt",
            "hub": HUB,
            "host": story.lab.listener.host,
            "id": device.name,
            "cert": str(device.chain_file),
            "key": str(device.key_file),
            **wanted,
        }
        self.process = subprocess.Popen(
            ["node", "hub_device.js", json.dumps(said)],
            cwd=modules,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "NODE_EXTRA_CA_CERTS": str(story.lab.server.root_file)},
        )
        self._lines: queue.Queue[bytes] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def next(self) -> Any:
        return json.loads(self._lines.get(timeout=_PATIENCE))

    def stop(self) -> None:
        """As a device is switched off: it says goodbye to its hub."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(_PATIENCE)
        finally:
            self.process.kill()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self._lines.put(line)


Start = Callable[..., Node]


@pytest.fixture
def start(on_443: Story, modules: Path) -> Iterator[Start]:
    """Starts a device's process."""
    begun: list[Node] = []

    def start(device: PemDevice, **wanted: str) -> Node:
        begun.append(Node(on_443, modules, device, **wanted))
        return begun[-1]

    yield start
    for node in begun:
        node.stop()


def known(story: Story, directory: Path, name: str) -> PemDevice:
    """A device with an identity by thumbprint in the hub."""
    device = pem_device(story, directory / "pem", name)
    story.lab.hub().devices.create(name, certificate=device.chain[0])
    return device


@pytest.mark.parametrize(
    ("transport", "hub"),
    [
        ("mqtt", "{host}:8883"),
        ("mqtt", "localhost:8883"),
        ("mqtt", HUB),
        ("mqtt-ws", HUB),
    ],
    ids=["MQTT, by address", "MQTT, localhost", "MQTT, by name", "WebSockets, by name"],
)
def test_everything_goes_both_ways(
    on_443: Story,
    start: Start,
    tmp_path: Path,
    transport: str,
    hub: str,
    request: pytest.FixtureRequest,
) -> None:
    """Telemetry, twin both ways, a method, a cloud-to-device message. The client writes its hub
    into the user name as it was told, port and all."""
    device = known(on_443, tmp_path, f"node-hub-{request.node.callspec.indices['hub']}")
    name, cloud = device.name, on_443.lab.hub()
    cloud.update_twin(name, desired={"interval": 5})
    node = start(device, transport=transport, hub=hub.format(host=on_443.lab.listener.host))
    assert node.next() == {"ready": True}
    assert node.next() == {"desired": {"interval": 5, "$version": 2}}
    eventually(lambda: cloud.connections.reach(cloud.name, name, Subject.DESIRED))

    (message,) = cloud.messages(name)
    assert (message.text, message.properties) == ('{"temperature":21.5}', {"floor": "3"})
    assert message.system["mid"] == "m 1"
    assert cloud.twin(name).reported == {"firmware": "1.0"}

    cloud.update_twin(name, desired={"interval": 7})
    assert node.next()["desired"]["interval"] == 7
    answer = cloud.invoke(name, "echo", {"n": [1, None]})
    assert (answer.status, answer.payload) == (207, {"got": {"n": [1, None]}})

    cloud.send(name, "wake up", message_id="m 2", priority="high & dry")
    assert node.next() == {
        "message": "wake up",
        "id": "m 2",
        "properties": [["priority", "high & dry"]],
        "error": None,
    }
    eventually(lambda: not cloud.queued(name))


@pytest.mark.parametrize("settle", ["complete", "reject", "abandon"])
def test_over_https_messages_are_fetched_and_settled(
    on_443: Story, start: Start, tmp_path: Path, settle: str
) -> None:
    """The client asks once a second, and settles each by the lock that came with it."""
    device = known(on_443, tmp_path, f"node-https-{settle}")
    cloud = on_443.lab.hub()
    cloud.send(device.name, "wake up", message_id="m 2", priority="high & dry")
    node = start(device, transport="http", settle=settle)
    assert node.next() == {"ready": True}
    assert [m.properties for m in cloud.messages(device.name)] == [{"floor": "3"}]
    expected = {
        "message": "wake up",
        "id": "m 2",
        "properties": [["iothub-app-priority", "high & dry"]],
        "error": None,
    }
    assert node.next() == expected
    if settle == "abandon":
        assert node.next() == expected, "it waits again, and is fetched again"
        assert len(cloud.queued(device.name)) == 1
    else:
        assert not cloud.queued(device.name)
    words = {"complete": "completed", "reject": "rejected", "abandon": ""}[settle]
    said = [e.text for e in on_443.lab.events.about(source="hub") if device.name in e.text]
    assert any("ed a cloud-to-device message" in text and words in text for text in said) is bool(
        words
    )


def test_who_shows_another_certificate_is_refused(
    on_443: Story, start: Start, tmp_path: Path
) -> None:
    known(on_443, tmp_path, "node-hub-refused")
    other = pem_device(on_443, tmp_path / "pem", "node-hub-refused")
    told = start(other).next()
    assert told["error"] == "UnauthorizedError"
    assert failed_check(on_443.lab, "node-hub-refused") == authentication.THUMBPRINT
