"""Lesson 18 on the screen: the registry's two tiers, and the dashboard by mouse and keyboard."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Browser, Locator, expect
from screens import AXE, DARK, LIGHT, alone, check_calm, shots, themed

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import JupyterLab, Notebook

ANSWERS = {4: "the hub refuses it", 7: "none", 8: "to disable its identity in the hub"}
FLEET = """
from datetime import UTC, datetime, timedelta
from labkit.ui.dashboard import CertificateBoard

NOW = datetime(2027, 3, 1, 9, tzinfo=UTC)

def row(number, days):
    said = {"issued": "2027-02-01T09:00:00Z", "renewals": number % 4, "failures": number % 2,
            "expires": f"{NOW + timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}"}
    status = "disabled" if number == 0 else "enabled"
    return {"deviceId": f"w-{number:02}", "status": status, "operationalCertificate": said}

class Hub:
    name = "contoso-hub"
    rows = [row(number, days) for number, days in enumerate((-2, 1, 3, 9, 12, 30, 40, 41, 42))]
    def query(self, text):
        return [*self.rows, {"deviceId": "w-99", "status": "enabled"}]

hub = Hub()
board = CertificateBoard(lambda: [hub], lambda: NOW)
board
"""


def rows(board: Locator) -> list[str]:
    return board.locator("tbody th").all_inner_texts()


def test_the_dashboard_is_sorted_and_narrowed_by_mouse_and_keyboard(
    browser: Browser,
    jupyterlab: JupyterLab,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    axe: str,
) -> None:
    """Every band is a button and every heading sorts; Tab and Enter do all of it; the focus stays
    where it was; axe has nothing to say, in both themes."""
    with alone(FLEET, tmp_path, browser, jupyterlab, request) as notebook:
        page = notebook.page
        board = page.get_by_role("region", name="Operational certificates", exact=True)
        expect(board.locator("tbody tr")).to_have_count(10)
        assert rows(board)[0] == "w-00"
        assert rows(board)[-1] == "w-99"
        band = board.get_by_role("button", name="4 to 14 days")
        band.focus()
        page.keyboard.press("Enter")
        expect(board.locator("tbody tr")).to_have_count(2)
        expect(band).to_have_attribute("aria-pressed", "true")
        expect(band).to_be_focused()
        page.keyboard.press("Enter")
        expect(board.locator("tbody tr")).to_have_count(10)
        head = board.get_by_role("columnheader", name="Renewals")
        head.get_by_role("button").focus()
        page.keyboard.press("Enter")
        expect(head).to_have_attribute("aria-sort", "ascending")
        page.keyboard.press("Enter")
        expect(head).to_have_attribute("aria-sort", "descending")
        expect(head.get_by_role("button")).to_be_focused()
        assert rows(board)[0] == "w-03"
        page.evaluate(axe)
        for theme, name in ((DARK, "dashboard-dark"), (LIGHT, "dashboard")):
            themed(page, theme)
            board.screenshot(path=shots(name))
            assert page.evaluate(AXE, ".lk-dashboard") == []
        check_calm(notebook, "dashboard-page")


BY_END = ["w-00", "w-01", "w-02", "w-03", "w-100", *(f"w-{n:02}" for n in range(4, 9))]
"""The fleet's own order: the first to expire first. w-03 and w-100 end on the same day."""
BY_NAME = [*sorted(BY_END[:4] + BY_END[5:]), "w-99", "w-100"]
UP_AND_DOWN = {
    "Certificate": ([*BY_END, "w-99"], [*BY_END[::-1], "w-99"]),
    "Expires": ([*BY_END, "w-99"], [*BY_END[::-1], "w-99"]),
    "Days left": ([*BY_END, "w-99"], [*BY_END[::-1], "w-99"]),
    "Device": (BY_NAME, BY_NAME[::-1]),
    "Identity": ([*BY_END, "w-99"], [*BY_END[1:], "w-99", "w-00"]),
    "Failures": (
        ["w-00", "w-02", "w-100", "w-04", "w-06", "w-08", "w-99", "w-01", "w-03", "w-05", "w-07"],
        ["w-01", "w-03", "w-05", "w-07", "w-00", "w-02", "w-100", "w-04", "w-06", "w-08", "w-99"],
    ),
}


def test_every_column_is_sorted_by_what_it_means(
    browser: Browser, jupyterlab: JupyterLab, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """A certificate by the moment of its end, as its date and its days are, and never by the
    letters of its band; names as people count. Who has reported nothing comes last both ways, and
    equals keep the fleet's own order both ways."""
    fleet = FLEET.replace("40, 41, 42))]", "40, 41, 42))] + [row(100, 9.5)]")
    with alone(fleet, tmp_path, browser, jupyterlab, request) as notebook:
        board = notebook.page.get_by_role("region", name="Operational certificates", exact=True)
        expect(board.locator("tbody tr")).to_have_count(11)
        found = {}
        for column in UP_AND_DOWN:
            heading = board.get_by_role("columnheader", name=column)
            found[column] = ([], [])
            for way, shown in zip(("ascending", "descending"), found[column], strict=True):
                heading.get_by_role("button").click()
                expect(heading).to_have_attribute("aria-sort", way)
                shown += rows(board)
        assert found == UP_AND_DOWN
        check_calm(notebook, "dashboard-sorted")


def test_the_story_is_played_to_its_end(notebook: Notebook) -> None:
    """The refusal before the synchronisation is explained; the registry's tree can be looked into;
    the dashboard below follows the cells."""
    notebook.open("18-certificate-management.ipynb")
    notebook.run_all()
    board = notebook.page.locator(".lk-dashboard").last
    expect(board.locator("tbody tr").first).to_contain_text("smart-x-widget-010")
    board.screenshot(path=shots("certificate-management-board"))
    player = notebook.page.locator(".lk-player")
    forward = player.get_by_role("button", name="Next →", exact=True)
    for step in range(1, 11):
        if step in ANSWERS:
            player.get_by_role("radio", name=ANSWERS[step], exact=True).check()
        forward.click()
        expect(player).to_have_attribute("data-step", str(step), timeout=120_000)
        player.screenshot(path=shots(f"certificate-management-{step:02}"))
    player.locator('.node[data-id="policy contoso/fleet"]').click()
    inspector = player.get_by_role("region", name="Inspector", exact=True)
    expect(inspector).to_contain_text("for 45 days")
    expect(player.get_by_role("region", name="Why it was refused")).to_contain_text("stolen")
    notebook.screenshot("certificate-management-end")
