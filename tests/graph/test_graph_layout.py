"""Nothing lies on anything else, everything lies inside, related things stand on one line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain, combinations, pairwise
from typing import TYPE_CHECKING

import pytest
from graph_stories import STORIES, WIDGET, deep, fleet, fleet_one_parent, leaf_only, provisioned
from graph_stories import stack as stack_story
from graph_trees import boards
from hypothesis import HealthCheck, given, settings

from labkit.graph import Picture, add_edge, add_node, new_graph
from labkit.graph.blocks import Rect
from labkit.graph.family import Family
from labkit.graph.kinds import read
from labkit.graph.layout import Layout, layout
from labkit.graph.legend import COLUMN_W
from labkit.graph.legible import ATTACKS, Word
from labkit.graph.metrics import SMALL, width
from labkit.graph.presented import Presented

if TYPE_CHECKING:
    from networkx import DiGraph

EVERY_STORY = pytest.mark.parametrize("story", STORIES.values(), ids=list(STORIES))
SLOW = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])


def placed(graph: DiGraph[str]) -> Layout:
    board = read(graph)
    family = Family(board)
    return layout(board, family, Presented(board, family))


def units(found: Layout) -> list[Rect]:
    """Everything that stands in a lane by itself: cards, folds, the envelope."""
    cards = (box.rect for box in found.boxes.values() if box.form == "card")
    folds = (fold.rect for fold in found.folds.values())
    return [*cards, *folds, *([found.envelope] if found.envelope else [])]


def members(found: Layout) -> list[Rect]:
    return [box.rect for box in found.boxes.values() if box.form != "card"]


def overlap(a: Rect, b: Rect) -> bool:
    return a.x < b.right and b.x < a.right and a.y < b.bottom and b.y < a.bottom


def inside(inner: Rect, outer: Rect) -> bool:
    return (
        outer.x <= inner.x
        and outer.y <= inner.y
        and inner.right <= outer.right
        and inner.bottom <= outer.bottom
    )


def word_rect(word: Word, bold: bool) -> Rect:
    wide = width(word.text, SMALL, bold=bold)
    left = {"start": word.x, "middle": word.x - wide // 2, "end": word.x - wide}[word.anchor]
    return Rect(left, word.y - 10, wide, 13)


def words(found: Layout) -> Iterator[Rect]:
    for link in found.links:
        yield from (word_rect(word, link.cross is not None) for word in link.words)


def check_whole(found: Layout) -> None:
    board = Rect(0, 0, found.width, found.height)
    lanes = [lane.rect for lane in found.lanes]
    for a, b in chain(combinations(units(found), 2), combinations(members(found), 2)):
        assert not overlap(a, b)
    for rect in units(found):
        assert any(inside(rect, lane) for lane in lanes)
    for fold in found.folds.values():
        boxes = [found.boxes[m].rect for m in fold.members if m in found.boxes]
        assert all(inside(box, fold.rect) for box in boxes)
    for link in found.links:
        assert all(inside(Rect(x, y, 0, 0), board) for x, y in link.points)
        assert all(xa == xb or ya == yb for (xa, ya), (xb, yb) in pairwise(link.points))
    assert all(inside(rect, board) for rect in chain(lanes, words(found)))
    assert all(entry.y + 8 < found.height for entry in found.legend)


@EVERY_STORY
def test_a_story_is_whole(story: Callable[[], DiGraph[str]]) -> None:
    check_whole(placed(story()))


@SLOW
@given(boards())
def test_any_board_is_whole(graph: DiGraph[str]) -> None:
    check_whole(placed(graph))


@SLOW
@given(boards())
def test_every_node_is_drawn_or_counted(graph: DiGraph[str]) -> None:
    found = placed(graph)
    counted = {m for fold in found.folds.values() if fold.form == "stack" for m in fold.members}
    assert set(found.boxes) | counted == set(graph)
    assert not set(found.boxes) & counted


@EVERY_STORY
def test_no_word_stands_on_a_box_or_on_another_word(story: Callable[[], DiGraph[str]]) -> None:
    found = placed(story())
    for a, b in combinations(words(found), 2):
        assert not overlap(a, b)
    for word in words(found):
        assert not any(overlap(word, rect) for rect in units(found))


def test_what_a_broken_link_says_stands_between_stacked_cards_and_not_on_a_name() -> None:
    """Lesson 13: of two CAs below a root that is gone, the second one's title was covered."""
    graph = new_graph("a root that is gone")
    add_node(graph, "root", kind="root-ca", label="Root CA", state="unknown")
    for number in range(3):  # three do not fit side by side
        ca, state = f"ca {number}", "untrusted issuer" if number else "expired"
        add_node(graph, ca, kind="intermediate-ca", label=f"Factory-Y CA {number}", state=state)
        add_edge(graph, "root", ca, kind="signed", broken=number > 0, label="unknown")
    found = placed(graph)
    said = [word for link in found.links if link.cross for word in link.words]
    assert [word.text for word in said] == ["unknown", "unknown"]
    for word in said:
        edge = 2  # of a card, which has nothing written on it
        inner = (Rect(r.x, r.y + edge, r.w, r.h - 2 * edge) for r in units(found))
        assert not any(overlap(word_rect(word, bold=True), rect) for rect in inner)


