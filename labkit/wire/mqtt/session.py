"""One MQTT client, without its socket: bytes in, bytes out, and whether it is over.

Packets are taken one by one, when the owner says so: it stops while the client does not read
the answers, and so never holds more of them than those to one packet.

    new ──CONNECT, accepted──> connected ──DISCONNECT, or a broken rule──> over
     └────CONNECT, refused───────────────────────────────────────────────> over

What a topic means is the service's: a :class:`Face` is one service as its client sees it. What
may take its time it gives as a job: the owner does it elsewhere, and nothing else is taken up
until it brings the answers. What the service can keep together with what comes behind it is
acknowledged once it was settled:

    PUBLISH ──taken──> owed ──the last packet of a read──> settled ──> PUBACK, PUBACK, …

What the service sends on its own account waits in a line of its own, of which at most a window
is under way at QoS 1; what goes at QoS 0 does not wait for that.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Protocol, TypeAlias

from labkit.steps import Steps
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

WINDOW = 16
"""Messages of QoS 1 that may be on their way to a client without its PUBACK."""
MOST_WAITING = 200
"""Messages that may wait for a client. One for whom more would is cut off."""

_REFUSED_SUBSCRIPTION = 0x80
_LARGEST_QOS = 1
_LAST_PACKET_ID = 0xFFFF


class Denied(Exception):
    """The client may not connect; ``code`` is all that CONNACK has room for."""

    def __init__(self, code: ReturnCode) -> None:
        self.code = code
        super().__init__(code.name)


Job: TypeAlias = Callable[[], Iterable[Publish]] | Steps[Iterable[Publish]]
"""What gives the answers to a message, in its time: in any thread; or in steps, whose tasks may be
done anywhere. Raises nothing."""


class Line(Protocol):
    """The way back to a client, for what the service sends on its own account. In any thread."""

    def send(self, message: Publish, arrived: Callable[[], None]) -> None:
        """Brings it to a client that listens, at the QoS of the message or of the subscription,
        whichever is less; ``arrived`` is called once it has it, on the listener's thread."""
        ...

    def beside(self, job: Callable[[], None]) -> None:
        """Does elsewhere what is no answer; the client goes on meanwhile."""
        ...

    def end(self, why: str) -> None:
        """Closes the connection."""
        ...


class Face(ABC):
    """A service as one connected client sees it. What is empty is nothing to most services."""

    @property
    def kept(self) -> Mapping[str, int]:
        """The subscriptions that the service kept of the client's last session, with their QoS."""
        return {}

    @abstractmethod
    def may_subscribe(self, topic_filter: str) -> bool:
        """Whether the client may have this filter; it bounds how many it can have at all."""

    def subscribed(self, subscriptions: Mapping[str, int]) -> None:  # noqa: B027
        """What the client listens to from now on, and at which QoS."""

    @abstractmethod
    def publish(self, message: Publish) -> Iterable[Publish] | Job | None:
        """Takes a message and gives the answers to it, the job that gives them, or None for one
        that :meth:`settle` keeps. Raises MalformedPacket for one that ends the connection."""

    def settle(self) -> None:  # noqa: B027
        """Keeps what was taken. It is acknowledged then."""

    def closed(self) -> None:  # noqa: B027
        """The connection is gone."""


