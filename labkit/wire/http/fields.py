"""A JSON object from outside, read field by field: what is wrong is named by its path."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

from labkit.cloud import codes, strict_json
from labkit.cloud.refusals import Denial
from labkit.trace import failed
from labkit.wire.http.messages import Request

FIELD = "the field can be read"
MEDIA_TYPE = "the body is of a type that the service reads"
T = TypeVar("T")


class Fields:
    """The fields of one object. ``path`` is where it is in the whole; a null counts as absent.

    Whatever reads raises Denial (400004) that names the field.
    """

    def __init__(self, value: Mapping[str, Any], path: str = "") -> None:
        self._value, self._path = value, path

    @classmethod
    def of(cls, body: bytes) -> Fields:
        """Those of a request's body."""
        found = strict_json.read_object(body)
        if found is None:
            raise wrong("the body", "it is no JSON object", "a JSON object")
        return cls(found)

    def path(self, name: str) -> str:
        """Where the field ``name`` is, for people: ``attestation.x509``."""
        return f"{self._path}.{name}" if self._path else name

    def has(self, name: str) -> bool:
        """Whether it is there, and not null."""
        return self._value.get(name) is not None

    def text(self, name: str, default: str = "") -> str:
        """A string of whole characters: JSON can write half a surrogate pair, UTF-8 cannot."""
        found = self._typed(name, str, "a text", default)
        if not _is_whole(found):
            raise wrong(self.path(name), "it holds half of a surrogate pair", "Unicode characters")
        return found

    def flag(self, name: str, default: bool) -> bool:
        """True or false."""
        return self._typed(name, bool, "true or false", default)

    def number(self, name: str, default: int) -> int:
        """A whole number."""
        found = self._typed(name, int, "a number", default)
        if isinstance(found, bool):
            raise wrong(self.path(name), _seen(found), "a number")
        return found

    def any(self, name: str) -> Any:
        """Whatever is there; None where nothing is."""
        return self._value.get(name)

    def raw(self, name: str) -> dict[str, Any]:
        """An object as it is; empty where it is absent."""
        return self._typed(name, dict, "an object", {})

    def object(self, name: str) -> Fields | None:
        """An object, to be read on."""
        return Fields(self.raw(name), self.path(name)) if self.has(name) else None

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of strings."""
        found = self._list(name)
        if not all(isinstance(item, str) and _is_whole(item) for item in found):
            raise wrong(self.path(name), "it holds something else", "a list of texts")
        return tuple(found)

    def objects(self, name: str) -> list[Fields]:
        """A list of objects."""
        found = self._list(name)
        for place, item in enumerate(found):
            if not isinstance(item, dict):
                raise wrong(f"{self.path(name)}[{place}]", _seen(item), "an object")
        return [Fields(item, f"{self.path(name)}[{n}]") for n, item in enumerate(found)]

    def _list(self, name: str) -> list[Any]:
        return self._typed(name, list, "a list", [])

    def _typed(self, name: str, kind: type[T], wanted: str, default: T) -> T:
        found = self._value.get(name)
        if found is None:
            return default
        if not isinstance(found, kind):
            raise wrong(self.path(name), _seen(found), wanted)
        return found


def check_is_json(request: Request) -> None:
    """Raises Denial (415) for a body that says to be something else; one that says nothing is
    read as JSON. A GET's body is not looked at: Node sends one."""
    said = request.headers.get("content-type", "")
    kind = said.partition(";")[0].strip().lower()
    if not (request.body and kind) or request.method in ("GET", "HEAD"):
        return
    if kind not in ("application/json", "text/json") and not kind.endswith("+json"):
        cure = "send Content-Type: application/json"
        raise Denial(codes.NO_JSON, failed(MEDIA_TYPE, "Content-Type", f"it is {said!r}", cure))


def wrong(field: str, why: str, wanted: str) -> Denial:
    """400004 for a field, with what was seen and what is wanted instead."""
    return Denial(codes.BAD_REQUEST, failed(FIELD, field, f"{field}: {why}", f"send {wanted}"))


def _is_whole(text: str) -> bool:
    return not _HALF.search(text)


_HALF = re.compile("[\ud800-\udfff]")
_KINDS = {str: "a text", bool: "true or false", list: "a list", dict: "an object"}


def _seen(value: Any) -> str:
    """Its kind only: the value may be a secret in the wrong place."""
    return f"it is {_KINDS.get(type(value), 'a number')}"
