"""How a provisioning service and a hub say to which namespace of the Device Registry they belong.

DPS   properties.deviceRegistryNamespace {resourceId}       2025-02-01-preview
      properties.deviceRegistryNamespaces [{resourceId}]    2026-11-01
hub   properties.deviceRegistry {namespaceResourceId}       2025-08-01-preview
"""

from __future__ import annotations

from typing import Any

from labkit.wire.http.arm_registry import namespace_of
from labkit.wire.http.fields import Fields

_ONE, _MANY, _OF_HUB = "deviceRegistryNamespace", "deviceRegistryNamespaces", "deviceRegistry"


def named(said: Fields) -> str:
    """The namespace that a resource's properties name; empty for none. Raises Denial."""
    candidates = [said.object(_ONE), *said.objects(_MANY)]
    found = [one.text("resourceId") for one in candidates if one is not None]
    if of_hub := said.object(_OF_HUB):
        found.append(of_hub.text("namespaceResourceId"))
    return namespace_of(found[0]) if found and found[0] else ""


def shown(kind: str, namespace_id: str) -> dict[str, Any]:
    """The link as a resource of this kind shows it."""
    if kind == "IotHubs":
        return {_OF_HUB: {"namespaceResourceId": namespace_id}}
    link = {"resourceId": namespace_id, "authenticationType": "SystemAssigned"}
    return {_ONE: link, _MANY: [link]}