class Watcher:
    """Told of every packet of a connected client, and of every message to it. Decides nothing."""

    def received_packet(self, packet: Packet) -> None: ...

    def sent_message(self, message: Publish) -> None: ...

    def refused_filters(self, filters: Iterable[str]) -> None: ...


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
        self._owed: list[bytes] | None = None
        self._outbox: deque[tuple[Publish, Callable[[], None]]] = deque()
        self._under_way: dict[int, Callable[[], None]] = {}
        self._last_id = 0
        self.job: Job | None = None
        self.over = False
        self.keep_alive = 0
        self.fault = self.cure = ""

    @property
    def connected(self) -> bool:
        return self._face is not None and not self.over

    @property
    def was_let_in(self) -> bool:
        """Whether a service knows the client, and has not been told that it is gone."""
        return self._face is not None

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
            self.over, self.fault, self.cure = True, str(error), error.cure
            return False
        return packet is not None

    def done(self, answers: Iterable[Publish]) -> None:
        """Brings the answers of the ``job``."""
        assert self._taken is not None, "nobody was asked"
        self.job = None
        self._answer(self._taken, answers)

    def settle(self) -> None:
        """Lets the service keep what it has taken, and acknowledges that."""
        owed, self._owed = self._owed, None
        if owed is not None and self._face is not None:
            self._face.settle()
            self._send(b"".join(owed))

    def push(self, message: Publish, arrived: Callable[[], None]) -> None:
        """Puts a message of the service in the client's line: see :meth:`hand_out`."""
        if self.over:
            return
        self._outbox.append((message, arrived))
        if len(self._outbox) > MOST_WAITING:
            self.over = True
            self.fault = f"more than {MOST_WAITING} messages wait, and it takes none"
            self.cure = "let the client read, and acknowledge what it has got"

    def hand_out(self) -> bool:
        """Sends the first message in line that may go; False where none may now. One that the
        client did not subscribe to is passed over."""
        place = self._first_to_go() if self.connected else None
        if place is None:
            return False
        message, arrived = self._outbox[place]
        del self._outbox[place]
        qos = self._qos_of(message)
        if qos is None:
            return True
        if qos:
            self._last_id = self._last_id % _LAST_PACKET_ID + 1
            self._under_way[self._last_id] = arrived
            message = replace(message, qos=qos, packet_id=self._last_id)
        else:
            message = replace(message, qos=0, packet_id=None)
        self._watcher.sent_message(message)
        self._write(message.encode())
        if not qos:
            arrived()
        return True

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
            face.subscribed(self._subscriptions)
            self._write(unsuback(packet.packet_id))
        elif isinstance(packet, Ping):
            self._write(pingresp())
        elif isinstance(packet, Disconnect):
            self.over = True
        else:
            assert isinstance(packet, Acknowledge)
            self._under_way.pop(packet.packet_id, _nothing)()

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
        if self._face is not None:
            self._subscriptions = dict(self._face.kept)
        self._send(connack(code, present=bool(self._subscriptions)))
        self.over, self.keep_alive = code is not ReturnCode.ACCEPTED, packet.keep_alive

    def _publish(self, face: Face, message: Publish) -> None:
        if message.qos > _LARGEST_QOS:
            why = "PUBLISH with QoS 2, which the service does not offer"
            raise MalformedPacket(why, "publish with QoS 0 or 1")
        answers = face.publish(message)
        if answers is None:
            self._owed = self._owed or []
            if message.packet_id is not None:
                self._owed.append(puback(message.packet_id))
        elif callable(answers) or isinstance(answers, Generator):
            self.settle()
            self.job, self._taken = answers, message
        else:
            self._answer(message, answers)

    def _answer(self, message: Publish, answers: Iterable[Publish]) -> None:
        """In one go: each write is a TLS record and a system call."""
        found = [packet for answer in answers for packet in self._delivered(answer)]
        if message.packet_id is not None:
            found.insert(0, puback(message.packet_id))
        self._write(b"".join(found))

    def _subscribe(self, face: Face, packet: Subscribe) -> None:
        granted, refused = [], []
        for topic, qos in packet.filters:
            if face.may_subscribe(topic):
                self._subscriptions[topic] = min(qos, _LARGEST_QOS)
                granted.append(self._subscriptions[topic])
            else:
                granted.append(_REFUSED_SUBSCRIPTION)
                refused.append(topic)
        if refused:
            self._watcher.refused_filters(refused)
        face.subscribed(self._subscriptions)  # before the client is told, which counts on it
        self._write(suback(packet.packet_id, granted))

    def _delivered(self, message: Publish) -> Iterator[bytes]:
        """To a client that subscribed to the topic, at QoS 0; others do not get it."""
        if self._granted(message.topic) is not None:
            self._watcher.sent_message(message)
            yield message.encode()

    def _granted(self, topic: str) -> int | None:
        """At which QoS the client listens to a topic; None where it does not."""
        fitting = [qos for wanted, qos in self._subscriptions.items() if matches(wanted, topic)]
        return max(fitting) if fitting else None

    def _qos_of(self, message: Publish) -> int | None:
        """At which QoS the client gets a message; None where it does not."""
        granted = self._granted(message.topic)
        return None if granted is None else min(granted, message.qos)

    def _first_to_go(self) -> int | None:
        """Its place in the line. Where the window is full, what needs no PUBACK may go ahead: a
        device that takes its time over messages can be called all the same."""
        full = len(self._under_way) >= WINDOW
        places = (
            n
            for n, (message, _) in enumerate(self._outbox)
            if not full or not self._qos_of(message)
        )
        return next(places, None)

    def _write(self, data: bytes) -> None:
        """Behind what is owed: a client gets its answers in the order of its messages."""
        self.settle()
        self._send(data)


def _nothing() -> None:
    """What a PUBACK says of a message that nobody sent."""


def matches(topic_filter: str, topic: str) -> bool:
    """Whether a filter with ``+`` and ``#`` takes in a topic (MQTT 3.1.1, section 4.7)."""
    wanted, found = topic_filter.split("/"), topic.split("/")
    for level, part in enumerate(wanted):
        if part == "#":
            return True
        if level >= len(found) or part not in ("+", found[level]):
            return False
    return len(wanted) == len(found)
