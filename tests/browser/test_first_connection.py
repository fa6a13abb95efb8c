"""Lesson 07 on the screen: a connection that ended in TLS is not told as a refusal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import expect

if TYPE_CHECKING:
    from conftest import Notebook

ANSWERS = ("the server", "after it, in MQTT", "in the TLS handshake")


def test_a_thief_ends_in_tls_and_no_device_is_marked(notebook: Notebook) -> None:
    """No service is quoted, no box of the picture has failed, and the reason is at hand."""
    player = notebook.play("07-first-connection.ipynb")
    forward = player.get_by_role("button", name="Next →", exact=True)
    forward.click()
    for step, answer in enumerate(ANSWERS, 2):
        player.get_by_role("radio", name=answer, exact=True).check()
        forward.click()
        expect(player).to_have_attribute("data-step", str(step))
    note = player.get_by_role("region", name="How it ended")
    expect(note).to_contain_text("No service was asked, and none has answered")
    expect(note).to_contain_text("the server ended the handshake")
    expect(player.locator('.node[data-id="token Eavesdropper-E"]')).to_be_visible()
    expect(player.get_by_text("check failed here")).to_have_count(0)
    why = player.get_by_role("region", name="Why it was refused")
    expect(why).to_contain_text("Why the connection ended in TLS")
    expect(why).to_contain_text("its signature is by another key")
    notebook.screenshot("first-connection-thief")
