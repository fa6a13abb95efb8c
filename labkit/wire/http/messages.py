"""A request and a response, and the table that leads from one to the other."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from labkit.cloud.presented import Presented
from labkit.wire import azure_json

A = TypeVar("A")
B = TypeVar("B")


@dataclass(frozen=True, slots=True)
class Request:
    """``path`` is decoded, ``query`` holds the last value of each name, header names are lower
    case, ``peer`` is the client's address."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    presented: Presented
    peer: str

    @property
    def host(self) -> str:
        """What the client calls us, with the port where it wrote one."""
        return self.headers.get("host", "")


@dataclass(frozen=True, slots=True)
class Response:
    """``body`` goes out as it is, with its length; the headers name its type."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


def json_response(status: int, value: Any, headers: Mapping[str, str] | None = None) -> Response:
    """``value`` as JSON, and a header that says so: without it some SDKs do not parse it."""
    kind = {"Content-Type": "application/json; charset=utf-8"}
    return Response(status, azure_json.dumps(value), {**kind, **(headers or {})})


Reply: TypeAlias = Response | Future[Response]
"""A response, or one that will come later and needs no thread until then."""


def changed(reply: Reply, change: Callable[[Response], Response]) -> Reply:
    """The reply with its response changed, whenever that comes."""
    return mapped(reply, change) if isinstance(reply, Future) else change(reply)


def mapped(
    future: Future[A],
    change: Callable[[A], B],
    otherwise: Callable[[Exception], B] | None = None,
) -> Future[B]:
    """A future of what ``change`` makes of the result of another; ``otherwise`` makes it of what
    was raised."""
    found: Future[B] = Future()

    def settle(done: Future[A]) -> None:
        try:
            found.set_result(_settled(done, change, otherwise))
        except Exception as error:
            found.set_exception(error)

    future.add_done_callback(settle)
    return found


def _settled(
    done: Future[A], change: Callable[[A], B], otherwise: Callable[[Exception], B] | None
) -> B:
    try:
        return change(done.result())
    except Exception as error:
        if otherwise is None:
            raise
        return otherwise(error)


class Answerer(Protocol):
    """Whatever has a reply to every request. Called in any thread."""

    def answer(self, request: Request) -> Reply: ...


Handler = Callable[[Request, dict[str, str]], Reply]
"""Takes the request and the named parts of its path."""
Prompt = Callable[[Request, dict[str, str]], Response]
"""A handler that has its response at once."""


class Router:
    """Routes by method and path. Paths are matched without regard to case, as Azure's are;
    ``{name}`` stands for one segment, whose own case is kept."""

    def __init__(self) -> None:
        self._routes: list[tuple[str, re.Pattern[str], Handler]] = []

    def add(self, method: str, path: str, handler: Handler) -> None:
        pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(path))
        self._routes.append((method, re.compile(f"{pattern}/?", re.IGNORECASE), handler))

    def answer(self, request: Request) -> Reply:
        """The handler's reply; 404 for an unknown path, 405 for a method that it lacks."""
        methods = []
        for method, pattern, handler in self._routes:
            if (found := pattern.fullmatch(request.path)) is None:
                continue
            if method == ("GET" if request.method == "HEAD" else request.method):
                return handler(request, found.groupdict())
            methods.append(method)
        if methods:
            return Response(405, headers={"Allow": ", ".join(sorted(methods))})
        return json_response(404, {"message": f"nothing is served at {request.path}"})


def parse_target(target: str) -> tuple[str, dict[str, str]]:
    """A request target as decoded path and query. Raises ValueError.

    What begins with a slash is a path to its end (RFC 9112, 3.2.1), also where it begins with
    two: there is no host in ``//host/path``. Only the absolute form has one.
    """
    if target.startswith("/"):
        path, _, query = target.partition("?")
    else:
        parts = urlsplit(target)
        path, query = parts.path, parts.query
    return unquote(path), dict(parse_qsl(query, keep_blank_values=True))
