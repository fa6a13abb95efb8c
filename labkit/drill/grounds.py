"""What a drill needs of the lab that it takes place in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from labkit.clock import Clock
from labkit.cloud import Cloud
from labkit.device import Network
from labkit.drill.attempts import Attempts
from labkit.events import Events


@dataclass(frozen=True, slots=True)
class Grounds:
    """``path`` is the workspace, ``network`` what devices are configured with, ``settle`` waits
    until the listener has looked at all that has arrived. ``cloud`` is read to tell why somebody
    was refused, and never to decide anything."""

    path: Path
    clock: Clock
    events: Events
    cloud: Cloud
    attempts: Attempts
    network: Callable[[], Network]
    settle: Callable[[], None]
