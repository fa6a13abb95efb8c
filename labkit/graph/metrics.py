"""How wide a text may get, without a browser to ask.

A picture is drawn before anybody knows which font will show it. The widths are those of DejaVu
Sans, the widest of the usual interface fonts, so a text that fits by them fits anywhere.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

# Advance widths of " " to "~" in hundredths of an em, rounded up.
_REGULAR: Final = (
    *(32, 41, 46, 84, 64, 96, 78, 28, 40, 40, 50, 84, 32, 37, 32, 34, 64, 64, 64, 64, 64, 64, 64),
    *(64, 64, 64, 34, 34, 84, 84, 84, 54, 100, 69, 69, 70, 77, 64, 58, 78, 76, 30, 30, 66, 56, 87),
    *(75, 79, 61, 79, 70, 64, 62, 74, 69, 99, 69, 62, 69, 40, 34, 40, 84, 50, 50, 62, 64, 55, 64),
    *(62, 36, 64, 64, 28, 28, 58, 28, 98, 64, 62, 64, 64, 42, 53, 40, 64, 60, 82, 60, 60, 53, 64),
    *(34, 64, 84),
)
_BOLD: Final = (
    *(35, 46, 53, 84, 70, 101, 88, 31, 46, 46, 53, 84, 38, 42, 38, 37, 70, 70, 70, 70, 70, 70, 70),
    *(70, 70, 70, 40, 40, 84, 84, 84, 58, 100, 78, 77, 74, 83, 69, 69, 83, 84, 38, 38, 78, 64, 100),
    *(84, 85, 74, 85, 77, 73, 69, 82, 78, 111, 78, 73, 73, 46, 37, 46, 84, 50, 50, 68, 72, 60, 72),
    *(68, 44, 72, 72, 35, 35, 67, 35, 105, 72, 69, 72, 72, 50, 60, 48, 72, 66, 93, 65, 66, 59, 72),
    *(37, 72, 84),
)
_MIDDOT: Final = 38
_LETTER: Final = 80  # Latin with marks
_WIDE: Final = 125  # Cyrillic capitals, ideographs, emoji: whatever else there is

TITLE: Final = 160  # font sizes in tenths of a pixel; integers keep every sum exact
NAME: Final = 125
SMALL: Final = 115


def width(text: str, size: int, *, bold: bool = False) -> int:
    """The greatest width of a text in pixels, rounded up; ``size`` in tenths of a pixel."""
    table = _BOLD if bold else _REGULAR
    return -(-sum(_advance(char, table) for char in text) * size // 1000)


def _advance(char: str, table: tuple[int, ...]) -> int:
    code = ord(char)
    if 32 <= code < 127:
        return table[code - 32]
    if char == "·":
        return _MIDDOT
    return _LETTER if 0xA0 <= code < 0x250 and char != "Æ" else _WIDE


@lru_cache(maxsize=4096)
def fit(text: str, room: int, size: int, bold: bool = False) -> str:
    """The text, shortened in its middle where it is wider than ``room`` pixels.

    Names differ at their ends ("smart-x-widget-001"), so the end is kept as long as the start.
    """
    if width(text, size, bold=bold) <= room:
        return text
    for kept in range(len(text) - 1, 1, -1):
        short = text[: (kept + 1) // 2].rstrip() + "…" + text[len(text) - kept // 2 :].lstrip()
        if width(short, size, bold=bold) <= room:
            return short
    return "…"
