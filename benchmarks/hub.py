"""What a hub does for devices that are connected.

``telemetry_vs_mosquitto``: messages of QoS 1 a second over one connection, kept before they are
acknowledged, against mosquitto on the same machine, by the same client over the same TLS. In
turns. Without mosquitto it is not measured, and that is said.
"""

from __future__ import annotations

import json
import selectors
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks import mqtt
from benchmarks.result import Result, median

_ROUNDS, _MESSAGES, _WINDOW = 7, 5_000, 100
_BODY = json.dumps({"temperature": 21.5, "humidity": 60, "state": "x" * 60}).encode()
_CONNECTIONS = 1_000
_SECONDS = 20.0
_MOSQUITTO = "/usr/sbin/mosquitto"


def measure() -> Iterator[Result]:
    """Telemetry, what a connection takes, and a method on every device."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        with _lab(directory) as lab:
            yield from _telemetry(directory, lab)
            yield from _connections(lab)


# ---- servers


@dataclass(frozen=True)
class _Lab:
    """The lab in its own process, and what a device needs to connect to it."""

    process: subprocess.Popen[bytes]
    said: dict[str, Any]
    tls: ssl.SSLContext

    def ask(self, what: str) -> float:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{what}\n".encode())
        self.process.stdin.flush()
        return float(self.process.stdout.readline())


@contextmanager
def _lab(directory: Path) -> Iterator[_Lab]:
    command = [sys.executable, "-m", "benchmarks.hub_server", str(directory), str(_CONNECTIONS)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        tls = ssl.create_default_context(cafile=said["serverCa"])
        tls.load_cert_chain(directory / "device.pem")
        yield _Lab(process, said, tls)
        process.stdin.close()


@contextmanager
def _mosquitto(directory: Path) -> Iterator[int]:
    """On a free port, with a certificate for its address; takes any client."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    subject = ["-subj", "/CN=mosquitto", "-addext", "subjectAltName=IP:127.0.0.1"]
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    files = ["-keyout", "broker.key", "-out", "broker.pem"]
    made = ["openssl", "req", "-x509", "-days", "2", *key, *subject, *files]
    subprocess.run(made, cwd=directory, check=True, capture_output=True)
    (directory / "broker.conf").write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\nuser root\n"
        f"certfile {directory}/broker.pem\nkeyfile {directory}/broker.key\n"
    )
    command = [_MOSQUITTO, "-c", str(directory / "broker.conf")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _until_it_listens(port)
            yield port
        finally:
            process.terminate()


def _until_it_listens(port: int) -> None:
    end = time.monotonic() + _SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert time.monotonic() < end, "mosquitto does not listen"
            time.sleep(0.05)


# ---- telemetry


def _telemetry(directory: Path, lab: _Lab) -> Iterator[Result]:
    name = lab.said["devices"][0]
    user = f"{lab.said['hub']}/{name}/?api-version=2021-04-12"
    if not shutil.which(_MOSQUITTO):
        print("NOT MEASURED: telemetry_vs_mosquitto. mosquitto is not installed", file=sys.stderr)
        return
    with _mosquitto(directory) as port:
        trust = ssl.create_default_context(cafile=str(directory / "broker.pem"))
        ours, theirs = [], []
        for _ in range(_ROUNDS + 1):
            ours.append(_rate(lab.tls, lab.said["port"], name, user))
            theirs.append(_rate(trust, port, name, user))
    ratio = median([a / b for a, b in zip(ours[1:], theirs[1:], strict=True)])
    yield Result("telemetry_rate", median(ours[1:]), "messages of QoS 1 a second, kept")
    what = "QoS 1 messages per mosquitto's"
    yield Result("telemetry_vs_mosquitto", ratio, what, ">= 0.2")


def _rate(tls: ssl.SSLContext, port: int, name: str, user: str) -> float:
    """Messages a second. So many are under way at most; each is acknowledged in its turn."""
    with _connected(tls, port, name, user) as connection:
        packets = [_publish(name, number) for number in range(_MESSAGES)]
        start, sent, rest = perf_counter(), 0, b""
        acknowledged = 0
        while acknowledged < _MESSAGES:
            more = packets[sent : acknowledged + _WINDOW]
            if more:
                connection.sendall(b"".join(more))
                sent += len(more)
            data = rest + connection.recv(65536)
            whole = len(data) // 4  # a PUBACK has four bytes
            assert all(data[4 * n] == 0x40 for n in range(whole)), data[:8]
            acknowledged, rest = acknowledged + whole, data[4 * whole :]
        return _MESSAGES / (perf_counter() - start)


@contextmanager
def _connected(tls: ssl.SSLContext, port: int, name: str, user: str) -> Iterator[ssl.SSLSocket]:
    with mqtt.dial(tls, port) as connection:
        connection.sendall(mqtt.connect(name, user, keep_alive=600, clean=True))
        assert connection.recv(4) == b"\x20\x02\x00\x00"
        yield connection


def _publish(name: str, number: int) -> bytes:
    topic = mqtt.text(f"devices/{name}/messages/events/%24.ct=application%2Fjson&%24.ce=utf-8")
    return mqtt.packet(0x32, topic + struct.pack("!H", number % 65535 + 1) + _BODY)


# ---- connections


def _connections(lab: _Lab) -> Iterator[Result]:
    """All the devices connect; then a method is called on each of them at once."""
    before = lab.ask("resident")
    held = []
    subscribe = mqtt.subscribe("$iothub/methods/POST/#")
    for name in lab.said["devices"]:
        user = f"{lab.said['hub']}/{name}/?api-version=2021-04-12"
        entered = _connected(lab.tls, lab.said["port"], name, user)
        connection = entered.__enter__()
        connection.sendall(subscribe)
        assert connection.recv(5) == b"\x90\x03\x00\x01\x01"
        held.append((entered, connection))
    grown = (lab.ask("resident") - before) / len(held)
    what = f"KB resident for each of {len(held):,} connections"
    yield Result("connection_kb", median([grown]), what, "<= 150")
    connections = [connection for _, connection in held]
    for name, asked, what in (
        ("methods_1000_seconds", "method", "s for a method on each of them"),
        ("job_1000_seconds", "job", "s for a job that calls one"),
    ):
        answering = threading.Thread(target=_answer, args=(connections,), daemon=True)
        answering.start()
        seconds = lab.ask(asked)
        answering.join(_SECONDS)
        yield Result(name, median([seconds]), what)
    for entered, _ in held:
        entered.__exit__(None, None, None)


def _answer(connections: list[ssl.SSLSocket]) -> None:
    """Each device answers the one call that it gets, in whichever order they come."""
    waiting = selectors.DefaultSelector()
    for connection in connections:
        waiting.register(connection, selectors.EVENT_READ)
    while waiting.get_map():
        for key, _ in waiting.select():
            connection = key.fileobj
            assert isinstance(connection, ssl.SSLSocket)
            call = connection.recv(65536)
            request = call[call.index(b"$rid=") : -len(b"null")].decode()
            connection.sendall(mqtt.packet(0x30, mqtt.text(f"$iothub/methods/res/200/?{request}")))
            waiting.unregister(connection)
