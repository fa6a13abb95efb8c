"""What stays of the portal without a kernel: its lists as plain tables.

Neither thumbprints nor times of day are among it: a lesson's output must be the same at every run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from labkit.ui.portal.ca_shelf import CaShelf
from labkit.ui.portal.cells import COLUMNS, Json, Reader, rows
from labkit.ui.portal.device_shelf import DeviceShelf
from labkit.ui.portal.entry_shelf import EntryShelf
from labkit.ui.portal.places import CERTIFICATES, DEVICES, GROUPS, INDIVIDUAL, Place
from labkit.ui.portal.shelves import Listing, Shelf

if TYPE_CHECKING:
    from labkit.lab import Lab


def still(lab: Lab) -> str:
    """The state of DPS and every hub as HTML, the first page of each list."""
    reader = Reader.of(lab)
    tables = (_table(reader, shelf, title) for shelf, title in _shelves(lab))
    return f"<div>{''.join(tables)}</div>"


def _shelves(lab: Lab) -> Iterator[tuple[Shelf, str]]:
    for place in (Place(GROUPS), Place(INDIVIDUAL)):
        yield EntryShelf(lab, place), place.kind.capitalize()
    yield CaShelf(lab, Place(CERTIFICATES)), "Certificates"
    for hub in lab.cloud.hubs:
        yield DeviceShelf(lab, Place(DEVICES, hub.name)), f"Devices of {hub.name}"


def _table(reader: Reader, shelf: Shelf, title: str) -> str:
    kind, found = shelf.place.kind, shelf.list().act()
    if not found.things:
        return f"<p><b>{escape(title)}:</b> none</p>"
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in COLUMNS[kind])
    body = "".join(map(_row, rows(reader, kind, found.things)))
    return (
        f"<p><b>{escape(title)}</b></p><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table>{_more(found)}"
    )


def _more(found: Listing) -> str:
    return f"<p>The first {len(found.things)}; there are more.</p>" if found.more else ""


def _row(cells: Sequence[Json]) -> str:
    first, *others = map(_words, cells)
    rest = "".join(f"<td>{words}</td>" for words in others)
    return f'<tr><th scope="row">{first}</th>{rest}</tr>'


def _words(cell: dict[str, Any]) -> str:
    parts = (cell.get("sign", {}).get("word", ""), cell.get("text", ""), cell.get("soft", ""))
    return "<br>".join(escape(part) for part in parts if part)
