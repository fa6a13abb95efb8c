"""The lab's state as one picture: a networkx graph in, an SVG with words out."""

from labkit.graph.kinds import EdgeKind, NodeKind, Zone, add_edge, add_node, new_graph
from labkit.graph.picture import Picture
from labkit.graph.states import STATES, State, StateKey

__all__ = [
    "STATES",
    "EdgeKind",
    "NodeKind",
    "Picture",
    "State",
    "StateKey",
    "Zone",
    "add_edge",
    "add_node",
    "new_graph",
]
