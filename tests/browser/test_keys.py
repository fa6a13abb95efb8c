"""Lesson 02 on the screen: a token without a certificate, and a refusal that no cloud has made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import expect

if TYPE_CHECKING:
    from conftest import Notebook


def test_a_token_is_looked_into_and_its_refusal_is_read(notebook: Notebook) -> None:
    """The vault before there is any certificate, and the token's own answer in the story."""
    player = notebook.play("02-keys-that-never-leave.ipynb")
    forward = player.get_by_role("button", name="Next →", exact=True)
    forward.click()
    expect(player.locator('.node[data-id="token Company-X"]')).to_be_visible()
    chip = player.locator(".lk-chip", has_text="Company-X")
    chip.click()
    inspector = player.get_by_role("region", name="Inspector", exact=True)
    expect(inspector).to_contain_text("a PIN that only the owner knows")
    player.get_by_role("radio", name="the public key only").check()
    forward.click()
    expect(player).to_have_attribute("data-step", "2")
    chip.click()
    expect(inspector).to_contain_text("where it was born; it cannot leave")
    forward.click()
    player.get_by_role("radio", name="no", exact=True).check()
    forward.click()
    note = player.locator(".lk-told .lk-bad")
    expect(note).to_contain_text("C_WrapKey: CKR_KEY_UNEXTRACTABLE")
    style = note.evaluate("e => (s => [s.paddingLeft, s.borderLeftColor])(getComputedStyle(e))")
    assert style == ["12px", "rgb(163, 61, 0)"], "the words stand clear of a line of its colour"
    expect(player.get_by_role("region", name="Why it was refused")).to_be_hidden()
    notebook.screenshot("keys-refusal")
