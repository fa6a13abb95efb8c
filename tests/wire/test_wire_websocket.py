"""MQTT over WebSockets, as clients see it that share no code with the lab."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import queue
import secrets
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
import wire_clients as wire
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stories import PATIENCE, PemDevice, Story, eventually, pem_device, said
from wire_clients import ANSWERS, REGISTER, dps_user, hub_user, secure, take_packet, tls

PATH = "/$iothub/websocket"
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
BINARY, TEXT, CLOSE, PING, PONG = 2, 1, 8, 9, 10

_numbers = itertools.count()


@pytest.fixture
def device(shared: Story, tmp_path: Path) -> PemDevice:
    return pem_device(shared, tmp_path / "pem", f"socket-{next(_numbers)}")


class Socket:
    """A WebSocket client in fifty lines: RFC 6455, sections 4 and 5."""

    def __init__(self, story: Story, device: PemDevice | None = None, *, port: int = 0) -> None:
        files = (device.chain_file, device.key_file) if device else (None, None)
        https = port or story.lab.listener.https_port
        self.socket = secure(story.lab, tls(story.lab, *files), https)
        self._bytes, self._mqtt = bytearray(), bytearray()

    def ask(self, path: str = PATH, *, send: bytes = b"", **changed: str) -> bytes:
        """Opens it, with ``send`` right behind the request; returns the answer's head."""
        key = base64.b64encode(secrets.token_bytes(16)).decode()
        headers = {
            "Host": "localhost",
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": key,
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Protocol": "mqtt",
            **{name.replace("_", "-"): value for name, value in changed.items()},
        }
        lines = [f"{name}: {value}\r\n" for name, value in headers.items() if value]
        self.socket.sendall(f"GET {path} HTTP/1.1\r\n{''.join(lines)}\r\n".encode() + send)
        while b"\r\n\r\n" not in self._bytes:
            self._receive()
        head, _, rest = bytes(self._bytes).partition(b"\r\n\r\n")
        self._bytes[:] = rest
        if head.startswith(b"HTTP/1.1 101"):
            accept = base64.b64encode(hashlib.sha1(key.encode() + _GUID).digest())
            assert accept in head
            assert b"sec-websocket-protocol: mqtt" in head.lower()
        return head

    def send(self, *packets: bytes) -> None:
        self.socket.sendall(b"".join(frame(BINARY, packet) for packet in packets))

    def frame(self) -> tuple[int, bytes]:
        """The next frame from the server, which must not be masked."""
        while len(self._bytes) < 2 or len(self._bytes) < self._size():
            self._receive()
        assert not self._bytes[1] & 128, "a server's frame is not masked"
        size = self._size()
        kind, body = self._bytes[0] & 15, bytes(self._bytes[size - self._length() : size])
        del self._bytes[:size]
        return kind, body

    def packet(self) -> wire.Received:
        """The next MQTT packet."""
        while (found := take_packet(self._mqtt)) is None:
            kind, body = self.frame()
            assert kind == BINARY
            self._mqtt += body
        return found

    def enter(self, client_id: str, user: str) -> int:
        self.send(wire.connect(client_id, user))
        return self.packet().body[1]

    def _length(self) -> int:
        short = self._bytes[1] & 127
        if short < 126:
            return short
        if short == 126:
            return int(struct.unpack("!H", self._bytes[2:4])[0])
        return int(struct.unpack("!Q", self._bytes[2:10])[0])

    def _size(self) -> int:
        short = self._bytes[1] & 127
        head = 2 if short < 126 else 4 if short == 126 else 10
        return head + self._length() if len(self._bytes) >= head else head + 1

    def _receive(self) -> None:
        try:
            data = self.socket.recv(65536)
        except (ConnectionResetError, ssl.SSLError):
            data = b""
        if not data:
            raise EOFError("the server closed the connection")
        self._bytes += data


def frame(kind: int, body: bytes, *, last: bool = True, masked: bool = True) -> bytes:
    """A frame as a client writes it."""
    size, mask = len(body), secrets.token_bytes(4)
    length = bytes([size]) if size < 126 else b"\x7e" + struct.pack("!H", size)
    head = bytes([kind | last << 7, length[0] | masked << 7]) + length[1:]
    hidden = bytes(b ^ mask[n % 4] for n, b in enumerate(body))
    return head + (mask + hidden if masked else body)


@pytest.fixture
def open_socket(shared: Story) -> Iterator[Callable[..., Socket]]:
    opened: list[Socket] = []

    def dial(device: PemDevice | None = None, **options: Any) -> Socket:
        opened.append(Socket(shared, device, **options))
        return opened[-1]

    yield dial
    for socket in opened:
        socket.socket.close()


Dial = Callable[..., Socket]


# ---- it is MQTT


