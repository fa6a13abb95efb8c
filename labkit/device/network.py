"""All that a device knows of the cloud: where to dial, and whom to trust there."""

from __future__ import annotations

from dataclasses import dataclass

MQTT_PORT = 8883
"""Of every service, for devices: the SDK knows no other."""


@dataclass(frozen=True, slots=True)
class Network:
    """What the manufacturer writes into a device's configuration.

    ``address`` is dialled for DPS and, as gateway, for the hub that DPS assigns (at the usual
    ports by the SDK, which knows no others; at these by the lab's own client); ``id_scope``
    names the provisioning service; ``server_roots`` (PEM) are trusted to vouch for servers: a
    device that is made today gets these, and one that was made earlier has its own.
    """

    address: str
    id_scope: str
    server_roots: str
    mqtt_port: int = 8883
    https_port: int = 443
