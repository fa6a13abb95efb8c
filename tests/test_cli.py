"""The labkit command as its users type it, and `labkit serve` as their programs run it."""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import urllib.request
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from subprocesses import LABKIT, free_port, labkit, serving

from labkit import Lab, cli, serve
from labkit.wire.ports import Ports


@pytest.fixture
def ports() -> tuple[str, ...]:
    return ("--mqtt-port", free_port(), "--https-port", free_port())


def fetch(announced: dict[str, Any], path: str) -> Any:
    trust = ssl.create_default_context(cafile=announced["serverCa"])
    with urllib.request.urlopen(announced["arm"]["endpoint"] + path, context=trust) as answer:
        return json.load(answer)


def test_serve_announces_what_the_contract_promises(tmp_path: Path, ports: tuple[str, ...]) -> None:
    with serving(tmp_path / "lab", *ports, "--hub", "contoso-hub", "tailwind-hub") as (line, _):
        assert set(line) == {"ready", "idScope", "serverCa", "dps", "hubs", "arm"}
        assert line["ready"] is True
        assert re.fullmatch(r"0ne[0-9A-F]{8}", line["idScope"])
        assert "BEGIN CERTIFICATE" in Path(line["serverCa"]).read_text()
        assert line["dps"]["mqttPort"] == int(ports[1])
        assert line["dps"]["httpsPort"] == int(ports[3])
        assert line["dps"]["deviceEndpoint"] == "global.azure-devices-provisioning.net"
        assert re.fullmatch(
            rf"HostName=127\.0\.0\.1:{ports[3]};"
            r"SharedAccessKeyName=provisioningserviceowner;SharedAccessKey=[\w+/]{43}=",
            line["dps"]["connectionString"],
        )
        assert [hub["hostName"] for hub in line["hubs"]] == [
            "contoso-hub.azure-devices.net",
            "tailwind-hub.azure-devices.net",
        ]
        assert len({hub["httpsPort"] for hub in line["hubs"]}) == 2
        assert set(line["arm"]) == {
            "endpoint",
            "subscriptionId",
            "resourceGroup",
            "provisioningService",
        }


def test_every_announced_port_speaks_tls_that_the_announced_ca_vouches_for(
    tmp_path: Path, ports: tuple[str, ...]
) -> None:
    with serving(tmp_path / "lab", *ports) as (line, _):
        trust = ssl.create_default_context(cafile=line["serverCa"])
        hub = line["hubs"][0]
        for port in (line["dps"]["mqttPort"], line["dps"]["httpsPort"], hub["httpsPort"]):
            for name in ("127.0.0.1", "localhost", hub["hostName"], line["dps"]["deviceEndpoint"]):
                with (
                    socket.create_connection(("127.0.0.1", port)) as plain,
                    trust.wrap_socket(plain, server_hostname=name) as secure,
                ):
                    assert secure.version() == "TLSv1.3"


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_serve_stops_cleanly(tmp_path: Path, ports: tuple[str, ...], stop: signal.Signals) -> None:
    with serving(tmp_path / "lab", *ports) as (_, process):
        process.send_signal(stop)
        assert process.wait(10) == 0
        assert process.stdout.read() == "", "stdout holds the one line of JSON"
        assert "Traceback" not in process.stderr.read()


def test_a_second_server_says_which_port_is_taken(tmp_path: Path, ports: tuple[str, ...]) -> None:
    with serving(tmp_path / "one", *ports):
        second = labkit("serve", "--workspace", tmp_path / "two", *ports)
    assert second.returncode == 1
    assert f"Port {ports[1]} on 127.0.0.1 is taken" in second.stderr
    assert "Traceback" not in second.stderr
    assert second.stdout == ""


def test_a_workspace_is_served_once(tmp_path: Path, ports: tuple[str, ...]) -> None:
    with serving(tmp_path / "lab", *ports) as (_, process):
        second = labkit("serve", "--workspace", tmp_path / "lab", "--mqtt-port", free_port())
    assert second.returncode == 1
    assert f"process {process.pid} has it" in second.stderr


def test_what_is_announced_is_the_same_after_a_restart(
    tmp_path: Path, ports: tuple[str, ...]
) -> None:
    """ID scope, keys, trusted CA: clients that were configured once stay so."""
    with serving(tmp_path / "lab", *ports) as (before, _):
        root = Path(before["serverCa"]).read_text()
    with serving(tmp_path / "lab", *ports) as (after, _):
        assert after["dps"] == before["dps"]
        assert after["hubs"] == before["hubs"]
        assert after["idScope"] == before["idScope"]
        assert Path(after["serverCa"]).read_text() == root


def test_a_hub_listens_where_it_did_although_an_earlier_port_is_free_by_now(
    tmp_path: Path, ports: tuple[str, ...]
) -> None:
    """And elsewhere where another program has its port meanwhile."""
    mine = ("--mqtt-port", free_port(), "--https-port", free_port())
    first = serving(tmp_path / "first", *ports)
    with first as (other, _), serving(tmp_path / "lab", *mine) as (before, _):
        port = before["hubs"][0]["httpsPort"]
    assert port != other["hubs"][0]["httpsPort"]
    with serving(tmp_path / "lab", *ports) as (after, _):
        assert after["hubs"][0]["httpsPort"] == port
    with socket.create_server(("127.0.0.1", port)), serving(tmp_path / "lab", *ports) as (moved, _):
        assert moved["hubs"][0]["httpsPort"] != port


