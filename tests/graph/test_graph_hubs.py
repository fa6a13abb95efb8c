"""Several hubs on the board: who is linked, who assigns where, and whose each tile is."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations, permutations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from labkit import Lab
from labkit.errors import LabError
from labkit.graph import Picture, add_edge, add_node, new_graph
from labkit.graph.family import Family
from labkit.graph.hub_signs import SIGNS
from labkit.graph.kinds import read
from labkit.graph.layout import layout
from labkit.graph.legible import _struck
from labkit.graph.model import of_lab
from labkit.graph.presented import Presented
from labkit.graph.style import DARK
from labkit.ui.inspector import inspect_all
from labkit.ui.scene import _node_of

if TYPE_CHECKING:
    from networkx import DiGraph

HUBS = ("hub-a", "hub-b", "hub-c")
WIDGET, GROUP = "device widget-1", "group widgets"


def host(name: str) -> str:
    return f"{name}.azure-devices.net"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A root with a group, one widget below an intermediate, and three hubs."""
    with Lab.open(tmp_path / "lab", clock="2027-03-01T09:00:00Z", hubs=HUBS) as lab:
        company = lab.custodian("Company-X").create_root_ca()
        factory = company.sign_intermediate(lab.custodian("Factory-Y"))
        factory.make_device("widget-1")
        ca = lab.dps.certificates.upload("company-x", company.certificate)
        lab.dps.certificates.verify(ca, company.prove_possession(ca.verification_code))
        lab.dps.enrollment_groups.create("widgets", ca="company-x")
        yield lab


def change(lab: Lab, **settings: Any) -> None:
    groups = lab.dps.enrollment_groups
    groups.update(replace(groups.get("widgets"), **settings))


def refused(lab: Lab) -> DiGraph[str]:
    with pytest.raises(LabError):
        lab.device("widget-1").provision()
    return of_lab(lab)


def assigns(graph: DiGraph[str]) -> dict[str, bool]:
    """Where the group assigns to, and whether that way is broken."""
    edges = graph.out_edges(GROUP, data=True)
    return {str(b)[4:]: d["broken"] for _, b, d in edges if d["kind"] == "assigns"}


def badge(lab: Lab) -> str:
    """The node at which the player says that a check failed."""
    told = lab.explain()
    assert told.failure is not None
    where = inspect_all(lab), told.refusal.chain
    return _node_of(told.failure.name, told.failure.about, *where)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, {"hub-a", "hub-b", "hub-c"}),
        ({"iot_hubs": (host("hub-a"), host("hub-b"))}, {"hub-a", "hub-b"}),
        ({"allocation_policy": "static", "iot_hub_host_name": host("hub-b")}, {"hub-b"}),
        ({"allocation_policy": "static"}, {"hub-a"}),
    ],
    ids=["all", "named", "static", "static without a name: the first"],
)
def test_a_group_leads_to_the_hubs_that_it_may_assign_to(
    lab: Lab, settings: dict[str, Any], expected: set[str]
) -> None:
    """The lines are those of the allocation: the device ends in one of them."""
    change(lab, **settings)
    assert set(assigns(of_lab(lab))) == expected
    lab.device("widget-1").provision()
    hub = of_lab(lab).nodes[WIDGET]["hub"]
    assert hub.removeprefix("hub ") in expected


def test_a_hub_that_is_not_linked_says_so_and_nobody_is_led_there(lab: Lab) -> None:
    lab.dps.linked_hubs.unlink("hub-b")
    graph = of_lab(lab)
    assert graph.nodes["hub hub-b"]["state"] == "not linked"
    assert assigns(graph) == {"hub-a": False, "hub-c": False}


