"""A device's own line to a service over MQTT, for what Microsoft's SDK cannot ask."""

from __future__ import annotations

import queue
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs

from paho.mqtt import client as paho  # type: ignore[import-untyped]

from labkit.device.answer import PATIENCE, Answer, read_object, seconds
from labkit.device.network import Network

NOT_AUTHORIZED = "CONNACK 5, not authorized"
_NOT_AUTHORIZED = 5


class MqttLine:
    """A connected client. ``answers`` is what the topics of all answers begin with."""

    def __init__(self, client: paho.Client, answers: str) -> None:
        self._client, self._answers = client, answers
        self._heard: queue.Queue[object] = queue.Queue()
        client.on_connect = lambda _client, _data, _flags, code: self._heard.put(code)
        client.on_subscribe = lambda *_: self._heard.put("subscribed")
        client.on_message = lambda _client, _data, message: self._heard.put(message)
        client.on_disconnect = lambda *_: self._heard.put(None)

    def enter(self) -> None:
        """Waits until it is let in, and listens. Raises OSError."""
        code = self._next()
        if code != 0:
            raise ConnectionRefusedError(
                NOT_AUTHORIZED if code == _NOT_AUTHORIZED else f"CONNACK {code}"
            )
        self._client.subscribe(f"{self._answers}#", qos=1)
        self._wait_for_suback()

    def ask(self, topic: str, body: bytes) -> Answer:
        """Publishes, and returns the next answer."""
        self._client.publish(topic, body, qos=1)
        return self.answer()

    def answer(self) -> Answer:
        """The next answer. Raises OSError, TimeoutError, ValueError."""
        message: Any = self._next()
        path, _, query = message.topic.removeprefix(self._answers).partition("/?")
        said = parse_qs(query)
        wait, rid = (said.get(name, [""])[0] for name in ("retry-after", "$rid"))
        return Answer(int(path), read_object(message.payload), seconds(wait), rid)

    def _wait_for_suback(self) -> None:
        """What waited for the device may be there before it."""
        early = []
        while (found := self._next()) != "subscribed":
            early.append(found)
        for message in early:
            self._heard.put(message)

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
def connected(
    network: Network,
    client_id: str,
    user: str,
    token: str,
    context: ssl.SSLContext,
    answers: str,
) -> Iterator[MqttLine]:
    """A line that listens, until the block ends. ``token`` is empty for who shows a certificate.
    Raises OSError, ssl.SSLError."""
    client = paho.Client(client_id, clean_session=True, protocol=paho.MQTTv311)
    client.username_pw_set(user, token or None)
    client.tls_set_context(context)
    line = MqttLine(client, answers)
    client.connect(network.address, network.mqtt_port)
    client.loop_start()
    try:
        line.enter()
        yield line
    finally:
        client.disconnect()
        client.loop_stop()
