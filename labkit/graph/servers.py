"""The servers' certificates in the picture: a row for each root, and who trusts it.

    service root ──signed──> issuing CA ──signed──> endpoint
         │ cross-signed
    newer root   ──signed──> ...

The other direction of trust than everything above it: here the devices judge, and not the cloud.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from labkit.graph.blocks import CARD_H, LEVEL_GAP, Box, Joint, Rect
from labkit.graph.kinds import Board, NodeKind, add_edge, add_node
from labkit.graph.states import StateKey
from labkit.pki import chain

if TYPE_CHECKING:
    from networkx import DiGraph

    from labkit.device import Device
    from labkit.lab import Lab
    from labkit.wire.service_roots import ServiceRoot

COLUMN_GAP: Final = 84
ISSUING, ENDPOINT = "issuing CA", "endpoint"
"""Their IDs in the picture: the one that is in use now, so that it is seen to move."""
_COLUMNS: Final[tuple[NodeKind, ...]] = ("service-root", "service-ca", "endpoint")


def are_shown(lab: Lab) -> bool:
    """Whether they are worth a look without being asked for: as soon as there is a choice."""
    return len(lab.server.roots) > 1


def draw(graph: DiGraph[str], lab: Lab) -> None:
    """Adds the roots, and below the one in use the chain that clients are sent."""
    devices, server = lab.devices, lab.server
    for root in server.roots:
        node, trust = node_of(root), trust_in(root, devices)
        _card(graph, node, "service-root", root.name, trust, root.state)
    _card(graph, ISSUING, "service-ca", chain.common_name(server.chain[1]), "issuing CA")
    _card(graph, ENDPOINT, "endpoint", chain.common_name(server.chain[0]), "DPS and every hub")
    add_edge(graph, node_of(server.root), ISSUING, kind="signed")
    add_edge(graph, ISSUING, ENDPOINT, kind="signed")
    if (signer := server.cross_signer) is not None:
        ends = node_of(signer), node_of(server.root)
        add_edge(graph, *ends, kind="signed", label="cross-signed")


def _card(
    graph: DiGraph[str],
    node: str,
    kind: NodeKind,
    label: str,
    detail: str,
    state: StateKey = "in use",
) -> None:
    add_node(graph, node, kind=kind, label=label, detail=detail, state=state)


def node_of(root: ServiceRoot) -> str:
    """Its ID in the picture."""
    return f"service root {root.name}"


def trust_in(root: ServiceRoot, devices: list[Device]) -> str:
    """How many of the devices have it in their trust store."""
    count = sum(root.certificate in device.trusted_roots for device in devices)
    return f"trusted by {count} of {len(devices)} devices"


def trust_of(device: Device) -> str:
    """The roots in a device's trust store, by their names: a card has room for ``Root and G2``
    where both are the same service's."""
    first, *others = map(chain.common_name, device.trusted_roots)
    return f"trusts {' and '.join([first, *(o.removeprefix(f'{first} ') for o in others)])}"


def rows(board: Board, inner: Rect) -> tuple[dict[str, Box], list[Joint]]:
    """The boxes of the band, and the arrows between them."""
    width = (inner.w - 2 * COLUMN_GAP) // len(_COLUMNS)
    boxes: dict[str, Box] = {}
    roots = (node.id for node in board.nodes.values() if node.kind == "service-root")
    line = {root: row for row, root in enumerate(roots)}
    for issuer, issued in _inside(board):
        line.setdefault(issued, line.get(issuer, 0))
    for node in board.nodes.values():
        if node.zone == "server":
            left = inner.x + _COLUMNS.index(node.kind) * (width + COLUMN_GAP)
            top = inner.y + line.get(node.id, 0) * (CARD_H + LEVEL_GAP)
            boxes[node.id] = Box(node.id, Rect(left, top, width, CARD_H), "card")
    return boxes, [_joint(boxes, *edge) for edge in _inside(board)]


def _inside(board: Board) -> Iterator[tuple[str, str]]:
    for edge in board.edges:
        if board.nodes[edge.source].zone == board.nodes[edge.target].zone == "server":
            yield edge.source, edge.target


def _joint(boxes: dict[str, Box], source: str, target: str) -> Joint:
    a, b = boxes[source].rect, boxes[target].rect
    if a.y == b.y:
        return Joint(source, target, ((a.right, a.mid), (b.x, b.mid)), True, COLUMN_GAP)
    middle = a.x + a.w // 2
    return Joint(source, target, ((middle, a.bottom), (middle, b.y)), True, a.w // 2)
