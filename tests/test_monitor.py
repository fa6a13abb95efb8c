"""``labkit monitor``: another process that prints what a running lab receives."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from labkit import Lab, cli
from labkit.cloud.hub.telemetry import Telemetry
from labkit.monitor import line

MONITOR = (sys.executable, "-m", "labkit", "monitor")
JSON = {"ct": "application/json", "ce": "utf-8"}


def send(lab: Lab, device: str, body: bytes, system: dict[str, str] = JSON, **own: str) -> None:
    lab.hub().receive(device, [Telemetry(body, own, system)])


@contextmanager
def monitoring(lab: Lab, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Running, and past the point from which it prints."""
    command = [*MONITOR, "--workspace", str(lab.path), *options]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        assert "following contoso-hub" in process.stderr.readline()
        try:
            yield process
        finally:
            process.kill()


def read(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def test_it_prints_what_comes_as_json_lines(lab: Lab) -> None:
    send(lab, "one", b'"before"')
    with monitoring(lab, "--json", "--hub", "contoso-hub.azure-devices.net") as process:
        send(lab, "one", b'{"temperature": 21.5}', alert="yes")
        send(lab, "two", b"no JSON \xff")
        first, second = (json.loads(read(process)) for _ in range(2))
    assert (first["deviceId"], first["body"]) == ("one", {"temperature": 21.5})
    assert (first["properties"], first["systemProperties"]) == ({"alert": "yes"}, JSON)
    assert second["body"] == "no JSON \N{REPLACEMENT CHARACTER}"
    assert second["number"] > first["number"]


def test_it_prints_lines_for_people_of_the_device_that_is_named(lab: Lab) -> None:
    send(lab, "two", b"kept before")
    with monitoring(lab, "--device", "two", "--all") as process:
        send(lab, "one", b"not this")
        send(lab, "two", b"21.5", alert="yes")
        assert read(process).rstrip().endswith("kept before")
        shown = read(process).split()
    assert shown[2:] == ["two", "21.5", "alert=yes"]


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """What runs in a shell's background ignores it, and so would whatever a test starts there."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_ends_it_without_a_traceback(lab: Lab) -> None:
    with monitoring(lab) as process:
        process.send_signal(signal.SIGINT)
        out, complaints = process.communicate(timeout=10)
        assert (process.returncode, out, complaints.strip()) == (0, "", "")


def test_a_reader_that_has_enough_ends_it_quietly(lab: Lab) -> None:
    with monitoring(lab) as process:
        assert process.stdout is not None
        process.stdout.close()
        for number in range(3):
            send(lab, "one", b"%d" % number)
        assert process.wait(10) == 0
        assert process.stderr is not None
        assert process.stderr.read().strip() == ""


def test_an_unknown_hub_or_workspace_is_said(lab: Lab, capsys: Any, tmp_path: Path) -> None:
    assert cli.main(["monitor", "--workspace", str(lab.path), "--hub", "no-such-hub"]) == 1
    assert "hubs: contoso-hub" in capsys.readouterr().err
    assert cli.main(["monitor", "--workspace", str(tmp_path / "nothing")]) == 1
    assert not (tmp_path / "nothing").exists()


def test_a_device_cannot_write_to_the_terminal_of_who_watches_it(lab: Lab) -> None:
    send(lab, "one", b"\x1b[2Jgone\n2026  fake line", evil="\x07\x9b")
    (message,) = lab.hub().messages()
    assert not [c for c in line(message) if not c.isprintable()]
    assert r"\x1b[2Jgone\n2026" in line(message)