def test_a_device_registers_and_talks_to_its_hub(
    shared: Story, device: PemDevice, open_socket: Dial
) -> None:
    socket = open_socket(device)
    assert socket.ask().startswith(b"HTTP/1.1 101")
    assert socket.enter(device.name, dps_user(shared.lab, device.name)) == 0
    socket.send(wire.subscribe(ANSWERS), wire.publish(REGISTER.format("7"), b"{}"))
    assert [socket.packet().kind for _ in range(2)] == [wire.SUBACK, wire.PUBACK]
    answer = socket.packet()
    assert answer.topic == "$dps/registrations/res/200/?$rid=7"
    assert answer.json["registrationState"]["deviceId"] == device.name
    hub = open_socket(device, port=shared.lab.listener.hub_ports["contoso-hub"])
    hub.ask("/$IoTHub/WebSocket/?ignored=1")
    assert hub.enter(device.name, hub_user(shared.lab, device.name)) == 0
    hub.send(wire.publish(f"devices/{device.name}/messages/events/", b"over a socket"))
    assert hub.packet().kind == wire.PUBACK
    assert [m.text for m in shared.lab.hub().messages(device.name)] == ["over a socket"]


def test_paho_speaks_it(shared: Story, device: PemDevice) -> None:
    """An MQTT library with a WebSocket of its own, which is the one in Azure's Python SDK."""
    answers: queue.Queue[bytes] = queue.Queue()
    client = paho.Client(device.name, protocol=paho.MQTTv311, transport="websockets")
    client.ws_set_options(path=PATH)
    client.username_pw_set(dps_user(shared.lab, device.name))
    client.tls_set_context(tls(shared.lab, device.chain_file, device.key_file))
    client.on_message = lambda _, __, message: answers.put(message.payload)
    client.on_subscribe = lambda *_: client.publish(REGISTER.format("abc"), b"{}", qos=1)
    client.on_connect = lambda *_: client.subscribe(ANSWERS, qos=1)
    client.connect(shared.lab.listener.host, shared.lab.listener.https_port)
    client.loop_start()
    try:
        body = json.loads(answers.get(timeout=PATIENCE))
    finally:
        client.disconnect()
        client.loop_stop()
    assert body["registrationState"]["assignedHub"] == "contoso-hub.azure-devices.net"


def test_packets_and_frames_need_not_agree(
    shared: Story, device: PemDevice, open_socket: Dial
) -> None:
    """MQTT 3.1.1, MQTT-6.0.0-2: a frame holds a part of a packet, or several; and a message may
    be in several frames, with a ping between them."""
    socket = open_socket(device)
    socket.ask()
    hello = wire.connect(device.name, dps_user(shared.lab, device.name))
    both = hello + wire.subscribe(ANSWERS)
    frames = [frame(BINARY, both[:1], last=False), frame(PING, b"there?")]
    frames += [frame(0, both[1:20], last=False), frame(0, both[20:])]
    socket.socket.sendall(b"".join(frames))
    assert socket.frame() == (PONG, b"there?")
    assert [socket.packet().kind for _ in range(2)] == [wire.CONNACK, wire.SUBACK]
    for byte in wire.PING:
        socket.send(bytes([byte]))
    assert socket.packet().kind == wire.PINGRESP


def test_what_comes_right_behind_the_request_is_not_lost(
    shared: Story, device: PemDevice, open_socket: Dial
) -> None:
    socket = open_socket(device)
    hello = wire.connect(device.name, dps_user(shared.lab, device.name))
    socket.ask(send=frame(BINARY, hello))
    assert socket.packet().kind == wire.CONNACK


def test_a_large_answer_comes_whole(shared: Story, device: PemDevice, open_socket: Dial) -> None:
    socket = open_socket(device)
    socket.ask()
    socket.enter(device.name, dps_user(shared.lab, device.name))
    socket.send(wire.subscribe(ANSWERS), wire.publish(REGISTER.format("1"), b"{}"))
    for _ in range(3):
        socket.packet()
    hub = open_socket(device)
    hub.ask()
    hub.enter(device.name, hub_user(shared.lab, device.name))
    shared.lab.hub().report(device.name, {f"text-{n}": "x" * 3_000 for n in range(10)})
    hub.send(wire.subscribe("$iothub/twin/res/#"), wire.publish("$iothub/twin/GET/?$rid=1", b" "))
    assert [hub.packet().kind for _ in range(2)] == [wire.SUBACK, wire.PUBACK]
    assert len(hub.packet().json["reported"]["text-9"]) == 3_000


def test_no_certificate_is_connack_5_here_too(shared: Story, open_socket: Dial) -> None:
    socket = open_socket()
    socket.ask()
    assert socket.enter("nobody", dps_user(shared.lab, "nobody")) == 5
    assert socket.frame()[0] == CLOSE, "and a goodbye in WebSocket's own words"
    with pytest.raises(EOFError):
        socket.frame()


