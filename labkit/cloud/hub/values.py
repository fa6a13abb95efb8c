"""Values of a query: JSON, and *undefined* for what a document does not have.

Comparisons are of like with like: two numbers, two texts, two booleans (for equality), null with
anything. All else is undefined, and so is whatever is asked of an undefined value, but for
``is_defined``. AND and OR know undefined as SQL knows NULL.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final


class _Undefined:
    def __repr__(self) -> str:
        return "undefined"


UNDEFINED: Final = _Undefined()
"""What a path leads to where there is nothing; true of nothing, and false of nothing."""

_ESCAPES = re.compile(r"\\u([0-9a-fA-F]{4})|\\(.)", re.DOTALL)
_SHORT = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_PREFIXES = (("devices", "jobs"), ("devices",))


def at(document: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    """What is at a path. ``devices.`` and ``devices.jobs.`` in front name the document itself."""
    for prefix in _PREFIXES:
        length = len(prefix)
        if len(names) > length and tuple(map(str.lower, names[:length])) == prefix:
            names = names[length:]
            break
    found: Any = _top(document, names[0])
    for name in names[1:]:
        found = found.get(name, UNDEFINED) if isinstance(found, Mapping) else UNDEFINED
    return found


def _top(document: Mapping[str, Any], name: str) -> Any:
    if name in document:
        return document[name]
    wanted = name.lower()
    return next((value for key, value in document.items() if key.lower() == wanted), UNDEFINED)


def key(found: list[Any]) -> str:
    """What makes two groups the same."""
    return json.dumps(found, sort_keys=True, default=repr)


def unquoted(text: str) -> str:
    """The text that a literal stands for: its quotes taken off, its escapes read."""
    quote, inner = text[0], text[1:-1]
    read = _ESCAPES.sub(_unescaped, inner.replace(quote * 2, f"\\{quote}"))
    # Two escapes may be the halves of one character, as in JSON.
    return read.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _unescaped(found: re.Match[str]) -> str:
    if found[1]:
        return chr(int(found[1], 16))
    return _SHORT.get(found[2], found[2])


# ---- logic


def either(parts: Iterable[Any]) -> Any:
    """OR: true where a part is; else undefined where a part is neither true nor false."""
    found: Any = False
    for part in parts:
        if part is True:
            return True
        if part is not False:
            found = UNDEFINED
    return found


def both(parts: Iterable[Any]) -> Any:
    """AND: false where a part is; else undefined where a part is neither true nor false."""
    found: Any = True
    for part in parts:
        if part is False:
            return False
        if part is not True:
            found = UNDEFINED
    return found


def negated(part: Any) -> Any:
    """NOT: of what is neither true nor false, that too."""
    return not part if isinstance(part, bool) else UNDEFINED


# ---- comparison


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return "text" if isinstance(value, str) else ""


def _equal(left: Any, right: Any) -> Any:
    if left is UNDEFINED or right is UNDEFINED:
        return UNDEFINED
    if left is None or right is None:
        return left is right
    kind = _kind(left)
    return left == right if kind and kind == _kind(right) else UNDEFINED


def _unequal(left: Any, right: Any) -> Any:
    return negated(_equal(left, right))


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], Any]:
    def compared(left: Any, right: Any) -> Any:
        kind = _kind(left)
        comparable = kind in ("number", "text") and kind == _kind(right)
        return compare(left, right) if comparable else UNDEFINED

    return compared


COMPARISONS: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "=": _equal,
    "!=": _unequal,
    "<>": _unequal,
    "<": _ordered(operator.lt),
    "<=": _ordered(operator.le),
    ">": _ordered(operator.gt),
    ">=": _ordered(operator.ge),
}


def among(value: Any, items: tuple[Any, ...]) -> Any:
    """IN: whether it equals one of these."""
    if value is UNDEFINED:
        return UNDEFINED
    return any(_equal(value, item) is True for item in items)


# ---- functions


def _is(*kinds: type) -> Callable[[Any], Any]:
    """Whether a value is of one of these kinds. A boolean is no number."""

    def asked(value: Any) -> Any:
        return isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))

    return asked


def _of_texts(test: Callable[[str, str], bool]) -> Callable[[Any, Any], Any]:
    def asked(value: Any, part: Any) -> Any:
        return test(value, part) if _kind(value) == _kind(part) == "text" else UNDEFINED

    return asked


FUNCTIONS: Final[Mapping[tuple[str, int], Callable[..., Any]]] = {
    ("is_defined", 1): lambda value: value is not UNDEFINED,
    ("is_null", 1): lambda value: value is None,
    ("is_bool", 1): _is(bool),
    ("is_number", 1): _is(int, float),
    ("is_string", 1): _is(str),
    ("is_array", 1): _is(list),
    ("is_object", 1): _is(dict),
    ("is_primitive", 1): lambda value: value is None or bool(_kind(value)),
    ("startswith", 2): _of_texts(str.startswith),
    ("endswith", 2): _of_texts(str.endswith),
    ("contains", 2): _of_texts(lambda value, part: part in value),
}
"""By name, in lower case, and how many values it is of."""
