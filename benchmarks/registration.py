"""Full registrations over MQTT/TLS, measured against what no registration can do without: a
mutual TLS handshake with the same listener, by the same client.

The lab runs in a process of its own, as ``labkit serve`` does; the client is the standard
library's TLS and a few bytes of MQTT.
"""

from __future__ import annotations

import json
import ssl
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks import fleet, mqtt
from benchmarks.result import Result, median

_DEVICES, _ROUNDS = 40, 40
_FEW, _MANY = 100, 100_000


def measure() -> Iterator[Result]:
    with served(_DEVICES) as lab:
        bare, full = _in_turns(lab)
        ratio = median([b / f for b, f in zip(bare, full, strict=True)])
    what = "registrations per bare mutual TLS handshake"
    yield Result("registration_ratio", ratio, what, ">= 0.5")
    yield Result("registration_scale_ratio", _scale(), "time with 100,000 stored ÷ 100", "<= 1.2")
    unit = "MB resident with 100,000"
    yield Result("enrollments_100k_mb", _enrolled("symmetricKey"), f"{unit}, keys", "<= 300")
    yield Result("enrollments_100k_x509_mb", _enrolled("x509"), f"{unit}, X.509", "<= 300")


# ---- over the wire


@dataclass(frozen=True)
class Device:
    """A client: its TLS, and what it sends, each with the end of what answers it."""

    tls: ssl.SSLContext
    packets: tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True)
class Served:
    """A lab in another process, and the devices that may register in it."""

    process: int
    port: int
    devices: tuple[Device, ...]

    def dial(self, device: Device) -> ssl.SSLSocket:
        return mqtt.dial(device.tls, self.port)


@contextmanager
def served(count: int) -> Iterator[Served]:
    """A lab in a process of its own, with so many devices."""
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "benchmarks.fleet", directory, str(count)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
            assert server.stdin is not None
            assert server.stdout is not None
            said = json.loads(server.stdout.readline())
            yield Served(server.pid, said["port"], tuple(_devices(Path(directory), said)))
            server.stdin.close()


def _devices(directory: Path, said: dict[str, Any]) -> Iterator[Device]:
    for name in said["devices"]:
        context = ssl.create_default_context(cafile=said["serverCa"])
        context.load_cert_chain(directory / f"{name}.pem")
        yield Device(context, tuple(_packets(said["scope"], name)))


def _packets(scope: str, name: str) -> Iterator[tuple[bytes, bytes]]:
    """CONNECT, SUBSCRIBE, PUBLISH (MQTT 3.1.1), and how the answer to each ends."""
    user = f"{scope}/registrations/{name}/api-version=2019-03-31"
    yield mqtt.connect(name, user), b"\x00\x00"
    yield mqtt.subscribe("$dps/registrations/res/#"), b"\x00\x01\x01"
    yield mqtt.register(name), b'"status":"assigned"'


def _in_turns(lab: Served) -> tuple[list[float], list[float]]:
    """Seconds of so many handshakes, and of as many registrations, in turns. In rows, because a
    client is done with a handshake before the server is: the next in the row waits for that."""
    bare, full = [], []
    for _ in range(_ROUNDS + 1):
        bare.append(
            _seconds(lambda: [mqtt.dial(device.tls, lab.port).close() for device in lab.devices])
        )
        full.append(_seconds(lambda: [_register(lab, device) for device in lab.devices]))
    return bare[1:], full[1:]


def _seconds(call: Callable[[], object]) -> float:
    start = perf_counter()
    call()
    return perf_counter() - start


def _register(lab: Served, device: Device) -> None:
    """From the dial to ``assigned``; each packet waits for the answer to the one before."""
    with lab.dial(device) as connection:
        for packet, wanted in device.packets:
            connection.sendall(packet)
            found = b""
            while wanted not in found:
                data = connection.recv(65536)
                assert data, f"the server closed after {found!r}"
                found += data


# ---- without the wire


def _scale() -> float:
    """Devices that were there register again: with many records stored, against few. In turns."""
    with tempfile.TemporaryDirectory() as directory:
        clouds = [fleet.filled(Path(directory) / str(size), size) for size in (_FEW, _MANY)]
        try:
            few, many = [], []
            for number in range(_FEW):
                few.append(_seconds(lambda number=number: clouds[0].register(number)))  # type: ignore[misc]
                many.append(_seconds(lambda number=number: clouds[1].register(number)))  # type: ignore[misc]
        finally:
            for cloud in clouds:
                cloud.close()
    return _rounded(statistics.median(many) / statistics.median(few))


def _rounded(value: float) -> float:
    return median([value])


def _enrolled(kind: str) -> float:
    """What the process holds that has just taken 100,000 enrollments from back ends."""
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "benchmarks.fleet", directory, "enroll", str(_MANY), kind]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return _rounded(float(said))
