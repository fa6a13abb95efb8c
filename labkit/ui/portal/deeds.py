"""What a click does, three times over: for people, as a line of Python, as a call of Azure's API.

A deed carries the function that is really called beside the two texts that say the same. Neither
text ever holds a secret: a token is written ``SharedAccessSignature …``, keys are left out.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from labkit.cloud.store import wire_etag
from labkit.errors import LabError, ServiceRefusal, in_short
from labkit.wire.endpoints import SERVICE_ENDPOINT

T = TypeVar("T")
Json = dict[str, Any]

KEPT = 50
"""Calls that are kept; the oldest make room."""

_DPS_API, _HUB_API = "2021-10-01", "2021-04-12"
_ARM_API = {"ProvisioningServices": "2022-02-05", "IotHubs": "2021-07-02"}
_ARM_HOST = "management.azure.com"
_SIGNED, _BEARER = ("Authorization", "SharedAccessSignature …"), ("Authorization", "Bearer …")


@dataclass(frozen=True, slots=True)
class Rest:
    """A request. ``path`` has its api-version, ``body`` is JSON or None."""

    method: str
    host: str
    path: str
    headers: tuple[tuple[str, str], ...] = ()
    body: Json | None = None

    def __str__(self) -> str:
        kind = [("Content-Type", "application/json")] if self.body is not None else []
        lines = [f"{self.method} {self.path}", f"Host: {self.host}"]
        lines += [f"{name}: {value}" for name, value in (*self.headers, *kind)]
        if self.body is not None:
            lines += ["", json.dumps(self.body, indent=2, ensure_ascii=False)]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Deed(Generic[T]):
    """One call: ``said`` in words, ``python`` and ``rest`` as others would make it, ``act``
    makes it."""

    said: str
    python: str
    rest: Rest
    act: Callable[[], T]


@dataclass(frozen=True, slots=True)
class Logged:
    """A call that was made. ``number`` counts from 1; ``outcome`` is empty for one that went
    well, else what was answered."""

    number: int
    said: str
    python: str
    rest: str
    outcome: str = ""


class Log:
    """The newest calls, oldest first."""

    def __init__(self) -> None:
        self._kept: deque[Logged] = deque(maxlen=KEPT)
        self._count = 0

    def note(self, deed: Deed[Any], error: Exception | None = None) -> None:
        """Keeps a call, with the answer that it got, or the error that it ended with."""
        self._count += 1
        outcome = _answer(error) if error is not None else ""
        kept = Logged(self._count, deed.said, deed.python, str(deed.rest), outcome)
        self._kept.append(kept)

    def __iter__(self) -> Iterator[Logged]:
        return iter(tuple(self._kept))

    def __len__(self) -> int:
        return len(self._kept)


def _answer(error: Exception) -> str:
    if isinstance(error, ServiceRefusal):
        return f"{error.error.status} {error.error.code}: {error.error.message}"
    return error.message if isinstance(error, LabError) else in_short(error)


# ---- the three APIs


def dps(method: str, path: str, body: Json | None = None, **headers: str) -> Rest:
    """A call of DPS's service API. Header names are written with underscores."""
    return _signed(SERVICE_ENDPOINT, method, path, _DPS_API, body, headers)


def hub(host: str, method: str, path: str, body: Json | None = None, **headers: str) -> Rest:
    """A call of a hub's service API."""
    return _signed(host, method, path, _HUB_API, body, headers)


def arm(
    resource: str, method: str, path: str, body: Json | None = None, if_match: str = ""
) -> Rest:
    """A call of Azure Resource Manager; ``resource`` is the ID of a DPS or a hub."""
    version = _ARM_API[resource.split("/")[-2]]
    condition = (("If-Match", if_match),) if if_match else ()
    whole = f"{resource}{path}?api-version={version}"
    return Rest(method, _ARM_HOST, whole, (_BEARER, *condition), body)


def segment(name: str) -> str:
    """A name as a part of a path."""
    return quote(name, safe="")


def entity_tag(etag: str) -> str:
    """An ETag of DPS as If-Match carries it."""
    return f'"{wire_etag(etag)}"'


def _signed(
    host: str, method: str, path: str, version: str, body: Json | None, headers: dict[str, str]
) -> Rest:
    named = {name.replace("_", "-"): value for name, value in headers.items() if value}
    titled = tuple((_TITLES.get(name, name), value) for name, value in named.items())
    whole = f"{path}{'&' if '?' in path else '?'}api-version={version}"
    return Rest(method, host, whole, (_SIGNED, *titled), body)


_TITLES = {"if-match": "If-Match"}
