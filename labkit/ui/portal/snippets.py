"""Calls as a notebook would make them: the source of values, and of the lines around them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

_WIDTH = 76


class Source(str):
    """Python that stands for itself: :func:`source` leaves it as it is."""

    __slots__ = ()


FILE_IMPORT = "from pathlib import Path"


def source(value: Any) -> str:
    """A value as Python writes it, with double quotes as the notebooks have them."""
    if isinstance(value, Source):
        return str(value)
    if isinstance(value, tuple):
        inner = ", ".join(map(source, value))
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if isinstance(value, str):
        return _quoted(value)
    return repr(value)


def file(name: str) -> Source:
    """A file that was handed over, by its name."""
    return Source(f"Path({_quoted(Path(name).name)})")


def call(function: str, *arguments: Any, **named: Any) -> str:
    """A call, on one line where it fits."""
    parts = [source(value) for value in arguments]
    parts += [f"{name}={source(value)}" for name, value in named.items()]
    line = f"{function}({', '.join(parts)})"
    if len(line) <= _WIDTH and "\n" not in line:
        return line
    inner = "\n".join(_indented(f"{part},") for part in parts)
    return f"{function}(\n{inner}\n)"


def lines(imports: Iterable[str], *statements: str) -> str:
    """Statements below the imports that they need."""
    above = sorted(set(imports), key=lambda line: ("labkit" in line, line))
    return "\n".join([*above, *([""] if above else []), *statements])


def given(values: Mapping[str, Any], usual: Mapping[str, Any]) -> dict[str, Any]:
    """The values that are not the usual ones: nobody writes the others down."""
    return {name: value for name, value in values.items() if value != usual.get(name)}


def _quoted(text: str) -> str:
    plain = repr(text)
    return plain if '"' in text else f'"{plain[1:-1]}"'


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())
