"""Small stroked glyphs, drawn on a 16 by 16 grid; no font carries them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

KEY: Final = "M4.6 6.4a2.6 2.6 0 1 0 .01 0zM7.2 9H14v2.6M11.2 9v2"
ARROW: Final = "M2.5 8H13M9 4l4 4-4 4"
CROSS: Final = "M4.5 4.5l7 7M11.5 4.5l-7 7"

_CERTIFICATE: Final = "M13.5 9V2.5h-11v8H8M5 5.2h6M5 7.8h3M11.4 9.2a1.9 1.9 0 1 0 .01 0z"
_UPLOADED: Final = (
    "M4.3 12.5A3 3 0 0 1 4 6.6a4 4 0 0 1 7.8-.4 3.2 3.2 0 0 1 .4 6.3"
    "M8 14V8.4M5.9 10.4 8 8.3l2.1 2.1"
)

KINDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "token": "M1.8 2.5h12.4v10H1.8zM3.6 12.5v1.6M12.4 12.5v1.6M8 4.9a2.6 2.6 0 1 0 .01 0z"
        "M8 6.3v1.2M1.8 5.4h1.4M1.8 9.6h1.4",
        "root-ca": _CERTIFICATE + "M10.4 12.8v2.4l1-.7 1 .7v-2.4M5 12.5h2",
        "intermediate-ca": _CERTIFICATE + "M10.4 12.8v2.4l1-.7 1 .7v-2.4",
        "device": "M4 4h8v8H4zM6.2 1.8V4M9.8 1.8V4M6.2 12v2.2M9.8 12v2.2"
        "M1.8 6.2H4M1.8 9.8H4M12 6.2h2.2M12 9.8h2.2",
        "client-certificate": _CERTIFICATE + "M10.4 12.8v2.4l1-.7 1 .7v-2.4M3.6 12.6 5 14l2.4-2.8",
        "attacker": "M2 7.6h12M4.2 7.6 5 2.6h6l.8 5M5.3 9.4a1.7 1.7 0 1 0 .01 0z"
        "M10.7 9.4a1.7 1.7 0 1 0 .01 0zM7 10.8h2M4 14.2c2.4-1 5.6-1 8 0",
        "ca-entry": _UPLOADED,
        "ca-link": "M6.4 9.6 9.6 6.4M7.2 4.8l1.6-1.6a2.9 2.9 0 0 1 4 4L11.2 8.8"
        "M8.8 11.2l-1.6 1.6a2.9 2.9 0 0 1-4-4L4.8 7.2",
        "hub-ca": _UPLOADED,
        "enrollment": "M2.5 3h11v10h-11zM5 6.2h6M5 9.4h3",
        "enrollment-group": "M6 4h8M6 8h8M6 12h8M2.4 4h.8M2.4 8h.8M2.4 12h.8",
        "hub": "M8 5.8a2.2 2.2 0 1 0 .01 0zM8 5.6V2M6.1 9.2 3 11.8M9.9 9.2l3.1 2.6",
        "identity": "M1.8 3.2h12.4v9.6H1.8zM5.6 5.8a1.4 1.4 0 1 0 .01 0z"
        "M3.6 11c.2-1.4 1-2 2-2s1.8.6 2 2M10 6.8h2.2M10 9.4h2.2",
        "service-root": _CERTIFICATE + "M10.4 12.8v2.4l1-.7 1 .7v-2.4M5 12.5h2",
        "service-ca": _CERTIFICATE + "M10.4 12.8v2.4l1-.7 1 .7v-2.4",
        "endpoint": "M2 2.5h12v4.4H2zM2 9.1h12v4.4H2zM4.4 4.7h.6M4.4 11.3h.6M7.4 4.7h4M7.4 11.3h4",
    }
)
