"""What takes its time is done elsewhere: nobody else waits for it, and answers keep their order."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import wire_clients as wire
from https_clients import client
from stories import PATIENCE, PemDevice, Story, eventually, found_again, open_lab, pem_device
from wire_clients import POLL, REGISTER, MqttClient, at_dps, publish, register, tls

from labkit.cloud.dps.allocation import WebhookAnswer
from labkit.cloud.dps.entries import CUSTOM, CustomAllocation
from labkit.pki.tasks import Verify
from labkit.steps import Steps, Task
from labkit.wire import asking, webhook
from labkit.wire.event_loop import EventLoop
from labkit.wire.workers import AT_A_TIME, THREADS

HUB = "contoso-hub.azure-devices.net"
CHOSEN = WebhookAnswer(200, json.dumps({"iotHubHostName": HUB}).encode())
NOWHERE = CustomAllocation("http://localhost:1/choose", "2019-03-31")

_numbers = itertools.count()


class Slow:
    """A webhook that answers when it is let to."""

    def __init__(self) -> None:
        self.asked, self.go_on = threading.Semaphore(0), threading.Event()

    def __call__(self, _: str, __: bytes) -> WebhookAnswer:
        self.asked.release()
        assert self.go_on.wait(PATIENCE)
        return CHOSEN

    def wait_until_asked(self) -> None:
        assert self.asked.acquire(timeout=PATIENCE)


@pytest.fixture
def slow(shared: Story, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slow]:
    made = Slow()
    monkeypatch.setattr(shared.lab.dps, "webhook", made)
    yield made
    made.go_on.set()


def custom_device(story: Story, tmp_path: Path, hook: CustomAllocation = NOWHERE) -> PemDevice:
    """A device whose hub a webhook chooses."""
    device = pem_device(story, tmp_path / "pem", f"custom-{next(_numbers)}")
    leaf = device.chain[0]
    create = story.lab.dps.enrollments.create
    create(device.name, certificate=leaf, allocation=CUSTOM, webhook=hook)
    return device


def dial(story: Story, device: PemDevice) -> MqttClient:
    client = MqttClient(story.lab, tls(story.lab, device.chain_file, device.key_file))
    at_dps(client, story.lab, device.name)
    return client


def pushed(opened: ssl.SSLSocket, data: bytes, most: int) -> int:
    """How many bytes go out, over and over, before nobody takes any more."""
    sent = 0
    try:
        while sent < most:
            opened.sendall(data)
            sent += len(data)
    except (TimeoutError, ssl.SSLWantWriteError):
        pass
    return sent


def test_nobody_else_waits_for_a_webhook(shared: Story, tmp_path: Path, slow: Slow) -> None:
    with dial(shared, custom_device(shared, tmp_path)) as waiting:
        waiting.send(publish(REGISTER.format("1"), b"{}"))
        slow.wait_until_asked()
        with dial(shared, pem_device(shared, tmp_path / "pem", "quick")) as quick:
            assert register(quick).json["status"] == "assigned"
        with client(shared.lab) as https:
            assert https.ask("GET", "/labkit/refusals").status == 200
        slow.go_on.set()
        assert waiting.receive().kind == wire.PUBACK
        assert waiting.receive().json["registrationState"]["assignedHub"] == HUB


def test_the_answers_of_one_connection_keep_their_order(
    shared: Story, tmp_path: Path, slow: Slow
) -> None:
    with dial(shared, custom_device(shared, tmp_path)) as device:
        device.send(publish(REGISTER.format("first"), b"{}"), wire.PING)
        slow.wait_until_asked()
        device.send(publish(POLL.format("second", "x"), b" ", packet_id=2), wire.PING)
        device.socket.settimeout(0.1)
        with pytest.raises(TimeoutError):
            device.receive()
        device.socket.settimeout(PATIENCE)
        slow.go_on.set()
        kinds = [device.receive() for _ in range(6)]
        assert [packet.kind for packet in kinds] == [
            wire.PUBACK,
            wire.PUBLISH,
            wire.PINGRESP,
            wire.PUBACK,
            wire.PUBLISH,
            wire.PINGRESP,
        ]
        assert [kinds[n].topic.partition("$rid=")[2] for n in (1, 4)] == ["first", "second"]


def test_who_is_being_worked_for_cannot_fill_the_memory(
    shared: Story, tmp_path: Path, slow: Slow
) -> None:
    """What it sends meanwhile stays in the kernel's buffers, which have an end."""
    with dial(shared, custom_device(shared, tmp_path)) as device:
        device.send(publish(REGISTER.format("1"), b"{}"))
        slow.wait_until_asked()
        device.socket.settimeout(0.3)
        assert pushed(device.socket, wire.PING * 8_000, 64 << 20) < 64 << 20