@EVERY_STORY
def test_no_line_strikes_through_how_often_an_attacker_got_in(
    story: Callable[[], DiGraph[str]],
) -> None:
    """Lessons 15 and 16: the number lay on a line that was not the attacker's."""
    found = placed(story())
    attacks = [link for link in found.links if link.kind == ATTACKS]
    numbers = [word_rect(word, bold=True) for link in attacks for word in link.words]
    assert len(numbers) == len(attacks), "none is left out"
    for link in found.links:
        for (xa, ya), (xb, yb) in pairwise(link.points):
            level = Rect(min(xa, xb), ya, abs(xb - xa), 1)
            assert ya != yb or not any(overlap(number, level) for number in numbers)


@EVERY_STORY
def test_the_legend_s_columns_hold_its_texts(story: Callable[[], DiGraph[str]]) -> None:
    for entry in placed(story()).legend:
        assert 30 + width(entry.text, SMALL) <= COLUMN_W - 12


@EVERY_STORY
def test_text_stays_above_eleven_pixels_in_a_notebook(story: Callable[[], DiGraph[str]]) -> None:
    """An output area is some 900 pixels wide; a wider picture is scaled down to it."""
    assert SMALL / 10 * min(1, 900 / placed(story()).width) >= 11


def test_the_story_s_own_things_stand_on_one_line() -> None:
    boxes = placed(provisioned()).boxes
    assert boxes["Company-X Root CA"].rect.y == boxes["entry company-x"].rect.y
    assert boxes["group"].rect.y == boxes["hub"].rect.y == boxes["Factory-Y CA"].rect.y
    assert boxes[WIDGET].rect.y == boxes[f"identity {WIDGET}"].rect.y


def test_a_chain_has_one_row_for_each_level() -> None:
    cards = [box.rect for box in placed(deep()).boxes.values() if box.rect.x < 300]
    assert len({rect.y for rect in cards}) == 6
    assert len({(rect.x, rect.w) for rect in cards}) == 1


def test_nothing_jumps_when_a_refused_device_is_let_in() -> None:
    refused, let_in = placed(leaf_only()), placed(provisioned())
    assert all(let_in.boxes[node] == box for node, box in refused.boxes.items())
    assert refused.envelope == let_in.envelope


def test_many_leaves_fold() -> None:
    assert [fold.form for fold in placed(fleet(8, 1)).folds.values()] == ["rows", "rows"]
    tiles, identities = placed(fleet_one_parent()).folds.values()
    assert (tiles.form, len(tiles.members), identities.form) == ("tiles", 200, "stack")
    devices = next(iter(placed(stack_story()).folds.values()))
    assert (devices.form, len(devices.members)) == ("stack", 260)
    assert not placed(fleet(6, 2)).folds.keys() & {"devices below Factory-1 CA"}


def test_a_broken_chain_ends_at_a_cross() -> None:
    links = placed(leaf_only()).links
    assert [link.kind for link in links if link.cross] == ["signed", "stopped"]


@pytest.mark.parametrize(("name", "beside"), [("Company-X", True), ("A" * 30, False)])
def test_trees_stand_side_by_side_where_their_names_can_be_read(name: str, beside: bool) -> None:
    """Two roots have nothing to do with one another: a name is never cut for their sake."""
    graph = new_graph("")
    for node in ("one", "other"):
        add_node(graph, node, kind="root-ca", label=name if node == "one" else "Root", detail="ca")
    boxes = placed(graph).boxes
    assert (boxes["one"].rect.y == boxes["other"].rect.y) is beside
    assert f">{name}<" in Picture.of(graph).svg
