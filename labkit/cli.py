"""The ``labkit`` command."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from labkit.clock import Clock, parse_moment, parse_span
from labkit.errors import LabError
from labkit.workspace import existing, locate

_DEFAULT_HOST = "127.0.0.1"
_HIGHEST_PORT = 65535


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code: 0, 1 for an error, 2 for a wrong call."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.run(options)
    except LabError as error:
        print(f"labkit: {error}", file=sys.stderr)
        return 1
    return code


def _serve(options: argparse.Namespace) -> int:
    from labkit.serve import log_to_stderr, serve
    from labkit.wire.ports import Ports

    log_to_stderr(logging.WARNING if options.quiet else logging.INFO)
    ports = Ports(options.host, options.mqtt_port, options.https_port)
    by_address = options.assigned_hub == "address"
    where = locate(options.workspace)
    serve(where, ports, tuple(options.hub), options.clock, hub_by_address=by_address)
    return 0


def _doctor(_: argparse.Namespace) -> int:
    from labkit.doctor import examine

    diagnosis = examine()
    print(diagnosis.details())
    return 0 if diagnosis.ok else 1


def _explain(options: argparse.Namespace) -> int:
    from labkit.wire.http.refusals import to_json

    found = _explanation(options)
    if options.json:
        print(json.dumps(to_json(found.refusal), indent=2))
        return 0
    print(f"Tracking ID {found.tracking_id}, {found.at:%Y-%m-%d %H:%M:%S} by the lab's clock")
    print(found)
    return 0


def _explanation(options: argparse.Namespace) -> Any:
    from labkit.cloud.refusals import Refusals
    from labkit.cloud.store import Base
    from labkit.database import Database
    from labkit.events import Events
    from labkit.explanation import explained

    if bool(options.tracking_id) == (options.last or bool(options.device)):
        raise LabError(
            "Name one refusal", expected="either its tracking ID, or --last, or --device ID"
        )
    path = existing(locate(options.workspace))
    clock = Clock(path / "clock.json")
    refusals = Refusals(Database(path / "cloud.db", Base.metadata), clock, Events(clock))
    return explained(refusals, options.tracking_id or None, device=options.device)


def _monitor(options: argparse.Namespace) -> int:
    from labkit.monitor import monitor

    path = existing(locate(options.workspace))
    return monitor(path, options.hub, options.device, as_json=options.json, everything=options.all)


def _clock(options: argparse.Namespace) -> int:
    clock = Clock(existing(locate(options.workspace)) / "clock.json")
    if options.action == "set":
        clock.set(parse_moment(_value(options)))
    elif options.action == "advance":
        clock.advance(seconds=parse_span(_value(options)).total_seconds())
    elif options.action == "reset":
        clock.reset()
    print(f"{clock.now():%Y-%m-%dT%H:%M:%SZ}")
    return 0


def _value(options: argparse.Namespace) -> str:
    if not options.value:
        example = "31d" if options.action == "advance" else "2027-01-31T12:00:00Z"
        raise LabError(f"clock {options.action} needs a value", expected=f"such as {example}")
    return str(options.value)


def _server_root(options: argparse.Namespace) -> int:
    from labkit import remote

    asked = ("name", "to", "crossSigned", "hub", "device", "untried")
    said = {name: getattr(options, name) for name in asked if getattr(options, name, None)}
    found = remote.server_root(existing(locate(options.workspace)), options.action, **said)
    if options.json:
        print(json.dumps(found, indent=2))
        return 0
    for line in remote.lines(found):
        print(line)
    return 0


def _hosts(options: argparse.Namespace) -> int:
    from labkit.cloud.hub.names import DOMAIN
    from labkit.wire.endpoints import GLOBAL_ENDPOINT, SERVICE_ENDPOINT

    hubs = (f"{name.removesuffix(f'.{DOMAIN}')}.{DOMAIN}" for name in options.hub)
    for name in (GLOBAL_ENDPOINT, SERVICE_ENDPOINT, *hubs):
        print(f"{options.host}\t{name}")
    return 0


def _notebooks(options: argparse.Namespace) -> int:
    from labkit.notebooks import lend, refresh

    if options.action == "lend":
        for line in lend(Path("notebooks"), options.to):
            print(line)
        return 0
    paths = options.path or sorted(Path("notebooks").glob("*.ipynb"))
    changed = refresh(paths)
    for path in paths:
        print(f"{'changed' if path in changed else 'same   '}  {path}")
    return 0


def _address(text: str) -> str:
    from labkit.wire.sockets import address

    try:
        return address(text)
    except LabError as error:
        raise argparse.ArgumentTypeError(error.message) from error


def _port(text: str) -> int:
    if not text.isdigit() or not 0 < int(text) <= _HIGHEST_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: 1 to {_HIGHEST_PORT}")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="labkit", description="Learn, teach and test X.509 identity in Azure IoT, offline."
    )
    parser.add_argument(
        "--version",
        action="version",
        version=f"labkit {version('labkit')}",
        help="print the version and exit",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_serve(commands)
    _add(commands, "doctor", _doctor, "check that this machine has what the lab needs")
    _add_explain(commands)
    _add_monitor(commands)
    _add_clock(commands)
    _add_server_root(commands)
    hosts = _add(
        commands, "hosts", _hosts, "print lines for /etc/hosts, for clients that need them"
    )
    hosts.add_argument(
        "--host",
        default=_DEFAULT_HOST,
        metavar="ADDR",
        help="where the lab listens (default: %(default)s)",
    )
    _add_hubs(hosts, "hubs to print", ["contoso-hub"], "contoso-hub")
    notebooks = _add(commands, "notebooks", _notebooks, "execute the lessons, or copy them to play")
    notebooks.add_argument(
        "action",
        choices=["refresh", "lend"],
        help="refresh: execute them and store what they show; "
        "lend: copy them without their outputs, for a trainee",
    )
    notebooks.add_argument("path", nargs="*", type=Path, help="default: all of notebooks/")
    notebooks.add_argument(
        "--to", type=Path, default=Path("desk/notebooks"), metavar="DIR", help="where to lend to"
    )
    return parser


def _add(commands: Any, name: str, run: Any, text: str) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    made.set_defaults(run=run)
    return made


def _add_workspace(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    parser.add_argument(
        "--workspace",
        required=default is None,
        default=default,
        metavar="NAME|DIR",
        help="a plain name is a workspace below $LABKIT_HOME (~/.labkit), as in Lab.open(NAME); "
        "with a slash (./my-lab) it is a folder" + (" (default: %(default)s)" if default else ""),
    )


def _add_hubs(
    parser: argparse.ArgumentParser, what: str, default: Sequence[str], said: str
) -> None:
    parser.add_argument(
        "--hub",
        nargs="+",
        default=default,
        metavar="NAME",
        help=f"{what}, with or without .azure-devices.net (default: {said})",
    )


def _add_serve(commands: Any) -> None:
    serve = _add(commands, "serve", _serve, "run the emulated DPS and IoT Hub until stopped")
    _add_workspace(serve, default="labkit-serve")
    serve.add_argument(
        "--host",
        type=_address,
        default=_DEFAULT_HOST,
        metavar="ADDR",
        help="the address to listen on (default: %(default)s)",
    )
    serve.add_argument(
        "--mqtt-port", type=_port, metavar="PORT", help="for devices over MQTT (default: 8883)"
    )
    serve.add_argument(
        "--https-port",
        type=_port,
        metavar="PORT",
        help="for DPS and ARM over HTTPS (default: 443 where allowed, else 8443)",
    )
    _add_hubs(serve, "hubs to run", [], "those that the workspace has, or contoso-hub")
    serve.add_argument(
        "--assigned-hub",
        choices=["name", "address"],
        default="name",
        help="what DPS tells devices of their hub: its name, or an address for clients that can "
        "neither be redirected nor look up the name (default: %(default)s)",
    )
    serve.add_argument(
        "--clock",
        default="",
        metavar="ISO-8601|real",
        help="set the lab's clock, such as 2027-01-31T12:00:00Z; real is this machine's time "
        "(default: as it stands)",
    )
    serve.add_argument("--quiet", action="store_true", help="log warnings only")


def _add_explain(commands: Any) -> None:
    explain = _add(commands, "explain", _explain, "say why a client was refused")
    explain.add_argument(
        "tracking_id", nargs="?", metavar="ID", help="the tracking ID that the client was told"
    )
    explain.add_argument("--last", action="store_true", help="the most recent refusal")
    explain.add_argument(
        "--device", default="", metavar="ID", help="the most recent refusal of this device"
    )
    explain.add_argument("--json", action="store_true", help="print JSON, for programs")
    _add_workspace(explain)


def _add_monitor(commands: Any) -> None:
    monitor = _add(commands, "monitor", _monitor, "print the telemetry of a lab as it comes")
    _add_workspace(monitor, default="labkit-serve")
    monitor.add_argument(
        "--hub", default="", metavar="NAME", help="the hub to follow (default: the first)"
    )
    monitor.add_argument("--device", default="", metavar="ID", help="this device's messages only")
    monitor.add_argument("--json", action="store_true", help="print JSON lines, for programs")
    monitor.add_argument(
        "--all", action="store_true", help="begin with the messages that were kept before"
    )


def _add_clock(commands: Any) -> None:
    clock = _add(commands, "clock", _clock, "show or move the lab's clock")
    clock.add_argument(
        "action",
        choices=["show", "set", "advance", "reset"],
        help="reset goes back to this machine's time",
    )
    clock.add_argument(
        "value",
        nargs="?",
        help="for set a moment (ISO 8601: 2027-01-31T12:00:00Z), for advance a span such as 31d",
    )
    _add_workspace(clock)


_SERVER_ROOT = """\
The services of a lab show clients a chain of their own: leaf, issuing CA, root. This renews it
while the lab runs (labkit serve, or a notebook), as a cloud does to its devices. Connections that
are open stay; each new one is shown the new chain. To try whether your devices live through a new
root:

  labkit server-root new      announces a second root: put the trust bundle into your devices,
  labkit server-root push     or let the lab do so, by the direct method installTrustBundle
  labkit server-root switch   leads the chain to it: who trusts the old one only leaves in TLS