def test_who_leaves_meanwhile_leaves_nothing(shared: Story, tmp_path: Path, slow: Slow) -> None:
    failures = len(shared.lab.events.about(kind="failed"))
    device = custom_device(shared, tmp_path)
    with dial(shared, device) as waiting:
        waiting.send(publish(REGISTER.format("1"), b"{}"))
        slow.wait_until_asked()
    slow.go_on.set()
    eventually(lambda: not shared.lab.listener._links)
    eventually(lambda: shared.lab.dps.registrations.find(device.name))
    assert len(shared.lab.events.about(kind="failed")) == failures


def test_a_half_closed_client_still_gets_its_answer(
    shared: Story, tmp_path: Path, slow: Slow
) -> None:
    device = custom_device(shared, tmp_path)
    context = tls(shared.lab, device.chain_file, device.key_file)
    with wire.secure(shared.lab, context, shared.lab.listener.https_port) as opened:
        path = f"/{shared.lab.dps.id_scope}/registrations/{device.name}/register"
        opened.sendall(f"PUT {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
        slow.wait_until_asked()
        with socket.socket(fileno=os.dup(opened.fileno())) as below:
            below.shutdown(socket.SHUT_WR)
        time.sleep(0.1)
        slow.go_on.set()
        assert opened.recv(65536).startswith(b"HTTP/1.1 200")


def test_no_more_than_so_many_are_worked_for_at_a_time(
    shared: Story, tmp_path: Path, slow: Slow
) -> None:
    """The others wait for their turn, and all of them get their answer."""
    devices = [custom_device(shared, tmp_path) for _ in range(THREADS + 3)]
    clients = [dial(shared, device) for device in devices]
    for waiting in clients:
        waiting.send(publish(REGISTER.format("1"), b"{}"))
    for _ in range(THREADS):
        slow.wait_until_asked()
    assert not slow.asked.acquire(timeout=0.2)
    slow.go_on.set()
    for waiting in clients:
        assert waiting.receive().kind == wire.PUBACK
        assert waiting.receive().json["status"] == "assigned"
        waiting.socket.close()


def test_a_lab_that_is_closed_waits_for_what_has_begun(told: Path, tmp_path: Path) -> None:
    """Nobody writes into a workspace that others may have by then."""
    shutil.copytree(told, tmp_path / "lab")
    slow = Slow()
    with open_lab(tmp_path / "lab") as lab:
        story = found_again(lab)
        lab.dps.webhook = slow
        device = custom_device(story, tmp_path)
        waiting = dial(story, device)
        waiting.send(publish(REGISTER.format("1"), b"{}"))
        slow.wait_until_asked()
        threading.Timer(0.3, slow.go_on.set).start()
        lab.listener.stop()
        assert lab.dps.registrations.get(device.name).status == "assigned"
        waiting.socket.close()


# ---- the way to a webhook


@pytest.fixture
def hook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A real one, on this machine: its URL, and what it was sent."""
    received: list[dict[str, Any]] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            received.append({"path": self.path, "type": self.headers["Content-Type"], **body})
            answer = json.dumps({"iotHubHostName": HUB, "payload": {"for": "you"}}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Nothing on stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    with ThreadPoolExecutor(1) as thread:
        thread.submit(server.serve_forever)
        yield f"http://127.0.0.1:{server.server_port}/choose?code=secret", received
        server.shutdown()
    server.server_close()


def test_a_real_webhook_chooses_the_hub(
    shared: Story, tmp_path: Path, hook: tuple[str, list[dict[str, Any]]]
) -> None:
    url, received = hook
    device = custom_device(shared, tmp_path, CustomAllocation(url, "2019-03-31"))
    with dial(shared, device) as opened:
        state = register(opened, b'{"payload": {"model": 7}}').json["registrationState"]
    assert (state["assignedHub"], state["payload"]) == (HUB, {"for": "you"})
    (sent,) = received
    assert sent["path"] == "/choose?code=secret"
    assert sent["deviceRuntimeContext"]["registrationId"] == device.name
    assert sent["deviceRuntimeContext"]["payload"] == {"model": 7}
    assert sent["linkedHubs"] == [HUB]


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/", "ftp://localhost/", "http://", "http://[", "nonsense", ""]
)
def test_a_webhook_that_cannot_be_asked_says_why(url: str) -> None:
    found = webhook.post(url, b"{}")
    assert found.status == 0
    assert found.body


def test_a_webhook_that_is_silent_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        begin = time.monotonic()
        found = webhook.post(f"http://127.0.0.1:{silent.getsockname()[1]}/", b"{}")
        assert found.status == 0
        assert time.monotonic() - begin < PATIENCE


def test_a_webhook_whose_answer_trickles_in_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte comes in time and the last one never would: it would keep a worker, and the lab
    from closing. In the head and in the body."""
    monkeypatch.setattr(asking, "WHOLE_SECONDS", 0.5)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
    for begin in (b"HTTP/1.1 200 OK\r\nX-Slow: ", head):
        with socket.create_server(("127.0.0.1", 0)) as door, ThreadPoolExecutor(1) as thread:
            thread.submit(trickle, door, begin)
            found = webhook.post(f"http://127.0.0.1:{door.getsockname()[1]}/", b"{}")
        assert found.status == 0
        assert b"not done with its answer" in found.body


def trickle(door: socket.socket, begin: bytes) -> None:
    """Sends the beginning, and then a byte now and then until nobody listens."""
    peer, _ = door.accept()
    with peer, suppress(OSError):
        peer.sendall(begin)
        while True:
            peer.sendall(b" ")
            time.sleep(0.05)


def test_a_failed_webhook_is_azures_failed_status(shared: Story, tmp_path: Path) -> None:
    """400207, as ``failed`` in the registration: not as an error of the request."""
    device = custom_device(shared, tmp_path)
    with dial(shared, device) as opened:
        answer = register(opened)
    assert answer.topic.startswith("$dps/registrations/res/200/")
    assert answer.json["status"] == "failed"
    state = answer.json["registrationState"]
    assert (state["status"], state["errorCode"]) == ("failed", 400207)
    assert "assignedHub" not in state


def test_so_many_errands_are_in_steps_at_a_time_and_the_next_begins_when_one_ends() -> None:
    """Who waits has not been looked at yet: it is judged by what is true when its turn comes."""
    go_on, begun = threading.Semaphore(0), list[int]()

    def do(_: Task[Any]) -> int:
        assert go_on.acquire(timeout=PATIENCE)
        return 1

    def errand(number: int) -> Steps[int]:
        begun.append(number)
        return number + (yield Verify(b""))

    loop = EventLoop("a loop", do)
    try:
        ended: list[int] = []
        for number in range(3 * AT_A_TIME):
            run = partial(loop.workers.run, errand(number), ended.append, raised)
            loop._loop.call_soon_threadsafe(run)
        eventually(lambda: len(begun) == AT_A_TIME)
        loop.settle()
        assert begun == list(range(AT_A_TIME))
        for more in (1, 2):
            go_on.release()
            eventually(lambda more=more: len(ended) == more)
            eventually(lambda more=more: len(begun) == AT_A_TIME + more)
        go_on.release(3 * AT_A_TIME)
        eventually(lambda: len(ended) == 3 * AT_A_TIME)
        assert sorted(ended) == [number + 1 for number in range(3 * AT_A_TIME)]
    finally:
        go_on.release(3 * AT_A_TIME)
        loop.stop()


def raised(error: Exception) -> None:
    raise AssertionError from error
