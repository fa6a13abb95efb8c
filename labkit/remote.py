"""A lab that runs in another process, asked over HTTPS as any client asks it.

Who has the workspace has all that takes: where the lab listens, the roots to trust, and the key of
the policy to sign with.
"""

from __future__ import annotations

import http.client
import json
import ssl
from datetime import timedelta
from pathlib import Path
from typing import Any

from labkit.cloud import policies, sas
from labkit.cloud.policies import Policies
from labkit.cloud.store import Base, machine_time
from labkit.database import Database
from labkit.errors import LabError, counted
from labkit.wire import whereabouts
from labkit.wire.endpoints import SERVICE_ENDPOINT
from labkit.wire.http.server_root import PATH

PATIENCE = 600.0
"""Seconds for an answer: a push waits for the devices."""
_TOKEN_LIFE = timedelta(minutes=5)


def server_root(workspace: Path, action: str = "show", **said: Any) -> dict[str, Any]:
    """What there is of the servers' roots, after an action such as ``new``.

    Raises NotFound where no lab runs, and LabError for what it refuses.
    """
    if action == "show":
        return _ask(workspace, "GET", PATH)
    return _ask(workspace, "POST", f"{PATH}/{action}", said)


def lines(state: dict[str, Any]) -> list[str]:
    """What :func:`server_root` returns, for people."""
    roots = [(root["state"], root) for root in state["roots"]]
    rows = [*roots, ("issuing CA", state["issuingCa"]), ("leaf", state["leaf"])]
    told = [
        f"{what:<10}  {found['name']:<28}  until {found['notAfter'][:10]}  {found['sha256'][:16]}…"
        for what, found in rows
    ]
    if signer := state["crossSignedBy"]:
        told.append(f"{state['inUse']} is cross-signed by {signer}: either serves clients")
    told.append(
        f"clients that trust {state['trustBundleFile']} are served now and after the switch"
    )
    return [*told, *_of_push(state.get("pushed"))]


def _of_push(pushed: dict[str, Any] | None) -> list[str]:
    if pushed is None:
        return []
    others = (("refused it", pushed["refused"]), ("not reached", pushed["notReached"]))
    told = [f"{what}: {name}: {why}" for what, those in others for name, why in those.items()]
    return [f"installed by {counted(len(pushed['installed']), 'device')}", *told]


def _ask(workspace: Path, method: str, path: str, said: Any = None) -> dict[str, Any]:
    host, port = whereabouts.find(workspace)
    body = None if said is None else json.dumps(said)
    headers = {"Authorization": _token(workspace)}
    trust = ssl.create_default_context(cafile=str(workspace / "server" / "server-root.pem"))
    connection = http.client.HTTPSConnection(host, port, timeout=PATIENCE, context=trust)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        status, text = answer.status, answer.read()
    except (OSError, http.client.HTTPException) as error:
        seen = f"nobody answers at {host}:{port} as this lab: {error}"
        raise whereabouts.not_running(workspace, seen) from error
    finally:
        connection.close()
    found: dict[str, Any] = json.loads(text) if text.startswith(b"{") else {}
    if status != 200:
        raise _refused(status, found, workspace)
    return found


def _token(workspace: Path) -> str:
    database = Database(workspace / "cloud.db", Base.metadata)
    try:
        owner = Policies("dps", policies.DPS, database).owner
    finally:
        database.close()
    return sas.sign(SERVICE_ENDPOINT, owner.primary_key, owner.name, machine_time() + _TOKEN_LIFE)


def _refused(status: int, found: dict[str, Any], workspace: Path) -> LabError:
    """In the lab's own words, or in Azure's bare ones, which the lab explains."""
    tracked = found.get("trackingId", "")
    explain = f"labkit explain {tracked} --workspace {workspace}" if tracked else ""
    return LabError(
        found.get("message") or f"The lab answered {status}",
        expected=found.get("expected", ""),
        found=found.get("found", ""),
        cure=found.get("cure") or explain,
    )
