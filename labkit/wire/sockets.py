"""Binding ports, and saying who probably has the one that is taken."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, ip_address

from labkit.errors import LabError, PortTaken

MQTT_PORT = 8883
"""Fixed in the Python device SDK."""
HTTPS_PORTS = (443, 8443)
"""The first where it may be bound (clients without a port option need it), else the second."""
HUB_HTTPS_PORTS = range(8444, 65536)
"""Each hub takes the next that is free."""

LOOPBACK = "LABKIT_LOOPBACK"
"""The environment variable with the address that a lab tries first, 127.0.0.1 without it. Labs that
begin at another one keep apart: no device of a lab that was stopped can come upon the next lab."""

BACKLOG = 1024
"""Connections that may wait to be let in: a fleet that dials at once. Systems may allow fewer."""

_HIGHEST_PORT = 65535
_LAST_LOOPBACK = 254
_USES = {
    443: "a web server",
    8443: "a web server, or another lab",
    8883: "another lab (labkit serve, or a notebook whose kernel still runs) or an MQTT broker "
    "such as mosquitto",
}


def address(host: str) -> str:
    """An IP address as it is written in full; ``localhost`` is 127.0.0.1. Raises LabError."""
    try:
        return str(ip_address("127.0.0.1" if host == "localhost" else host))
    except ValueError as error:
        raise LabError(
            f"{host!r} is not an IP address", expected="an address such as 127.0.0.1 or ::1"
        ) from error


def check_port(port: int) -> None:
    """Raises LabError for a number that is no port; 0 lets the system choose."""
    if not 0 <= port <= _HIGHEST_PORT:
        raise LabError(f"{port} is no port", expected=f"1 to {_HIGHEST_PORT}")


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. Raises PortTaken, or LabError where the address is not this machine's."""
    check_port(port)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named in full: only then does asyncio switch Nagle off for what is accepted here.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        raise _explained(error, host, port) from error
    bound.setblocking(False)
    return bound


def bind_first(host: str, ports: Iterable[int]) -> socket.socket:
    """The first of several ports that can be bound. Raises what the last one raised."""
    failure: LabError | None = None
    for port in ports:
        try:
            return bind(host, port)
        except PortTaken as error:
            failure = error
    assert failure is not None
    raise failure


def free_loopback(port: int) -> tuple[str, socket.socket]:
    """The first loopback address on which ``port`` is free, and the port bound there.

    Linux has all of 127.0.0.x; where only 127.0.0.1 exists (macOS), ::1 is a second one.
    Raises PortTaken for the first of them when none is free, and LabError where ``LABKIT_LOOPBACK``
    is no address to begin at.
    """
    failure: LabError | None = None
    for host in _loopbacks():
        try:
            return host, bind(host, port)
        except LabError as error:
            failure = failure or error
    assert failure is not None
    raise failure


def _loopbacks() -> Iterator[str]:
    """From the first to the last that begins with the same three numbers, and ::1."""
    *net, first = _first_loopback().packed
    yield from (str(IPv4Address(bytes([*net, last]))) for last in range(first, _LAST_LOOPBACK + 1))
    yield "::1"


def _first_loopback() -> IPv4Address:
    named = os.environ.get(LOOPBACK) or "127.0.0.1"
    with contextlib.suppress(ValueError):
        if (found := IPv4Address(named)).is_loopback:
            return found
    raise LabError(
        f"No lab can begin to look for a free address at {named!r}",
        expected=f"in {LOOPBACK} a loopback address such as 127.0.1.1",
        cure=f"name one, or take {LOOPBACK} out of the environment",
    )


def port_of(bound: socket.socket) -> int:
    """The port that a socket is bound to."""
    port: int = bound.getsockname()[1]
    return port


def _explained(error: OSError, host: str, port: int) -> LabError:
    if error.errno == errno.EADDRINUSE:
        holder = _USES.get(port, "another program, or another lab")
        return PortTaken(
            f"Port {port} on {host} is taken",
            expected="a port that nobody listens on",
            found=f"it is held by {holder}, probably",
            cure=f"stop it (to see which it is: ss -ltnp 'sport = :{port}'), "
            "or choose another port or address",
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return PortTaken(
            f"Port {port} on {host} may not be bound by this user",
            cure="choose a port above 1023, such as 8443",
        )
    return LabError(
        f"{host}:{port} cannot be listened on",
        expected="an address of this machine",
        found=error.strerror or str(error),
        cure="choose 127.0.0.1, or another address of this machine",
    )
