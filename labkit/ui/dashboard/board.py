"""The board of a fleet's certificates: in a notebook a table that can be sorted and narrowed down,
without a kernel the same table as it was, elsewhere words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from html import escape
from typing import Any

from labkit.errors import counted
from labkit.graph.states import STATES
from labkit.ui.answering import Answering, Json
from labkit.ui.assets import module, style_sheet
from labkit.ui.cells import after_each_cell
from labkit.ui.dashboard.reports import Band, Queried, Report, reports

TITLE = "Operational certificates"
COLUMNS = ("Device", "Certificate", "Expires", "Days left", "Renewals", "Failures", "Identity")
NUMBERS = ("Days left", "Renewals", "Failures")
"""The columns that are set to the right."""

_SIGNS = {
    Band.EXPIRED: "expired",
    Band.SOON: "unverified",
    Band.LATER: "not yet valid",
    Band.LONG: "trusted",
    Band.UNKNOWN: "unknown",
}
"""Whose colour, icon and dash a band has; its word is its own."""


class CertificateBoard(Answering):
    """The certificates that the devices of some hubs report, by the lab's time ``now``.

    ``hubs`` is asked at each :meth:`refresh`; in a notebook, that is after each cell.
    """

    _esm = module("dashboard")
    _css = style_sheet("portal", "dashboard")

    def __init__(self, hubs: Callable[[], Sequence[Queried]], now: Callable[[], datetime]) -> None:
        super().__init__()
        self._hubs, self._now = hubs, now
        self.refresh()
        after_each_cell(self.refresh)

    def __repr__(self) -> str:
        return self.text

    def refresh(self) -> None:
        """Reads what is reported now. Raises WorkspaceError once the lab is closed."""
        self.now, self.devices = self._now(), reports(self._hubs())
        self.scene = self._scene()

    # ---- what it says

    def expiring(self, days: int) -> list[Report]:
        """The devices whose certificate is valid for so many days at the most, or is over."""
        left = ((report, report.days_left(self.now)) for report in self.devices)
        return [report for report, number in left if number is not None and number <= days]

    @property
    def bands(self) -> dict[Band, int]:
        """How many devices there are in each band."""
        found = Counter(report.band(self.now) for report in self.devices)
        return {band: found[band] for band in Band}

    @property
    def renewals(self) -> int:
        """All that were done."""
        return sum(report.renewals for report in self.devices)

    @property
    def failures(self) -> int:
        """All attempts that have failed."""
        return sum(report.failures for report in self.devices)

    @property
    def numbers(self) -> str:
        """The whole fleet in one line."""
        bands = [f"{band}: {count}" for band, count in self.bands.items() if count]
        done = f"{counted(self.renewals, 'renewal')} done, {self.failures} failed"
        return f"{'; '.join([counted(len(self.devices), 'device'), *bands])}. {done}."

    @property
    def text(self) -> str:
        """The table in words, a line for each device."""
        return "\n".join([f"{TITLE}. {self.numbers}", *map(self._line, self.devices)])

    def _line(self, report: Report) -> str:
        cells = dict(zip(COLUMNS, self._cells(report), strict=True))
        left = f"{cells['Days left']} days left" if report.expires else ""
        told = (
            cells["Certificate"],
            f"until {cells['Expires']}" if report.expires else "",
            left,
            f"{counted(report.renewals, 'renewal')}, {report.failures} failed",
            "" if report.enabled else "disabled",
        )
        return f"- {report.device}: {', '.join(part for part in told if part)}"

    # ---- on the screen

    def _scene(self) -> Json:
        bands = self.bands
        return {
            "title": TITLE,
            "numbers": self.numbers,
            "columns": list(COLUMNS),
            "right": list(NUMBERS),
            "bands": [{**_sign(band), "count": count} for band, count in bands.items()],
            "rows": list(map(self._row, self.devices)),
        }

    def _row(self, report: Report) -> Json:
        """Each cell's text, the band as a sign, and what the row is sorted by where that is not
        the text. A certificate's words, date and days are all of one moment: no band's name, and
        no day with two certificates in it, may mix up which of them ends first."""
        ends = int(report.expires.timestamp()) if report.expires else None
        return {
            "cells": self._cells(report),
            "hub": report.hub,
            "band": _sign(report.band(self.now)),
            "identity": _state("enabled" if report.enabled else "disabled"),
            "order": {
                **dict.fromkeys(("Certificate", "Expires", "Days left"), ends),
                "Renewals": report.renewals,
                "Failures": report.failures,
            },
        }

    def _cells(self, report: Report) -> list[str]:
        left = report.days_left(self.now)
        return [
            report.device,
            str(report.band(self.now)),
            f"{report.expires:%Y-%m-%d}" if report.expires else "",
            "" if left is None else str(max(left, 0)),
            str(report.renewals),
            str(report.failures),
            "enabled" if report.enabled else "disabled",
        ]

    def _repr_mimebundle_(self, **options: Any) -> tuple[Json, Json]:
        """The live board, and what stays of it without a kernel."""
        live, metadata = self.live_bundle(**options)
        return {**live, "text/plain": self.text, "text/html": self._still()}, metadata

    def _still(self) -> str:
        head = "".join(f'<th scope="col">{escape(name)}</th>' for name in COLUMNS)
        body = "".join(map(_html_row, map(self._cells, self.devices)))
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        return f"<div><p><b>{escape(TITLE)}.</b> {escape(self.numbers)}</p>{table}</div>"


def _html_row(cells: Sequence[str]) -> str:
    first, *others = map(escape, cells)
    rest = "".join(f"<td>{text}</td>" for text in others)
    return f'<tr><th scope="row">{first}</th>{rest}</tr>'


def _sign(band: Band) -> Json:
    return {**_state(_SIGNS[band]), "word": str(band)}


def _state(key: str) -> Json:
    state = STATES[key]
    return {"slug": state.slug, "icon": state.icon, "word": state.word}
