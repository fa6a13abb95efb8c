"""What a service sends on its own account, and when a message is acknowledged: a session alone."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping

import pytest
import wire_clients as wire
from hypothesis import given
from hypothesis import strategies as st
from wire_clients import connect, publish, subscribe, take_packet, unsubscribe

from labkit.wire.mqtt.packets import Publish
from labkit.wire.mqtt.session import MOST_WAITING, WINDOW, Face, Session

HELLO = connect("widget", "user")


class Keeper(Face):
    """Keeps messages to ``keep`` when told to settle; answers all others at once."""

    def __init__(self, kept: Mapping[str, int]) -> None:
        self.settled: list[list[bytes]] = []
        self.listening: Mapping[str, int] = {}
        self._taken: list[bytes] = []
        self._kept, self.fails = kept, False

    @property
    def kept(self) -> Mapping[str, int]:
        return self._kept

    def may_subscribe(self, topic_filter: str) -> bool:
        return True

    def subscribed(self, subscriptions: Mapping[str, int]) -> None:
        self.listening = dict(subscriptions)

    def publish(self, message: Publish) -> Iterable[Publish] | None:
        if message.topic == "keep":
            self._taken.append(message.payload)
            return None
        return [Publish("answer", message.payload)]

    def settle(self) -> None:
        if self.fails:
            raise OSError("the disk is full")
        self.settled.append(self._taken)
        self._taken = []


class Client:
    """A session, and what it sends."""

    def __init__(self, kept: Mapping[str, int] | None = None) -> None:
        self.face = Keeper(kept or {})
        self._out = bytearray()
        self.arrived: list[str] = []
        self.session = Session(lambda _: self.face, self._out.extend)

    def receive(self, *data: bytes) -> list[wire.Received]:
        """As a connection does with what one read brought."""
        self.session.feed(b"".join(data))
        while self.session.step():
            pass
        self.session.settle()
        return self.sent()

    def push(self, topic: str, qos: int = 1) -> None:
        self.session.push(Publish(topic, topic.encode(), qos), lambda: self.arrived.append(topic))

    def sent(self) -> list[wire.Received]:
        while self.session.hand_out():
            pass
        data, self._out[:] = bytearray(self._out), b""
        found = []
        while (one := take_packet(data)) is not None:
            found.append(one)
        assert not data
        return found


def kinds(found: Iterable[wire.Received]) -> list[int]:
    return [one.kind for one in found]


def puback(number: int) -> bytes:
    return wire.packet(wire.PUBACK, 0, struct.pack("!H", number))


def number(message: wire.Received) -> int:
    """The packet identifier of a PUBLISH of QoS 1."""
    start = 2 + int.from_bytes(message.body[:2], "big")
    return int.from_bytes(message.body[start : start + 2], "big")


# ---- acknowledged once it is kept


def test_one_read_is_kept_in_one_group_and_acknowledged_in_order_behind_it() -> None:
    client = Client()
    client.receive(HELLO)
    found = client.receive(*(publish("keep", b"%d" % n, packet_id=n) for n in range(1, 50)))
    assert client.face.settled == [[b"%d" % n for n in range(1, 50)]]
    assert [int.from_bytes(one.body, "big") for one in found] == list(range(1, 50))


def test_nothing_is_acknowledged_that_could_not_be_kept() -> None:
    client = Client()
    client.receive(HELLO)
    client.face.fails = True
    with pytest.raises(OSError, match="full"):
        client.receive(publish("keep"))
    client.face.fails = False
    assert client.sent() == []


def test_what_was_kept_before_a_broken_rule_is_acknowledged() -> None:
    client = Client()
    client.receive(HELLO)
    found = client.receive(publish("keep", packet_id=1), publish("keep", qos=2, packet_id=2))
    assert kinds(found) == [wire.PUBACK]
    assert client.session.over


steps = st.sampled_from(
    [
        lambda n: publish("keep", packet_id=n),
        lambda n: publish("keep", packet_id=None, qos=0),
        lambda n: publish("other", packet_id=n),
        lambda n: wire.PING,
        lambda n: subscribe("more/#", packet_id=n),
        lambda n: unsubscribe("more/#", packet_id=n),
    ]
)


@given(st.lists(steps, max_size=20))
def test_answers_keep_the_order_of_what_they_answer(wanted: list) -> None:  # type: ignore[type-arg]
    """A PUBACK that waits for its group is not overtaken."""
    client = Client()
    client.receive(HELLO, subscribe("answer", packet_id=9999))
    packets = [make(n) for n, make in enumerate(wanted, start=1)]
    together = client.receive(*packets)
    other = Client()
    other.receive(HELLO, subscribe("answer", packet_id=9999))
    assert together == [answer for packet in packets for answer in other.receive(packet)]


# ---- the way to the client


@pytest.mark.parametrize(
    ("granted", "wanted", "used"), [(1, 1, 1), (0, 1, 0), (1, 0, 0), (0, 0, 0)]
)
def test_a_message_goes_at_the_lesser_qos(granted: int, wanted: int, used: int) -> None:
    client = Client()
    client.receive(HELLO, subscribe("news/#", qos=granted))
    client.push("news/1", wanted)
    (found,) = client.sent()
    assert (found.kind, client.arrived == ["news/1"]) == (wire.PUBLISH, used == 0)
    if used:
        assert client.receive(puback(number(found))) == []
    assert client.arrived == ["news/1"]


def test_who_did_not_subscribe_gets_nothing_and_completes_nothing() -> None:
    client = Client()
    client.receive(HELLO, subscribe("news/#"))
    client.push("elsewhere")
    client.push("news/1")
    assert [one.topic for one in client.sent()] == ["news/1"]
    client.receive(unsubscribe("news/#"))
    client.push("news/2")
    assert client.sent() == []
    assert client.arrived == []


def test_a_window_is_under_way_and_each_puback_lets_the_next_go() -> None:
    client = Client()
    client.receive(HELLO, subscribe("news/#"))
    for n in range(WINDOW + 2):
        client.push(f"news/{n}")
    first = client.sent()
    assert len(first) == WINDOW
    assert len({number(one) for one in first}) == WINDOW
    (more,) = client.receive(puback(number(first[3])))
    assert more.topic == f"news/{WINDOW}"
    assert client.arrived == ["news/3"]


def test_what_needs_no_puback_does_not_wait_for_the_window() -> None:
    """A device that takes its time over cloud-to-device messages can be called all the same."""
    client = Client()
    client.receive(HELLO, subscribe("news/#"), subscribe("calls/#", qos=0))
    for n in range(WINDOW + 1):
        client.push(f"news/{n}")
    assert len(client.sent()) == WINDOW
    client.push("calls/1")
    client.push("elsewhere")
    client.push("calls/2")
    assert [one.topic for one in client.sent()] == ["calls/1", "calls/2"]
    (more,) = client.receive(puback(1))
    assert more.topic == f"news/{WINDOW}"


def test_a_puback_that_nobody_waits_for_does_nothing() -> None:
    client = Client()
    client.receive(HELLO, subscribe("news/#"))
    client.push("news/1")
    (found,) = client.sent()
    client.receive(puback(number(found) + 1), puback(number(found)), puback(number(found)))
    assert client.arrived == ["news/1"]
    assert not client.session.over


def test_packet_identifiers_are_never_0_and_begin_again() -> None:
    client = Client()
    client.receive(HELLO, subscribe("n"))
    client.session._last_id = 0xFFFE
    client.push("n")
    client.push("n")
    assert [number(one) for one in client.sent()] == [0xFFFF, 1]


def test_who_takes_nothing_is_cut_off_before_much_waits() -> None:
    client = Client()
    client.receive(HELLO, subscribe("news/#"))
    for n in range(WINDOW + MOST_WAITING):
        client.push(f"news/{n}")
        if n < WINDOW:
            client.sent()
    assert not client.session.over
    client.push("one more")
    assert client.session.over
    assert "takes none" in client.session.fault


def test_nothing_is_sent_before_connack_nor_behind_the_end() -> None:
    client = Client(kept={"news/#": 1})
    client.push("news/1")
    assert client.sent() == []
    assert kinds(client.receive(HELLO)) == [wire.CONNACK, wire.PUBLISH]
    client.receive(wire.DISCONNECT)
    client.push("news/2")
    assert client.sent() == []


def test_kept_subscriptions_hold_and_connack_says_so() -> None:
    """MQTT 3.1.1, 3.2.2.2: session present."""
    client = Client(kept={"news/#": 1})
    assert client.receive(HELLO)[0].body == b"\1\0"
    client.push("news/1")
    assert [one.topic for one in client.sent()] == ["news/1"]
    client.receive(subscribe("more"))
    assert client.face.listening == {"news/#": 1, "more": 1}
    assert Client().receive(HELLO)[0].body == b"\0\0"
