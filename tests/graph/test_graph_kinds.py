"""The contract refuses what the picture could not draw."""

from __future__ import annotations

import networkx as nx
import pytest

from labkit.graph import add_edge, add_node, new_graph
from labkit.graph.kinds import read


def test_a_node_comes_back_as_it_was_added() -> None:
    graph = new_graph("One CA", "alone")
    add_node(graph, "root", kind="root-ca", label="Root", detail="token X", state="trusted")
    board = read(graph)
    assert (board.title, board.caption) == ("One CA", "alone")
    node = board.nodes["root"]
    assert (node.label, node.zone, node.state, node.presented) == (
        "Root",
        "supply-chain",
        "trusted",
        None,
    )


@pytest.mark.parametrize(
    ("attribute", "value"),
    [("kind", "toaster"), ("state", "fine"), ("zone", "attic"), ("kind", None)],
)
def test_an_unknown_word_is_named_with_those_that_are_known(attribute: str, value: str) -> None:
    graph = new_graph("")
    add_node(graph, "root", kind="root-ca", label="Root")
    graph.nodes["root"][attribute] = value
    with pytest.raises(ValueError, match=f"'root': {attribute} .* is none of "):
        read(graph)


def test_an_edge_needs_a_kind_and_two_nodes() -> None:
    graph = new_graph("")
    add_node(graph, "root", kind="root-ca", label="Root")
    with pytest.raises(ValueError, match="add the node 'ghost' before"):
        add_edge(graph, "root", "ghost", kind="signed")
    add_node(graph, "leaf", kind="device", label="Leaf")
    graph.add_edge("root", "leaf")
    with pytest.raises(ValueError, match="edge 'root' to 'leaf': kind None is none of signed"):
        read(graph)


def test_a_node_needs_an_id() -> None:
    graph = new_graph("")
    add_node(graph, "", kind="device", label="nobody")
    with pytest.raises(ValueError, match="needs an ID"):
        read(graph)


def test_a_bare_networkx_graph_will_do() -> None:
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_node("d", kind="device", label="  two\nlines ")
    board = read(graph)
    assert board.title == "Chain of trust"
    assert board.nodes["d"].label == "two lines"
    assert board.nodes["d"].state == "unknown"


def test_the_only_device_that_sent_something_is_the_one_drawn_out() -> None:
    graph = new_graph("")
    for name, sent in (("a", True), ("b", None)):
        add_node(graph, name, kind="device", label=name, presented=sent)
    assert read(graph).connection == "a"
    graph.nodes["b"]["presented"] = True
    assert read(graph).connection == ""
    graph.graph["connection"] = "b"
    assert read(graph).connection == "b"
