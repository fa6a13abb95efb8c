"""One MQTT client without its socket, and the topics that both services use."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import pytest
import wire_clients as wire
from hypothesis import given
from hypothesis import strategies as st
from wire_clients import connect, publish, subscribe, take_packet, unsubscribe

from labkit.wire.mqtt import topics
from labkit.wire.mqtt.packets import Connect, MalformedPacket, Publish, ReturnCode
from labkit.wire.mqtt.session import Denied, Face, Session, matches


class Echo(Face):
    """A service that answers each message on the topic ``echo/…``."""

    def __init__(self) -> None:
        self.closings = 0
        self.messages: list[Publish] = []

    def may_subscribe(self, topic_filter: str) -> bool:
        return topic_filter.startswith("echo")

    def publish(self, message: Publish) -> Iterable[Publish]:
        self.messages.append(message)
        return [Publish(f"echo/{message.topic}", message.payload)]

    def closed(self) -> None:
        self.closings += 1


class Client:
    """A session with its own end of the line: what is received at once comes back as bytes."""

    def __init__(self, enter: Callable[[Connect], Echo]) -> None:
        self.out = bytearray()
        self.session = Session(enter, self.out.extend)

    def receive(self, data: bytes) -> bytes:
        self.session.feed(data)
        while self.session.step():
            pass
        self.session.settle()
        found = bytes(self.out)
        self.out.clear()
        return found

    def close(self) -> None:
        self.session.close()

    @property
    def over(self) -> bool:
        return self.session.over

    @property
    def connected(self) -> bool:
        return self.session.connected

    @property
    def fault(self) -> str:
        return self.session.fault


def session(*, deny: bool = False) -> tuple[Client, Echo]:
    echo = Echo()

    def enter(_: Connect) -> Echo:
        if deny:
            raise Denied(ReturnCode.NOT_AUTHORIZED)
        return echo

    return Client(enter), echo


def packets(data: bytes) -> list[wire.Received]:
    rest, found = bytearray(data), list[wire.Received]()
    while (one := take_packet(rest)) is not None:
        found.append(one)
    assert not rest
    return found


def kinds(data: bytes) -> list[int]:
    return [found.kind for found in packets(data)]


HELLO = connect("widget", "user")


def test_a_conversation() -> None:
    client, _echo = session()
    assert client.receive(HELLO) == b"\x20\x02\x00\x00"
    assert kinds(client.receive(subscribe("echo/#"))) == [wire.SUBACK]
    answers = packets(client.receive(publish("t", b"hello", packet_id=7)))
    assert [a.kind for a in answers] == [wire.PUBACK, wire.PUBLISH]
    assert (answers[1].topic, answers[1].payload) == ("echo/t", b"hello")
    assert kinds(client.receive(wire.PING)) == [wire.PINGRESP]
    assert kinds(client.receive(unsubscribe("echo/#"))) == [wire.UNSUBACK]
    assert kinds(client.receive(publish("t", packet_id=8))) == [wire.PUBACK]
    assert client.receive(wire.DISCONNECT) == b""
    assert client.over
    assert client.fault == ""


def test_a_message_of_qos_0_has_no_puback() -> None:
    client, echo = session()
    client.receive(HELLO)
    assert client.receive(publish("t", packet_id=None, qos=0)) == b""
    assert len(echo.messages) == 1


def test_a_refused_client_gets_its_code_and_the_end() -> None:
    client, _echo = session(deny=True)
    assert client.receive(HELLO + subscribe("echo/#")) == b"\x20\x02\x00\x05"
    assert client.over
    assert not client.connected


@pytest.mark.parametrize(
    "hello",
    [
        connect("widget", "user", level=5, properties=b"\0"),
        connect("widget", "user", level=5, properties=b"\x05\x11\0\0\0\x3c"),
        connect("widget", "user", protocol="MQIsdp", level=3),
        connect("widget", "user", protocol="XMPP"),
    ],
    ids=["MQTT 5", "MQTT 5 with properties", "MQTT 3.1", "something else"],
)
def test_another_version_is_told_so_by_connack_1(hello: bytes) -> None:
    """MQTT-3.1.2-2: the server MUST respond with return code 1 and then disconnect."""
    client, _ = session()
    assert client.receive(hello) == b"\x20\x02\x00\x01", client.fault
    assert client.over
    assert "3.1.1" in client.fault


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (publish("t"), "before CONNECT"),
        (wire.PING, "before CONNECT"),
        (HELLO + HELLO, "second CONNECT"),
        (HELLO + publish("t", qos=2), "QoS 2"),
        (HELLO + b"\xf0\x00", "packet type 15"),
    ],
    ids=["PUBLISH first", "PINGREQ first", "CONNECT twice", "QoS 2", "nonsense"],
)
def test_a_broken_rule_ends_the_session_and_is_named(data: bytes, fault: str) -> None:
    client, _ = session()
    client.receive(data)
    assert client.over
    assert fault in client.fault


def test_a_filter_that_the_service_does_not_offer_is_refused_alone() -> None:
    client, _ = session()
    client.receive(HELLO)
    (answer,) = packets(client.receive(subscribe("echo/#", "secrets/#", "echo/+")))
    assert answer.body == b"\0\2\1\x80\1"


def test_granted_is_at_most_qos_1() -> None:
    client, _ = session()
    client.receive(HELLO)
    (answer,) = packets(client.receive(subscribe("echo/#", qos=2)))
    assert answer.body[-1] == 1


def test_packets_are_taken_one_by_one() -> None:
    """A client that does not read its answers is given no more to do: nothing piles up."""
    client, echo = session()
    client.session.feed(HELLO + subscribe("echo/#") + publish("t") * 450)
    for _ in range(3):
        assert client.session.step()
    assert len(echo.messages) == 1
    assert [found.kind for found in packets(bytes(client.out))] == [
        wire.CONNACK, wire.SUBACK, wire.PUBACK, wire.PUBLISH,
    ]  # fmt: skip
    assert len(kinds(client.receive(b""))) == 4 + 449 * 2


@pytest.mark.parametrize(("clean", "code"), [(False, 2), (True, 0)])
def test_no_client_id_is_for_clean_sessions_only(clean: bool, code: int) -> None:
    """MQTT-3.1.3-8: CONNACK 2, identifier rejected, and the end."""
    client, _ = session()
    assert client.receive(connect("", "user", clean=clean)) == bytes([0x20, 2, 0, code])
    assert client.over is bool(code)


def test_the_service_is_told_of_the_end_once() -> None:
    client, echo = session()
    client.receive(HELLO)
    client.close()
    client.close()
    assert echo.closings == 1


def test_nothing_is_taken_any_more_once_it_is_over() -> None:
    client, echo = session()
    client.receive(HELLO + wire.DISCONNECT)
    assert client.receive(publish("t") + wire.PING) == b""
    assert echo.messages == []


# ---- any sequence of packets

steps = st.sampled_from(
    [
        HELLO,
        connect("other"),
        subscribe("echo/#"),
        subscribe("nothing"),
        unsubscribe("echo/#"),
        publish("t"),
        publish("t", packet_id=None, qos=0),
        publish("t", qos=2),
        wire.PING,
        wire.DISCONNECT,
        b"\xf0\x00",
        b"\x00",
        b"\x82",
    ]
)


@given(st.lists(steps, max_size=12), st.booleans())
def test_whatever_is_sent_the_session_keeps_its_order(sent: list[bytes], deny: bool) -> None:
    """Nothing before CONNACK, one CONNACK at most, nothing behind a refusal, none after the end."""
    client, echo = session(deny=deny)
    out = b""
    for data in sent:
        was_over = client.over
        answer = client.receive(data)
        assert not (was_over and answer)
        out += answer
    found = packets(out)
    if found:
        assert found[0].kind == wire.CONNACK
    assert [f.kind for f in found].count(wire.CONNACK) <= 1
    if deny:
        assert len(found) <= 1
        assert echo.messages == []


@given(st.lists(steps, max_size=8))
def test_whole_or_in_pieces_the_answers_are_the_same(sent: list[bytes]) -> None:
    whole, pieces = session()[0], session()[0]
    data = b"".join(sent)
    answers = b"".join(pieces.receive(data[n : n + 1]) for n in range(len(data)))
    assert whole.receive(data) == answers


# ---- filters

levels = st.sampled_from(["a", "b", "", "$dps", "res", "1"])
paths = st.lists(levels, min_size=1, max_size=4).map("/".join)
filters = st.lists(levels | st.just("+"), min_size=1, max_size=4).map("/".join)


@given(st.one_of(filters, filters.map(lambda f: f + "/#"), st.just("#")), paths)
def test_filters_match_as_a_regular_expression_would(topic_filter: str, topic: str) -> None:
    parts = [{"+": "[^/]*"}.get(part, re.escape(part)) for part in topic_filter.split("/")]
    if parts[-1] == re.escape("#"):
        pattern = "/".join(parts[:-1]) + ("(/.*)?" if parts[:-1] else ".*")
    else:
        pattern = "/".join(parts)
    assert matches(topic_filter, topic) is (re.fullmatch(pattern, topic, re.DOTALL) is not None)


# ---- topics

path = st.lists(st.text("abc$-", min_size=1, max_size=4), min_size=1, max_size=4).map("/".join)


written = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="&?"), max_size=20)


@given(path, written, st.text(st.characters(exclude_categories=["Cs"]), max_size=8))
def test_a_request_id_is_echoed_byte_for_byte(where: str, rid: str, version: str) -> None:
    """Not decoded and encoded again: the client compares it with what it wrote."""
    topic = f"{where}/?$rid={rid}"
    assert topics.request_id(topic) == rid
    answer = topics.answer(where, rid, {"$version": version})
    assert answer.startswith(topic)
    assert topics.split(answer)[1]["$version"] == version


def test_a_request_id_has_a_longest_length() -> None:
    longest = "x" * topics.LONGEST_REQUEST_ID
    assert topics.request_id(f"a/?$rid={longest}") == longest
    assert topics.request_id(f"a/?b=c&$rid={longest}&d=e") == longest
    with pytest.raises(MalformedPacket, match=r"\$rid"):
        topics.request_id(f"a/?$rid={longest}x")


@given(st.text(max_size=60))
def test_any_topic_can_be_split(topic: str) -> None:
    where, values = topics.split(topic)
    assert isinstance(where, str)
    assert all(isinstance(part, str) for pair in values.items() for part in pair)


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        ("a/b/?$rid=1&x=y", ("a/b", {"$rid": "1", "x": "y"})),
        ("a/b", ("a/b", {})),
        ("a/?", ("a", {})),
        ("a/?flag", ("a", {"flag": ""})),
        ("a/?k=%24%2F%C3%A4", ("a", {"k": "$/ä"})),
        ("a/?k=1=2", ("a", {"k": "1=2"})),
    ],
)
def test_topics_as_the_sdks_write_them(topic: str, expected: tuple[str, dict[str, str]]) -> None:
    assert topics.split(topic) == expected
