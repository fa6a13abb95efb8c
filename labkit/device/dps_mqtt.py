"""DPS over MQTT, from a device: one topic to listen to, two to ask on."""

from __future__ import annotations

import json
import queue
import ssl
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs

from paho.mqtt import client as paho  # type: ignore[import-untyped]

from labkit.device.dps_answer import PATIENCE, Answer, seconds
from labkit.device.network import Network

_ANSWERS = "$dps/registrations/res/"
_REGISTER = "$dps/registrations/PUT/iotdps-register/?$rid={}"
_POLL = "$dps/registrations/GET/iotdps-get-operationstatus/?$rid={}&operationId={}"
_NOT_AUTHORIZED = 5


class MqttConnection:
    """A connected client that listens to DPS's answers."""

    def __init__(self, client: paho.Client) -> None:
        self._client = client
        self._heard: queue.Queue[object] = queue.Queue()
        client.on_connect = lambda _client, _data, _flags, code: self._heard.put(code)
        client.on_subscribe = lambda *_: self._heard.put("subscribed")
        client.on_message = lambda _client, _data, message: self._heard.put(message)
        client.on_disconnect = lambda *_: self._heard.put(None)

    def enter(self) -> None:
        """Waits until it is let in, and listens. Raises OSError."""
        code = self._next()
        if code != 0:
            told = f"CONNACK {code}" + (", not authorized" if code == _NOT_AUTHORIZED else "")
            raise ConnectionRefusedError(told)
        self._client.subscribe(f"{_ANSWERS}#", qos=1)
        self._next()

    def register(self, body: bytes) -> Answer:
        """The answer to a registration."""
        return self._ask(_REGISTER.format(uuid.uuid4()), body)

    def poll(self, operation_id: str) -> Answer:
        """How an earlier one stands."""
        return self._ask(_POLL.format(uuid.uuid4(), operation_id), b" ")

    def _ask(self, topic: str, body: bytes) -> Answer:
        self._client.publish(topic, body, qos=1)
        message: Any = self._next()
        path, _, query = message.topic.removeprefix(_ANSWERS).partition("/?")
        wait = parse_qs(query).get("retry-after", [""])[0]
        return Answer(int(path), json.loads(message.payload or b"{}"), seconds(wait))

    def _next(self) -> object:
        """What comes next; a connection that is lost, or silent, is an error."""
        try:
            found = self._heard.get(timeout=PATIENCE)
        except queue.Empty:
            raise TimeoutError(f"no answer within {PATIENCE:g} s") from None
        if found is None:
            raise ConnectionResetError("the service closed the connection")
        return found


@contextmanager
def connect(
    network: Network, where: str, version: str, token: str, context: ssl.SSLContext
) -> Iterator[MqttConnection]:
    """A connection to DPS, until the block ends. Raises OSError, ssl.SSLError."""
    client = paho.Client(where.rpartition("/")[2], clean_session=True, protocol=paho.MQTTv311)
    client.username_pw_set(f"{where}/api-version={version}", token or None)
    client.tls_set_context(context)
    connection = MqttConnection(client)
    client.connect(network.address, network.mqtt_port)
    client.loop_start()
    try:
        connection.enter()
        yield connection
    finally:
        client.disconnect()
        client.loop_stop()
