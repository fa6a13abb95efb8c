"""The picture told in words, for those who don't see it and for notebooks read as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from labkit.graph import company
from labkit.graph.family import Family, Fold
from labkit.graph.hub_signs import spread
from labkit.graph.kinds import KIND_WORDS, Board, Edge, Node, Zone
from labkit.graph.presented import SENT, Presented
from labkit.graph.states import STATES

LANES: Final[dict[Zone, tuple[str, str]]] = {
    "supply-chain": ("Supply chain", "who signed whom"),
    "dps": ("Device Provisioning Service", "checks the devices"),
    "hub": ("IoT Hub", "talks with the devices"),
    "server": ("Server certificates", "what devices are shown in TLS before they show anything"),
}
EMPTY: Final[dict[Zone, str]] = {
    "supply-chain": "No certificate yet",
    "dps": "Nothing uploaded yet",
    "hub": "No hub and no device yet",
    "server": "Nothing is shown",
}
_VERBS: Final = {
    "signed": "signed {}",
    "uploaded": "is uploaded to DPS as {}",
    "names": "trusts devices below {}",
    "assigns": "assigns its devices to {}",
    "provisioned": "is provisioned as {}",
    "knows": "knows {}",
    "attacks": "comes to {}",
}
_HUB_CA_VERBS: Final = {
    "uploaded": "is uploaded to the hub as {}",
    "knows": "trusts devices below {}",
}
_BROKEN_VERBS: Final = {
    "names": "trusts another {} than this one",
    "assigns": "would assign to {}, which is not linked",
    "provisioned": "is refused as {}",
}
_ENTRY_VERBS: Final = {  # of an entry for one device, by the link's label
    "names": "names {}",
    company.ASKS: "has {} sign",
    "admits": "admits {}",
    "keeps out": "keeps out {}",
    "not named": "does not name {}",
}
_PLURAL: Final = {
    "device": "devices",
    "client-certificate": "client certificates",
    "enrollment": "individual enrollments",
    "identity": "device identities",
}


def tell(board: Board, family: Family, presented: Presented) -> str:
    """The whole picture as a few lines of text; every node is named or counted in a fold."""
    return "\n".join(_Teller(board, family, presented).lines())


def node_words(node: Node, presented: Presented) -> str:
    """One node in one line: its name, what it is, its state, its detail, whether it was sent."""
    mark = presented.marks.get(node.id)
    said = "" if mark is None or mark.word == node.state else mark.word
    parts = (node.label, KIND_WORDS[node.kind], STATES[node.state].word, node.detail, said)
    return ", ".join(part for part in parts if part)


def fold_words(board: Board, members: Iterable[str]) -> str:
    """How many members a fold has, of what kind, and in which states."""
    nodes = [board.nodes[member] for member in members]
    return f"{len(nodes)} {_PLURAL[nodes[0].kind]}: {states_words(nodes)}"


def states_words(nodes: Iterable[Node]) -> str:
    """The states of some nodes, counted: "196 trusted, 4 expired"."""
    counts: Counter[str] = Counter(node.state for node in nodes)
    return ", ".join(f"{counts[key]} {key}" for key in STATES if counts[key])


def sent_words(board: Board, presented: Presented) -> str:
    """What the drawn-out connection carried, and what it lacked."""
    sender = board.nodes[board.connection].label
    sent = [board.nodes[slip.node].label for slip in presented.slips if slip.mark is SENT]
    lost = [board.nodes[node].label for node in presented.missing]
    told = f"In its last connection {sender} sent {_listed(sent) or 'no certificate'}."
    return f"{told} Needed and not sent: {_listed(lost)}." if lost else told


class _Teller:
    def __init__(self, board: Board, family: Family, presented: Presented) -> None:
        self.board, self.family, self.presented = board, family, presented

    def lines(self) -> Iterator[str]:
        yield f"{self.board.title}."
        if self.board.caption:
            yield self.board.caption
        for zone, (name, _) in LANES.items():
            told = [line for unit in self.family.roots(zone) for line in self._unit(unit)]
            if zone == "server" and not told:
                continue
            yield f"{name}:" if told else f"{name}: {EMPTY[zone].lower()}."
            yield from (f"- {line}" for line in told)
        if self.presented.slips:
            yield sent_words(self.board, self.presented)

    def _unit(self, unit: str | Fold) -> Iterator[str]:
        if isinstance(unit, Fold):
            yield self._fold(unit)
            return
        yield f"{node_words(self.board.nodes[unit], self.presented)}{self._deeds(unit)}."
        for below in self.family.units(unit):
            yield from self._unit(below)

    def _fold(self, fold: Fold) -> str:
        nodes = [self.board.nodes[member] for member in fold.members]
        parent = self.family.parent[fold.members[0]]
        below = f" below {self.board.nodes[parent].label}" if parent else ""
        span = f"{nodes[0].label} to {nodes[-1].label}"
        if fold.form == "rows":
            span = ", ".join(node.label for node in nodes)
        count, _, states = fold_words(self.board, fold.members).partition(":")
        return f"{count}{below} ({span}):{states}{self._fold_deeds(fold)}."

    def _fold_deeds(self, fold: Fold) -> str:
        members = set(fold.members)
        out = sum(e.source in members for e in self.board.linked("provisioned"))
        bad = sum(e.target in members and e.broken for e in self.board.linked("signed"))
        went = spread(self.board, [self.board.nodes[member] for member in fold.members])
        told = f"; {out} provisioned" if out else ""
        told += f"; assigned: {went}" if went else ""
        return told + (f"; the link to {bad} is missing" if bad else "")

    def _deeds(self, node: str) -> str:
        deeds = [self._deed(edge) for edge in self.board.edges if edge.source == node]
        return "".join(f"; {deed}" for deed in dict.fromkeys(deeds) if deed)

    def _deed(self, edge: Edge) -> str:
        if self.board.nodes[edge.target].kind == "hub-ca":
            return _HUB_CA_VERBS[edge.kind].format(self.board.nodes[edge.target].label)
        unit = self.family.unit_of(edge.target)
        label = self.board.nodes[edge.target].label
        fold = self.family.folds.get(unit)
        if fold and edge.kind != "provisioned":  # a device is one of them, and not all
            label = f"{len(fold.members)} {_PLURAL[self.board.nodes[edge.target].kind]}"
        if edge.kind == "names" and edge.label in _ENTRY_VERBS:
            return _ENTRY_VERBS[edge.label].format(label)
        if edge.broken and edge.kind in _BROKEN_VERBS:
            return _BROKEN_VERBS[edge.kind].format(label)
        said = _VERBS[edge.kind].format(label)
        if edge.kind == "attacks":
            last = "kept out" if edge.broken else "got in"
            return f"{said}: {edge.label}, {last} the last time"
        if edge.kind == "signed" and edge.label and not edge.broken:
            said = f"{edge.label} {label}"
        if self.board.nodes[edge.target].kind == "hub":
            said = said.replace("provisioned as", "provisioned to")
        if not edge.broken or fold:
            return said
        unknown = "is not known to DPS" if edge.label else "was not sent"
        return f"{said}, but its own certificate {unknown}"


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)
