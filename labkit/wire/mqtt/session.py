"""One MQTT client, without its socket: bytes in, bytes out, and whether it is over.

Packets are taken one by one, when the owner says so: it stops while the client does not read
the answers, and so never holds more of them than those to one packet.

    new ──CONNECT, accepted──> connected ──DISCONNECT, or a broken rule──> over
     └────CONNECT, refused───────────────────────────────────────────────> over

What a topic means is the service's: a :class:`Face` is one service as its client sees it. What
may take its time it gives as a job: the owner does it elsewhere, and nothing else is taken up
until it brings the answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeAlias

from labkit.wire.mqtt.packets import (
    SPOKEN,
    Acknowledge,
    Connect,
    Decoder,
    Disconnect,
    MalformedPacket,
    Packet,
    Ping,
    Publish,
    ReturnCode,
    Subscribe,
    Unsubscribe,
    connack,
    pingresp,
    puback,
    suback,
    unsuback,
)

_REFUSED_SUBSCRIPTION = 0x80
_LARGEST_QOS = 1


class Denied(Exception):
    """The client may not connect; ``code`` is all that CONNACK has room for."""

    def __init__(self, code: ReturnCode) -> None:
        self.code = code
        super().__init__(code.name)


Job: TypeAlias = Callable[[], Iterable[Publish]]
"""What gives the answers to a message, in its time, in any thread. Raises nothing."""


class Face(Protocol):
    """A service as one connected client sees it."""

    def may_subscribe(self, topic_filter: str) -> bool:
        """Whether the client may have this filter; it bounds how many it can have at all."""
        ...

    def publish(self, message: Publish) -> Iterable[Publish] | Job:
        """Takes a message and gives the answers to it, or the job that gives them. Raises
        MalformedPacket for a message that ends the connection."""
        ...

    def closed(self) -> None: ...


class Watcher:
    """Told of every packet of a connected client, and of every message to it. Decides nothing."""

    def received_packet(self, packet: Packet) -> None: ...

    def sent_message(self, message: Publish) -> None: ...


class Session:
    """Feeds a client's packets to a service. ``enter`` decides who may connect (raises Denied),
    ``send`` takes the bytes for the client."""

    def __init__(
        self,
        enter: Callable[[Connect], Face],
        send: Callable[[bytes], None],
        watcher: Watcher = Watcher(),  # noqa: B008  stateless
    ) -> None:
        self._enter, self._send, self._watcher = enter, send, watcher
        self._decoder = Decoder()
        self._subscriptions: dict[str, int] = {}
        self._face: Face | None = None
        self._taken: Publish | None = None
        self.job: Job | None = None
        self.over = False
        self.keep_alive = 0
        self.fault = ""

    @property
    def connected(self) -> bool:
        return self._face is not None and not self.over

    def feed(self, data: bytes) -> None:
        """Keeps bytes from the client for :meth:`step`. Once it is over, they are dropped."""
        if not self.over:
            self._decoder.feed(data)

    def step(self) -> bool:
        """Takes the next packet and sends what answers it; then look at ``over``.

        False where no whole packet waits, none is taken any more, or a ``job`` is to be done
        first.
        """
        if self.over or self.job:
            return False
        try:
            packet = self._decoder.take()
            if packet is not None:
                self._take(packet)
        except MalformedPacket as error:
            self.over, self.fault = True, str(error)
            return False
        return packet is not None

    def done(self, answers: Iterable[Publish]) -> None:
        """Brings the answers of the ``job``."""
        assert self._taken is not None, "nobody was asked"
        self.job = None
        self._answer(self._taken, answers)

    def close(self) -> None:
        """The connection is gone: tells the service, once."""
        self.over = True
        if self._face is not None:
            self._face.closed()
            self._face = None

    def _take(self, packet: Packet) -> None:
        if isinstance(packet, Connect):
            self._connect(packet)
        elif self._face is None:
            raise MalformedPacket(f"{type(packet).__name__.upper()} before CONNECT")
        else:
            self._watcher.received_packet(packet)
            self._take_from(self._face, packet)

    def _take_from(self, face: Face, packet: Packet) -> None:
        if isinstance(packet, Publish):
            self._publish(face, packet)
        elif isinstance(packet, Subscribe):
            self._subscribe(face, packet)
        elif isinstance(packet, Unsubscribe):
            for topic in packet.filters:
                self._subscriptions.pop(topic, None)
            self._send(unsuback(packet.packet_id))
        elif isinstance(packet, Ping):
            self._send(pingresp())
        elif isinstance(packet, Disconnect):
            self.over = True
        else:
            assert isinstance(packet, Acknowledge)  # of a QoS 1 answer: nothing is resent here

    def _connect(self, packet: Connect) -> None:
        if self._face is not None:
            raise MalformedPacket("a second CONNECT")
        code = ReturnCode.ACCEPTED
        if (packet.protocol, packet.level) != SPOKEN:
            code = ReturnCode.UNACCEPTABLE_PROTOCOL
            self.fault = f"{packet.protocol!r} level {packet.level}; only MQTT 3.1.1 is spoken"
        elif not packet.client_id and not packet.clean_session:
            code = ReturnCode.IDENTIFIER_REJECTED  # MQTT-3.1.3-8
            self.fault = "an empty client ID, and a session that is to be kept"
        else:
            try:
                self._face = self._enter(packet)
            except Denied as denied:
                code = denied.code
        self._send(connack(code))
        self.over, self.keep_alive = code is not ReturnCode.ACCEPTED, packet.keep_alive

    def _publish(self, face: Face, message: Publish) -> None:
        if message.qos > _LARGEST_QOS:
            raise MalformedPacket("PUBLISH with QoS 2, which the service does not offer")
        answers = face.publish(message)
        if callable(answers):
            self.job, self._taken = answers, message
        else:
            self._answer(message, answers)

    def _answer(self, message: Publish, answers: Iterable[Publish]) -> None:
        """In one go: each write is a TLS record and a system call."""
        found = [packet for answer in answers for packet in self._delivered(answer)]
        if message.packet_id is not None:
            found.insert(0, puback(message.packet_id))
        self._send(b"".join(found))

    def _subscribe(self, face: Face, packet: Subscribe) -> None:
        granted = []
        for topic, qos in packet.filters:
            if face.may_subscribe(topic):
                self._subscriptions[topic] = min(qos, _LARGEST_QOS)
                granted.append(self._subscriptions[topic])
            else:
                granted.append(_REFUSED_SUBSCRIPTION)
        self._send(suback(packet.packet_id, granted))

    def _delivered(self, message: Publish) -> Iterator[bytes]:
        """To a client that subscribed to the topic, at QoS 0; others do not get it."""
        if any(matches(topic, message.topic) for topic in self._subscriptions):
            self._watcher.sent_message(message)
            yield message.encode()


def matches(topic_filter: str, topic: str) -> bool:
    """Whether a filter with ``+`` and ``#`` takes in a topic (MQTT 3.1.1, section 4.7)."""
    wanted, found = topic_filter.split("/"), topic.split("/")
    for level, part in enumerate(wanted):
        if part == "#":
            return True
        if level >= len(found) or part not in ("+", found[level]):
            return False
    return len(wanted) == len(found)
