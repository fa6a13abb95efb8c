"""The board of a fleet's certificates: read from reported properties alone, told in words, in HTML
and to the browser."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from complaints import refused
from issuance_stories import managed
from stories import Story

from labkit.errors import NotFound
from labkit.ui.dashboard import CertificateBoard
from labkit.ui.dashboard.reports import QUERY, Band, reports

NOW = datetime(2027, 3, 1, 9, tzinfo=UTC)


class Hub:
    """A hub that answers one query, with what it is given."""

    name = "contoso-hub"

    def __init__(self, *rows: dict[str, Any]) -> None:
        self._rows = list(rows)

    def query(self, text: str) -> list[dict[str, Any]]:
        assert text == QUERY
        return self._rows


def row(name: str, days: float | None, *, status: str = "enabled", **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"deviceId": name, "status": status}
    if days is not None:
        issued, expires = NOW - timedelta(days=20), NOW + timedelta(days=days)
        dates = {
            "issued": f"{issued:%Y-%m-%dT%H:%M:%SZ}",
            "expires": f"{expires:%Y-%m-%dT%H:%M:%SZ}",
        }
        found["operationalCertificate"] = {**dates, "renewals": 2, "failures": 1, **more}
    return found


def board(*rows: dict[str, Any]) -> CertificateBoard:
    return CertificateBoard(lambda: [Hub(*rows)], lambda: NOW)


@pytest.mark.parametrize(
    ("days", "left", "band"),
    [
        (-0.5, 0, Band.EXPIRED),
        (0, 0, Band.EXPIRED),
        (0.01, 1, Band.SOON),
        (3, 3, Band.SOON),
        (3.01, 4, Band.LATER),
        (14, 14, Band.LATER),
        (14.5, 15, Band.LONG),
        (None, None, Band.UNKNOWN),
    ],
)
def test_a_device_is_in_the_band_of_its_days(
    days: float | None, left: int | None, band: Band
) -> None:
    (found,) = reports([Hub(row("w", days))])
    assert (found.days_left(NOW), found.band(NOW)) == (left, band)


def test_the_first_to_expire_comes_first_and_the_silent_last() -> None:
    found = reports([Hub(row("late", 30), row("silent", None), row("soon", 2), row("a", 30))])
    assert [report.device for report in found] == ["soon", "a", "late", "silent"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"expires": "tomorrow"},
        {"expires": 7},
        {"expires": None},
        {"issued": ["2027"]},
        {"expires": "2027-03-08T09:00:00+02:00"},
    ],
)
def test_what_makes_no_sense_counts_as_not_reported(wrong: dict[str, Any]) -> None:
    """A device may report what it likes; the board neither believes it nor breaks."""
    (found,) = reports([Hub(row("w", 10, **wrong))])
    assert found.band(NOW) is Band.UNKNOWN
    (found,) = reports([Hub({"deviceId": "w", "operationalCertificate": "yes"})])
    assert found.band(NOW) is Band.UNKNOWN
    (found,) = reports([Hub(row("w", 10, renewals="many", failures=-1))])
    assert (found.renewals, found.failures) == (0, 0)


def test_it_says_so_in_words() -> None:
    found = board(row("w-1", 2), row("w-2", 20), row("w-3", None, status="disabled"))
    assert found.numbers == (
        "3 devices; 3 days or fewer: 1; more than 14 days: 1; not reported: 1. "
        "4 renewals done, 2 failed."
    )
    assert "- w-1: 3 days or fewer, until 2027-03-03, 2 days left, 2 renewals, 1 failed" in repr(
        found
    )
    assert "- w-3: not reported, 0 renewals, 0 failed, disabled" in repr(found)
    assert [report.device for report in found.expiring(7)] == ["w-1"]


def test_without_a_kernel_the_table_stays() -> None:
    data, _ = board(row("<w>", 2))._repr_mimebundle_()
    assert (
        "&lt;w&gt;</th><td>3 days or fewer</td><td>2027-03-03</td><td>2</td>" in data["text/html"]
    )
    assert "application/vnd.jupyter.widget-view+json" in data


def test_every_band_has_a_sign_and_a_word_of_its_own() -> None:
    bands = board(row("w", 2)).scene["bands"]
    for part in ("word", "icon", "slug"):
        assert len({band[part] for band in bands}) == len(bands)


def test_a_certificate_is_sorted_by_the_moment_of_its_end() -> None:
    """Not by its words, of which "expired" would come behind "3 days or fewer"; nor by a date,
    which two may share. What is not reported has no moment, and what is counted is a number."""
    shown = board(row("gone", -2), row("first", 1.1), row("second", 1.2), row("silent", None)).scene
    for column in ("Certificate", "Expires", "Days left"):
        gone, first, second, silent = (each["order"][column] for each in shown["rows"])
        assert gone < first < second
        assert silent is None
    assert [each["order"]["Renewals"] for each in shown["rows"]] == [2, 2, 2, 0]
    assert {"Device", "Identity"}.isdisjoint(shown["rows"][0]["order"]), "these are their texts"


def test_an_empty_fleet_is_told_too() -> None:
    assert board().numbers == "0 devices. 0 renewals done, 0 failed."


def test_a_lab_has_one_and_it_follows_the_devices_reports(story: Story) -> None:
    """Nothing is shown that no device has reported."""
    lab, widget = story.lab, story.widget
    managed(story)
    widget.renew_operational()
    widget.connect()
    found = lab.dashboard()
    assert found.bands[Band.UNKNOWN] == 1, "it has one, and has not said so"
    widget.report_operational(renewals=1)
    found.refresh()
    assert found.bands[Band.LATER] == 1
    assert found.devices[0].expires == widget.operational.chain[0].not_valid_after_utc
    lab.hub().devices.disable(widget.name)
    assert not lab.dashboard("contoso-hub").devices[0].enabled
    with refused(NotFound, "no-hub"):
        lab.dashboard("no-hub")
