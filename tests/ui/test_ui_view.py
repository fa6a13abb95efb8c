"""The living board without a browser: what it knows, and that its colours can be read."""

from __future__ import annotations

import gc
import re
import weakref
from pathlib import Path
from typing import Any

import pytest

import labkit.ui
from labkit.graph import STATES, add_edge, add_node, new_graph
from labkit.graph.style import DARK, DARK_BOARD, living_css
from labkit.lab import Lab
from labkit.ui.assets import module, style_sheet
from labkit.ui.living import Living
from labkit.ui.view import ChainView

STATIC = Path(labkit.ui.__file__).parent / "static"
SCRIPTS = sorted(STATIC.glob("*.js"))


def fleet(count: int) -> Any:
    graph = new_graph("A fleet")
    add_node(graph, "root", kind="root-ca", label="Root CA", detail="token Root", state="trusted")
    for number in range(count):
        name = f"widget-{number:03}"
        add_node(graph, name, kind="device", label=name, state="trusted", presented=True)
        add_edge(graph, "root", name, kind="signed")
    return graph


def test_it_follows_the_lab(lab: Lab) -> None:
    view = ChainView(lab)
    before = view.svg
    lab.custodian("Company-X").create_root_ca()
    view.refresh()
    assert view.svg != before
    assert view.svg == lab.graph().svg
    found = view.answer({"do": "inspect", "node": "ca Company-X/Company-X Root CA"})["inspection"]
    assert ["subject", "CN=Company-X Root CA,O=Company-X"] in found["facts"]


def test_nothing_is_sent_where_nothing_has_changed(lab: Lab) -> None:
    view = ChainView(lab)
    sent = view.scene["revision"]
    view.refresh()
    assert view.scene["revision"] == sent


def test_a_graph_alone_tells_what_it_was_given() -> None:
    view = ChainView(fleet(1))
    found = view.answer({"do": "inspect", "node": "root"})["inspection"]
    assert (found["title"], found["kind"]) == ("Root CA", "root CA certificate")
    assert found["facts"] == [["about it", "token Root"]]
    assert not found["certificate"]
    sent = view.answer({"do": "inspect", "node": "widget-000"})["inspection"]
    assert ["last connection", "sent"] in sent["facts"]


def test_a_stack_tells_its_members() -> None:
    view = ChainView(fleet(201))
    (fold,) = re.findall(r'class="folded stack" data-id="([^"]*)"', view.svg)
    members = view.answer({"do": "members", "fold": fold})["members"]
    assert len(members) == 201
    assert members[0] == {"id": "widget-000", "label": "widget-000", "state": "trusted"}
    assert view.answer({"do": "members", "fold": "none"}) == {"members": []}


def test_the_picture_stays_without_a_kernel() -> None:
    view = ChainView(fleet(2))
    shown, _ = view._repr_mimebundle_()
    assert shown["text/plain"] == view.picture.text
    assert shown["text/html"] == view.picture.html
    assert "application/vnd.jupyter.widget-view+json" in shown


def test_a_view_that_nobody_holds_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """IPython calls its listeners for ever; this one must not keep the view alive."""
    listeners: list[Any] = []

    class Shell:
        events = type(
            "Events",
            (),
            {
                "register": lambda _, __, f: listeners.append(f),
                "unregister": lambda _, __, f: listeners.remove(f),
            },
        )()

    monkeypatch.setattr("IPython.get_ipython", Shell)
    view = ChainView(fleet(1))
    gone = weakref.ref(view)
    view.close()
    del view
    gc.collect()
    assert gone() is None
    listeners[0]()
    assert listeners == []


@pytest.mark.parametrize("name", ["view", "player", "bar", "portal", "dashboard"])
def test_the_module_needs_nothing_but_itself(name: str) -> None:
    text = module(name)
    assert not re.search(r"^\s*(import|export (?!default))", text, re.MULTILINE)
    assert text.count("export default") == 1
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|innerHTML\s*=[^=]|eval\(", text)
    declared = re.findall(r"^(?:async )?(?:function|class|const|let) (\w+)", text, re.MULTILINE)
    assert len(declared) == len(set(declared))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_every_script_is_short_and_used(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400
    joined = "".join(map(module, ("player", "view", "bar", "portal", "dashboard")))
    assert path.read_text().splitlines()[0] in joined


def test_every_state_has_its_rule_in_both_themes() -> None:
    for state in STATES.values():
        assert style_sheet().count(f".labkit .s-{state.slug}{{") == 2
    assert living_css() in style_sheet()


def luminance(colour: str) -> float:
    short = colour.lstrip("#")
    full = short if len(short) == 6 else "".join(2 * digit for digit in short)
    parts = [int(full[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("key", STATES)
def test_every_state_can_be_read_in_the_dark(key: str) -> None:
    """WCAG 2.1 AA: 4.5 to 1 for words, 3 to 1 for outlines and icons."""
    board = dict(re.findall(r"--([a-z-]+):(#[0-9a-f]+)", DARK_BOARD))
    hue = DARK[STATES[key].hue]
    for words in (hue.ink, board["text"], board["soft"]):
        assert contrast(words, hue.fill) >= 4.5
    for ground in (board["card"], board["lane"], hue.fill):
        assert contrast(hue.stroke, ground) >= 3


def test_the_board_can_be_read_in_the_dark() -> None:
    board = dict(re.findall(r"--([a-z-]+):(#[0-9a-f]+)", DARK_BOARD))
    for words in ("text", "soft", "bad-ink"):
        assert contrast(board[words], board["card"]) >= 4.5
        assert contrast(board[words], board["lane"]) >= 4.5
    assert contrast(board["on-sent"], board["sent"]) >= 4.5
    assert contrast(board["on-bad"], board["bad-ink"]) >= 4.5
    for line in ("line", "sent", "bad"):
        assert contrast(board[line], board["card"]) >= 3


def test_a_widget_that_says_nothing_of_its_board_cannot_be_made() -> None:
    """What a subclass owes is missed when it is made, not when a browser asks for it."""
    with pytest.raises(TypeError, match="abstract"):
        Living()  # type: ignore[abstract]
