"""Where the lab of a workspace listens, for other processes that have the workspace at hand.

After a kill the file is there still, and nobody listens; the next start writes it anew. The ports
of the hubs are kept for longer: a client that was configured once finds its hub after a restart.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path

from labkit.errors import NotFound
from labkit.files import write_whole

_FILE = "listening.json"
_HUBS = "hub-ports.json"


def tell(workspace: Path, host: str, https_port: int) -> None:
    """The lab listens there now; DPS's port is meant."""
    write_whole(workspace / _FILE, json.dumps({"host": host, "httpsPort": https_port}))


def forget(workspace: Path) -> None:
    """It does not any more. Harmless where that is known."""
    (workspace / _FILE).unlink(missing_ok=True)


def find(workspace: Path) -> tuple[str, int]:
    """The address to dial, and the port. Raises NotFound where no lab runs."""
    try:
        found = json.loads((workspace / _FILE).read_text())
        host, port = ip_address(found["host"]), int(found["httpsPort"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise not_running(workspace, "it says nothing of where it listens") from error
    # Who listens everywhere names no address to dial; the certificate covers localhost in any case.
    return "localhost" if host.is_unspecified else str(host), port


def keep_hub_ports(workspace: Path, ports: Mapping[str, int]) -> None:
    """Each hub, by its name, listens for HTTPS there."""
    write_whole(workspace / _HUBS, json.dumps(ports))


def last_hub_ports(workspace: Path) -> dict[str, int]:
    """Where each hub listened the last time; nothing where that is not known."""
    try:
        found = json.loads((workspace / _HUBS).read_text())
        return {str(name): int(port) for name, port in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def not_running(workspace: Path, found: str) -> NotFound:
    """What whoever looks for a lab is told where none answers."""
    return NotFound(
        f"The lab of {workspace} does not run",
        expected="a running server, or a notebook that has it open",
        found=found,
        cure=f"start it: labkit serve --workspace {workspace}",
    )
