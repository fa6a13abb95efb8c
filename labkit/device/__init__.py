"""Simulated devices: an identity in a token, Microsoft's own client, and the network."""

from labkit.device.assignment import Assignment
from labkit.device.credentials import Issuer
from labkit.device.device import Device
from labkit.device.handlers import Answer, Received
from labkit.device.impostor import Impostor
from labkit.device.network import Network

__all__ = ["Answer", "Assignment", "Device", "Impostor", "Issuer", "Network", "Received"]
