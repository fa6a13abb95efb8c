"""Lesson 11 on the screen: the second chain, who is in the warehouse, and the button that cures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import expect

if TYPE_CHECKING:
    from conftest import Notebook

ANSWERS = {
    2: "nothing",
    3: "the one below the old root",
    5: "it stays",
    7: "nothing: it is never asked",
}


def test_the_old_store_is_seen_and_cured(notebook: Notebook) -> None:
    """The band of servers is there from the first step; a root can be looked into by keyboard or
    mouse; what the lab knows of both sides is told, and its cure works."""
    player = notebook.play("11-server-root-migration.ipynb")
    forward = player.get_by_role("button", name="Next →", exact=True)
    for step in range(1, 8):
        if step in ANSWERS:
            player.get_by_role("radio", name=ANSWERS[step], exact=True).check()
        forward.click()
        expect(player).to_have_attribute("data-step", str(step))
    old = player.locator('.node[data-id="service root Lab Service Root CA"]')
    expect(old).to_have_attribute("data-state", "retired")
    old.click()
    inspector = player.get_by_role("region", name="Inspector", exact=True)
    expect(inspector).to_contain_text("smart-x-widget-003")
    why = player.get_by_role("region", name="Why it was refused")
    expect(why).to_contain_text("the trust store of smart-x-widget-003")
    expect(why).to_contain_text("which leads to CN=Lab Service Root CA G2")
    expect(player.get_by_text("check failed here")).to_have_count(0)
    notebook.screenshot("server-root-old-store")
    player.get_by_role("button", name="Install the roots of the services and try again").click()
    expect(player.locator(".lk-told")).to_contain_text("is provisioned")
    stored = player.locator('.node[data-id="device smart-x-widget-003"]')
    expect(stored).to_have_attribute("data-state", "trusted")
