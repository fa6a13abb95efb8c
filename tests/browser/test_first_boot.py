"""Lesson 17 on the screen: the second tree, the certificate that it gives out, who said no."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import expect

if TYPE_CHECKING:
    from conftest import Notebook

ANSWERS = {
    3: "DPS sends an API key of Company-X's account",
    6: "in the widget's token",
    7: "nothing",
    10: "it works as before",
}


def test_the_company_and_its_certificates_are_seen(notebook: Notebook) -> None:
    """Each card can be looked into; a refusal names the door; while the company is down, its card
    says so, and the first widget is connected all the same."""
    player = notebook.play("17-certificate-at-first-boot.ipynb")
    forward = player.get_by_role("button", name="Next →", exact=True)

    def go_to(last: int, first: int) -> None:
        for step in range(first, last + 1):
            if step in ANSWERS:
                player.get_by_role("radio", name=ANSWERS[step], exact=True).check()
            forward.click()
            expect(player).to_have_attribute("data-step", str(step))

    go_to(7, first=1)
    client = player.locator('.node[data-id="client smart-x-widget-001"]')
    expect(client).to_have_attribute("data-state", "on record")
    client.click()
    inspector = player.get_by_role("region", name="Inspector", exact=True)
    expect(inspector).to_contain_text("Digital-Trust Client Issuing CA")
    notebook.screenshot("first-boot-issued")
    go_to(10, first=8)
    company = player.locator('.node[data-id="company Digital-Trust/issuing"]')
    expect(company).to_have_attribute("data-state", "disabled")
    why = player.get_by_role("region", name="Why it was refused")
    expect(why).to_contain_text("nobody listens there")
    identity = player.locator('.node[data-id="identity contoso-hub/smart-x-widget-001"]')
    expect(identity).to_have_attribute("data-state", "connected")
    notebook.screenshot("first-boot-down")
    go_to(13, first=11)
    gadget = player.locator('[data-id="client gadget-001"]')
    expect(gadget).to_have_attribute("data-state", "on record")
    notebook.screenshot("first-boot-end")
