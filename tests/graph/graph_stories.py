"""The boards that the tests look at: one for each moment of the lessons, and the extremes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, get_args

from labkit.graph import StateKey, add_edge, add_node, new_graph

if TYPE_CHECKING:
    from networkx import DiGraph

CUSTODIANS = "Company-X", "Factory-Y", "Technician-Z", "Depot-W", "Line-V", "Bench-U"
WIDGET = "smart-x-widget-001"


def supply_chain(graph: DiGraph[str], levels: int = 3, state: StateKey = "trusted") -> str:
    """CAs of the first custodians, each signed by the one before; the ID of the last."""
    above = ""
    for custodian in CUSTODIANS[:levels]:
        root = not above
        name = f"{custodian} {'Root ' if root else ''}CA"
        kind = "root CA" if root else "intermediate CA"
        detail = f"{kind} · token {custodian}"
        add_node(
            graph,
            name,
            kind="root-ca" if root else "intermediate-ca",
            label=name,
            detail=detail,
            state=state,
        )
        if above:
            add_edge(graph, above, name, kind="signed")
        above = name
    return above


def device(
    graph: DiGraph[str], issuer: str, name: str = WIDGET, state: StateKey = "trusted"
) -> str:
    add_node(
        graph, name, kind="device", label=name, detail="P-256 · valid to 2027-11-22", state=state
    )
    add_edge(graph, issuer, name, kind="signed")
    return name


def upload(graph: DiGraph[str], certificate: str, name: str, state: StateKey) -> str:
    proof = "possession proven" if state == "verified" else "waits for proof of possession"
    add_node(graph, f"entry {name}", kind="ca-entry", label=name, detail=proof, state=state)
    add_edge(graph, certificate, f"entry {name}", kind="uploaded")
    return f"entry {name}"


def cloud(graph: DiGraph[str], root: str = "Company-X Root CA") -> None:
    """The root verified, a group that names it, a hub that it assigns to."""
    entry = upload(graph, root, "company-x", "verified")
    add_node(
        graph,
        "group",
        kind="enrollment-group",
        label="smart-x-widgets",
        detail="enrollment group",
        state="trusted",
    )
    add_edge(graph, "group", entry, kind="names")
    add_node(
        graph,
        "hub",
        kind="hub",
        label="contoso-hub",
        detail="contoso-hub.azure-devices.net",
        state="trusted",
    )
    add_edge(graph, "group", "hub", kind="assigns")


def identity(graph: DiGraph[str], name: str = WIDGET, state: StateKey = "trusted") -> None:
    add_node(
        graph,
        f"identity {name}",
        kind="identity",
        label=name,
        detail="device identity",
        state=state,
    )
    add_edge(graph, "hub", f"identity {name}", kind="knows")
    add_edge(graph, name, f"identity {name}", kind="provisioned")


def present(graph: DiGraph[str], *names: str) -> None:
    """The last connection showed these certificates and none of the others."""
    for name, data in graph.nodes(data=True):
        if data["zone"] == "supply-chain":
            data["presented"] = name in names


def empty() -> DiGraph[str]:
    return new_graph("An empty lab", "Nothing has been made yet.")


def chain_only() -> DiGraph[str]:
    graph = new_graph("A supply chain", "Four certificates, four keys, four tokens.")
    device(graph, supply_chain(graph))
    return graph


def ca_only() -> DiGraph[str]:
    graph = new_graph("A CA of your own")
    supply_chain(graph, 1)
    return graph


def unverified() -> DiGraph[str]:
    graph = chain_only()
    graph.graph.update(title="Uploaded, not proven", caption="DPS waits for proof of possession.")
    upload(graph, "Company-X Root CA", "company-x", "unverified")
    return graph


def verified() -> DiGraph[str]:
    graph = chain_only()
    graph.graph.update(title="Verified, with an enrollment group", caption="")
    cloud(graph)
    return graph


def provisioned() -> DiGraph[str]:
    graph = verified()
    graph.graph.update(
        title="smart-x-widget-001 is provisioned",
        caption="It sent its own certificate and the two intermediates; DPS had the root.",
    )
    identity(graph)
    present(graph, WIDGET, "Technician-Z CA", "Factory-Y CA")
    return graph


def leaf_only() -> DiGraph[str]:
    graph = verified()
    graph.graph.update(
        title="smart-x-widget-001 is refused",
        caption="It sent its own certificate alone; DPS cannot build a path to the root.",
    )
    present(graph, WIDGET)
    for name in ("Technician-Z CA", "Factory-Y CA"):
        graph.nodes[name]["state"] = "not sent"
    graph.nodes[WIDGET]["state"] = "unknown"
    graph.edges["Technician-Z CA", WIDGET]["broken"] = True
    return graph


def refused_with_link() -> DiGraph[str]:
    graph = leaf_only()
    add_edge(graph, WIDGET, "hub", kind="provisioned", broken=True)
    return graph


def fleet(count: int = 200, factories: int = 2) -> DiGraph[str]:
    graph = new_graph(f"A fleet of {count}", "Some certificates have expired.")
    supply_chain(graph, 1)
    cloud(graph)
    for number in range(factories):
        name = f"Factory-{number + 1} CA"
        detail = f"intermediate CA · token Factory-{number + 1}"
        add_node(graph, name, kind="intermediate-ca", label=name, detail=detail, state="trusted")
        add_edge(graph, "Company-X Root CA", name, kind="signed")
    for number in range(count):
        state: StateKey = "expired" if number % 17 == 5 else "trusted"
        issuer = f"Factory-{number % factories + 1} CA"
        name = device(graph, issuer, f"smart-x-widget-{number + 1:03}", state)
        if state == "trusted":
            identity(graph, name)
    return graph


def fleet_one_parent() -> DiGraph[str]:
    return fleet(200, 1)


def stack() -> DiGraph[str]:
    return fleet(260, 1)


def deep() -> DiGraph[str]:
    graph = new_graph("Six levels", "Five custodians and a device.")
    last = device(graph, supply_chain(graph, 5))
    cloud(graph)
    identity(graph)
    present(graph, last, *(f"{custodian} CA" for custodian in CUSTODIANS[1:5]))
    return graph


def two_roots() -> DiGraph[str]:
    graph = new_graph("Rolling the root", "The old root is about to go; the new one is uploaded.")
    for year, state in (("2024", "expired"), ("2026", "trusted")):
        root, issuer = f"Company-X Root CA {year}", f"Factory-Y CA {year}"
        kind: StateKey = "expired" if state == "expired" else "trusted"
        detail = f"root CA · token Company-X-{year}"
        add_node(graph, root, kind="root-ca", label=root, detail=detail, state=kind)
        detail = "intermediate CA · token Factory-Y"
        add_node(
            graph, issuer, kind="intermediate-ca", label=issuer, detail=detail, state="trusted"
        )
        add_edge(graph, root, issuer, kind="signed")
        upload(graph, root, f"company-x-{year}", "verified" if year == "2024" else "unverified")
    device(graph, "Factory-Y CA 2024")
    device(graph, "Factory-Y CA 2026", "smart-x-widget-002")
    return graph


def branches() -> DiGraph[str]:
    """Two factories with two technicians each, and a handful of devices: an outline."""
    graph = new_graph("Two factories", "Each with two technicians.")
    supply_chain(graph, 1)
    cloud(graph)
    serial = 0
    for factory in ("Factory-Y CA", "Factory-Q CA"):
        detail = f"intermediate CA · token {factory[:-3]}"
        add_node(
            graph, factory, kind="intermediate-ca", label=factory, detail=detail, state="trusted"
        )
        add_edge(graph, "Company-X Root CA", factory, kind="signed")
        for technician in ("A", "B"):
            name = f"Technician-{factory[8]}{technician} CA"
            add_node(graph, name, kind="intermediate-ca", label=name, state="trusted")
            add_edge(graph, factory, name, kind="signed")
            for _ in range(2 if technician == "A" else 6):
                serial += 1
                made = device(graph, name, f"smart-x-widget-{serial:03}")
                if serial < 4:
                    identity(graph, made)
    return graph


def every_state() -> DiGraph[str]:
    graph = new_graph("Every state", "One CA for each.")
    supply_chain(graph, 1)
    for state in get_args(StateKey):
        name = f"{state} CA"
        add_node(graph, name, kind="intermediate-ca", label=name, detail="a CA", state=state)
        add_edge(graph, "Company-X Root CA", name, kind="signed")
    return graph


def crowded_cloud() -> DiGraph[str]:
    """Two roots, two hubs, three groups: one with a spare CA, one with its own certificate."""
    graph = two_roots()
    graph.graph.update(title="A crowded cloud", caption="", connection="smart-x-widget-002")
    for number, hub in enumerate(("contoso-east", "contoso-west")):
        add_node(graph, hub, kind="hub", label=hub, detail="IoT hub", state="trusted")
        group = f"group-{hub}"
        add_node(graph, group, kind="enrollment-group", label=group, state="trusted")
        add_edge(graph, group, f"entry company-x-202{4 + 2 * number}", kind="names")
        add_edge(graph, group, hub, kind="assigns")
    add_edge(graph, "group-contoso-east", "entry company-x-2026", kind="names")
    add_node(graph, "own", kind="enrollment-group", label="by certificate", state="disabled")
    add_edge(graph, "own", "Factory-Y CA 2026", kind="names")
    add_edge(graph, "own", "contoso-west", kind="assigns")
    add_edge(graph, "Company-X Root CA 2024", "Factory-Y CA 2026", kind="signed")
    name = "smart-x-widget-002"
    add_node(graph, "twin", kind="identity", label=name, detail="device identity", state="trusted")
    add_edge(graph, "contoso-west", "twin", kind="knows")
    add_edge(graph, name, "twin", kind="provisioned")
    present(graph, name)
    return graph


def one_of_many() -> DiGraph[str]:
    """A device that is but a tile has connected."""
    graph = fleet(40, 1)
    graph.graph["connection"] = "smart-x-widget-007"
    present(graph, "smart-x-widget-007", "Factory-1 CA")
    return graph


def server_roots() -> DiGraph[str]:
    """The services have had three roots; the second vouches for the third."""
    graph = provisioned()
    states: tuple[StateKey, ...] = ("retired", "in use", "in use", "announced")
    for number, state in enumerate(states):
        name = f"Lab Service Root CA G{number + 1}"
        trust = f"trusted by {number} of 3 devices"
        add_node(graph, name, kind="service-root", label=name, detail=trust, state=state)
    add_node(graph, "ica", kind="service-ca", label="Lab Service Issuing CA 3", state="in use")
    add_node(graph, "end", kind="endpoint", label="Lab Services", detail="DPS", state="in use")
    second, third = "Lab Service Root CA G2", "Lab Service Root CA G3"
    add_edge(graph, third, "ica", kind="signed")
    add_edge(graph, "ica", "end", kind="signed")
    add_edge(graph, second, third, kind="signed", label="cross-signed")
    return graph


def stolen_keys() -> DiGraph[str]:
    """Two devices are shut out by entries of their own, and an attacker has the keys of both."""
    graph = new_graph("Two stolen keys", connection=WIDGET)
    issuer = supply_chain(graph, 2)
    cloud(graph)
    add_node(graph, "Mallory", kind="attacker", label="Mallory", state="has a key")
    for number in (1, 2, 3):
        name = device(graph, issuer, f"smart-x-widget-00{number}", "unknown")
        identity(graph, name)
        entry = f"enrollment {name}"
        add_node(graph, entry, kind="enrollment", label=name, state="disabled")
        add_edge(graph, entry, name, kind="names", label="keeps out", broken=True)
        if number > 1:
            add_edge(
                graph, "Mallory", entry, kind="attacks", label=f"got in 1 of {number}", broken=True
            )
            add_edge(graph, "Mallory", f"identity {name}", kind="attacks", label=f"got in {number}")
    add_edge(graph, "Mallory", "group", kind="attacks", label="got in 4")
    present(graph, WIDGET, issuer)
    return graph


STORIES: dict[str, Callable[[], DiGraph[str]]] = {
    story.__name__: story
    for story in (
        empty,
        ca_only,
        chain_only,
        unverified,
        verified,
        provisioned,
        leaf_only,
        refused_with_link,
        fleet,
        fleet_one_parent,
        stack,
        deep,
        two_roots,
        branches,
        every_state,
        crowded_cloud,
        one_of_many,
        server_roots,
        stolen_keys,
    )
}