def test_without_a_linked_hub_the_refusal_marks_the_ways_that_are_missing(lab: Lab) -> None:
    """400208: the device is well, the group has nowhere to send it."""
    for hub in HUBS:
        lab.dps.linked_hubs.unlink(hub)
    graph = refused(lab)
    assert lab.explain().refusal.code == "400208"
    assert "link the hub" in lab.explain().cures[0]
    assert graph.graph["title"] == "widget-1 is refused"
    assert "no hub is linked" in graph.graph["caption"]
    assert assigns(graph) == dict.fromkeys(HUBS, True)
    assert graph.nodes[WIDGET]["state"] == "trusted", "its chain is sound"
    assert badge(lab) == GROUP
    assert "would assign to hub-a, which is not linked" in Picture.of(graph).text
    lab.dps.linked_hubs.link("hub-b")
    lab.device("widget-1").provision()
    assert assigns(of_lab(lab)) == {"hub-b": False}


def test_a_static_hub_that_is_not_linked_is_the_one_that_is_marked(lab: Lab) -> None:
    change(lab, allocation_policy="static", iot_hub_host_name=host("hub-c"))
    lab.dps.linked_hubs.unlink("hub-c")
    assert assigns(refused(lab)) == {"hub-c": True}


def test_a_disabled_group_is_marked_and_the_hub_still_hears_the_device(lab: Lab) -> None:
    """Pain point 10: disabling in DPS does not disconnect from the hub."""
    widget = lab.device("widget-1")
    widget.provision()
    hub = widget.connect().assignment.hub.partition(".")[0]  # type: ignore[union-attr]
    lab.dps.enrollment_groups.disable("widgets")
    widget.disconnect()
    widget.connect().send({"still": "here"})
    graph = refused(lab)
    assert graph.nodes[GROUP]["state"] == "disabled"
    assert badge(lab) == GROUP
    assert "is disabled" in graph.graph["caption"]
    assert lab.explain().cures[0].startswith("enable it")
    identity = graph.nodes[f"identity {hub}/widget-1"]
    assert (identity["state"], "1 message" in identity["detail"]) == ("connected", True)


def reissue(lab: Lab) -> None:
    """Factory-Y's CA once more: the same request, another certificate; the widget sends it."""
    (factory,) = lab.custodian("Factory-Y").authorities()
    (company,) = lab.custodian("Company-X").authorities()
    again = company.sign_ca(lab.custodian("Factory-Y").request_ca(factory.name))[0]
    widget = lab.device("widget-1")
    widget.install_chain([widget.certificate, again])


def test_a_ca_that_was_issued_again_is_a_certificate_of_its_own_on_the_board(lab: Lab) -> None:
    """Pain point 7: the group leads to the old one; the link that the new one lacks is drawn."""
    (factory,) = lab.custodian("Factory-Y").authorities()
    lab.dps.enrollment_groups.delete("widgets")
    lab.dps.enrollment_groups.create("widgets", signing=factory.certificate)
    reissue(lab)
    graph = refused(lab)
    assert lab.explain().refusal.message.startswith("Signing certificate info did not match")
    assert "as secondary" in lab.explain().cures[0]
    old, new = "ca Factory-Y/Factory-Y CA", "ca again 1/Factory-Y CA"
    named = {
        b: d["broken"] for _, b, d in graph.out_edges(GROUP, data=True) if d["kind"] == "names"
    }
    assert named == {old: False, new: True}
    assert graph.has_edge(new, WIDGET), "the widget hangs below the one that it sends"
    assert not graph.has_edge(old, WIDGET)
    assert (graph.nodes[new]["presented"], graph.nodes[old]["presented"]) == (True, None)
    assert badge(lab) == GROUP
    assert set(inspect_all(lab)) == set(graph)
    assert "trusts another Factory-Y CA than this one" in Picture.of(graph).text


def test_a_wider_group_catches_the_widget_and_nothing_is_broken(lab: Lab) -> None:
    reissue(lab)
    lab.device("widget-1").provision()
    graph = of_lab(lab)
    assert not any(d["broken"] for _, _, d in graph.edges(data=True))
    assert graph.nodes["ca again 1/Factory-Y CA"]["state"] == "trusted"


# ---- signs and tiles


