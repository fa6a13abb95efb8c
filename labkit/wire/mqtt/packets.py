"""The bytes of MQTT 3.1.1 (OASIS standard, chapters 2 and 3), the part that a server needs.

No sockets and no state but the bytes that wait for their packet's end. What a client may not
send raises MalformedPacket; the caller closes the connection, as section 4.8 demands.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum

LARGEST_PACKET = 256 * 1024 + 1024
"""IoT Hub's limit for a message, 256 KB, and room for its topic."""

SPOKEN = ("MQTT", 4)
"""Protocol name and level of MQTT 3.1.1; both services speak nothing else."""

_LONGEST_LENGTH = 4


class MalformedPacket(Exception):
    """A client broke the protocol; the text says how, and ``cure`` what it may do instead."""

    def __init__(self, text: str, cure: str = "let the client keep to MQTT 3.1.1") -> None:
        super().__init__(text)
        self.cure = cure


class Type(IntEnum):
    """The packet types of table 2.1 that are used here."""

    CONNECT = 1
    CONNACK = 2
    PUBLISH = 3
    PUBACK = 4
    SUBSCRIBE = 8
    SUBACK = 9
    UNSUBSCRIBE = 10
    UNSUBACK = 11
    PINGREQ = 12
    PINGRESP = 13
    DISCONNECT = 14


class ReturnCode(IntEnum):
    """Of CONNACK, table 3.1."""

    ACCEPTED = 0
    UNACCEPTABLE_PROTOCOL = 1
    IDENTIFIER_REJECTED = 2
    SERVER_UNAVAILABLE = 3
    BAD_USER_NAME_OR_PASSWORD = 4
    NOT_AUTHORIZED = 5


@dataclass(frozen=True, slots=True)
class Connect:
    """Who a client says it is; of another version than 3.1.1 only that is known."""

    protocol: str
    level: int
    client_id: str
    clean_session: bool
    keep_alive: int
    user_name: str = ""
    password: bytes | None = field(default=None, repr=False)

    @property
    def token(self) -> str:
        """A device with a symmetric key sends its SAS token as password."""
        return (self.password or b"").decode(errors="replace")


@dataclass(frozen=True, slots=True)
class Publish:
    """A message, either way. ``packet_id`` is there for QoS 1 and 2."""

    topic: str
    payload: bytes = b""
    qos: int = 0
    packet_id: int | None = None
    retain: bool = False
    duplicate: bool = False

    def encode(self) -> bytes:
        """As bytes, for a client."""
        flags = self.duplicate << 3 | self.qos << 1 | self.retain
        number = b"" if self.packet_id is None else struct.pack("!H", self.packet_id)
        return _packet(Type.PUBLISH, flags, _string(self.topic) + number + self.payload)


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """PUBACK, and UNSUBACK from the server."""

    packet_id: int


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Topic filters, each with the QoS that the client wants at the most."""

    packet_id: int
    filters: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """Topic filters that the client wants no more."""

    packet_id: int
    filters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ping:
    """The client says that it is there."""


@dataclass(frozen=True, slots=True)
class Disconnect:
    """The client says goodbye."""


Packet = Connect | Publish | Acknowledge | Subscribe | Unsubscribe | Ping | Disconnect


def connack(code: ReturnCode, *, present: bool = False) -> bytes:
    """``present`` says that subscriptions of an earlier session hold."""
    return _packet(Type.CONNACK, 0, bytes([present, code]))


def puback(packet_id: int) -> bytes:
    """Says that a message of QoS 1 was taken."""
    return _packet(Type.PUBACK, 0, struct.pack("!H", packet_id))


def suback(packet_id: int, granted: list[int]) -> bytes:
    """The QoS granted for each filter in turn, 0x80 for one that was refused."""
    return _packet(Type.SUBACK, 0, struct.pack("!H", packet_id) + bytes(granted))


def unsuback(packet_id: int) -> bytes:
    """Says that an UNSUBSCRIBE was done."""
    return _packet(Type.UNSUBACK, 0, struct.pack("!H", packet_id))


def pingresp() -> bytes:
    """Says that the server is there."""
    return _packet(Type.PINGRESP, 0, b"")


class Decoder:
    """Bytes in, packets out, one at a time. A packet that is larger than ``largest`` is refused
    at its header; nothing of it is waited for."""

    def __init__(self, largest: int = LARGEST_PACKET) -> None:
        self._buffer = bytearray()
        self._largest = largest

    def feed(self, data: bytes) -> None:
        """Takes bytes; then ask :meth:`take` for packets until there are no more."""
        self._buffer += data

    def take(self) -> Packet | None:
        """The next packet, if it is complete. Raises MalformedPacket."""
        header = self._header()
        if header is None or len(self._buffer) < header[1]:
            return None
        start, end = header
        first, body = self._buffer[0], bytes(self._buffer[start:end])
        del self._buffer[:end]
        return _parse(first >> 4, first & 15, _Reader(body))

    def _header(self) -> tuple[int, int] | None:
        """Where the body begins and ends (section 2.2.3), or None while that is unknown."""
        length = 0
        for place, byte in enumerate(self._buffer[1 : 1 + _LONGEST_LENGTH]):
            length |= (byte & 127) << 7 * place
            if byte < 128:
                if length > self._largest:
                    why = f"a packet of {length} bytes; {self._largest} at most"
                    raise MalformedPacket(why, "send less at a time")
                return 2 + place, 2 + place + length
        if len(self._buffer) > _LONGEST_LENGTH:
            raise MalformedPacket("the remaining length has more than 4 bytes")
        return None


class _Reader:
    """Takes a packet's body apart; whatever is missing is a malformed packet."""

    def __init__(self, data: bytes) -> None:
        self._data, self._place = data, 0

    @property
    def more(self) -> bool:
        return self._place < len(self._data)

    def take(self, count: int) -> bytes:
        end = self._place + count
        if end > len(self._data):
            raise MalformedPacket("a packet that ends too early")
        taken, self._place = self._data[self._place : end], end
        return taken

    def rest(self) -> bytes:
        return self.take(len(self._data) - self._place)

    def byte(self) -> int:
        return self.take(1)[0]

    def number(self) -> int:
        return int.from_bytes(self.take(2), "big")

    def packet_id(self) -> int:
        found = self.number()
        if found == 0:
            raise MalformedPacket("packet identifier 0")
        return found

    def binary(self) -> bytes:
        return self.take(self.number())

    def string(self) -> str:
        try:
            text = self.binary().decode()
        except UnicodeDecodeError as error:
            raise MalformedPacket("a string that is not UTF-8") from error
        if "\0" in text:
            raise MalformedPacket("a string with U+0000 in it")
        return text


