"""IoT Hub's devices: which identities a hub has, and the switch that cuts one off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labkit.cloud.hub.documents import presence_json, thumbprints
from labkit.cloud.hub.tables import DeviceIdentity
from labkit.ui.portal import deeds, snippets
from labkit.ui.portal.deeds import Deed, segment
from labkit.ui.portal.places import Place
from labkit.ui.portal.shelves import PAGE, Listing, Shelf

if TYPE_CHECKING:
    from labkit.lab import Lab

_ALL = "SELECT * FROM devices"
_ANY = '"*"'


@dataclass(frozen=True, slots=True)
class HubDevice:
    """An identity as the portal shows it; ``known_by`` are thumbprints (hex), none for keys."""

    device_id: str
    enabled: bool
    reason: str
    authentication: str
    known_by: tuple[str, ...]
    connected: bool
    iot_edge: bool

    @classmethod
    def of_document(cls, found: dict[str, Any]) -> HubDevice:
        """Out of a row of a query for devices."""
        held = found["x509Thumbprint"]
        return cls(
            found["deviceId"],
            found["status"] == "enabled",
            found.get("statusReason", ""),
            found["authenticationType"],
            tuple(slot for slot in held.values() if slot),
            found["connectionState"] == "Connected",
            found["capabilities"]["iotEdge"],
        )


class DeviceShelf(Shelf):
    """The device identities of one hub."""

    noun = "device identity"

    def __init__(self, lab: Lab, place: Place) -> None:
        super().__init__(lab, place)
        self._hub = lab.hub(place.hub)
        self._python = f"{place.service}.devices"

    def list(self, token: str = "") -> Deed[Listing]:
        arguments = (_ALL, PAGE, *((token,) if token else ()))
        headers = {"x_ms_max_item_count": str(PAGE), "x_ms_continuation": token}
        rest = deeds.hub(self._hub.host_name, "POST", "/devices/query", {"query": _ALL}, **headers)
        python = snippets.call(f"{self.place.service}.queries.page", *arguments)
        return Deed("List the devices", python, rest, lambda: self._page(token))

    def _page(self, token: str) -> Listing:
        found = self._hub.queries.page(_ALL, PAGE, token)
        return Listing(tuple(map(HubDevice.of_document, found.rows)), found.continuation)

    def open(self, name: str) -> Deed[HubDevice]:
        return Deed(
            f"Read device {name}",
            snippets.call(f"{self._python}.get", name),
            self._rest("GET", name),
            lambda: self._shown(self._hub.devices.get(name)),
        )

    def _shown(self, identity: DeviceIdentity) -> HubDevice:
        presence = self._hub.connections.presence(self._hub.name, identity.device_id)
        document = {
            "deviceId": identity.device_id,
            "status": "enabled" if identity.enabled else "disabled",
            "statusReason": identity.status_reason,
            "authenticationType": identity.authentication,
            "x509Thumbprint": thumbprints(identity),
            "capabilities": {"iotEdge": identity.iot_edge},
            **presence_json(presence),
        }
        return HubDevice.of_document(document)

    def disable(self, device: HubDevice, reason: str) -> Deed[Any]:
        """Cuts it off: a live connection ends, and no new one begins."""
        arguments = (device.device_id, *((reason,) if reason else ()))
        return Deed(
            f"Disable device {device.device_id}",
            snippets.call(f"{self._python}.disable", *arguments),
            self._switch(device, "disabled", reason),
            lambda: self._hub.devices.disable(device.device_id, reason),
        )

    def enable(self, device: HubDevice) -> Deed[Any]:
        """Lets it connect again."""
        return Deed(
            f"Enable device {device.device_id}",
            snippets.call(f"{self._python}.enable", device.device_id),
            self._switch(device, "enabled", ""),
            lambda: self._hub.devices.enable(device.device_id),
        )

    def delete(self, thing: HubDevice) -> Deed[None]:
        return Deed(
            f"Delete device {thing.device_id}",
            snippets.call(f"{self._python}.delete", thing.device_id),
            self._rest("DELETE", thing.device_id, if_match=_ANY),
            lambda: self._hub.devices.delete(thing.device_id),
        )

    def name_of(self, thing: HubDevice) -> str:
        return thing.device_id

    def _switch(self, device: HubDevice, status: str, reason: str) -> deeds.Rest:
        """Who says nothing of its credentials leaves them as they are."""
        body: dict[str, Any] = {"deviceId": device.device_id, "status": status}
        if reason:
            body["statusReason"] = reason
        body["capabilities"] = {"iotEdge": device.iot_edge}
        return self._rest("PUT", device.device_id, body, if_match=_ANY)

    def _rest(
        self, method: str, name: str, body: dict[str, Any] | None = None, **headers: str
    ) -> deeds.Rest:
        path = f"/devices/{segment(name)}"
        return deeds.hub(self._hub.host_name, method, path, body, **headers)
