"""What the portal shows, and how one finds one's way in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from labkit.cloud.dps.entries import Entry
from labkit.errors import LabError, ServiceRefusal, in_short
from labkit.explanation import Explanation
from labkit.ui.portal import wishes
from labkit.ui.portal.ca_shelf import CaShelf
from labkit.ui.portal.deeds import Deed, Log
from labkit.ui.portal.device_shelf import DeviceShelf
from labkit.ui.portal.entry_shelf import EntryShelf
from labkit.ui.portal.places import CERTIFICATES, DEVICES, ENTRIES, GROUPS, Place
from labkit.ui.portal.shelves import Listing, Shelf
from labkit.ui.portal.wishes import Attached

if TYPE_CHECKING:
    from labkit.lab import Lab

T = TypeVar("T")

_SHOWN = ("place", "listing", "tokens", "records", "opened", "making", "conflict", "opening")
"""What is shown, beside what is ``attached``."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """The last thing that did not work; ``explanation`` where a service refused it."""

    error: LabError
    explanation: Explanation | None = None


@dataclass(frozen=True, slots=True)
class Conflict:
    """A save that came too late: what was ``read``, what is ``there`` now (None where it is
    gone), and what is ``wanted``."""

    read: Entry
    there: Entry | None
    wanted: Entry


@dataclass(frozen=True, slots=True)
class Records:
    """The registrations that are shown, and what led to this page of them."""

    listing: Listing
    tokens: tuple[str, ...] = ("",)


class Showing:
    """What is shown of ``lab``: a list, a thing of it, or the form of a new one.

    ``place`` is the list, ``listing`` a page of it, ``tokens`` what led there; ``opened`` the
    thing that is looked at, as it was read: an entry, a CA certificate's row or a device.
    ``making`` is true in the form of a new one. ``records`` are the registrations of an entry,
    while they are looked at. ``attached`` are certificates that wait for being saved.
    ``opening`` counts how often a form was filled. ``calls`` is what was called so far.
    ``changed`` is called when any of this has changed.
    """

    def __init__(self, lab: Lab) -> None:
        self.lab, self.calls = lab, Log()
        self.changed: Callable[[], None] = lambda: None
        self.place, self.opening = Place(GROUPS), 0
        self.tokens: tuple[str, ...] = ("",)
        self.records: Records | None = None
        self.trouble: Trouble | None = None
        self.notice = ""
        self._leave()
        self._reread()

    def __repr__(self) -> str:
        hub = f" of {self.place.hub}" if self.place.hub else ""
        at = f", {self.title}" if self.title else ""
        return f"<Portal of {self.lab.path.name!r}: {self.place.kind}{hub}{at}>"

    @property
    def title(self) -> str:
        """The name of what is looked at; empty in a list and in the form of a new thing."""
        return self._shelf.name_of(self.opened) if self.opened is not None else ""

    @property
    def form(self) -> Entry | None:
        """The entry in the form: the one that is open, or an empty one for a new entry."""
        if self.place.kind not in ENTRIES:
            return None
        found: Entry | None = wishes.blank(self.place.kind) if self.making else self.opened
        return found

    # ---- what moves it

    def show(self, kind: str, hub: str = "") -> None:
        """Shows a list: ``enrollment groups``, ``individual enrollments`` or ``certificates`` of
        DPS; ``devices`` or ``certificates`` of a hub. Raises LabError, NotFound."""
        place = Place.named(kind, self.lab.hub(hub).name if hub else "")
        self._leave()
        self.place = place
        self._list(("",))

    def next_page(self) -> None:
        """The next page of the list, or of the registrations; nothing at the end."""
        if self.records is not None:
            if more := self.records.listing.more:
                self._list_records((*self.records.tokens, more))
        elif self.listing.more:
            self._list((*self.tokens, self.listing.more))

    def previous_page(self) -> None:
        """The page before; nothing at the beginning."""
        if self.records is not None:
            if len(self.records.tokens) > 1:
                self._list_records(self.records.tokens[:-1])
        elif len(self.tokens) > 1:
            self._list(self.tokens[:-1])

    def open(self, name: str) -> None:
        """Looks at one thing of the list. Raises NotFound, ServiceRefusal (404)."""
        found = self._do(self._shelf.open(name))
        self._leave()
        self._look_at(found)
        self.changed()

    def new(self) -> None:
        """An empty form, for a new entry or certificate. Raises LabError for a device: those
        come through DPS, or are made in Python."""
        if self.place.kind == DEVICES:
            cure = f"let one provision, or make it: {self.place.service}.devices.create(…)"
            raise self._shown(LabError("The portal makes no devices", cure=cure))
        self._leave()
        self.making = True
        self.opening += 1
        self.changed()

    def close(self) -> None:
        """Back to the list. What was not saved is forgotten."""
        self._leave()
        self._reread()
        self.changed()

    def refresh(self) -> None:
        """Reads anew what is shown; changes that were not saved are forgotten."""
        if self.records is not None:
            self._list_records(self.records.tokens)
        elif self.opened is not None:
            self.open(self.title)
        else:
            self._list(self.tokens)

    def follow(self) -> None:
        """Looks whether the lab has changed, as is done after each cell of a notebook. An entry
        that is being edited stays as it was read. Raises WorkspaceError once the lab is closed."""
        self._reread()
        if self.opened is not None and self.place.kind not in ENTRIES:
            self._follow_opened()
        self.changed()

    def show_registrations(self) -> None:
        """Who came through the entry that is open. Raises LabError where none is."""
        self._list_records(("",))

    def show_settings(self) -> None:
        """The form of the entry again, with what was not saved."""
        self.records = None
        self.changed()

    # ---- what nobody expected

    def state(self) -> dict[str, Any]:
        """All that is shown, and what was handed over: what :meth:`fail` goes back to."""
        found = {name: getattr(self, name) for name in _SHOWN}
        return {**found, "attached": dict(self.attached)}

    def fail(self, error: Exception, before: dict[str, Any]) -> LabError:
        """Goes back to a state after an error that is none of the lab's own, and shows that.
        What was called is not taken back, and stands in the log with its answer."""
        vars(self).update(before)
        return self._shown(
            LabError(
                "This has failed, by an error in the lab. The page is as it was",
                found=in_short(error),
                cure="look at the calls, whether one was made; refresh; and try again",
            )
        )

    # ---- inside

    @property
    def _shelf(self) -> Shelf:
        if self.place.kind in ENTRIES:
            return self._entries
        if self.place.kind == CERTIFICATES:
            return self._cas
        return self._devices

    @property
    def _entries(self) -> EntryShelf:
        self._needs(*ENTRIES)
        return EntryShelf(self.lab, self.place)

    @property
    def _cas(self) -> CaShelf:
        self._needs(CERTIFICATES)
        return CaShelf(self.lab, self.place)

    @property
    def _devices(self) -> DeviceShelf:
        self._needs(DEVICES)
        return DeviceShelf(self.lab, self.place)

    def _needs(self, *kinds: str) -> None:
        if self.place.kind not in kinds:
            error = LabError(
                f"This is done in the list of {' or '.join(kinds)}",
                found=f"the portal shows {self.place.kind}",
                cure=f"show({kinds[0]!r}) first",
            )
            raise self._shown(error)

    def _needs_open(self) -> Any:
        """What is open."""
        if self.opened is None:
            cure = f"open one of the {self.place.kind} first"
            raise self._shown(LabError("Nothing is open", cure=cure))
        return self.opened

    def _do(self, deed: Deed[T]) -> T:
        """Makes a call, and keeps it with its answer."""
        result = self._guarded(deed.act, deed)
        self.calls.note(deed)
        return result

    def _guarded(self, act: Callable[[], T], deed: Deed[T] | None = None) -> T:
        """What is raised is shown as well, and explained where a service refused it."""
        self.trouble, self.notice = None, ""
        try:
            return act()
        except Exception as error:
            if deed is not None:
                self.calls.note(deed, error)
            if isinstance(error, LabError):
                self._shown(error)
            raise

    def _shown(self, error: LabError) -> LabError:
        """The error, to be raised, once it is on the page too."""
        self.trouble, self.notice = Trouble(error, self._explained(error)), ""
        self.changed()
        return error

    def _explained(self, error: LabError) -> Explanation | None:
        is_kept = isinstance(error, ServiceRefusal) and error.tracking_id
        return self.lab.explain(error) if is_kept else None  # type: ignore[arg-type]

    def _leave(self) -> None:
        """Nothing is looked at any more, and nothing is wanted."""
        self.opened: Any = None
        self.making = False
        self.records = None
        self.attached: dict[str, Attached] = {}
        self.conflict: Conflict | None = None

    def _look_at(self, thing: Any) -> None:
        self.opened = thing
        self.opening += 1

    def _list(self, tokens: tuple[str, ...]) -> None:
        self.listing, self.tokens = self._do(self._shelf.list(tokens[-1])), tokens
        self.changed()

    def _list_records(self, tokens: tuple[str, ...]) -> None:
        shelf, entry = self._entries, self._needs_open()
        self.records = Records(self._do(shelf.registrations(entry, tokens[-1])), tokens)
        self.changed()

    def _reread(self) -> None:
        """The list as it is now: nobody clicked, so nothing is kept of it."""
        self.listing = self._shelf.list(self.tokens[-1]).act()
        if self.records is not None:
            found = self._entries.registrations(self.opened, self.records.tokens[-1])
            self.records = Records(found.act(), self.records.tokens)

    def _follow_opened(self) -> None:
        """It may have gone with the cell."""
        name = self.title
        if all(self._shelf.name_of(thing) != name for thing in self.listing.things):
            self._leave()
            self.notice = f"{name} is not there any more."
        else:
            self.opened = self._shelf.open(name).act()
