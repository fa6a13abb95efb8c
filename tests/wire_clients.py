"""Clients that share no code with labkit: MQTT bytes on the standard library's TLS."""

from __future__ import annotations

import json
import socket
import ssl
import struct
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from labkit import Lab

SECONDS = 8.0


# ---- packets, as a client writes them (MQTT 3.1.1, chapter 3)


def text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("!H", len(data)) + data


def packet(kind: int, flags: int, body: bytes) -> bytes:
    length, out = len(body), bytearray()
    while True:
        length, low = divmod(length, 128)
        out.append(low | (0x80 if length else 0))
        if not length:
            return bytes([kind << 4 | flags]) + bytes(out) + body


def connect(
    client_id: str,
    user: str | None = None,
    *,
    password: bytes | None = None,
    clean: bool = False,
    keep_alive: int = 60,
    will: tuple[str, bytes] | None = None,
    protocol: str = "MQTT",
    level: int = 4,
    properties: bytes = b"",
) -> bytes:
    flags = clean << 1 | (will is not None) << 2
    flags |= (password is not None) << 6 | (user is not None) << 7
    body = text(protocol) + bytes([level, flags]) + struct.pack("!H", keep_alive) + properties
    body += text(client_id)
    if will is not None:
        body += text(will[0]) + text(will[1])
    body += text(user) if user is not None else b""
    body += text(password) if password is not None else b""
    return packet(1, 0, body)


def publish(topic: str, payload: bytes = b"", *, packet_id: int | None = 1, qos: int = 1) -> bytes:
    number = struct.pack("!H", packet_id) if packet_id is not None and qos else b""
    return packet(3, qos << 1, text(topic) + number + payload)


def subscribe(*filters: str, packet_id: int = 2, qos: int = 1) -> bytes:
    wanted = b"".join(text(topic) + bytes([qos]) for topic in filters)
    return packet(8, 2, struct.pack("!H", packet_id) + wanted)


def unsubscribe(*filters: str, packet_id: int = 3) -> bytes:
    return packet(10, 2, struct.pack("!H", packet_id) + b"".join(map(text, filters)))


PING, DISCONNECT = packet(12, 0, b""), packet(14, 0, b"")
CONNACK, PUBLISH, PUBACK, SUBACK, UNSUBACK, PINGRESP = 2, 3, 4, 9, 11, 13


@dataclass(frozen=True)
class Received:
    """A packet from the server."""

    kind: int
    body: bytes

    @property
    def topic(self) -> str:
        return self.body[2 : 2 + int.from_bytes(self.body[:2], "big")].decode()

    @property
    def payload(self) -> bytes:
        return self.body[2 + int.from_bytes(self.body[:2], "big") :]  # answers are QoS 0

    @property
    def json(self) -> Any:
        return json.loads(self.payload)


def take_packet(data: bytearray) -> Received | None:
    """Cuts the first packet off ``data``, if it is whole."""
    length = place = 0
    for place, byte in enumerate(data[1:5]):
        length |= (byte & 127) << 7 * place
        if byte < 128:
            break
    else:
        return None
    start = 2 + place
    if len(data) < start + length:
        return None
    found = Received(data[0] >> 4, bytes(data[start : start + length]))
    del data[: start + length]
    return found


# ---- connections


def tls(lab: Lab, chain_file: Path | None = None, key_file: Path | None = None) -> ssl.SSLContext:
    """A client's context that trusts the lab's servers and checks their names."""
    context = ssl.create_default_context(cadata=lab.server.root_pem)
    if chain_file is not None:
        context.load_cert_chain(chain_file, key_file)
    return context


def dial(lab: Lab, port: int = 0) -> socket.socket:
    """A bare TCP connection, to the MQTT port where no other is named."""
    return socket.create_connection((lab.listener.host, port or lab.listener.mqtt_port), SECONDS)


def secure(lab: Lab, context: ssl.SSLContext, port: int = 0) -> ssl.SSLSocket:
    return context.wrap_socket(dial(lab, port), server_hostname=lab.listener.host)


def until_end(connection: socket.socket) -> bytes:
    """Everything up to the server's close, which has to come."""
    found = bytearray()
    try:
        while data := connection.recv(65536):
            found += data
    except (ConnectionResetError, ssl.SSLEOFError):
        pass
    return bytes(found)


class MqttClient:
    """Sends what it is told and hands out what comes back, packet by packet."""

    def __init__(self, lab: Lab, context: ssl.SSLContext) -> None:
        self.socket = secure(lab, context)
        self._buffer = bytearray()

    def __enter__(self) -> MqttClient:
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self.socket.close()

    def send(self, *packets: bytes) -> None:
        self.socket.sendall(b"".join(packets))

    def receive(self) -> Received:
        """The next packet; EOFError where the server closed instead."""
        while (found := take_packet(self._buffer)) is None:
            try:
                data = self.socket.recv(65536)
            except (ConnectionResetError, ssl.SSLEOFError):
                data = b""
            if not data:
                raise EOFError("the server closed the connection")
            self._buffer += data
        return found

    def ask(self, *packets: bytes) -> Received:
        """Sends and returns the first packet that comes back."""
        self.send(*packets)
        return self.receive()

    def is_cut_off(self) -> bool:
        """Whether the server closes now, without another packet."""
        try:
            self.receive()
        except EOFError:
            return True
        return False

    def enter(self, client_id: str, user: str) -> int:
        """Connects and returns CONNACK's code."""
        answer = self.ask(connect(client_id, user))
        assert answer.kind == CONNACK
        return answer.body[1]


# ---- the two services, from outside

REGISTER = "$dps/registrations/PUT/iotdps-register/?$rid={}"
POLL = "$dps/registrations/GET/iotdps-get-operationstatus/?$rid={}&operationId={}"
ANSWERS = "$dps/registrations/res/#"


def dps_user(lab: Lab, registration_id: str, scope: str = "") -> str:
    return f"{scope or lab.dps.id_scope}/registrations/{registration_id}/api-version=2019-03-31"


def hub_user(lab: Lab, device_id: str, hub: str = "") -> str:
    return f"{hub or lab.hub().host_name}/{device_id}/?api-version=2021-04-12"


def at_dps(client: MqttClient, lab: Lab, registration_id: str, scope: str = "") -> None:
    """Connects to DPS and subscribes to its answers."""
    assert client.enter(registration_id, dps_user(lab, registration_id, scope)) == 0
    assert client.ask(subscribe(ANSWERS)).kind == SUBACK


def request(client: MqttClient, topic: str, payload: bytes = b"") -> Received:
    """Publishes at QoS 1 and returns the answer behind the PUBACK."""
    assert client.ask(publish(topic, payload)).kind == PUBACK
    return client.receive()


def register(client: MqttClient, payload: bytes = b"{}", rid: str = "1") -> Received:
    return request(client, REGISTER.format(rid), payload)
