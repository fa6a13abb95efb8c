"""Host names as clients write them."""

from __future__ import annotations


def without_port(host: str) -> str:
    """``contoso-hub.azure-devices.net:8443`` without its ``:8443``: Azure's Node SDK writes a
    hub's name as it was configured, port and all."""
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdecimal() else host


def as_dialled(host: str) -> tuple[str, ...]:
    """The names under which a client may know the service that it asked with this Host header: as
    it stands there, without its port, and with the port 443, which HTTP leaves out (RFC 9110,
    section 7.2) and a connection string has."""
    bare = without_port(host)
    return (host, f"{host}:443") if bare == host else (host, bare)
