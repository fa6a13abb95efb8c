"""What a lab is asked to listen on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ports:
    """None leaves the choice to the lab: the first loopback address on which 8883 is free, and
    for HTTPS 443 where it may be bound, else 8443."""

    host: str | None = None
    mqtt: int | None = None
    https: int | None = None
