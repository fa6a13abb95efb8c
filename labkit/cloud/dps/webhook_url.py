"""The URL of a webhook: whether it is one, and what of it may be shown.

A function's key is in its query (``?code=…``). So a URL is told to whoever reads the enrollment,
and to the webhook; what is logged, traced or printed has :func:`shown`.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import SplitResult, urlsplit

LONGEST: Final = 2_000
"""Characters: as long as any browser or proxy takes."""
RULE: Final = f"an http or https URL of a host, at most {LONGEST:,} characters of ASCII"

_SCHEMES: Final = ("http", "https")


def fault(url: str) -> str:
    """Why this is no URL that can be asked; empty where it is one. Without a part that is secret.

    Azure wants HTTPS; here plain HTTP is taken too, for a webhook on the same machine.
    """
    if not url:
        return "missing"
    if len(url) > LONGEST:
        return f"a text of {len(url):,} characters"
    if any(not "!" <= letter <= "~" for letter in url):
        return f"{shown(url)!r}, with a blank, or a character that is not ASCII"
    parts = _split(url)
    if parts is None or parts.scheme.lower() not in _SCHEMES or not parts.hostname:
        return repr(shown(url))
    return ""


def shown(url: str) -> str:
    """The URL for people: without user, query and fragment, in whose place stands ``?…``. What
    cannot be read is not shown at all."""
    parts = _split(url)
    if parts is None:
        return "…"
    host = parts.netloc.rpartition("@")[2]
    bare = parts._replace(netloc=host, query="", fragment="").geturl()
    return f"{bare}?…" if parts.query or parts.fragment else bare


def _split(url: str) -> SplitResult | None:
    """None where it has no parts, or a port that is none."""
    try:
        parts = urlsplit(url)
        return parts if parts.port is None or parts.port else None
    except ValueError:
        return None