def test_no_secret_is_logged(tmp_path: Path, ports: tuple[str, ...]) -> None:
    with serving(tmp_path / "lab", *ports) as (line, process):
        fetch(line, "/labkit/refusals")
        process.terminate()
        process.wait(10)
        log = process.stderr.read()
    pins = json.loads((tmp_path / "lab" / "hsm" / "pins.json").read_text())
    secrets = [pin for pair in pins.values() for pin in pair.values()]
    secrets += [line["dps"]["connectionString"].split("SharedAccessKey=")[1]]
    assert "GET /labkit/refusals" in log
    assert not [secret for secret in secrets if secret in log]


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which a device was refused because it sent its own certificate alone."""
    path = tmp_path_factory.mktemp("refused") / "lab"
    with Lab.open(path, ports=Ports(https=int(free_port()))) as lab:
        company = lab.custodian("Company-X").create_root_ca()
        technician = company.sign_intermediate(lab.custodian("Technician-Z"))
        ca = lab.dps.certificates.upload("company-x", company.certificate)
        lab.dps.certificates.verify(ca, company.prove_possession(ca.verification_code))
        lab.dps.enrollment_groups.create("widgets", signing=company.certificate)
        widget = technician.make_device("widget-1")
        widget.install_chain([widget.certificate])
        with pytest.raises(Exception, match="did not provision"):
            widget.provision()
    return path


def test_explain_last(refused: Path) -> None:
    done = labkit("explain", "--last", "--workspace", refused)
    assert done.returncode == 0
    assert "401 401002: CA certificate not found." in done.stdout
    assert "✗ its issuer is known" in done.stdout
    assert "1. let the device send CN=Technician-Z CA too" in done.stdout
    assert "2. upload CN=Technician-Z CA itself to DPS" in done.stdout


def test_explain_by_tracking_id_and_as_json(refused: Path) -> None:
    told = json.loads(labkit("explain", "--last", "--json", "--workspace", refused).stdout)
    assert told["errorCode"] == 401002
    assert told["presented"] == ["CN=widget-1"]
    again = labkit("explain", told["trackingId"], "--workspace", refused)
    assert told["trackingId"] in again.stdout


def test_the_same_explanation_over_https(refused: Path, ports: tuple[str, ...]) -> None:
    told = json.loads(labkit("explain", "--last", "--json", "--workspace", refused).stdout)
    with serving(refused, *ports) as (line, _):
        assert fetch(line, "/labkit/refusals?device=widget-1") == [told]
        assert fetch(line, f"/labkit/refusals/{told['trackingId']}") == told
        running = labkit("explain", "--last", "--json", "--workspace", refused)
        assert json.loads(running.stdout) == told, "the command works beside a running server"


def test_explain_by_device(refused: Path) -> None:
    last = labkit("explain", "--last", "--workspace", refused).stdout
    assert labkit("explain", "--device", "widget-1", "--workspace", refused).stdout == last
    assert labkit("explain", "widget-1", "--workspace", refused).stdout == last
    both = labkit("explain", "--last", "--device", "widget-1", "--workspace", refused)
    assert both.stdout == last
    other = labkit("explain", "--device", "smart-x-widget-001", "--workspace", refused)
    assert other.returncode == 1
    assert other.stderr.startswith("labkit: smart-x-widget-001 was not refused\n")
    assert "1 refusal in" in other.stderr


def test_nobody_was_refused_yet(tmp_path: Path) -> None:
    Lab.open(tmp_path / "lab", ports=Ports(https=0)).close()
    done = labkit("explain", "--last", "--workspace", tmp_path / "lab")
    assert done.returncode == 1
    assert done.stderr.startswith("labkit: Nobody was refused yet\n")


def test_a_plain_name_is_below_labkit_home_whatever_lies_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same name is the same workspace in a notebook, for the command, and in any folder."""
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    (tmp_path / "here" / "my-lab").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    options = ("--mqtt-port", free_port(), "--https-port", free_port())
    with serving(Path("my-lab"), *options) as (line, _):
        assert Path(line["serverCa"]).is_relative_to(tmp_path / "home" / "my-lab")
    assert list((tmp_path / "here" / "my-lab").iterdir()) == []
    assert labkit("clock", "show", "--workspace", "my-lab").returncode == 0
    assert "no workspace" in labkit("clock", "show", "--workspace", "./my-lab").stderr
    with Lab.open("my-lab", ports=Ports(https=0)) as lab:
        assert lab.path == tmp_path / "home" / "my-lab"