def fleet(hubs: int, *, devices: int = 100) -> DiGraph[str]:
    graph = new_graph("A fleet", connection=f"widget-{devices - 1:03}")
    add_node(graph, "root", kind="root-ca", label="Root CA", state="trusted")
    for number in range(hubs):
        add_node(graph, f"hub-{number}", kind="hub", label=f"hub-{number}", state="enabled")
    for number in range(devices):
        name, hub = f"widget-{number:03}", f"hub-{number % hubs}"
        add_node(graph, name, kind="device", label=name, state="trusted", presented=True)
        graph.nodes[name]["hub"] = hub
        add_node(graph, f"id {name}", kind="identity", label=name, state="enabled")
        add_edge(graph, "root", name, kind="signed")
        add_edge(graph, hub, f"id {name}", kind="knows")
        add_edge(graph, name, f"id {name}", kind="provisioned")
    return graph


def tiles(svg: str) -> Counter[str]:
    """The signs on the devices' tiles."""
    found = re.findall(r'class="node tile[^>]*data-kind="device".*?</g>', svg, re.DOTALL)
    return Counter(hub for tile in found for hub in re.findall(r'class="sign (hub-\d)"', tile))


def test_each_tile_carries_the_sign_of_its_hub() -> None:
    picture = Picture.of(fleet(3))
    assert tiles(picture.svg) == {"hub-1": 34, "hub-2": 33, "hub-3": 33}
    assert "assigned: 34 to hub-0, 33 to hub-1, 33 to hub-2" in picture.text
    assert picture.svg.count("assigned to hub-1") >= 34, "in each tile's words, and in the legend"


def test_one_hub_needs_no_signs() -> None:
    picture = Picture.of(fleet(1, devices=50))
    assert not tiles(picture.svg)
    assert "assigned" not in picture.svg


def test_a_device_that_is_not_well_shows_that_in_place_of_its_hub() -> None:
    graph = fleet(3)
    graph.nodes["widget-000"]["state"] = "expired"
    assert tiles(Picture.of(graph).svg) == {"hub-1": 33, "hub-2": 33, "hub-3": 33}


def test_only_the_last_connection_is_drawn_as_a_line() -> None:
    """The signs tell of the others: a hundred devices to three hubs would be a thicket."""
    svg = Picture.of(fleet(3)).svg
    assert len(re.findall(r'data-kind="provisioned"', svg)) == 1


def test_a_hub_beyond_the_signs_is_drawn_without() -> None:
    assert set(tiles(Picture.of(fleet(len(SIGNS) + 2)).svg)) == {sign.slug for sign in SIGNS}


def test_no_two_signs_share_a_shape_or_a_colour_in_either_theme() -> None:
    for one, other in combinations(SIGNS, 2):
        assert one.shape != other.shape
        assert one.hue.stroke != other.hue.stroke
        assert DARK[one.hue].stroke != DARK[other.hue].stroke


def test_no_word_is_struck_through_by_another_line() -> None:
    """Two groups that assign to one hub: the second arrow ran through the first one's word."""
    graph = fleet(3)
    hubs = [f"hub-{number}" for number in range(3)]
    add_node(graph, "ca", kind="ca-entry", label="ca", state="verified")
    add_edge(graph, "root", "ca", kind="uploaded")
    add_node(graph, "wide", kind="enrollment-group", label="wide", state="enabled")
    add_edge(graph, "wide", "ca", kind="names")
    add_node(graph, "narrow", kind="enrollment-group", label="narrow", state="enabled")
    for group, wanted in (("wide", hubs), ("narrow", hubs[1:2])):
        for hub in wanted:
            add_edge(graph, group, hub, kind="assigns")
    board = read(graph)
    family = Family(board)
    links = layout(board, family, Presented(board, family)).links
    assert sum(bool(link.words) for link in links) >= 2
    for link, other in permutations(links, 2):
        assert not any(_struck(word, other.points) for word in link.words)
