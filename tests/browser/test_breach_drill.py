"""The breach drill on the screen, to a bad end and, after Reset, to a good one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import Locator, expect

if TYPE_CHECKING:
    from conftest import Notebook

STEP_SECONDS = 120
BAD = (
    "wait, and watch",
    "have Technician-Z sign a revocation list",
    "block the widget in DPS, with its certificate",
    "disable the widget's identity in the hub",
)
GOOD = (
    "renew the widget, name its new certificate in DPS, and let it provision",
    *["wait, and watch"] * 3,
)


def play(player: Locator, decisions: tuple[str, ...]) -> Locator:
    """From the beginning to the end; returns what came of the last round."""
    forward = player.get_by_role("button", name="Next →", exact=True)

    def step(number: int) -> None:
        forward.click()
        expect(player).to_have_attribute("data-step", str(number), timeout=STEP_SECONDS * 1000)

    step(1)
    player.get_by_role("radio", name="by nothing", exact=True).check()
    step(2)
    for number, decision in enumerate(decisions, 3):
        group = player.get_by_role("group", name="Decide before you press Next")
        group.get_by_role("radio", name=decision, exact=True).check()
        expect(group).to_contain_text("Press Next to do it.")
        step(number)
        told = player.get_by_role("note", name="What came of it")
        expect(told).to_contain_text(f"You decided: {decision}.")
        expect(told).to_contain_text(f"Round {number - 2}: ")
    return told


def test_the_drill_is_played_to_a_bad_end_and_to_a_good_one(notebook: Notebook) -> None:
    """Each decision is done, each round has its result, and the score explains itself."""
    player = notebook.play("16-breach-drill.ipynb")
    told = play(player, BAD)
    expect(told).to_contain_text("attackers connected 3 times; devices lost: 1")
    expect(told).to_contain_text("revocation list of round 2 kept nobody out")
    expect(told).to_contain_text("A change in DPS alone does not reach the hub")
    why = player.get_by_role("region", name="Why it was refused")
    expect(why).to_contain_text("it is disabled in the hub")
    expect(why.get_by_role("button", name="try again")).to_have_count(0)
    player.scroll_into_view_if_needed()
    notebook.screenshot("breach-drill-bad-end")
    player.get_by_role("button", name="← Back", exact=True).click()
    expect(told).to_contain_text("You decided: block the widget in DPS")
    player.get_by_role("button", name="↺ Reset", exact=True).click()
    expect(player).to_have_attribute("data-step", "0", timeout=STEP_SECONDS * 1000)
    told = play(player, GOOD)
    expect(told).to_contain_text("100 of 100 points: contained at once")
    expect(told).to_contain_text("There was no better way.")
    expect(player.get_by_role("region", name="Why it was refused")).to_have_count(0)
    player.scroll_into_view_if_needed()
    notebook.screenshot("breach-drill-good-end")
