"""Lesson 10 on the screen: who is connected, by what it is known, two faults with one answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import expect

if TYPE_CHECKING:
    from conftest import Notebook

STEP_SECONDS = 60
"""A step makes keys and connects devices; on a busy machine that takes its time."""
ANSWERS = {
    2: "nobody",
    3: "it waits in the twin",
    4: "the call fails at once",
    6: "it is completed, and says who failed",
    7: "the hub lets it in",
    8: "it is refused",
    10: "no: a hub has a list of its own",
    11: "nothing",
    12: "it is refused",
}


def test_the_credential_is_seen_to_change_and_with_it_the_fault(notebook: Notebook) -> None:
    """Connected is a state of its own, with a word and a sign; the hub's CA can be looked into; a
    refusal by the hub is told as the hub's, at the widget that was refused."""
    player = notebook.play("10-talking-to-the-hub.ipynb")
    forward = player.get_by_role("button", name="Next →", exact=True)
    identity = player.locator('.node[data-id="identity contoso-hub/smart-x-widget-001"]')
    why = player.get_by_role("region", name="Why it was refused")
    for step in range(1, 13):
        if step in ANSWERS:
            player.get_by_role("radio", name=ANSWERS[step], exact=True).check()
        forward.click()
        expect(player).to_have_attribute("data-step", str(step), timeout=STEP_SECONDS * 1000)
        if step == 2:
            expect(identity).to_have_attribute("data-state", "connected")
            expect(identity).to_contain_text("thumbprint, 1 message")
        if step == 8:
            expect(identity).to_have_attribute("data-state", "enabled")
            expect(why).to_contain_text("Why IoT Hub refused smart-x-widget-001")
            expect(why).to_contain_text("the thumbprints differ")
            player.scroll_into_view_if_needed()
            notebook.screenshot("talking-thumbprint")
        if step == 11:
            notebook.screenshot("talking-by-ca")
    expect(why).to_contain_text("issued by CN=Technician-Z CA, which was not presented")
    widget = player.locator('.node[data-id="device smart-x-widget-001"]')
    expect(widget).to_have_attribute("data-state", "untrusted issuer")
    notebook.screenshot("talking-cut-chain")
    player.locator('.node[data-id="hub ca contoso-hub/company-x"]').click()
    inspector = player.get_by_role("region", name="Inspector", exact=True)
    expect(inspector).to_contain_text("CA certificate in the hub")
    expect(inspector).to_contain_text("proven")
