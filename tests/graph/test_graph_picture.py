"""A notebook gets an image and words, and the words tell the whole picture."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from graph_stories import STORIES, empty, fleet, leaf_only, provisioned, verified
from graph_trees import boards
from hypothesis import HealthCheck, given, settings

from labkit.graph import Picture
from labkit.graph.family import Family
from labkit.graph.kinds import read

if TYPE_CHECKING:
    from networkx import DiGraph


class Tags(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


@pytest.mark.parametrize("story", STORIES.values(), ids=list(STORIES))
def test_a_notebook_gets_one_image_and_its_words(story: Callable[[], DiGraph[str]]) -> None:
    picture = Picture.of(story())
    bundle = picture._repr_mimebundle_()
    assert set(bundle) == {"text/html", "text/plain"}
    assert bundle["text/plain"] == picture.text
    ((tag, attributes),) = Tags(bundle["text/html"]).found
    assert (tag, attributes["alt"]) == ("img", picture.text)
    kind, _, data = (attributes["src"] or "").partition(",")
    assert kind == "data:image/svg+xml;base64"
    assert base64.b64decode(data).decode() == picture.svg


def test_a_saved_picture_is_the_same_bytes(tmp_path: Path) -> None:
    picture = Picture.of(provisioned())
    saved = picture.save(tmp_path / "chain.svg")
    assert saved.read_bytes() == picture.svg.encode()


def check_words(graph: DiGraph[str]) -> None:
    board, text = read(graph), Picture.of(graph).text
    family = Family(board)
    for node in board.nodes.values():
        fold = family.folds.get(family.unit_of(node.id))
        if fold is None or fold.form == "rows":
            assert node.label in text
        else:
            assert re.search(rf"\b{len(fold.members)} device", text)


@pytest.mark.parametrize("story", STORIES.values(), ids=list(STORIES))
def test_the_words_name_or_count_every_node(story: Callable[[], DiGraph[str]]) -> None:
    check_words(story())


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(boards())
def test_the_words_name_or_count_every_node_of_any_board(graph: DiGraph[str]) -> None:
    check_words(graph)


def test_the_words_tell_the_story() -> None:
    text = Picture.of(verified()).text
    assert "Company-X Root CA, root CA certificate, trusted" in text
    assert "signed Factory-Y CA; is uploaded to DPS as company-x." in text
    assert "trusts devices below company-x; assigns its devices to contoso-hub" in text


def test_the_words_say_what_was_missing() -> None:
    text = Picture.of(leaf_only()).text
    assert text.endswith(
        "In its last connection smart-x-widget-001 sent smart-x-widget-001."
        " Needed and not sent: Technician-Z CA and Factory-Y CA."
    )


def test_an_empty_lab_is_told_too() -> None:
    assert Picture.of(empty()).text == (
        "An empty lab.\nNothing has been made yet.\nSupply chain: no certificate yet.\n"
        "Device Provisioning Service: nothing uploaded yet.\nIoT Hub: no hub and no device yet."
    )


def test_a_fold_is_told_by_its_counts() -> None:
    assert "100 devices below Factory-1 CA" in Picture.of(fleet()).text
    assert ": 94 trusted, 6 expired; 94 provisioned." in Picture.of(fleet()).text


def test_networkx_is_not_imported_before_it_is_needed() -> None:
    code = "import sys, labkit.graph; sys.exit('networkx' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
