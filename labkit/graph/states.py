"""What a certificate, an enrollment or a device can be, and how each is told apart.

Colour never stands alone: each state has an icon, a word and a dash pattern that no other state
has. The colours are Okabe and Ito's (two of them darkened), so that they hold for colour-blind
readers; ``stroke`` keeps 3:1 on white and on JupyterLab's dark grey, ``ink`` keeps 4.5:1 on
``fill``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, get_args

StateKey = Literal[
    "trusted",
    "enrolled",
    "on record",
    "verified",
    "unverified",
    "enabled",
    "connected",
    "locked",
    "not sent",
    "expired",
    "not yet valid",
    "tampered",
    "unfit",
    "untrusted issuer",
    "not named",
    "not on record",
    "other name",
    "disabled",
    "not linked",
    "removed",
    "in use",
    "announced",
    "retired",
    "has a key",
    "has no key",
    "unknown",
]


@dataclass(frozen=True, slots=True)
class Hue:
    """Three tones of one colour: outline and icon, ground, and text on that ground."""

    stroke: str
    fill: str
    ink: str


GREEN: Final = Hue("#009e73", "#e3f5ef", "#00553d")
BLUE: Final = Hue("#0072b2", "#e2f0f9", "#00456d")
ORANGE: Final = Hue("#b07a00", "#fdf3dc", "#664600")
VERMILLION: Final = Hue("#d55e00", "#fdeadf", "#873b00")
PURPLE: Final = Hue("#b5638f", "#f9eaf2", "#6e2f52")
GREY: Final = Hue("#767676", "#eeeeee", "#3d3d3d")
SKY: Final = Hue("#3a8bbd", "#eaf4fa", "#1c4f70")


@dataclass(frozen=True, slots=True)
class State:
    """One state.

    ``word`` is what the picture says, ``meaning`` the plain half-sentence of the legend, ``icon``
    the path of a stroked 16 by 16 glyph and ``dash`` an SVG ``stroke-dasharray`` ("" is solid).
    """

    word: str
    meaning: str
    hue: Hue
    icon: str
    dash: str

    @property
    def slug(self) -> str:
        """The word as a CSS class can carry it."""
        return self.word.replace(" ", "-")


_CIRCLE = "M8 1.8a6.2 6.2 0 1 0 .01 0z"
_SHIELD = "M8 1.4 13.5 3.4V8c0 3.4-2.3 5.5-5.5 6.6C4.8 13.5 2.5 11.4 2.5 8V3.4z"
_NO_USE = "M2 5.5h8.5l3.5 2.5-3.5 2.5H2zM4 13 12 3"
_BOLT = "M9.2 1.5 4 9h4l-1.2 5.5L12 7H8z"
_CALENDAR = "M2.5 3.8h11v9.7h-11zM2.5 7h11M5.5 2v3M10.5 2v3"
_BIN = "M3 4.5h10M6 4.5v-2h4v2M4.4 4.5l.8 9h5.6l.8-9"
_QUESTION = "M5.4 5.6a2.6 2.6 0 1 1 3.7 2.4c-.8.4-1.1.9-1.1 1.8M8 12.8v.3"
_LOCK = "M3.5 7h9v7h-9zM5.5 7V4.6a2.5 2.5 0 0 1 5 0V7M8 9.6v1.8"
_PLUG = "M6 1.8v3.4M10 1.8v3.4M4 5.2h8v2.2a4 4 0 0 1-8 0zM8 11.4v3"
_WAVES = "M8 12.4v.4M5.4 9.8a3.7 3.7 0 0 1 5.2 0M2.8 7a7.4 7.4 0 0 1 10.4 0"
_HORN = "M2 6.4v3.2h2.2L10 13V3L4.2 6.4zM12.4 5.8a3 3 0 0 1 0 4.4"
_ARCHIVE = "M2 3h12v3.2H2zM3 6.2V13h10V6.2M6.2 8.6h3.6"
_POWER = "M8 1.8v5.4M5 3.6a5.4 5.4 0 1 0 6 0"
_PAGE = "M3.5 1.8h6l3 3v9.4h-9zM6 7.2l4 4M10 7.2l-4 4"
_ENTRY = "M3.5 1.8h9v12.4h-9zM5.8 8.2l1.6 1.8 3-3.6"
_THUMB = "M3.6 12.6C2.4 7 4.2 2.4 8 2.4s5.6 4.6 4.4 10.2M6 14c-1-4-.5-7.6 2-7.6s3 3.6 2 7.6"
_TAG = "M2 8 7 3h7v10H7zM8.6 6.4l3.2 3.2M11.8 6.4 8.6 9.6"
_UNLINKED = "M6 4.6H4.6a3.4 3.4 0 0 0 0 6.8H6M10 4.6h1.4a3.4 3.4 0 0 1 0 6.8H10"
_STOLEN_KEY = "M5 3.4a2.4 2.4 0 1 0 .01 0zM7.4 5.8H14v3M11.4 5.8v2.2M2 13.6 14 11.4"
_PAPERS = "M2.5 4.6h7v9.4h-7zM5 4.6V2h8.5v9.4H9.5M4.4 8h3.2M4.4 10.6h3.2"
_BROKEN_LINK = "M1.2 8h3M11.8 8h3M5.8 5.8l4.4 4.4M10.2 5.8l-4.4 4.4"


def _states(*states: State) -> Mapping[str, State]:
    return MappingProxyType({state.word: state for state in states})


STATES: Final[Mapping[str, State]] = _states(
    State("trusted", "leads to a verified CA", GREEN, "M3 8.5 6.5 12 13 4.5", ""),
    State("enrolled", "its own entry names it", GREEN, _ENTRY, "12 2"),
    State("on record", "its hub holds its thumbprint", GREEN, _THUMB, "18 2 3 2"),
    State(
        "verified", "possession of its key is proven", BLUE, _SHIELD + "M5.3 8l2 2 3.4-4", "24 3"
    ),
    State("unverified", "possession not proven yet", ORANGE, _SHIELD + "M8 4.8v3.8M8 11v.3", "8 4"),
    State("enabled", "switched on", BLUE, _POWER, "16 2"),
    State("connected", "talks with its hub now", GREEN, _WAVES, "36 2"),
    State("locked", "opens with its owner's PIN", SKY, _LOCK, "20 4 4 4"),
    State("not sent", "needed, but the device left it out", VERMILLION, _BROKEN_LINK, "3 4"),
    State("expired", "its last day is over", PURPLE, _CIRCLE + "M8 4.6V8l2.6 1.8", "10 3 2 3"),
    State("not yet valid", "its first day is still to come", ORANGE, _CALENDAR, "2 3"),
    State("tampered", "its signature does not match", VERMILLION, _BOLT, "12 4 4 4"),
    State("unfit", "its extensions forbid this use", VERMILLION, _NO_USE, "7 2 2 2"),
    State("untrusted issuer", "its signer is not known", VERMILLION, "M4 4l8 8M12 4l-8 8", "6 6"),
    State("not named", "its entry names another", VERMILLION, _PAGE, "10 3"),
    State(
        "not on record", "no hub holds its thumbprint", VERMILLION, _THUMB + "M2.4 2.4 14 14", "4 4"
    ),
    State("other name", "its CN is not the ID it gave", VERMILLION, _TAG, "2 5"),
    State("disabled", "switched off, may come back", GREY, _CIRCLE + "M3.7 3.7l8.6 8.6", "5 3"),
    State("not linked", "DPS assigns no device to it", GREY, _UNLINKED, "9 4 1 4"),
    State("removed", "taken away", GREY, _BIN, "1 4"),
    State("in use", "servers show it now", GREEN, _PLUG, "30 3"),
    State("announced", "to be trusted before it is used", ORANGE, _HORN, "6 2"),
    State("retired", "no server leads to it any more", GREY, _ARCHIVE, "2 2"),
    State("has a key", "plays a device, with its stolen key", VERMILLION, _STOLEN_KEY, "9 3 2 3"),
    State("has no key", "has what everybody may see", GREY, _PAPERS, "12 6"),
    State("unknown", "not known to the cloud yet", SKY, _QUESTION, "4 2 1 2"),
)

assert tuple(STATES) == get_args(StateKey)
