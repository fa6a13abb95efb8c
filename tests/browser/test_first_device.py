"""Lesson 01 as a trainee has it on the screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Notebook

PICTURES = ".jp-OutputArea-output img[alt]"
LOADED = "images => images.every(i => i.complete && i.naturalWidth > 300)"


def test_the_story_runs_and_can_be_seen(notebook: Notebook) -> None:
    """Every picture is drawn, the refusal is explained, and the exercise waits."""
    notebook.open("01-first-device.ipynb")
    notebook.run_all()
    page = notebook.page
    player = page.locator(".lk-player")
    player.scroll_into_view_if_needed()
    player.get_by_role("button", name="Next").click()
    player.get_by_text("Three parties sign one another").first.wait_for()
    notebook.screenshot("first-device-player")
    pictures = page.locator(PICTURES)
    assert pictures.count() == 3
    assert pictures.evaluate_all(LOADED)
    assert page.get_by_text("401 401002: CA certificate not found.").count() == 1
    assert page.get_by_text("let the device send CN=Technician-Z CA too").count() == 1
    assert page.get_by_text("second-widget: 0 of 6, not yet").is_visible()
    for number in range(pictures.count()):
        pictures.nth(number).scroll_into_view_if_needed()
        notebook.screenshot(f"first-device-picture-{number + 1}")
    page.get_by_text("was refused.").scroll_into_view_if_needed()
    notebook.screenshot("first-device-explanation")


def test_run_all_a_second_time_is_harmless(notebook: Notebook) -> None:
    notebook.open("01-first-device.ipynb")
    notebook.run_all()
    notebook.run_all()
    assert notebook.page.get_by_text("Company-X Root CA was there already").count() == 1


def test_a_trainee_who_solves_the_exercise_is_told_so(notebook: Notebook) -> None:
    """Types the solution into the cell, as a person does."""
    notebook.open("01-first-device.ipynb")
    notebook.run_all()
    page = notebook.page
    editor = page.locator(".jp-CodeCell .cm-content", has_text="second = ...")
    editor.click()
    page.keyboard.press("Control+A")
    page.keyboard.type(
        'second = technician.make_device("smart-x-widget-002")\n'
        "second.provision()\n"
        'second.connect().send({"temperature": 19.0})'
    )
    notebook.run_all()
    assert page.get_by_text("second-widget: 6 of 6, solved").is_visible()


def test_a_mistake_is_told_in_words_and_not_as_a_traceback(notebook: Notebook) -> None:
    """A trainee who names a device that was never made sees what there is, and no frames."""
    notebook.open("01-first-device.ipynb")
    notebook.run_all()
    page = notebook.page
    editor = page.locator(".jp-CodeCell .cm-content", has_text="second = ...")
    editor.click()
    page.keyboard.press("Control+A")
    page.keyboard.type('lab.device("no-such-widget")')
    page.keyboard.press("Shift+Enter")
    shown = page.get_by_text("There is no device 'no-such-widget'")
    shown.wait_for()
    assert "devices: smart-x-widget-001" in shown.inner_text()
    assert "Traceback" not in shown.inner_text()
    notebook.screenshot("a-mistake")
