"""The player in a real JupyterLab: what a trainee presses, sees and hears.

One JupyterLab page serves the module; each test begins with Reset, or asks for a step.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import pytest
from playwright.sync_api import Browser, Locator, expect
from screens import (
    AXE,
    DARK,
    HIDE_SIDEBAR,
    IN_THE_KERNEL,
    LIGHT,
    alone,
    check_calm,
    shots,
    themed,
    tools,
    written,
)

if TYPE_CHECKING:
    from conftest import JupyterLab, Notebook

STORY = """
from labkit.ui.player import Player
from labkit.scenarios.first_device import STORY

player = Player(STORY)
player
"""
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
WIDGET = "device smart-x-widget-001"
TECHNICIAN = "ca Technician-Z/Technician-Z CA"
CLICK_TO_TEXT = """async () => {
    const player = document.querySelector(".lk-player");
    const shown = (title) => new Promise((done) => {
        const look = () => player.querySelector(".lk-inspector h4").textContent === title
            ? done() : requestAnimationFrame(look);
        look();
    });
    const times = [];
    for (const node of player.querySelectorAll(".node")) {
        const began = performance.now();
        node.dispatchEvent(new MouseEvent("click", { bubbles: true }));
        await shown(node.querySelector(".name").textContent);
        times.push(performance.now() - began);
    }
    return times;
}"""
MANY = """
import dataclasses, time
def make_many(lab):
    for _ in lab.work.each(range(20), "making devices"):
        time.sleep(0.1)
slow = dataclasses.replace(STORY.steps[0], action=make_many)
player._play.scenario = dataclasses.replace(STORY, steps=(slow, *STORY.steps[1:]))
"""
HANGS_OVER = "e => e.scrollWidth - e.clientWidth"
BREAK = "player.next = lambda: 1 / 0"
FLEETS = """
from labkit.graph import add_edge, add_node, new_graph
from labkit.ui.view import ChainView

def fleet(count):
    graph = new_graph(f"A fleet of {count}")
    add_node(graph, "root", kind="root-ca", label="Root CA", state="trusted")
    for number in range(count):
        name = f"widget-{number:03}"
        add_node(graph, name, kind="device", label=name, state="trusted")
        add_edge(graph, "root", name, kind="signed")
    return graph

tiles = fleet(150)
view = ChainView(tiles)
display(ChainView(fleet(260)), view)
"""
AGE = """
for _, data in tiles.nodes(data=True):
    data["state"] = "expired" if data["kind"] == "device" else data["state"]
view.refresh()
"""
SHOW_SIDEBAR = """() => window.jupyterapp.shell.expandLeft()"""


class OnScreen:
    """The player as a trainee has it before them."""

    def __init__(self, notebook: Notebook) -> None:
        self.notebook, self.page = notebook, notebook.page
        self.root = self.page.locator(".lk-player")

    def button(self, name: str) -> Locator:
        return self.root.get_by_role("button", name=name, exact=True)

    def node(self, name: str) -> Locator:
        return self.root.locator(f'.node[data-id="{name}"]')

    @property
    def inspector(self) -> Locator:
        return self.root.get_by_role("region", name="Inspector", exact=True)

    def at(self, step: int) -> None:
        expect(self.root).to_have_attribute("data-step", str(step))
        expect(self.root.locator(".lk-head")).not_to_have_attribute("aria-busy", "true")

    def press(self, name: str, step: int) -> None:
        self.button(name).click()
        self.at(step)

    def reset(self) -> None:
        self.press("↺ Reset", 0)

    def answer(self, option: str) -> None:
        self.root.get_by_role("radio", name=option, exact=True).check()
        expect(self.button("Next →")).to_be_enabled()

    def go_to(self, step: int) -> None:
        """What a cell does: player.go_to(step)."""
        self.python(f"player.go_to({step})")
        self.at(step)

    def python(self, code: str) -> None:
        """Runs a line in the notebook's kernel."""
        self.page.evaluate(IN_THE_KERNEL, code)

    def seen(self) -> dict[str, Any]:
        """The picture, the table and the log, as they are on the screen."""
        nodes = self.root.locator(".node").evaluate_all(
            "all => all.map(n => [n.dataset.id, n.dataset.state, n.dataset.at, n.ariaLabel]).sort()"
        )
        return {
            "nodes": nodes,
            "links": self.root.locator(".layer-links > g:not(.leaving)").count(),
            "states": self.root.locator(".lk-states").inner_text(),
            "events": self.root.locator(".lk-events").inner_text(),
            "told": self.root.locator(".lk-story").inner_text(),
        }