@pytest.mark.parametrize(
    "wrong",
    [("--clock", "yesterday"), ("--clock", "9999-01-01"), ("--hub", "x"), ("--host", "192.0.2.1")],
)
def test_a_server_that_does_not_start_leaves_no_folder(
    tmp_path: Path, wrong: tuple[str, ...]
) -> None:
    assert labkit("serve", "--workspace", tmp_path / "lab", *wrong).returncode == 1
    assert not (tmp_path / "lab").exists()


def test_stdout_holds_one_line_whatever_is_found_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a notebook prints would be a second line, which no client expects."""
    opened: dict[str, Any] = {}

    def again(lab: Lab) -> dict[str, Any]:
        opened["lab"] = lab
        for _ in range(2):
            lab.custodian("Company-X").create_root_ca()
        os.kill(os.getpid(), signal.SIGTERM)
        return {"ready": True}

    monkeypatch.setattr(serve, "description", again)
    ports = Ports("127.0.0.1", int(free_port()), int(free_port()))
    serve.serve(tmp_path / "lab", ports, (), "")
    assert capsys.readouterr().out == '{"ready": true}\n'
    assert [e.text for e in opened["lab"].events.about(kind="again")]


def test_a_signal_that_comes_before_the_wait_or_twice_ends_it() -> None:
    """And neither handler takes a lock: it runs in the middle of whatever holds it."""
    before = signal.getsignal(signal.SIGTERM)
    with serve._until_stopped() as wait:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
            os.kill(os.getpid(), number)
        assert wait() == b"."
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_version_is_the_packages() -> None:
    assert labkit("--version").stdout == f"labkit {version('labkit')}\n"


def test_every_option_and_argument_has_its_help() -> None:
    def bare(parser: argparse.ArgumentParser) -> Iterator[str]:
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for name, below in action.choices.items():
                    yield from (f"{name} {option}" for option in bare(below))
            elif not action.help:
                yield action.dest

    assert list(bare(cli._parser())) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["explain", "--workspace", "x"], "either its tracking ID, or --last, or --device"),
        (["explain", "--last", "--workspace", "."], "a path with a slash"),
        (["explain", "--last", "--workspace", "/nonexistent"], "There is no workspace"),
        (["clock", "advance", "--workspace", "/nonexistent"], "There is no workspace"),
        (["serve", "--workspace", str(Path(__file__).parent)], "is not a workspace of the lab"),
        (["serve", "--clock", "yesterday", "--workspace", "{tmp}"], "ISO 8601"),
        (["serve", "--hub", "x", "--workspace", "{tmp}"], "cannot be the name of a hub"),
        (["serve", "--host", "192.0.2.1", "--workspace", "{tmp}"], "cannot be listened on"),
        (
            ["serve", "--host", "0.0.0.0", "--assigned-hub", "address", "--workspace", "{tmp}"],
            "an address that they can dial",
        ),
        (["serve", "--hub", "dps", "--workspace", "{tmp}"], "cannot be the name of a hub"),
    ],
)
def test_a_wrong_call_is_told_what_was_expected(
    tmp_path: Path, arguments: list[str], said: str
) -> None:
    done = labkit(*(argument.format(tmp=tmp_path / "lab") for argument in arguments))
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [("--mqtt-port", "70000", "is no port"), ("--host", "nonsense", "is not an IP address")],
)
def test_an_impossible_place_to_listen_is_a_usage_error(option: str, value: str, said: str) -> None:
    done = labkit("serve", option, value)
    assert done.returncode == 2
    assert said in done.stderr


def test_help_names_every_command() -> None:
    text = labkit("--help").stdout
    for command in ("serve", "doctor", "explain", "clock", "server-root", "hosts", "notebooks"):
        assert command in text


def test_the_clock_of_a_running_server_is_moved_from_outside(
    tmp_path: Path, ports: tuple[str, ...]
) -> None:
    options = (*ports, "--clock", "2027-03-01T09:00:00Z")
    with serving(tmp_path / "lab", *options):
        assert labkit("clock", "show", "--workspace", tmp_path / "lab").stdout.startswith(
            "2027-03-01T09:00"
        )
        moved = labkit("clock", "advance", "31d", "--workspace", tmp_path / "lab")
        assert moved.stdout.startswith("2027-04-01T09:00")


def test_hosts_prints_lines_for_etc_hosts() -> None:
    lines = labkit("hosts", "--host", "127.0.0.5", "--hub", "contoso-hub").stdout.splitlines()
    assert "127.0.0.5\tcontoso-hub.azure-devices.net" in lines
    assert "127.0.0.5\tglobal.azure-devices-provisioning.net" in lines


def test_the_doctor_finds_a_healthy_machine() -> None:
    done = labkit("doctor")
    assert done.returncode == 0, done.stdout
    assert "✗" not in done.stdout


def test_the_doctor_tells_what_is_missing_and_what_to_do() -> None:
    environment = {**os.environ, "PKCS11_MODULE": "/nonexistent/libsofthsm2.so"}
    done = subprocess.run(
        [*LABKIT, "doctor"], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert "/nonexistent/libsofthsm2.so" in done.stdout
    assert "apt-get install softhsm2" in done.stdout
    assert "✓ Python is 3.11 or newer" in done.stdout, "one failure hides no other"
