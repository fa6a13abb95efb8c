"""A lab for X.509 identity in Azure IoT: supply chain, DPS and IoT Hub on one machine."""

from labkit.lab import Lab

__all__ = ["Lab"]
