"""What the browser needs of a widget: one module and one style sheet, all from this package."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

from labkit.graph.style import living_css

_STATIC = files("labkit.ui") / "static"
_IMPORT = re.compile(r'^import \{[^}]*\} from "\./[a-z]+\.js";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?!default)", re.MULTILINE)
_BOARD = ("dom", "morph", "shapes", "path", "keys", "board", "inspector", "stage")
_PARTS = {
    "view": _BOARD,
    "player": (*_BOARD, "story", "explanation", "eventlog"),
    "bar": ("dom",),
    "dashboard": ("dom", "focus"),
    "portal": (
        "dom",
        "inspector",
        "explanation",
        "focus",
        "dialog",
        "table",
        "upload",
        "entryform",
        "pages",
        "notices",
        "calls",
    ),
}


@cache
def module(name: str) -> str:
    """The module ``name`` with all that it imports, as one text: anywidget loads just one.

    The files are ordinary modules that share no top-level name, so it is enough to join them
    without their import lines.
    """
    names = (*_PARTS[name], name)
    return "\n".join(_EXPORT.sub("", _IMPORT.sub("", _read(f"{n}.js"))) for n in names)


@cache
def style_sheet(*more: str) -> str:
    """The rules of the widgets and of the boards in them, for both themes; ``more`` names the
    sheets that only some of them need."""
    return living_css() + "".join(_read(f"{name}.css") for name in ("board", "player", *more))


def _read(name: str) -> str:
    return (_STATIC / name).read_text(encoding="utf-8")
