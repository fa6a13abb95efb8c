"""Every port of a lab, on one event loop in a thread of its own."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from functools import partial

from labkit.cloud import Cloud
from labkit.cloud.handshakes import Served
from labkit.cloud.presented import Presented
from labkit.events import Events
from labkit.wire import sockets, webhook
from labkit.wire.channel import Application, Channel
from labkit.wire.endpoints import GLOBAL_ENDPOINT, SERVICE_ENDPOINT
from labkit.wire.event_loop import EventLoop
from labkit.wire.http.connection import HttpConnection
from labkit.wire.http.messages import Answerer
from labkit.wire.http.services import Services
from labkit.wire.mqtt.connection import MqttConnection
from labkit.wire.ports import Ports
from labkit.wire.server_identity import ServerIdentity
from labkit.wire.tls import Link


class Listener:
    """``host``, ``mqtt_port``, ``https_port`` and ``hub_ports`` say where it listens.

    Raises PortTaken before anything runs.
    """

    def __init__(
        self, cloud: Cloud, identity: ServerIdentity, events: Events, ports: Ports
    ) -> None:
        self._cloud, self._identity, self._events = cloud, identity, events
        self._services = Services(cloud, identity)
        cloud.dps.webhook = webhook.post
        self._bound: list[tuple[socket.socket, Callable[[Link], Application]]] = []
        try:
            self._bind(ports)
            identity.cover(self._names(), {self.host, "127.0.0.1"})
        except BaseException:
            self._release()
            raise
        self._loop = EventLoop("labkit listener", cloud.do)
        self._links = self._loop.links
        self._loop.serve(*((bound, self._link(above)) for bound, above in self._bound))

    def stop(self) -> None:
        """Closes every connection and port. Harmless when called twice."""
        self._loop.stop()

    def settle(self) -> None:
        """Returns when whatever clients on this machine have sent by now has been looked at."""
        self._loop.settle()

    def _bind(self, ports: Ports) -> None:
        mqtt_port = sockets.MQTT_PORT if ports.mqtt is None else ports.mqtt
        if ports.host is None:
            self.host, mqtt = sockets.free_loopback(mqtt_port)
        else:
            self.host = sockets.address(ports.host)
            mqtt = sockets.bind(self.host, mqtt_port)
        self._bound.append((mqtt, self._mqtt))
        self.mqtt_port = sockets.port_of(mqtt)
        wanted = sockets.HTTPS_PORTS if ports.https is None else (ports.https,)
        self.https_port = self._bind_https(wanted, self._services.at_dps)
        self.hub_ports = {
            name: self._bind_https(_before(ports.hubs.get(name)), hub)
            for name, hub in self._services.at_hubs.items()
        }

    def _bind_https(self, ports: Iterable[int], answerer: Answerer) -> int:
        bound = sockets.bind_first(self.host, ports)
        self._bound.append((bound, partial(self._https, answerer)))
        return sockets.port_of(bound)

    def _names(self) -> set[str]:
        hubs = {hub.host_name for hub in self._cloud.hubs}
        return {GLOBAL_ENDPOINT, SERVICE_ENDPOINT, "localhost", *hubs}

    def _mqtt(self, channel: Channel) -> Application:
        return MqttConnection(channel, self._cloud, self._events)

    def _https(self, answerer: Answerer, link: Link) -> Application:
        return HttpConnection(link, answerer, self._mqtt, self._events)

    def _link(self, application: Callable[[Link], Application]) -> Callable[[], Link]:
        """Each new one is shown the chain of now; those that are open keep what they were shown."""
        identity, workers, links = self._identity, self._loop.workers, self._links

        def failed(reason: str, presented: Presented, asked: str) -> None:
            self._cloud.handshake_failed(reason, presented, Served(asked, identity.chain))

        return lambda: Link(identity.context, application, self._events, workers, links, failed)

    def _release(self) -> None:
        for bound, _ in self._bound:
            bound.close()


def _before(port: int | None) -> Iterable[int]:
    """What a hub may listen on: where it did the last time, then the next that is free."""
    return sockets.HUB_HTTPS_PORTS if port is None else (port, *sockets.HUB_HTTPS_PORTS)
