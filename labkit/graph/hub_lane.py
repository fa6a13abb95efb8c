"""The hubs of a lab on the board: which are linked, who assigns to which, whom they know and trust.

group ──assigns──> hub ──knows──> CA certificate <──uploaded── CA of the supply chain
                    └────knows──> identity <──provisioned── device
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from typing import TYPE_CHECKING, Final

from labkit import ids
from labkit.cloud.dps import allocation
from labkit.cloud.dps.entries import STATIC, EnrollmentGroup
from labkit.cloud.hub.credentials import AUTHORITY, SAS, SELF_SIGNED
from labkit.graph import hub_door
from labkit.graph.kinds import add_edge, add_node

if TYPE_CHECKING:
    from networkx import DiGraph

    from labkit.cloud.hub import Hub
    from labkit.cloud.hub.tables import DeviceIdentity
    from labkit.graph.states import StateKey
    from labkit.lab import Lab
    from labkit.trace import Check

_PROOFS: Final = {AUTHORITY: "CA chain", SAS: "symmetric key", SELF_SIGNED: "thumbprint"}
"""By what a hub knows a device, as short as a card has room for."""


def draw_hubs(
    graph: DiGraph[str],
    lab: Lab,
    registered: Mapping[tuple[str, str], str],
    arrived: Container[str],
    failure: Check | None,
) -> None:
    """Adds hubs and identities, and the ways that lead there.

    ``registered`` are the devices (by name) by the host name of their hub and their ID there.
    ``arrived`` are those whose way to their identity is drawn; ``failure`` is the check that the
    last visitor was refused for: a hub that was wanted and not linked is marked.
    """
    _Lane(graph, lab, registered, arrived, failure).draw()


class _Lane:
    def __init__(
        self,
        graph: DiGraph[str],
        lab: Lab,
        registered: Mapping[tuple[str, str], str],
        arrived: Container[str],
        failure: Check | None,
    ) -> None:
        self._graph, self._lab, self._registered = graph, lab, registered
        self._arrived, self._failure = arrived, failure
        self._hubs = list(lab.cloud.hubs)
        self._linked = {hub.host_name: hub.weight for hub in lab.dps.linked_hubs}
        self._records = {(r.assigned_hub, r.device_id): r for r in lab.dps.registrations}
        self._hub_of = {ids.key(r.registration_id): r.assigned_hub for r in lab.dps.registrations}
        self._goes_by = {device.name: ids.key(device.registration_id) for device in lab.devices}
        lab.listener.settle()  # who has just left is not connected any more
        self._away = hub_door.turned_away(lab)

    def draw(self) -> None:
        for hub in self._hubs:
            add_node(
                self._graph,
                f"hub {hub.name}",
                kind="hub",
                label=hub.name,
                detail=self._detail(hub),
                state="enabled" if hub.host_name in self._linked else "not linked",
            )
            self._assigns(hub)
            self._trusts(hub)
            self._knows(hub)
        if self._away is not None:
            hub_door.draw(self._graph, self._lab, self._away)

    def _detail(self, hub: Hub) -> str:
        """Its host name; where there are several hubs, what tells them apart for DPS."""
        if len(self._hubs) == 1:
            return hub.host_name
        weight = self._linked.get(hub.host_name)
        return "IoT hub" if weight is None else f"IoT hub · weight {weight}"

    def _assigns(self, hub: Hub) -> None:
        name = f"hub {hub.name}"
        for group in self._lab.dps.enrollment_groups:
            if hub.host_name in self._wanted(group):
                linked = hub.host_name in self._linked
                if linked:
                    add_edge(self._graph, f"group {group.id}", name, kind="assigns")
                elif self._stopped(group):
                    words = {"kind": "assigns", "broken": True, "label": "not linked"}
                    self._graph.add_edge(f"group {group.id}", name, **words)

    def _wanted(self, group: EnrollmentGroup) -> Iterator[str]:
        """The hubs that a group may assign to, by their host names, linked or not."""
        everywhere = [hub.host_name for hub in self._hubs]
        named = [name.lower() for name in group.iot_hubs] or everywhere
        policy = group.allocation_policy or self._lab.dps.allocation_policy
        if policy != STATIC:
            return iter(named)
        linked = [name for name in named if name in self._linked]
        return iter([group.iot_hub_host_name.lower()] if group.iot_hub_host_name else linked[:1])

    def _stopped(self, group: EnrollmentGroup) -> bool:
        reasons = (allocation.HUB, allocation.CANDIDATE)
        failure = self._failure
        return failure is not None and failure.name in reasons and failure.about == group.id

    def _trusts(self, hub: Hub) -> None:
        """The CAs that were uploaded to the hub: DPS has a list of its own."""
        for entry in hub.certificates:
            name, verified = f"hub ca {hub.name}/{entry.name}", entry.is_verified
            add_node(
                self._graph,
                name,
                kind="hub-ca",
                label=entry.name,
                detail="possession proven" if verified else "waits for proof of possession",
                state="verified" if verified else "unverified",
            )
            add_edge(self._graph, f"hub {hub.name}", name, kind="knows", label="trusts")
            for known, certificate in hub_door.ca_nodes(self._lab):
                if certificate == entry.certificate:
                    add_edge(self._graph, known, name, kind="uploaded")

    def _knows(self, hub: Hub) -> None:
        counts = hub.messages_by_device()
        here = {presence.device_id for presence in hub.connected()}
        for identity in hub.devices:
            known, device_id = f"identity {hub.name}/{identity.device_id}", identity.device_id
            name = self._registered.get((hub.host_name, device_id)) or device_id
            left = self._is_left(hub, device_id, name)
            elsewhere = self._is_elsewhere(hub, device_id, name)
            said = _told(identity, counts.get(device_id, 0))
            add_node(
                self._graph,
                known,
                kind="identity",
                label=device_id,
                detail="left behind" if left or elsewhere else said,
                state=_state(identity, device_id in here),
            )
            add_edge(self._graph, f"hub {hub.name}", known, kind="knows")
            if f"device {name}" in self._graph and not elsewhere:
                self._arrives(hub, name, known, left)

    def _arrives(self, hub: Hub, name: str, known: str, left: bool) -> None:
        """The way from the device to its identity: broken to one that it does not come as any
        more, and where the hub has turned it away."""
        device = f"device {name}"
        if left:
            words = {"kind": "provisioned", "broken": True, "label": "left behind"}
            self._graph.add_edge(device, known, **words)
            return
        self._graph.nodes[device]["hub"] = f"hub {hub.name}"
        refused = self._away is not None and self._away.identity == known
        if refused or name in self._arrived:
            add_edge(self._graph, device, known, kind="provisioned", broken=refused)

    def _is_left(self, hub: Hub, device_id: str, name: str) -> bool:
        """Whether the device goes by another registration ID now than this identity's record."""
        record, now = self._records.get((hub.host_name, device_id)), self._goes_by.get(name)
        return record is not None and now not in (None, ids.key(record.registration_id))

    def _is_elsewhere(self, hub: Hub, device_id: str, name: str) -> bool:
        """Whether DPS has no record of this identity, and has sent the device to another hub."""
        here = (hub.host_name, device_id) in self._records
        sent_to = self._hub_of.get(self._goes_by.get(name, ""), "")
        return not here and sent_to not in ("", hub.host_name)


def _told(identity: DeviceIdentity, messages: int) -> str:
    """By what the hub knows the device, and what was heard of it."""
    proof, said = _PROOFS[identity.authentication], f"{messages} message"
    return f"{proof}, {said}{'' if messages == 1 else 's'}" if messages else proof


def _state(identity: DeviceIdentity, is_here: bool) -> StateKey:
    if not identity.enabled:
        return "disabled"
    return "connected" if is_here else "enabled"
