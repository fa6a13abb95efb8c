"""A device that asks its hub for certificates, by paho: it shares no code with the lab."""

from __future__ import annotations

import json
import queue
import ssl
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from paho.mqtt import client as paho
from stories import PATIENCE, PemDevice
from wire_clients import hub_user, tls

from labkit import Lab

ASK = "$iothub/credentials/POST/issueCertificate/?$rid={}"
ANSWERS = "$iothub/credentials/res/#"


class Files:
    """The chain and the key of a device, which are in files, as the lab's own client takes them."""

    def __init__(self, device: PemDevice) -> None:
        self._device = device

    def load_into(self, context: ssl.SSLContext) -> None:
        context.load_cert_chain(self._device.chain_file, self._device.key_file)


@dataclass(frozen=True)
class Heard:
    """An answer: its status and the request's ID are in the topic."""

    status: int
    rid: str
    body: dict[str, Any]

    @classmethod
    def read(cls, message: Any) -> Heard:
        path, _, rid = message.topic.partition("/?$rid=")
        return cls(int(path.rpartition("/")[2]), rid, json.loads(message.payload))


class Asking:
    """A connection of ``device`` to its hub, by what it shows in TLS."""

    def __init__(
        self, lab: Lab, device: PemDevice, *, listens: bool = True, clean: bool = True, qos: int = 1
    ) -> None:
        self.name, self.code, self._entered = device.name, -1, threading.Event()
        self._heard: queue.Queue[Heard] = queue.Queue()
        self._subscribed, self._qos = threading.Event(), qos
        self.ended = threading.Event()
        self.client = paho.Client(device.name, clean_session=clean, protocol=paho.MQTTv311)
        self.client.username_pw_set(hub_user(lab, device.name))
        self.client.tls_set_context(tls(lab, device.chain_file, device.key_file))
        self.client.on_connect = self._on_connect
        self.client.on_message = lambda _c, _u, message: self._heard.put(Heard.read(message))
        self.client.on_subscribe = lambda *_: self._subscribed.set()
        self.client.on_disconnect = lambda *_: self.ended.set()
        self.client.reconnect_delay_set(60, 60)
        self.client.connect(lab.listener.host, lab.listener.mqtt_port)
        self.client.loop_start()
        assert self._entered.wait(PATIENCE)
        if listens and self.code == 0:
            self.listen()

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, code: int) -> None:
        self.code = code
        self._entered.set()

    def listen(self) -> None:
        self._subscribed.clear()
        self.client.subscribe(ANSWERS, self._qos)
        assert self._subscribed.wait(PATIENCE)

    def unlisten(self) -> None:
        done = threading.Event()
        self.client.on_unsubscribe = lambda *_: done.set()
        self.client.unsubscribe(ANSWERS)
        assert done.wait(PATIENCE)

    def publish(self, body: object, rid: str = "rid-0001", topic: str = "") -> None:
        """Returns once the hub has acknowledged it."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = self.client.publish(topic or ASK.format(rid), data, qos=1)
        sent.wait_for_publish(PATIENCE)
        assert sent.is_published()

    def ask(self, csr: str, rid: str = "rid-0001", **more: Any) -> None:
        self.publish({"id": self.name, "csr": csr, **more}, rid)

    def next(self) -> Heard:
        return self._heard.get(timeout=PATIENCE)

    def is_silent(self, seconds: float = 0.3) -> bool:
        """Whether nothing comes, for a while."""
        time.sleep(seconds)
        return self._heard.empty()

    def leave(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def __enter__(self) -> Asking:
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self.leave()
