"""DPS over MQTT, from a device: one topic to listen to, two to ask on."""

from __future__ import annotations

import ssl
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from labkit.device import mqtt_line
from labkit.device.answer import Answer
from labkit.device.mqtt_line import MqttLine
from labkit.device.network import Network

_ANSWERS = "$dps/registrations/res/"
_REGISTER = "$dps/registrations/PUT/iotdps-register/?$rid={}"
_POLL = "$dps/registrations/GET/iotdps-get-operationstatus/?$rid={}&operationId={}"


class MqttConnection:
    """A line on which registrations are asked for."""

    def __init__(self, line: MqttLine) -> None:
        self._line = line

    def register(self, body: bytes) -> Answer:
        """The answer to a registration."""
        return self._line.ask(_REGISTER.format(uuid.uuid4()), body)

    def poll(self, operation_id: str) -> Answer:
        """How an earlier one stands."""
        return self._line.ask(_POLL.format(uuid.uuid4(), operation_id), b" ")


@contextmanager
def connect(
    network: Network, where: str, version: str, token: str, context: ssl.SSLContext
) -> Iterator[MqttConnection]:
    """A connection to DPS, until the block ends. Raises OSError, ssl.SSLError."""
    client_id, user = where.rpartition("/")[2], f"{where}/api-version={version}"
    with mqtt_line.connected(network, client_id, user, token, context, _ANSWERS) as line:
        yield MqttConnection(line)
