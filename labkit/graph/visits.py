"""Who came to DPS, and how it went for them: what a picture of the lab is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkit import ids
from labkit.pki import chain
from labkit.trace import first_failure

if TYPE_CHECKING:
    from labkit.cloud.presentations import Presentation
    from labkit.cloud.refusals import Refusal
    from labkit.lab import Lab
    from labkit.trace import Check


class Visits:
    """A snapshot. ``latest`` is the newest visit of each device, ``last`` that which the picture
    is about, and ``stop`` the check that it was refused for; ``ended`` is a connection that ended
    in TLS after that, so that there is no ``last``.

    ``known`` are the devices of the lab by what a service may know them by (the registration ID,
    or a certificate's thumbprint), ``registered`` those by their hub and device ID.
    """

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self.known = self._known()
        visits = self._visits()
        self.latest: dict[str, Presentation] = {}
        for visit in visits:  # the newest first
            self.latest.setdefault(self.visitor(visit), visit)
        self.registered = {
            (record.assigned_hub, record.device_id): self.known.get(
                ids.key(record.registration_id), ""
            )
            for record in lab.dps.registrations
        }
        self.ended = self._ended_in_tls()
        newest = next(iter(visits), None)
        self.last = newest if self.ended is None else None
        self.stop = self.failure(self.last) if self.last else None

    def visitor(self, visit: Presentation) -> str:
        """Who it was: a device may ask under another name than its own."""
        return self.known.get(ids.key(visit.device)) or self.known.get(_sent(visit), visit.device)

    def failure(self, visit: Presentation) -> Check | None:
        """The check that a visitor was refused for."""
        if visit.accepted:
            return None
        refusal = self._lab.cloud.refusals.last(visit.device, service=visit.service)
        return first_failure(refusal.checks) if refusal else None

    def _visits(self) -> list[Presentation]:
        """The newest first. The service takes a device that comes with a new key for a stranger,
        until it has let it in; the lab knows whose key that is."""
        cloud = self._lab.cloud
        tried = (v for v in cloud.attempts("dps") if v.chain and _sent(v) in self.known)
        found = {(visit.device, visit.seen): visit for visit in (*cloud.visits("dps"), *tried)}
        return sorted(found.values(), key=lambda visit: visit.seen, reverse=True)

    def _known(self) -> dict[str, str]:
        """One that was renewed under another name is known by both."""
        devices = self._lab.devices
        by_certificate = {chain.thumbprint(device.certificate): device.name for device in devices}
        renamed = {ids.key(device.registration_id): device.name for device in devices}
        return by_certificate | renamed | {ids.key(device.name): device.name for device in devices}

    def _ended_in_tls(self) -> Refusal | None:
        """The last thing that happened, where it was a handshake that failed."""
        refusal = self._lab.cloud.refusals.last()
        if refusal is None or refusal.service != "tls":
            return None
        services = ("dps", *(hub.name for hub in self._lab.cloud.hubs))
        newest = (next(iter(self._lab.cloud.visits(service)), None) for service in services)
        later = any(visit is not None and visit.at > refusal.at for visit in newest)
        return None if later else refusal


def _sent(visit: Presentation) -> str:
    """The thumbprint of the visitor's own certificate; empty where none was sent."""
    return chain.thumbprint(visit.chain[0]) if visit.chain else ""
