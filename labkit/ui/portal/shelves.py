"""The lists of the portal as things to act on: each deed is a call of a public method of the lab,
with the two texts that say the same."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labkit.ui.portal.deeds import Deed
from labkit.ui.portal.places import Place

if TYPE_CHECKING:
    from labkit.lab import Lab

PAGE = 20
"""Things that are listed at a time."""


@dataclass(frozen=True, slots=True)
class Listing:
    """A page of a list, and what the next one is asked for with; that is empty at the end."""

    things: tuple[Any, ...] = ()
    more: str = ""


class Shelf(ABC):
    """One list. ``noun`` is what it holds one of."""

    noun: str

    def __init__(self, lab: Lab, place: Place) -> None:
        self._lab, self.place = lab, place

    @abstractmethod
    def list(self, token: str = "") -> Deed[Listing]:
        """A page of it, the first without a token."""

    @abstractmethod
    def open(self, name: str) -> Deed[Any]:
        """One thing of it, by its name."""

    @abstractmethod
    def delete(self, thing: Any) -> Deed[None]:
        """Takes away what was read before."""

    @abstractmethod
    def name_of(self, thing: Any) -> str:
        """What it is called in the list."""
