"""What is served over HTTPS, and at which port and name."""

from __future__ import annotations

from labkit.cloud import Cloud
from labkit.wire.endpoints import GLOBAL_ENDPOINT, SERVICE_ENDPOINT
from labkit.wire.http import arm, dps_device, dps_service, refusals
from labkit.wire.http.hosts import Hosts
from labkit.wire.http.messages import Router


class Services:
    """``dps`` and ``hub`` are what the two kinds of service answer. ``at_dps`` answers at DPS's
    port, ``at_hubs`` at that of each hub, by its name: all of them know all the services by
    their host names, for where there is one port for all, that decides."""

    def __init__(self, cloud: Cloud) -> None:
        self.dps, self.hub = Router(), Router()
        for router in (self.dps, self.hub):
            refusals.add_routes(router, cloud.refusals)
        dps_service.add_routes(self.dps, cloud)
        dps_device.add_routes(self.dps, cloud.dps)
        arm.add_routes(self.dps, cloud)
        names = {hub.name: hub.host_name for hub in cloud.hubs}
        named = {GLOBAL_ENDPOINT: self.dps, SERVICE_ENDPOINT: self.dps}
        named |= dict.fromkeys(names.values(), self.hub)
        self.at_dps = Hosts(self.dps, named)
        self.at_hubs = {name: Hosts(self.hub, named) for name in names}
