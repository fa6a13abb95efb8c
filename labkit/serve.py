"""``labkit serve``: the emulator for device teams, in a process of its own."""

from __future__ import annotations

import ipaddress
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from labkit.clock import Clock, parse_moment
from labkit.cloud.policies import Policies
from labkit.errors import LabError
from labkit.lab import Lab
from labkit.wire.endpoints import DPS_NAME, GLOBAL_ENDPOINT, RESOURCE_GROUP
from labkit.wire.http.arm import subscription
from labkit.wire.ports import Ports
from labkit.wire.sockets import MQTT_PORT

_log = logging.getLogger("labkit")


def serve(
    workspace: Path,
    ports: Ports,
    hubs: tuple[str, ...],
    clock: str,
    *,
    hub_by_address: bool = False,
) -> None:
    """Opens the workspace, says where everything is in one line of JSON, and waits.

    ``hub_by_address`` has DPS tell devices an address that they can dial in place of their hub's
    name. Returns after SIGTERM or SIGINT, with everything closed. Raises what :meth:`Lab.open`
    raises, and LabError for an address that nobody can dial.
    """
    if hub_by_address:
        _check_can_be_dialled(ports.host)
    if ports.host and not ipaddress.ip_address(ports.host).is_loopback:
        _log.warning("listening on %s: other machines may reach this lab", ports.host)
    moment = parse_moment(clock) if clock and clock != "real" else None
    if moment:
        Clock().set(moment)  # refuses what no clock can show before a workspace is made
    with (
        _until_stopped() as wait,
        Lab.open(workspace, hubs=hubs, ports=ports, say=_log.info) as lab,
    ):
        if clock == "real":
            lab.clock.reset()
        elif moment:
            lab.clock.set(moment)
        lab.dps.hub_address = hub_address(lab) if hub_by_address else ""
        print(json.dumps(description(lab)), flush=True)
        _log.info("serving %s; stop it with Ctrl-C or SIGTERM", lab.path)
        wait()
        _log.info("stopping")


def _check_can_be_dialled(host: str | None) -> None:
    if host and ipaddress.ip_address(host).is_unspecified:
        raise LabError(
            "DPS cannot tell devices the address of their hub",
            expected="an address that they can dial",
            found=f"{host}, which stands for all addresses of this machine",
            cure="name one of them: --host, or leave --assigned-hub out",
        )


def hub_address(lab: Lab) -> str:
    """Where devices reach every hub over MQTT: with its port only where that is not the usual
    one, for most clients have no way to be told another."""
    host, port = _in_url(lab.listener.host), lab.listener.mqtt_port
    return host if port == MQTT_PORT else f"{host}:{port}"


def description(lab: Lab) -> dict[str, Any]:
    """Where a client finds each service of a running lab. Holds secrets: the SAS keys."""
    listener = lab.listener
    host, https = _in_url(listener.host), listener.https_port
    return {
        "ready": True,
        "idScope": lab.dps.id_scope,
        "serverCa": str(lab.server.root_file),
        "dps": {
            "host": listener.host,
            "mqttPort": listener.mqtt_port,
            "httpsPort": https,
            "deviceEndpoint": GLOBAL_ENDPOINT,
            "connectionString": _connection(f"{host}:{https}", lab.cloud.policies("dps")),
        },
        "hubs": [_hub(lab, name) for name in sorted(listener.hub_ports)],
        "arm": {
            "endpoint": f"https://{host}:{https}",
            "subscriptionId": subscription(lab.cloud.database),
            "resourceGroup": RESOURCE_GROUP,
            "provisioningService": DPS_NAME,
        },
    }


def _hub(lab: Lab, name: str) -> dict[str, Any]:
    listener, port = lab.listener, lab.listener.hub_ports[name]
    return {
        "hostName": lab.hub(name).host_name,
        "address": listener.host,
        "mqttPort": listener.mqtt_port,
        "httpsPort": port,
        "connectionString": _connection(
            f"{_in_url(listener.host)}:{port}", lab.cloud.policies(name)
        ),
    }


def _connection(host: str, policies: Policies) -> str:
    owner = policies.owner
    keys = f"SharedAccessKeyName={owner.name};SharedAccessKey={owner.primary_key}"
    return f"HostName={host};{keys}"


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


@contextmanager
def _until_stopped() -> Iterator[Callable[[], object]]:
    """Waits for SIGTERM or SIGINT, also for one that came before the wait.

    What handled them before does so again afterwards. A handler runs in the middle of whatever
    the main thread is doing: it may write to a pipe, but a lock it takes (threading.Event has
    one) may be the very one that the main thread holds.
    """
    reading, writing = os.pipe()
    signals = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, lambda *_: os.write(writing, b".")) for number in signals]
    try:
        yield lambda: os.read(reading, 1)
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)
        os.close(reading)
        os.close(writing)


def log_to_stderr(level: int) -> None:
    """stdout belongs to the one line of JSON."""
    logging.basicConfig(
        stream=sys.stderr, level=level, format="%(asctime)s %(levelname)s %(message)s"
    )
