"""Simulated devices: an identity in a token, Microsoft's own client, and the network.

widget.provision()                      DPS, then widget.connect() to the hub that it assigned
widget.renew(ca)                        a new key, a request, the issuer's answer: in use; the
                                        old pair is in widget.reserve until retire_reserve()
widget.install_update(package)          a chain that the manufacturer signed and sent
widget.firmware.configure(...)          what it does by itself; run(), or start() in the
                                        background, does it; firmware.issuer is whom it asks
hub.invoke(name, "reprovision")         and "renew", "installUpdate", also by hub.jobs
hub.send(name, package.to_bytes(), kind="update")
"""

from labkit.device.assignment import Assignment
from labkit.device.credentials import Issuer
from labkit.device.device import Device
from labkit.device.handlers import Answer, Received
from labkit.device.impostor import Impostor
from labkit.device.network import Network

__all__ = ["Answer", "Assignment", "Device", "Impostor", "Issuer", "Network", "Received"]
