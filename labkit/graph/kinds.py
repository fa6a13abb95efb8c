"""What the graph may hold: the one contract between the lab's model and the picture.

A ``networkx.DiGraph`` carries the attributes below; ``add_node`` and ``add_edge`` write them
without a chance to misspell one, ``read`` turns them into typed records and refuses anything else.
The order in which nodes are added is the order in which siblings are drawn.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from labkit.graph.states import STATES, StateKey

if TYPE_CHECKING:
    import networkx as nx

# Characters that XML 1.0 cannot hold, not even escaped; tabs and line ends become spaces.
_NO_XML: Final = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

Zone = Literal["supply-chain", "dps", "hub", "server"]
NodeKind = Literal[
    "token",
    "root-ca",
    "intermediate-ca",
    "device",
    "client-certificate",
    "attacker",
    "ca-entry",
    "ca-link",
    "enrollment",
    "enrollment-group",
    "hub",
    "hub-ca",
    "identity",
    "service-root",
    "service-ca",
    "endpoint",
]
EdgeKind = Literal["signed", "uploaded", "names", "assigns", "provisioned", "knows", "attacks"]

ZONE_OF: Final[Mapping[str, Zone]] = MappingProxyType(
    {
        "token": "supply-chain",
        "root-ca": "supply-chain",
        "intermediate-ca": "supply-chain",
        "device": "supply-chain",
        "client-certificate": "supply-chain",
        "attacker": "supply-chain",
        "ca-entry": "dps",
        "ca-link": "dps",
        "enrollment": "dps",
        "enrollment-group": "dps",
        "hub": "hub",
        "hub-ca": "hub",
        "identity": "hub",
        "service-root": "server",
        "service-ca": "server",
        "endpoint": "server",
    }
)
KIND_WORDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "token": "token",
        "root-ca": "root CA certificate",
        "intermediate-ca": "intermediate CA certificate",
        "device": "device certificate",
        "client-certificate": "client certificate, issued at first boot",
        "attacker": "attacker",
        "ca-entry": "CA certificate in DPS",
        "ca-link": "certificate authority in DPS",
        "enrollment": "individual enrollment",
        "enrollment-group": "enrollment group",
        "hub": "IoT hub",
        "hub-ca": "CA certificate in the hub",
        "identity": "device identity",
        "service-root": "root CA certificate of the services",
        "service-ca": "issuing CA certificate of the services",
        "endpoint": "server certificate",
    }
)


@dataclass(frozen=True, slots=True)
class Node:
    """One certificate, record or device.

    ``presented``: sent (True) or not sent (False) in the device's last connection; None before one.
    ``hub``: the node of the hub that a device is assigned to, "" for none.
    """

    id: str
    kind: NodeKind
    label: str
    detail: str
    state: StateKey
    zone: Zone
    presented: bool | None
    hub: str = ""


@dataclass(frozen=True, slots=True)
class Edge:
    """A link that reads "source <kind> target"; ``label`` replaces the usual verb."""

    source: str
    target: str
    kind: EdgeKind
    broken: bool
    label: str


@dataclass(frozen=True, slots=True)
class Board:
    """The graph, read: nodes by ID in the order they were added, and edges.

    ``connection`` is the device whose last connection is drawn out, "" for none.
    """

    title: str
    caption: str
    nodes: Mapping[str, Node]
    edges: tuple[Edge, ...]
    connection: str

    def linked(self, kind: EdgeKind) -> list[Edge]:
        """The edges of one kind, in their order."""
        return [edge for edge in self.edges if edge.kind == kind]


def new_graph(title: str, caption: str = "", *, connection: str = "") -> nx.DiGraph[str]:
    """An empty graph; ``connection`` names the device whose last connection is drawn out.

    Without one, that is the only device that has ``presented=True``, if there is just one.
    """
    import networkx as nx  # late: it takes longer to import than the rest of the lab

    return nx.DiGraph(title=title, caption=caption, connection=connection)


def add_node(
    graph: nx.DiGraph[str],
    node: str,
    *,
    kind: NodeKind,
    label: str,
    detail: str = "",
    state: StateKey = "unknown",
    zone: Zone | None = None,
    presented: bool | None = None,
) -> None:
    """Add one node; its zone follows from its kind unless given."""
    graph.add_node(
        node,
        kind=kind,
        label=label,
        detail=detail,
        state=state,
        zone=zone or ZONE_OF[kind],
        presented=presented,
    )


def add_edge(
    graph: nx.DiGraph[str],
    source: str,
    target: str,
    *,
    kind: EdgeKind,
    broken: bool = False,
    label: str = "",
) -> None:
    """Add one link that reads "source <kind> target"; both nodes must be there already."""
    for end in (source, target):
        if end not in graph:
            raise ValueError(f"add the node {end!r} before a link to it")
    graph.add_edge(source, target, kind=kind, broken=broken, label=label)


def read(graph: nx.DiGraph[Any]) -> Board:
    """The graph as typed records.

    Raises ValueError for a node without an ID, and for a node or edge whose kind, state or zone is
    missing or not a known one.
    """
    if "" in graph:
        raise ValueError("a node needs an ID that is not empty")
    nodes = {str(name): _node(str(name), data) for name, data in graph.nodes(data=True)}
    edges = tuple(_edge(str(a), str(b), data) for a, b, data in graph.edges(data=True) if a != b)
    about = graph.graph
    return Board(
        title=_line(about.get("title", "")) or "Chain of trust",
        caption=_line(about.get("caption", "")),
        nodes=nodes,
        edges=edges,
        connection=_connection(str(about.get("connection", "")), nodes),
    )


def printable(text: str) -> str:
    """The text with a replacement character for whatever XML cannot hold."""
    return _NO_XML.sub("\ufffd", text)


def _node(name: str, data: Mapping[str, Any]) -> Node:
    kind = _known(f"node {name!r}", "kind", data.get("kind"), get_args(NodeKind))
    return Node(
        id=name,
        kind=kind,
        label=_line(data.get("label", "")) or name,
        detail=_line(data.get("detail", "")),
        state=_known(f"node {name!r}", "state", data.get("state", "unknown"), tuple(STATES)),
        zone=_known(f"node {name!r}", "zone", data.get("zone", ZONE_OF[kind]), get_args(Zone)),
        presented=data.get("presented"),
        hub=str(data.get("hub", "")),
    )


def _edge(source: str, target: str, data: Mapping[str, Any]) -> Edge:
    where = f"edge {source!r} to {target!r}"
    return Edge(
        source=source,
        target=target,
        kind=_known(where, "kind", data.get("kind"), get_args(EdgeKind)),
        broken=bool(data.get("broken", False)),
        label=_line(data.get("label", "")),
    )


def _known(where: str, what: str, value: Any, choices: tuple[str, ...]) -> Any:
    if value in choices:
        return value
    raise ValueError(f"{where}: {what} {value!r} is none of {', '.join(choices)}")


def _line(text: object) -> str:
    return " ".join(printable(str(text)).split())


def _connection(asked: str, nodes: Mapping[str, Node]) -> str:
    if asked in nodes:
        return asked
    senders = [n.id for n in nodes.values() if n.kind == "device" and n.presented]
    return senders[0] if len(senders) == 1 else ""