"""


def _add_server_root(commands: Any) -> None:
    said = "show the servers' roots, or renew them while the lab runs"
    group = commands.add_parser(
        "server-root",
        help=said,
        description=_SERVER_ROOT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = group.add_subparsers(required=True, metavar="ACTION")
    _add_action(actions, "show", "print all roots, and what a client is shown now")
    new = _add_action(actions, "new", "announce another root; nothing that is served changes")
    new.add_argument("name", nargs="?", metavar="NAME", help="its common name (default: the next)")
    switch = _add_action(actions, "switch", "let the chain lead to another root from now on")
    switch.add_argument(
        "to", nargs="?", metavar="NAME", help="the root (default: the next that is announced)"
    )
    switch.add_argument(
        "--cross-signed",
        dest="crossSigned",
        action="store_true",
        help="let the older root sign the new one, and serve that too: clients with either are "
        "content",
    )
    _add_action(actions, "roll-leaf", "renew the endpoint's certificate, with a new key")
    _add_action(actions, "roll-issuing-ca", "renew the CA above it, below the same root")
    push = _add_action(
        actions, "push", "call installTrustBundle on devices, with the trust bundle of now"
    )
    push.add_argument("--hub", metavar="NAME", help="the devices' hub (default: the first)")
    push.add_argument("--device", metavar="ID", help="this device only (default: all of the hub)")
    push.add_argument(
        "--untried", action="store_true", help="tell devices to install it without trying it out"
    )


def _add_action(actions: Any, name: str, text: str) -> argparse.ArgumentParser:
    made = _add(actions, name, _server_root, text)
    made.set_defaults(action=name)
    _add_workspace(made, default="labkit-serve")
    made.add_argument("--json", action="store_true", help="print JSON, for programs")
    return made
