"""``labkit monitor``: the telemetry of a running lab, as it comes.

It reads the lab's database and runs nothing of the lab: that is another process's.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import select

from labkit.cloud.hub.names import label_of
from labkit.cloud.hub.tables import HubRow, Message
from labkit.cloud.hub.telemetry import Inbox, Wanted
from labkit.cloud.store import Base
from labkit.database import Database
from labkit.errors import NotFound


def monitor(
    workspace: Path, hub: str, device_id: str, *, as_json: bool, everything: bool = False
) -> int:
    """Prints each message in a line until it is stopped, and returns 0; ``everything`` begins
    with what was kept before. Raises NotFound for a hub that the lab does not have."""
    database = Database(workspace / "cloud.db", Base.metadata)
    inbox = Inbox(database)
    try:
        name = _hub(database, hub)
        after = 0 if everything else inbox.newest(name)
        with _until_stopped():
            print(f"following {name}; stop it with Ctrl-C", file=sys.stderr, flush=True)
            for message in inbox.follow(Wanted(name, device_id, after=after), math.inf):
                print(json.dumps(to_json(message)) if as_json else line(message), flush=True)
    finally:
        database.close()
    return 0


def _hub(database: Database, wanted: str) -> str:
    """By its name with or without the domain; the first where none is wanted."""
    with database.read() as session:
        names = list(session.scalars(select(HubRow.name).order_by(HubRow.name)))
    label = label_of(wanted) or next(iter(names), "")
    if label not in names:
        known = ", ".join(names) or "none"
        raise NotFound(f"There is no hub {wanted!r}", found=f"hubs: {known}")
    return label


@contextmanager
def _until_stopped() -> Iterator[None]:
    """Ctrl-C is how it ends; and so does whoever reads it, such as head."""
    try:
        yield
    except KeyboardInterrupt:
        print(file=sys.stderr)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def to_json(message: Message) -> dict[str, Any]:
    """For programs. The body is JSON where it says that it is and is, else text."""
    return {
        "number": message.number,
        "at": f"{message.at:%Y-%m-%dT%H:%M:%S.%fZ}",
        "hub": message.hub,
        "deviceId": message.device_id,
        "body": _body(message),
        "properties": message.properties,
        "systemProperties": message.system,
    }


def _body(message: Message) -> Any:
    if message.system.get("ct", "").startswith("application/json"):
        try:
            return json.loads(message.body)
        except ValueError:
            return message.text
    return message.text


def line(message: Message) -> str:
    """For people. Control characters are escaped: a device may send any, to any terminal."""
    properties = "".join(f" {name}={value}" for name, value in message.properties.items())
    shown = f"{message.device_id:<24} {message.text}{properties}"
    safe = "".join(c if c.isprintable() else repr(c)[1:-1] for c in shown)
    return f"{message.at:%Y-%m-%d %H:%M:%S}  {safe}"
