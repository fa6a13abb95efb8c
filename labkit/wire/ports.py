"""What a lab is asked to listen on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Ports:
    """None leaves the choice to the lab: the first loopback address on which 8883 is free, and
    for HTTPS 443 where it may be bound, else 8443. ``hubs`` says where each hub listened for HTTPS
    before: there again if nobody else does by now."""

    host: str | None = None
    mqtt: int | None = None
    https: int | None = None
    hubs: Mapping[str, int] = field(default_factory=dict)