@pytest.fixture(scope="module")
def opened(
    browser: Browser,
    jupyterlab: JupyterLab,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[OnScreen]:
    """A notebook with nothing but the player in it, open for the whole module."""
    directory = tmp_path_factory.mktemp("player")
    with alone(STORY, directory, browser, jupyterlab, request) as notebook:
        shown = OnScreen(notebook)
        shown.root.wait_for()
        yield shown


@pytest.fixture
def player(opened: OnScreen, request: pytest.FixtureRequest) -> Iterator[OnScreen]:
    yield opened
    check_calm(opened.notebook, request.node.name)


def test_next_takes_a_step_and_waits_for_a_prediction(player: OnScreen) -> None:
    player.reset()
    player.press("Next →", 1)
    expect(
        player.root.get_by_role("heading", name="Three parties sign one another")
    ).to_be_visible()
    expect(player.root.get_by_text("Step 1 of 10", exact=True)).to_be_visible()
    expect(player.button("Next →")).to_be_disabled()
    player.button("Next →").click(force=True)
    expect(player.root.get_by_role("radio").first).to_be_focused()
    player.at(1)
    player.answer("three")
    player.press("Next →", 2)
    expect(player.button("Next →")).to_be_focused()
    feedback = player.root.get_by_role("region", name="Your prediction")
    expect(feedback).to_contain_text("✗ Not quite. You said: three. It is: four.")


def test_a_right_prediction_is_told_beside_its_step(player: OnScreen) -> None:
    player.reset()
    player.press("Next →", 1)
    player.answer("four")
    player.press("Next →", 2)
    expect(player.root.get_by_role("region", name="Your prediction")).to_contain_text(
        "✓ Right: four"
    )
    player.press("Next →", 3)
    expect(player.root.get_by_role("region", name="Your prediction")).to_have_count(0)
    expect(player.root.get_by_role("group", name="Predict before you press Next")).to_be_visible()


def test_back_shows_a_step_exactly_as_it_was_and_next_returns(player: OnScreen) -> None:
    player.reset()
    player.go_to(6)
    expect(player.root.locator(".lk-events")).to_contain_text("was assigned to")
    then = player.seen()
    player.press("← Back", 5)
    expect(player.node(f"identity contoso-hub/{WIDGET.split()[1]}")).to_have_count(0)
    player.press("Next →", 6)
    assert player.seen() == then
    for step in range(7, 11):
        player.go_to(step)
    player.go_to(6)
    assert player.seen() == then


def test_reset_begins_again(player: OnScreen) -> None:
    player.go_to(3)
    player.reset()
    expect(player.root.locator(".node")).to_have_count(1)
    expect(player.root.get_by_text("Nothing has happened yet.")).to_be_visible()
    expect(player.button("← Back")).to_be_disabled()


def test_nodes_are_clicked_and_walked_through_with_the_arrows(player: OnScreen) -> None:
    player.go_to(7)
    page = player.page
    player.node(TECHNICIAN).click()
    expect(player.inspector).to_contain_text("CN=Technician-Z CA,O=Technician-Z")
    expect(player.node(TECHNICIAN)).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("ArrowDown")
    expect(player.node(WIDGET)).to_be_focused()
    page.keyboard.press("Enter")
    expect(player.inspector.get_by_role("heading")).to_have_text("smart-x-widget-001")
    for _ in range(3):
        page.keyboard.press("ArrowUp")
    expect(player.node("ca Company-X/Company-X Root CA")).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(player.node("entry company-x")).to_be_focused()
    page.keyboard.press("Escape")
    expect(player.root.locator('[aria-pressed="true"]')).to_have_count(0)
    expect(player.root.locator('.node[tabindex="0"]')).to_have_count(1)


def test_pointing_at_a_node_lights_up_its_way_to_the_root(player: OnScreen) -> None:
    player.go_to(7)
    player.node(WIDGET).hover()
    lit = player.root.locator(".node.on-path").evaluate_all("all => all.map(n => n.dataset.kind)")
    assert sorted(lit) == ["device", "intermediate-ca", "intermediate-ca", "root-ca"]
    assert player.root.locator(".link.on-path").count() == 3
    player.root.locator(".lk-head").hover()
    expect(player.root.locator(".on-path")).to_have_count(0)


def test_the_bytes_are_shown_on_demand(player: OnScreen) -> None:
    player.go_to(7)
    player.node(WIDGET).click()
    player.inspector.get_by_role("button", name="PEM").click()
    expect(player.inspector).to_contain_text("-----BEGIN CERTIFICATE-----")
    player.inspector.get_by_role("button", name="openssl x509 -text").click()
    expect(player.inspector).to_contain_text("Signature Algorithm")
    player.inspector.get_by_role("button", name="Copy").click()
    expect(player.inspector.get_by_role("button", name="Copied")).to_be_visible()
    player.inspector.get_by_role("button", name="Close the inspector").click()
    expect(player.node(WIDGET)).to_be_focused()


def test_events_are_filtered_and_opened(player: OnScreen) -> None:
    player.go_to(7)
    log = player.root.get_by_role("region", name="Event log")
    log.get_by_role("combobox").select_option("mqtt")
    expect(log.locator("li").filter(has_text="supply chain")).to_have_count(0)
    message = log.locator("li").filter(has_text="sends a message")
    message.locator("summary").click()
    expect(message).to_contain_text("devices/smart-x-widget-001/messages/events/")
    expect(message.locator("pre")).to_contain_text('"temperature": 21.5')
    log.get_by_role("combobox").select_option("")


def test_a_refusal_is_explained_and_not_a_traceback(player: OnScreen) -> None:
    player.reset()
    player.go_to(8)
    player.answer("it is refused")
    player.press("Next →", 9)
    root = player.root
    expect(root.get_by_role("region", name="All that DPS says")).to_contain_text(
        "401 401002: CA certificate not found."
    )
    why = root.get_by_role("region", name="Why it was refused")
    outcomes = why.locator(".lk-check em").all_inner_texts()
    before, after = outcomes.index("failed"), outcomes.count("not reached")
    assert outcomes == ["passed"] * before + ["failed"] + ["not reached"] * after
    expect(why).to_contain_text("let the device send CN=Technician-Z CA too")
    expect(player.node(WIDGET).get_by_text("check failed here")).to_be_visible()
    expect(why.get_by_text("its key may sign a TLS handshake")).to_be_hidden()
    root.get_by_role("button", name="Why? What was checked, and what cures it").click()
    expect(why).to_be_in_viewport()
    why.get_by_role("button", name="CN=smart-x-widget-001").click()
    expect(player.inspector.get_by_role("heading")).to_have_text("smart-x-widget-001")
    expect(root.get_by_text("Traceback")).to_have_count(0)


def test_what_changed_is_announced(player: OnScreen) -> None:
    player.go_to(2)
    player.go_to(3)
    said = player.root.locator(".lk-boardbox [role=status]")
    expect(said).to_contain_text("Step 3 of 10. Company-X uploads its certificate.")
    expect(said).to_contain_text("New: company-x, unverified.")


def test_a_handler_that_fails_is_told_and_the_player_goes_on(player: OnScreen) -> None:
    player.reset()
    player.python(BREAK)
    player.button("Next →").click()
    alert = player.root.get_by_role("alert")
    expect(alert).to_contain_text("ZeroDivisionError: division by zero")
    player.python("del player.next")
    player.press("Next →", 1)
    expect(alert).to_be_empty()


def test_a_long_step_shows_that_it_works(player: OnScreen) -> None:
    player.reset()
    player.python("import time; player.lab.events.listen(lambda event: time.sleep(0.2))")
    player.button("Next →").click()
    expect(player.button("Working…")).to_be_disabled()
    expect(player.button("↺ Reset")).to_be_disabled()
    player.at(1)
    expect(player.button("↺ Reset")).to_be_enabled()
    player.reset()


def test_long_work_shows_how_far_it_is(player: OnScreen) -> None:
    """A bar with words while a step makes many things, and nothing of it afterwards."""
    player.reset()
    player.python(MANY)
    player.button("Next →").click()
    expect(player.root.get_by_role("progressbar", name="making devices")).to_be_visible()
    expect(player.root.get_by_text(re.compile(r"making devices: \d+ of 20"))).to_be_visible()
    player.at(1)
    expect(player.root.get_by_role("progressbar")).to_have_count(0)
    player.python("player._play.scenario = STORY")
    player.reset()


def test_beside_an_open_sidebar_the_board_fits_and_can_be_enlarged(player: OnScreen) -> None:
    """At 1024 px with JupyterLab's file browser: all is seen, and who wants reads it large."""
    player.go_to(9)
    page, board = player.page, player.root.locator(".lk-board")
    page.set_viewport_size({"width": 1024, "height": 1500})
    page.evaluate(SHOW_SIDEBAR)
    enlarge = player.button("⤢ Enlarge the board")
    expect(enlarge).to_be_visible()
    assert board.evaluate(HANGS_OVER) == 0
    player.root.screenshot(path=shots("player-1024-sidebar"))
    enlarge.click()
    assert board.evaluate(HANGS_OVER) > 0
    player.button("⤡ Fit the board").click()
    assert board.evaluate(HANGS_OVER) == 0
    page.evaluate(HIDE_SIDEBAR)
    page.set_viewport_size({"width": 1440, "height": 1200})
    expect(enlarge).to_be_hidden()


def test_where_the_inspector_floats_the_next_step_closes_it(player: OnScreen) -> None:
    """It would hide what the step is about; where it has its own column, it stays."""
    player.go_to(7)
    for width, stays in ((1024, False), (1440, True)):
        player.page.set_viewport_size({"width": width, "height": 1200})
        player.go_to(7)
        player.node(TECHNICIAN).click()
        expect(player.inspector).to_contain_text("Technician-Z CA")
        player.press("← Back", 6)
        expect(player.node(TECHNICIAN)).to_have_attribute("aria-pressed", str(stays).lower())
    player.page.set_viewport_size({"width": 1440, "height": 1200})


def test_a_board_of_hundreds(
    player: OnScreen, browser: Browser, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """260 devices are a stack that opens, 150 are tiles; a change of all of them is shown."""
    page = browser.new_page(viewport={"width": 1024, "height": 1000})
    page.set_default_timeout(30_000)
    notebook = tools(request).Notebook(page, player.notebook.server)
    notebook.open(written(tmp_path, nbformat.v4.new_code_cell(FLEETS.strip())))
    notebook.run_all()
    stacked, tiled = page.locator(".lk-view").nth(0), page.locator(".lk-view").nth(1)
    stacked.get_by_role("button", name="260 devices").click()
    stacked.get_by_role("button", name="widget-259").click()
    expect(stacked.locator(".lk-inspector h4")).to_have_text("widget-259")
    notebook.screenshot("view-stack")
    tiled.locator('.node[data-id="widget-000"]').focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(tiled.locator(".lk-inspector h4")).to_have_text(re.compile(r"widget-0\d\d"))
    page.evaluate(IN_THE_KERNEL, AGE)
    expect(tiled.locator('.node[data-state="expired"]')).to_have_count(150)
    notebook.screenshot("view-tiles")
    page.close()
    assert notebook.troubles == []


def test_typing_on_a_node_leaves_the_notebook_alone(player: OnScreen) -> None:
    player.go_to(3)
    cells = player.notebook.cells()
    for place in (player.node(TECHNICIAN), player.button("Next →")):
        place.focus()
        for key in "bddx":
            player.page.keyboard.press(key)
    assert player.notebook.cells() == cells


def test_from_a_click_to_its_text(player: OnScreen) -> None:
    player.go_to(7)
    times: list[float] = player.page.evaluate(CLICK_TO_TEXT)
    assert len(times) > 5
    if figures := os.environ.get("LAB_CLICK_FIGURES"):  # ./lab bench judges them
        Path(figures).write_text("\n".join(map(str, times)))


def test_the_picture_stays_without_a_kernel(
    player: OnScreen, browser: Browser, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """A committed notebook has no widget view: then the picture and its story are shown."""
    (cell,) = player.notebook.cells()
    (shown,) = cell["outputs"]
    assert shown["data"].pop(WIDGET_VIEW)
    source = nbformat.from_dict({**cell, "source": "# was run elsewhere", "metadata": {}})
    page = browser.new_page(viewport={"width": 1024, "height": 700})
    page.set_default_timeout(30_000)
    notebook = tools(request).Notebook(page, player.notebook.server)
    notebook.open(written(tmp_path, source))
    picture = page.locator(".jp-OutputArea-output img[alt]")
    expect(picture).to_be_visible()
    assert picture.evaluate("i => i.complete && i.naturalWidth > 300")
    expect(page.get_by_text("Step 0 of 10: The first device")).to_be_visible()
    notebook.screenshot("player-without-a-kernel")
    page.close()
    assert notebook.troubles == []


@pytest.mark.parametrize("theme", [LIGHT, DARK])
@pytest.mark.parametrize("step", [1, 9])
def test_axe_finds_nothing(player: OnScreen, axe: str, theme: str, step: int) -> None:
    """The prediction of step 1, the refusal of step 9, with the inspector open."""
    page = player.page
    player.reset()
    player.go_to(step)
    player.node(TECHNICIAN).click()
    expect(player.inspector).to_contain_text("Technician-Z CA")
    themed(page, theme)
    page.evaluate(axe)
    assert page.evaluate(AXE, ".lk-player") == []
    themed(page, LIGHT)


@pytest.mark.parametrize("width", [1024, 1440])
def test_what_it_looks_like(player: OnScreen, width: int) -> None:
    """Screenshots in both themes; nothing hangs over, and the picture's words can be read."""
    page = player.page
    player.reset()
    player.go_to(9)
    page.set_viewport_size({"width": width, "height": 1500})
    for theme in (DARK, LIGHT):
        themed(page, theme)
        player.root.screenshot(path=shots(f"player-{width}-{theme.split()[1].lower()}"))
    hanging = player.root.evaluate("e => e.scrollWidth - e.clientWidth")
    assert hanging <= 0
    smallest = (
        player.node(TECHNICIAN)
        .locator(".soft")
        .first.evaluate("t => t.getBoundingClientRect().height")
    )
    assert smallest >= 10
    page.set_viewport_size({"width": 1440, "height": 1200})


def test_a_cure_is_a_button_and_the_story_goes_on(player: OnScreen) -> None:
    """The refusal's first cure, carried out by the lab: the widget is provisioned again."""
    player.go_to(9)
    player.page.get_by_role("button", name="Install the factory's chain and try again").click()
    heading = player.page.get_by_role("heading", name="Install the factory's chain and try again")
    expect(heading).to_be_visible()
    expect(player.page.get_by_text("Why DPS refused")).to_be_hidden()


@pytest.mark.parametrize("step", [1, 6, 9, 10])
def test_the_player_never_grows_a_second_scrollbar(player: OnScreen, step: int) -> None:
    """Whatever is hidden in its parts must not stick out of the output below it."""
    player.go_to(step)
    area = player.page.locator(".jp-OutputArea-output", has=player.page.locator(".lk-player"))
    assert area.evaluate("e => e.scrollHeight - e.clientHeight") == 0
