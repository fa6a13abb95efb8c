"""The lists of the portal, and where each is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from labkit.errors import LabError

Kind: TypeAlias = Literal["enrollment groups", "individual enrollments", "certificates", "devices"]
GROUPS: Final = "enrollment groups"
INDIVIDUAL: Final = "individual enrollments"
CERTIFICATES: Final = "certificates"
DEVICES: Final = "devices"
ENTRIES: Final = (GROUPS, INDIVIDUAL)
"""The two tabs of one page: manage enrollments."""

_OF_DPS: tuple[Kind, ...] = (GROUPS, INDIVIDUAL, CERTIFICATES)
_OF_HUB: tuple[Kind, ...] = (DEVICES, CERTIFICATES)


@dataclass(frozen=True, slots=True)
class Place:
    """A list: what is in it, and of which hub; ``hub`` is empty where it is DPS's."""

    kind: Kind
    hub: str = ""

    @classmethod
    def named(cls, kind: str, hub: str = "") -> Place:
        """Raises LabError for a list that the portal does not have."""
        for known in _OF_HUB if hub else _OF_DPS:
            if known == kind:
                return cls(known, hub)
        of = f"of the hub {hub}" if hub else "of DPS"
        raise LabError(
            f"The portal has no list {kind!r} {of}",
            expected=f"{', '.join(_OF_DPS)}; with hub=…: {', '.join(_OF_HUB)}",
        )

    @property
    def service(self) -> str:
        """Whose list it is, as Python says it."""
        return f'lab.hub("{self.hub}")' if self.hub else "lab.dps"
