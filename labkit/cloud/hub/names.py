"""What a hub is called."""

from __future__ import annotations

import re

from labkit.errors import LabError

DOMAIN = "azure-devices.net"
RESERVED = frozenset({"dps", "hub", "mqtt", "https", "tls", "registry"})
"""Under these names the books and the event log keep what is not a single hub's."""
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{1,48}[A-Za-z0-9])")


def label_of(name: str) -> str:
    """The first label of a hub's name, with or without its domain. Case does not count in it."""
    return name.lower().removesuffix(f".{DOMAIN}")


def hub_label(name: str) -> str:
    """The first label of a hub's name, in lower case. Raises LabError for an impossible name."""
    label = label_of(name) if isinstance(name, str) else ""
    if not _NAME.fullmatch(label):
        raise LabError(
            f"{name!r} cannot be the name of a hub",
            expected="3 to 50 letters, digits and dashes, no dash at the ends",
        )
    if label in RESERVED:
        raise LabError(
            f"{name!r} cannot be the name of a hub",
            expected="a name that the lab does not use for its services itself",
            found=f"the lab's own are: {', '.join(sorted(RESERVED))}",
            cure=f"choose another name, such as {label}-hub",
        )
    return label
