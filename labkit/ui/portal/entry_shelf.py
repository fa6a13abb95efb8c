"""Manage enrollments: the two books of a DPS, and the registrations that came through an entry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from labkit.cloud.dps.book import EntryBook
from labkit.cloud.dps.entries import Enrollment, Entry
from labkit.cloud.dps.registrations import Registration
from labkit.ui.portal import deeds, snippets
from labkit.ui.portal.deeds import Deed, entity_tag, segment
from labkit.ui.portal.entry_texts import EntryTexts, Files, arguments, body
from labkit.ui.portal.places import INDIVIDUAL, Place
from labkit.ui.portal.shelves import PAGE, Listing, Shelf

if TYPE_CHECKING:
    from labkit.lab import Lab

_RECORDS = "lab.dps.registrations"


class EntryShelf(Shelf):
    """Enrollment groups or individual enrollments."""

    def __init__(self, lab: Lab, place: Place) -> None:
        super().__init__(lab, place)
        dps, is_one = lab.dps, place.kind == INDIVIDUAL
        self.book: EntryBook[Any] = dps.enrollments if is_one else dps.enrollment_groups
        self.noun = self.book.noun
        self._python = f"lab.dps.{'enrollments' if is_one else 'enrollment_groups'}"
        self._path = f"/{self.book.collection}"

    def list(self, token: str = "") -> Deed[Listing]:
        text = f"SELECT * FROM {self.book.collection}"
        asked = {"continuation": token} if token else {}
        return Deed(
            f"List the {self.place.kind}",
            snippets.call(f"{self._python}.query", limit=PAGE, **asked),
            deeds.dps("POST", f"{self._path}/query", {"query": text}, **_page_headers(token)),
            lambda: _listing(self.book.query("", PAGE, token)),
        )

    def open(self, name: str) -> Deed[Entry]:
        return Deed(
            f"Read {self.noun} {name}",
            snippets.call(f"{self._python}.get", name),
            deeds.dps("GET", self._one(name)),
            lambda: self.book.get(name),
        )

    def create(self, entry: Entry, files: Files) -> Deed[Entry]:
        """Makes a new entry; ``files`` are those that its certificates came in."""
        return Deed(
            f"Create {self.noun} {entry.id}",
            EntryTexts(files).creation(self._python, entry),
            deeds.dps("PUT", self._one(entry.id), body(entry, None)),
            lambda: self.book.create(entry.id, **arguments(entry)),  # type: ignore[attr-defined]
        )

    def change(self, before: Entry, after: Entry, files: Files) -> Deed[Entry]:
        """Puts ``after`` in the place of ``before``, if that is what is there still."""
        condition = entity_tag(before.etag)
        return Deed(
            f"Save {self.noun} {before.id}",
            EntryTexts(files).change(self._python, before, after),
            deeds.dps("PUT", self._one(before.id), body(after, before), if_match=condition),
            lambda: self.book.put(after, before.etag),
        )

    def overwrite(self, there: Entry | None, after: Entry) -> Deed[Entry]:
        """Puts what a refused change wanted in the place of what is there now, or of nothing."""
        etag = there.etag if there is not None else ""
        condition = {"if_match": etag} if etag else {}
        put = snippets.call(f"{self._python}.put", snippets.Source("changed"), **condition)
        header = entity_tag(etag) if etag else ""
        return Deed(
            f"Overwrite {self.noun} {after.id}",
            f"# changed: what was refused before\n{put}",
            deeds.dps("PUT", self._one(after.id), body(after, there), if_match=header),
            lambda: self.book.put(after, etag),
        )

    def delete(self, thing: Entry) -> Deed[None]:
        name = thing.id
        return Deed(
            f"Delete {self.noun} {name}",
            snippets.call(f"{self._python}.delete", name),
            deeds.dps("DELETE", self._one(name)),
            lambda: self.book.delete(name),
        )

    def name_of(self, thing: Entry) -> str:
        return thing.id

    # ---- who came through an entry

    def registrations(self, entry: Entry, token: str = "") -> Deed[Listing]:
        """The records of a group, a page of them; or that of an individual enrollment's device."""
        if isinstance(entry, Enrollment):
            return self._registration(entry.id)
        asked = {"continuation": token} if token else {}
        path = f"/registrations/{segment(entry.id)}/query"
        return Deed(
            f"List the registrations of {entry.id}",
            snippets.call(f"{_RECORDS}.query", entry.id, limit=PAGE, **asked),
            deeds.dps("POST", path, None, **_page_headers(token)),
            lambda: _listing(self._lab.dps.registrations.query(entry.id, PAGE, token)),
        )

    def _registration(self, name: str) -> Deed[Listing]:
        def act() -> Listing:
            found = self._lab.dps.registrations.find(name)
            return Listing((found,) if found is not None else ())

        return Deed(
            f"Read the registration of {name}",
            snippets.call(f"{_RECORDS}.find", name),
            deeds.dps("GET", f"/registrations/{segment(name)}"),
            act,
        )

    def delete_registration(self, record: Registration) -> Deed[None]:
        """Forgets a record; the identity in the hub stays."""
        name = record.registration_id
        return Deed(
            f"Delete the registration of {name}",
            snippets.call(f"{_RECORDS}.delete", name),
            deeds.dps("DELETE", f"/registrations/{segment(name)}"),
            lambda: self._lab.dps.registrations.delete(name),
        )

    def _one(self, name: str) -> str:
        return f"{self._path}/{segment(name)}"


def _listing(found: tuple[Sequence[Any], str]) -> Listing:
    things, more = found
    return Listing(tuple(things), more)


def _page_headers(token: str) -> dict[str, str]:
    return {"x_ms_max_item_count": str(PAGE), "x_ms_continuation": token}
