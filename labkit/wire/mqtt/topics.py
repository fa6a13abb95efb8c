"""The shape that both services give their topics: a path, then ``?`` and properties."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, unquote


def split(topic: str) -> tuple[str, dict[str, str]]:
    """``a/b/?$rid=1&x=y`` as ``("a/b", {"$rid": "1", "x": "y"})``."""
    path, _, query = topic.partition("?")
    return path.removesuffix("/"), properties(query)


def properties(text: str) -> dict[str, str]:
    """``k=v&flag&%24.ct=text%2Fplain``, decoded; a name without a value has an empty one."""
    pairs = (item.partition("=") for item in text.split("&") if item)
    return {unquote(name): unquote(value) for name, _, value in pairs}


def join(path: str, values: Mapping[str, str]) -> str:
    """The inverse of :func:`split`, for answers; names go out as they are, ``$`` and all."""
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in values.items())
    return f"{path}/?{query}"
