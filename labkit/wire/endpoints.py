"""By which names the emulated services are known: as Azure's would be, in this lab."""

from __future__ import annotations

GLOBAL_ENDPOINT = "global.azure-devices-provisioning.net"
"""Of every DPS, for devices."""
DPS_NAME = "lab-dps"
SERVICE_ENDPOINT = f"{DPS_NAME}.azure-devices-provisioning.net"
"""Of this lab's DPS, for back ends, and for devices too."""
RESOURCE_GROUP = "lab"
