"""Host names as clients write them."""

from __future__ import annotations


def without_port(host: str) -> str:
    """``contoso-hub.azure-devices.net:8443`` without its ``:8443``: Azure's Node SDK writes a
    hub's name as it was configured, port and all."""
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdecimal() else host