# ---- its opening


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"Sec_WebSocket_Protocol": ""}, 400),
        ({"Sec_WebSocket_Protocol": "amqp"}, 400),
        ({"Sec_WebSocket_Version": "8"}, 426),
        ({"Sec_WebSocket_Version": ""}, 400),
        ({"Sec_WebSocket_Key": ""}, 400),
        ({"Connection": "keep-alive"}, 400),
        ({"Upgrade": ""}, 404),
        ({"Upgrade": "h2c"}, 404),
    ],
)
def test_what_is_no_opening_gets_none(
    open_socket: Dial, changed: dict[str, str], status: int
) -> None:
    assert open_socket().ask(**changed).startswith(f"HTTP/1.1 {status}".encode())


def test_there_is_a_websocket_at_one_path_only(open_socket: Dial) -> None:
    assert open_socket().ask("/elsewhere").startswith(b"HTTP/1.1 404")


def test_one_of_several_subprotocols_is_chosen(open_socket: Dial) -> None:
    """Node offers ``mqtt``, others ``mqttv3.1`` too."""
    head = open_socket().ask(Sec_WebSocket_Protocol="mqttv3.1, mqtt")
    assert head.startswith(b"HTTP/1.1 101")


# ---- its end


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (frame(TEXT, b"hello"), 1003),
        (frame(3, b"an opcode that is none"), 1002),
        (frame(BINARY, b"x", masked=False), 1002),
        (frame(0, b"goes on with nothing"), 1002),
        (frame(CLOSE, struct.pack("!H", 1000)), 1000),
        (frame(BINARY, b"\x00\x00 is no MQTT"), 1000),
    ],
)
def test_it_ends_with_a_close_frame_that_says_why(
    open_socket: Dial, sent: bytes, code: int
) -> None:
    """RFC 6455, 7.4.1: 1002 is a broken rule, 1003 a kind of data that is not taken."""
    socket = open_socket()
    socket.ask()
    socket.socket.sendall(sent)
    kind, body = socket.frame()
    assert (kind, struct.unpack("!H", body[:2])[0]) == (CLOSE, code)
    with pytest.raises(EOFError):
        socket.frame()


def test_what_comes_behind_the_end_is_passed_over(shared: Story, open_socket: Dial) -> None:
    """A ping right behind what broke MQTT gets no pong, and is no failure of the lab's own."""
    socket = open_socket()
    socket.ask()
    socket.socket.sendall(frame(BINARY, b"\x00\x00 is no MQTT") + frame(PING, b"there?"))
    assert socket.frame()[0] == CLOSE
    with pytest.raises(EOFError):
        socket.frame()
    assert not said(shared.lab, "tls", "could not be served")


def test_a_client_that_goes_silent_is_closed(
    shared: Story, open_socket: Dial, monkeypatch: pytest.MonkeyPatch
) -> None:
    from labkit.wire.mqtt import connection

    monkeypatch.setattr(connection, "CONNECT_SECONDS", 0.2)
    socket = open_socket()
    socket.ask()
    with pytest.raises(EOFError):
        socket.frame()
    eventually(lambda: said(shared.lab, "tls", "silent", "CONNECT"))


def test_the_hub_learns_that_a_device_left(
    shared: Story, device: PemDevice, open_socket: Dial
) -> None:
    dps = open_socket(device)
    dps.ask()
    dps.enter(device.name, dps_user(shared.lab, device.name))
    dps.send(wire.subscribe(ANSWERS), wire.publish(REGISTER.format("1"), b"{}"))
    for _ in range(3):
        dps.packet()
    hub = open_socket(device)
    hub.ask()
    hub.enter(device.name, hub_user(shared.lab, device.name))
    hub.socket.close()
    eventually(lambda: said(shared.lab, "hub", f"{device.name} left"))


# ---- noise


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=300), st.booleans())
def test_arbitrary_bytes_end_in_a_clean_close(shared: Story, noise: bytes, framed: bool) -> None:
    """Frames of noise, or noise for frames; nothing is left of the client afterwards."""
    failures = len(shared.lab.events.about(kind="failed"))
    socket = Socket(shared)
    socket.ask()
    socket.socket.sendall(frame(BINARY, noise) if framed else noise)
    socket.socket.sendall(frame(CLOSE, struct.pack("!H", 1000)))
    socket.socket.settimeout(0.2)
    end = time.monotonic() + PATIENCE
    try:
        while time.monotonic() < end:
            socket.frame()
    except (EOFError, TimeoutError):
        pass  # a frame whose announced end never came is waited for, as long as patience lasts
    socket.socket.close()
    eventually(lambda: not shared.lab.listener._links)
    assert len(shared.lab.events.about(kind="failed")) == failures
