"""Random boards for hypothesis: up to six levels, up to 200 devices, any states and marks."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, get_args

from hypothesis import strategies as st

from labkit.graph import StateKey, add_edge, add_node, new_graph

if TYPE_CHECKING:
    from networkx import DiGraph

STATES = get_args(StateKey)
NAMES = "CA", "Technician-Z CA", "A custodian with a rather long name, Ltd.", "<&>\"'", "Ж" * 30


def _authorities(graph: DiGraph[str], random: Random, count: int, levels: int) -> list[str]:
    """CAs at random places of a forest; a device below them makes one level more."""
    depth: dict[str, int] = {}
    for number in range(count):
        name = f"ca-{number}"
        above = [ca for ca in depth if depth[ca] < levels - 2]
        parent = random.choice(above) if above and random.random() < 0.9 else ""
        depth[name] = depth[parent] + 1 if parent else 0
        add_node(
            graph,
            name,
            kind="intermediate-ca" if parent else "root-ca",
            label=f"{random.choice(NAMES)} {number}",
            detail=random.choice(("", "token Company-X", "a detail that is far too long " * 3)),
            state=random.choice(STATES),
            presented=random.choice((None, True, False)),
        )
        if parent:
            add_edge(graph, parent, name, kind="signed", broken=random.random() < 0.2)
    return list(depth)


def _devices(graph: DiGraph[str], random: Random, count: int, issuers: list[str]) -> None:
    for number in range(count):
        name, state = f"device-{number:03}", random.choice(STATES)
        sent = random.choice((None, True, False))
        add_node(graph, name, kind="device", label=name, state=state, presented=sent)
        if issuers and random.random() < 0.97:
            add_edge(graph, random.choice(issuers), name, kind="signed")


def _cloud(graph: DiGraph[str], random: Random, authorities: list[str], devices: int) -> None:
    for number in range(random.randint(0, 2)):
        add_node(graph, f"hub-{number}", kind="hub", label=f"contoso-{number}", state="trusted")
    hubs = [node for node in graph if node.startswith("hub-")]
    for number, authority in enumerate(random.sample(authorities, min(3, len(authorities)))):
        entry, group = f"entry-{number}", f"group-{number}"
        add_node(graph, entry, kind="ca-entry", label=entry, state=random.choice(STATES))
        add_edge(graph, authority, entry, kind="uploaded")
        add_node(graph, group, kind="enrollment-group", label=group, state="trusted")
        add_edge(graph, group, random.choice((entry, authority)), kind="names")
        if hubs:
            add_edge(graph, group, random.choice(hubs), kind="assigns")
    for number in range(devices if hubs else 0):
        if random.random() < 0.5:
            name, device = f"identity-{number}", f"device-{number:03}"
            add_node(graph, name, kind="identity", label=device, state="trusted")
            add_edge(graph, random.choice(hubs), name, kind="knows")
            add_edge(graph, device, name, kind="provisioned", broken=random.random() < 0.1)


@st.composite
def boards(draw: st.DrawFn) -> DiGraph[str]:
    """Sizes are hypothesis's to shrink, the rest follows from a seed."""
    authorities, devices = draw(st.integers(0, 12)), draw(st.integers(0, 200))
    levels, random = draw(st.integers(2, 6)), Random(draw(st.integers(0, 2**32)))
    graph = new_graph("A random board", connection=draw(st.sampled_from(("", "device-000"))))
    issuers = _authorities(graph, random, authorities, levels)
    _devices(graph, random, devices, issuers)
    _cloud(graph, random, issuers, devices)
    return graph
