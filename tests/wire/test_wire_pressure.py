"""Clients that read slowly or not at all: nothing piles up for them, and they are let go."""

from __future__ import annotations

import itertools
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import wire_clients as wire
from stories import PATIENCE, PemDevice, Story, eventually, found_again, open_lab, pem_device, said
from wire_clients import MqttClient, at_dps, hub_user, publish, register, secure, subscribe, tls

from labkit import Lab
from labkit.wire import tls as server_tls

GET = "$iothub/twin/GET/?$rid={}"
MANY = 450
"""Answers of 30 KB each: more than the kernel's buffers take in."""

_numbers = itertools.count()


@pytest.fixture
def device(shared: Story, tmp_path: Path) -> PemDevice:
    return pem_device(shared, tmp_path / "pem", f"pressed-{next(_numbers)}")


def stalled(lab: Lab, device: PemDevice, keep_alive: int = 60) -> MqttClient:
    """A client at its hub that has asked for a large twin many times, and reads no answer."""
    context = tls(lab, device.chain_file, device.key_file)
    with MqttClient(lab, context) as client:
        at_dps(client, lab, device.name)
        register(client)
    client = MqttClient(lab, context)
    hello = wire.connect(device.name, hub_user(lab, device.name), keep_alive=keep_alive)
    assert client.ask(hello, subscribe("$iothub/twin/res/#")).body == b"\0\0"
    assert client.receive().kind == wire.SUBACK
    lab.hub().report(device.name, {f"text-{n}": "x" * 3_000 for n in range(10)})
    client.send(*(publish(GET.format(n), b" ", packet_id=None, qos=0) for n in range(MANY)))
    eventually(lambda: any(link.is_full for link in list(lab.listener._links)))
    return client


def answers(lab: Lab, name: str) -> int:
    return len([e for e in lab.events.about(kind="sent") if name in e.text])


@pytest.fixture
def nobody(shared: Story) -> Iterator[None]:
    """No link is left of what the test did."""
    yield
    eventually(lambda: not shared.lab.listener._links)


@pytest.mark.usefixtures("nobody")
def test_who_does_not_read_is_given_no_more_to_do_until_it_does(
    shared: Story, device: PemDevice
) -> None:
    with stalled(shared.lab, device) as client:
        time.sleep(0.1)
        assert answers(shared.lab, device.name) < MANY
        topics = [client.receive().topic for _ in range(MANY)]
        assert topics == [f"$iothub/twin/res/200/?$rid={n}" for n in range(MANY)]
        assert client.ask(wire.PING).kind == wire.PINGRESP


@pytest.mark.usefixtures("nobody")
def test_who_never_reads_is_cut_off(
    shared: Story, device: PemDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_tls, "STALL_SECONDS", 0.3)
    with stalled(shared.lab, device):
        eventually(lambda: not shared.lab.listener._links)
        assert said(shared.lab, "tls", "does not read")
        assert said(shared.lab, "hub", f"{device.name} left")


@pytest.mark.usefixtures("nobody")
def test_a_close_does_not_wait_for_ever_for_who_does_not_read(
    shared: Story, device: PemDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last answers never go out, and neither does TLS's goodbye."""
    monkeypatch.setattr(server_tls, "GOODBYE_SECONDS", 0.2)
    with stalled(shared.lab, device):
        for link in list(shared.lab.listener._links):
            link.soon(link.close)
        eventually(lambda: not shared.lab.listener._links)
        assert said(shared.lab, "hub", f"{device.name} left")


@pytest.mark.usefixtures("nobody")
def test_who_is_not_listened_to_is_not_called_silent(shared: Story, device: PemDevice) -> None:
    """Its pings wait in its own socket: while it does not read, its keep-alive does not count."""
    with stalled(shared.lab, device, keep_alive=1) as client:
        time.sleep(2)
        for number in range(MANY):
            assert client.receive().topic.endswith(f"={number}")
        assert client.ask(wire.PING).kind == wire.PINGRESP


def test_stopping_lets_go_of_who_does_not_read_and_tells_the_hub(
    told: Path, tmp_path: Path
) -> None:
    shutil.copytree(told, tmp_path / "lab")
    with open_lab(tmp_path / "lab") as lab:
        device = pem_device(found_again(lab), tmp_path / "pem", "stays")
        client, begin = stalled(lab, device), time.monotonic()
        lab.listener.stop()
        assert time.monotonic() - begin < PATIENCE
        assert not lab.listener._links
        assert [e.text for e in lab.events.about(kind="disconnected")] == ["stays left contoso-hub"]
        client.socket.close()


@pytest.mark.usefixtures("nobody")
def test_https_takes_no_further_request_from_who_does_not_read(
    shared: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    from labkit.wire.http.messages import Response

    router = shared.lab.listener._services.dps
    monkeypatch.setattr(router, "_routes", list(router._routes))
    router.add("GET", "/large", lambda *_: Response(200, b"x" * 100_000))
    ask, many = b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n", 200

    def served() -> int:
        return len([e for e in shared.lab.events.about(source="https") if "/large" in e.text])

    with secure(shared.lab, tls(shared.lab), shared.lab.listener.https_port) as client:
        client.sendall(ask * many)
        eventually(lambda: any(link.is_full for link in list(shared.lab.listener._links)))
        time.sleep(0.1)
        assert served() < many
        found = 0
        while found < many * 100_000:
            found += client.recv(1 << 20).count(b"x")
        assert served() == many


# ---- what a twin may hold

REPORT = "$iothub/twin/PATCH/properties/reported/?$rid=1"


@pytest.mark.parametrize(
    ("patch", "check"),
    [
        ({"text": "x" * 4_097}, "a text of more than 4,096 bytes"),
        ({f"text-{n}": "x" * 4_096 for n in range(9)}, "32,768 at most"),
        ({str(n): n for n in range(5_000)}, "32,768 at most"),
        ({"a": {"b": [[[[[[[[[[1]]]]]]]]]]}}, "more than 10 levels"),
        ({"a.b": 1}, "no dot"),
        ({"n": 1 << 52}, "an integer outside"),
    ],
    ids=["a long text", "many of them", "many numbers", "too deep", "a name", "a number"],
)
def test_more_than_a_twin_holds_is_400_with_azures_body_and_can_be_explained(
    shared: Story, device: PemDevice, patch: object, check: str
) -> None:
    context = tls(shared.lab, device.chain_file, device.key_file)
    with MqttClient(shared.lab, context) as client:
        at_dps(client, shared.lab, device.name)
        register(client)
    with MqttClient(shared.lab, context) as client:
        assert client.enter(device.name, hub_user(shared.lab, device.name)) == 0
        client.ask(subscribe("$iothub/twin/res/#"))
        answer = wire.request(client, REPORT, json.dumps(patch).encode())
        assert answer.topic == "$iothub/twin/res/400/?$rid=1"
        assert answer.json["errorCode"] == 400004, "the Node SDK looks for this"
        found = shared.lab.explain(answer.json["trackingId"])
        assert found.failure is not None
        assert check in found.failure.why
        assert found.cures
        assert shared.lab.hub().twin(device.name).reported_version == 1
        most = {f"text-{n}": "x" * 4_000 for n in range(8)}
        answer = wire.request(client, REPORT, json.dumps(most).encode())
        assert "/res/204/" in answer.topic
