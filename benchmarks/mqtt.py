"""The few bytes of MQTT 3.1.1 that a measured client sends, over the standard library's TLS."""

from __future__ import annotations

import json
import socket
import ssl
import struct

_SECONDS = 20.0


def dial(tls: ssl.SSLContext, port: int) -> ssl.SSLSocket:
    """A connection to a server on this machine, after the handshake."""
    connection = socket.create_connection(("127.0.0.1", port), _SECONDS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return tls.wrap_socket(connection, server_hostname="127.0.0.1")


def connect(name: str, user: str, *, keep_alive: int = 60, clean: bool = False) -> bytes:
    """CONNECT, with a user name and no password."""
    flags = b"\x82" if clean else b"\x80"
    head = text("MQTT") + b"\x04" + flags + struct.pack("!H", keep_alive)
    return packet(0x10, head + text(name) + text(user))


def subscribe(topics: str) -> bytes:
    """SUBSCRIBE number 1, with QoS 1."""
    return packet(0x82, b"\x00\x01" + text(topics) + b"\x01")


def register(name: str, number: int = 1, **body: str) -> bytes:
    """PUBLISH number 2, by which a device registers with DPS; ``body`` is what else it says."""
    topic = text(f"$dps/registrations/PUT/iotdps-register/?$rid={number}")
    said = json.dumps({"registrationId": name, **body}).encode()
    return packet(0x32, topic + b"\x00\x02" + said)


def packet(kind: int, body: bytes) -> bytes:
    """A whole packet; ``kind`` is its first byte."""
    length, size = len(body), b""
    while True:
        length, low = divmod(length, 128)
        size += bytes([low | (0x80 if length else 0)])
        if not length:
            return bytes([kind]) + size + body


def text(value: str) -> bytes:
    """A string as MQTT has it, its length before it."""
    return struct.pack("!H", len(value)) + value.encode()
