"""The shape that both services give their topics: a path, then ``?`` and properties."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, unquote

from labkit.wire.mqtt.packets import MalformedPacket

LONGEST_REQUEST_ID = 512
"""Bytes; SDKs send a GUID or a number. The answer's topic has to have room for it."""


def split(topic: str) -> tuple[str, dict[str, str]]:
    """``a/b/?$rid=1&x=y`` as ``("a/b", {"$rid": "1", "x": "y"})``."""
    path, _, query = topic.partition("?")
    return path.removesuffix("/"), properties(query)


def path(topic: str) -> str:
    """The path alone."""
    return topic.partition("?")[0].removesuffix("/")


def properties(text: str) -> dict[str, str]:
    """``k=v&flag&%24.ct=text%2Fplain``, decoded; a name without a value has an empty one."""
    pairs = (item.partition("=") for item in text.split("&") if item)
    return {unquote(name): unquote(value) for name, _, value in pairs}


def bag(values: Mapping[str, str]) -> str:
    """Properties as they stand in a topic: the inverse of :func:`properties`."""
    return "&".join(
        f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in values.items()
    )


def request_id(topic: str) -> str:
    """The ``$rid`` of a request, exactly as the client wrote it; empty without one.

    Raises MalformedPacket for one that is too long.
    """
    _, _, query = topic.partition("?")
    pairs = (item.partition("=") for item in query.split("&"))
    found = next((value for name, _, value in pairs if unquote(name) == "$rid"), "")
    if len(found.encode()) > LONGEST_REQUEST_ID:
        why = f"a $rid of more than {LONGEST_REQUEST_ID} bytes"
        raise MalformedPacket(why, "choose a shorter one, such as a GUID")
    return found


def answer(path: str, rid: str, values: Mapping[str, str] | None = None) -> str:
    """The topic that answers the request ``rid``, which goes back byte for byte: a client
    compares it with what it wrote, whatever it had encoded."""
    pairs = (values or {}).items()
    more = "".join(f"&{name}={quote(value, safe='')}" for name, value in pairs)
    return f"{path}/?$rid={rid}{more}"
