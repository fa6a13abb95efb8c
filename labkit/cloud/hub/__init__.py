"""IoT Hub."""

from labkit.cloud.hub.hubs import Hubs, HubUser
from labkit.cloud.hub.service import Hub

__all__ = ["Hub", "HubUser", "Hubs"]
