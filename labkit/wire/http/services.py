"""What is served over HTTPS, and at which port and name."""

from __future__ import annotations

from labkit.cloud import Cloud
from labkit.wire.endpoints import GLOBAL_ENDPOINT, SERVICE_ENDPOINT
from labkit.wire.http import (
    arm,
    dps_device,
    dps_service,
    hub_device,
    hub_jobs,
    hub_service,
    refusals,
    server_root,
)
from labkit.wire.http.hosts import Hosts
from labkit.wire.http.hub_service import HubApi
from labkit.wire.http.messages import Answerer, Router
from labkit.wire.server_identity import ServerIdentity


class Services:
    """``dps`` and ``hubs``, by their names, are what the services answer. ``at_dps`` answers at
    DPS's port, ``at_hubs`` at that of each hub: all of them know all the services by their host
    names, for where there is one port for all, that decides."""

    def __init__(self, cloud: Cloud, identity: ServerIdentity) -> None:
        names = {hub.name: hub.host_name for hub in cloud.hubs}
        self.dps, self.hubs = Router(), {name: Router() for name in names}
        for router in (self.dps, *self.hubs.values()):
            refusals.add_routes(router, cloud.refusals)
        dps_service.add_routes(self.dps, cloud)
        dps_device.add_routes(self.dps, cloud.dps)
        arm.add_routes(self.dps, cloud)
        server_root.add_routes(self.dps, cloud, identity)
        for name, router in self.hubs.items():
            api = HubApi(router, cloud, name)
            hub_service.add_routes(api)
            hub_jobs.add_routes(api)
            hub_device.add_routes(router, cloud, name)
        named: dict[str, Answerer] = {GLOBAL_ENDPOINT: self.dps, SERVICE_ENDPOINT: self.dps}
        named |= {names[name]: router for name, router in self.hubs.items()}
        self.at_dps = Hosts(self.dps, named)
        self.at_hubs = {name: Hosts(router, named) for name, router in self.hubs.items()}
