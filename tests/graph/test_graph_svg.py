"""The SVG: well-formed whatever the names, byte by byte the same, its texts within its boxes."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest
from graph_stories import STORIES, WIDGET, leaf_only, provisioned
from graph_trees import boards
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labkit.graph import Picture, add_edge, add_node, new_graph
from labkit.graph.metrics import NAME, SMALL, width
from labkit.graph.states import STATES, StateKey

if TYPE_CHECKING:
    from networkx import DiGraph

SVG = "{http://www.w3.org/2000/svg}"
EVERY_STORY = pytest.mark.parametrize("story", STORIES.values(), ids=list(STORIES))
BOLD = {"name", "state"}
STATE_BASELINE = 57


def parsed(graph: DiGraph[str]) -> ElementTree.Element:
    return ElementTree.fromstring(Picture.of(graph).svg)


def nodes(graph: DiGraph[str]) -> dict[str, ElementTree.Element]:
    groups = parsed(graph).iter(f"{SVG}g")
    return {group.attrib["data-id"]: group for group in groups if "data-state" in group.attrib}


def texts(group: ElementTree.Element) -> Iterator[tuple[int, int, str, str]]:
    """(left, right, text, class) of every text, moved by the groups around it."""
    for child in group:
        moved = re.match(r"translate\((-?\d+),", child.get("transform", ""))
        shift = int(moved[1]) if moved else 0
        if child.tag == f"{SVG}text":
            style, said = child.get("class", ""), child.text or ""
            bold = style in BOLD or group.get("class", "") in ("t-sent", "t-missing")
            left = int(child.attrib["x"])
            size = NAME if style == "name" else SMALL
            yield left, left + width(said, size, bold=bold), said, style
        else:
            found = texts(child)
            yield from ((a + shift, b + shift, said, style) for a, b, said, style in found)


def card_width(group: ElementTree.Element) -> int:
    rect = group.find(f"{SVG}rect")
    assert rect is not None
    return int(rect.attrib["width"])


def check_texts(graph: DiGraph[str]) -> None:
    for group in nodes(graph).values():
        for left, right, said, _ in texts(group):
            assert left >= 0, said
            assert right <= card_width(group) - 4, said


@EVERY_STORY
def test_every_text_fits_its_box(story: Callable[[], DiGraph[str]]) -> None:
    check_texts(story())


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(boards())
def test_every_text_of_any_board_fits_its_box(graph: DiGraph[str]) -> None:
    check_texts(graph)


@EVERY_STORY
def test_a_card_s_state_and_mark_stand_apart(story: Callable[[], DiGraph[str]]) -> None:
    for group in nodes(story()).values():
        if "card" in group.attrib["class"].split():
            lines = list(texts(group))
            state = next(i for i, line in enumerate(lines) if line[3] == "state")
            assert all(line[0] > lines[state][1] for line in lines[state + 1 :])


@pytest.mark.parametrize("state", STATES)
def test_in_a_narrow_card_the_sign_of_what_was_sent_leaves_the_state_s_word_free(
    state: StateKey,
) -> None:
    """Two devices share the width of one: there is no room for the word "sent"."""
    graph = new_graph("")
    add_node(graph, "ca", kind="root-ca", label="ca")
    for name in ("smart-x-widget-001", "smart-x-widget-002"):
        add_node(graph, name, kind="device", label=name, state=state, presented=True)
        add_edge(graph, "ca", name, kind="signed")
    group = nodes(graph)["smart-x-widget-001"]
    (word,) = (line for line in texts(group) if line[3] == "state")
    (mark,) = group.findall(f"{SVG}g[@class='t-sent']")
    x, y = map(int, re.findall(r"\d+", mark.attrib["transform"]))
    assert x > word[1] or y >= STATE_BASELINE


@EVERY_STORY
def test_equal_graphs_give_equal_bytes_of_whole_pixels(story: Callable[[], DiGraph[str]]) -> None:
    svg = Picture.of(story()).svg
    assert svg == Picture.of(story()).svg
    assert svg.endswith("</svg>\n")
    assert not re.search(r'\b(x|y|width|height|cx|cy)="\d+\.\d{2,}', svg)


def test_another_process_draws_the_same_bytes() -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from graph_stories import crowded_cloud\n"
        "from labkit.graph import Picture\n"
        "sys.stdout.buffer.write(Picture.of(crowded_cloud()).svg.encode())"
    )
    drawn = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            check=True,
            cwd=Path(__file__).parents[2],
            env={"PYTHONHASHSEED": seed, "PATH": ""},
        ).stdout
        for seed in ("1", "2")
    }
    assert drawn == {Picture.of(STORIES["crowded_cloud"]()).svg.encode()}


@given(st.text(max_size=40), st.text(min_size=1, max_size=40), st.text(max_size=40))
def test_any_name_gives_well_formed_xml(title: str, name: str, label: str) -> None:
    graph = new_graph(title)
    add_node(graph, name, kind="root-ca", label=label, detail=label, state="trusted")
    add_node(graph, f"{name} too", kind="device", label=label)
    add_edge(graph, name, f"{name} too", kind="signed", label=label)
    assert parsed(graph).tag == f"{SVG}svg"


def test_markup_and_control_characters_in_a_name_stay_text() -> None:
    graph = new_graph("T")
    add_node(graph, "x", kind="device", label='<script>"&\x00\x1b')
    (group,) = nodes(graph).values()
    assert group.attrib["aria-label"].startswith('<script>"&\ufffd\ufffd, device certificate')
    assert "<script>" not in Picture.of(graph).svg


def test_a_node_says_what_it_is_to_a_program_and_to_a_reader() -> None:
    node = nodes(leaf_only())["Technician-Z CA"]
    assert node.attrib["data-kind"] == "intermediate-ca"
    assert node.attrib["data-state"] == "not sent"
    assert node.attrib["data-parent"] == "Factory-Y CA"
    assert node.attrib["data-presented"] == "false"
    said = "Technician-Z CA, intermediate CA certificate, not sent"
    assert node.attrib["aria-label"].startswith(said)
    assert node.findtext(f"{SVG}title") == node.attrib["aria-label"]


def test_a_shortened_name_is_whole_in_its_title() -> None:
    graph, name = new_graph(""), "a-device-with-a-name-that-is-longer-than-any-card-can-be-wide-001"
    add_node(graph, "d", kind="device", label=name)
    node = nodes(graph)["d"]
    assert name in (node.findtext(f"{SVG}title") or "")
    assert name not in [said for _, _, said, _ in texts(node)]


def test_missing_certificates_are_marked_where_they_are_and_where_they_lack() -> None:
    svg = Picture.of(leaf_only()).svg
    assert svg.count('class="t-missing"') == 2  # in the envelope; the cards say it as their state
    assert svg.count('class="node card s-not-sent"') == 2
    assert ">not sent<" in svg
    assert "sends 1 of 3" in svg
    assert "stops here" in svg
    assert 't-missing"' not in Picture.of(provisioned()).svg


def test_what_was_sent_is_marked_and_the_root_that_need_not_be_says_why() -> None:
    drawn = nodes(provisioned())
    for name in (WIDGET, "Technician-Z CA", "Factory-Y CA"):
        assert "sent" in [said for _, _, said, _ in texts(drawn[name])]
    assert "DPS has it" in [said for _, _, said, _ in texts(drawn["Company-X Root CA"])]


@EVERY_STORY
def test_the_picture_needs_nothing_from_outside(story: Callable[[], DiGraph[str]]) -> None:
    svg = Picture.of(story()).svg
    assert "url(" not in svg
    assert "href" not in svg
    assert svg.count("http") == 1  # the namespace