def _parse(kind: int, flags: int, body: _Reader) -> Packet:
    try:
        kind = Type(kind)
    except ValueError:
        raise MalformedPacket(f"packet type {kind}") from None
    if kind is Type.PUBLISH:
        return _publish(flags, body)
    if flags != (2 if kind in _FLAGGED else 0):
        raise MalformedPacket(f"{kind.name} with reserved flags {flags:04b}")
    parser = _PARSERS.get(kind)
    if parser is None:
        raise MalformedPacket(f"{kind.name}, which only a server sends")
    packet = parser(body)
    if body.more:
        raise MalformedPacket(f"{kind.name} with bytes behind its end")
    return packet


def _connect(body: _Reader) -> Connect:
    protocol, level = body.string(), body.byte()
    if (protocol, level) != SPOKEN:  # what follows may look different in another version
        body.rest()
        return Connect(protocol, level, "", clean_session=True, keep_alive=0)
    flags, keep_alive = body.byte(), body.number()
    _check_connect_flags(flags)
    client_id = body.string()
    if flags & 4:  # a will: taken from the wire, and sent to nobody
        body.string()
        body.binary()
    user_name = body.string() if flags & 128 else ""
    password = body.binary() if flags & 64 else None
    return Connect(protocol, level, client_id, bool(flags & 2), keep_alive, user_name, password)


def _check_connect_flags(flags: int) -> None:
    """Sections 3.1.2.3 to 3.1.2.9: what one flag says of another."""
    will, will_rest = flags & 4, flags & 0b111000
    wrong = {
        "the reserved flag set": flags & 1,
        "a will's QoS or retain, and no will": will_rest and not will,
        "a will of QoS 3": will_rest & 0b11000 == 0b11000,
        "a password and no user name": flags & 64 and not flags & 128,
    }
    for what, broken in wrong.items():
        if broken:
            raise MalformedPacket(f"CONNECT with {what}")


def _publish(flags: int, body: _Reader) -> Publish:
    qos = flags >> 1 & 3
    if qos == 3:
        raise MalformedPacket("PUBLISH with QoS 3")
    if flags & 8 and not qos:  # MQTT-3.3.1-2: what is sent at most once is never sent again
        raise MalformedPacket("PUBLISH again (DUP) with QoS 0")
    topic = body.string()
    if not topic or "#" in topic or "+" in topic:
        raise MalformedPacket(f"{topic!r} as a topic to publish to")
    packet_id = body.packet_id() if qos else None
    return Publish(topic, body.rest(), qos, packet_id, bool(flags & 1), bool(flags & 8))


def _subscribe(body: _Reader) -> Subscribe:
    packet_id, filters = body.packet_id(), []
    while body.more:
        topic, qos = body.string(), body.byte()
        if qos > 2 or not topic:
            raise MalformedPacket(f"SUBSCRIBE to {topic!r} with QoS {qos}")
        filters.append((topic, qos))
    if not filters:
        raise MalformedPacket("SUBSCRIBE to nothing")
    return Subscribe(packet_id, tuple(filters))


def _unsubscribe(body: _Reader) -> Unsubscribe:
    packet_id, filters = body.packet_id(), []
    while body.more:
        filters.append(body.string())
    if not filters:
        raise MalformedPacket("UNSUBSCRIBE from nothing")
    return Unsubscribe(packet_id, tuple(filters))


_FLAGGED = (Type.SUBSCRIBE, Type.UNSUBSCRIBE)
_PARSERS: dict[Type, Callable[[_Reader], Packet]] = {
    Type.CONNECT: _connect,
    Type.PUBACK: lambda body: Acknowledge(body.packet_id()),
    Type.SUBSCRIBE: _subscribe,
    Type.UNSUBSCRIBE: _unsubscribe,
    Type.PINGREQ: lambda body: Ping(),
    Type.DISCONNECT: lambda body: Disconnect(),
}


def _string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("!H", len(data)) + data


def _packet(kind: Type, flags: int, body: bytes) -> bytes:
    return bytes([kind << 4 | flags]) + _length(len(body)) + body


def _length(length: int) -> bytes:
    out = bytearray()
    while True:
        length, byte = divmod(length, 128)
        out.append(byte | (128 if length else 0))
        if not length:
            return bytes(out)
