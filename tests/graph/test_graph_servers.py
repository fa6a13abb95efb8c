"""The servers' certificates in the picture: there when there is a choice, or when asked for."""

from __future__ import annotations

from stories import Story

from labkit.graph import Picture
from labkit.graph.model import of_lab
from labkit.ui.inspector import inspect_all

OLD, NEW = "service root Lab Service Root CA", "service root Lab Service Root CA G2"
WIDGET = "device smart-x-widget-001"


def of_servers(story: Story) -> dict[str, str]:
    """The nodes of the band, and their states."""
    nodes = of_lab(story.lab).nodes(data=True)
    return {name: data["state"] for name, data in nodes if data["zone"] == "server"}


def test_with_one_root_there_is_nothing_to_see_unless_it_is_asked_for(story: Story) -> None:
    """The other lessons' pictures are as they were."""
    before = story.lab.graph()
    assert of_servers(story) == {}
    assert "Server certificates" not in before.text
    assert "trusts" not in of_lab(story.lab).nodes[WIDGET]["detail"]
    asked = story.lab.graph(servers=True)
    assert "Server certificates:" in asked.text
    assert "Lab Service Root CA, root CA certificate of the services, in use" in asked.text
    assert story.lab.graph() == before


def test_each_state_of_a_root_is_shown(story: Story) -> None:
    server = story.lab.server
    server.new_root()
    chain = {"issuing CA": "in use", "endpoint": "in use"}
    assert of_servers(story) == {OLD: "in use", NEW: "announced", **chain}
    server.switch_root("Lab Service Root CA G2", cross_signed=True)
    assert of_servers(story) == {OLD: "in use", NEW: "in use", **chain}
    edges = of_lab(story.lab).edges(data="label")
    assert (OLD, NEW, "cross-signed") in edges
    server.switch_root("Lab Service Root CA G2")
    assert of_servers(story) == {OLD: "retired", NEW: "in use", **chain}


def test_which_device_trusts_which_root_is_said_at_both_ends(story: Story) -> None:
    story.lab.server.new_root()
    story.technician.make_device("made-today")
    graph = of_lab(story.lab)
    assert graph.nodes[OLD]["detail"] == "trusted by 2 of 2 devices"
    assert graph.nodes[NEW]["detail"] == "trusted by 1 of 2 devices"
    assert graph.nodes[WIDGET]["detail"] == "trusts Lab Service Root CA"
    both = "trusts Lab Service Root CA and G2"
    assert graph.nodes["device made-today"]["detail"] == both


def test_no_day_of_real_time_is_in_the_picture(story: Story) -> None:
    """Servers' certificates live in real time: their dates would differ from day to day."""
    for _ in range(2):
        text = story.lab.graph(servers=True).text.partition("Server certificates:")[2]
        assert "20" not in text
        story.lab.server.new_root()


def test_every_node_of_it_can_be_looked_into(story: Story) -> None:
    assert set(inspect_all(story.lab)) == set(of_lab(story.lab))
    asked = inspect_all(story.lab, servers=True)
    assert set(asked) == set(of_lab(story.lab, servers=True))
    story.lab.server.switch_root(story.lab.server.new_root())
    found = inspect_all(story.lab)
    assert set(found) == set(of_lab(story.lab))
    assert ("trusted by", "smart-x-widget-001") in found[OLD].facts
    assert ("trusted by", "no device") in found[NEW].facts
    assert ("trusts servers below", "CN=Lab Service Root CA") in found[WIDGET].facts
    assert found["endpoint"].certificate == story.lab.server.chain[0]


def test_the_same_lab_gives_the_same_bytes(story: Story) -> None:
    story.lab.server.switch_root(story.lab.server.new_root(), cross_signed=True)
    first = Picture.of(of_lab(story.lab))
    story.lab.server.roll_leaf()
    assert Picture.of(of_lab(story.lab)) == first
