"""IoT Hub."""

from labkit.cloud.hub.service import Hub, Hubs

__all__ = ["Hub", "Hubs"]
