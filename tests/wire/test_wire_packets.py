"""The bytes of MQTT 3.1.1, against an encoder that was written for these tests."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import wire_clients as wire
from hypothesis import given
from hypothesis import strategies as st
from wire_clients import connect, packet, publish, subscribe, text, unsubscribe

from labkit.wire.mqtt.packets import (
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

words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
names = words.filter(bool)
topics = names.filter(lambda topic: not set(topic) & set("+#"))
ids = st.integers(1, 65535)
payloads = st.binary(max_size=300)

connects = st.builds(
    lambda names, **given: (
        connect(user=names[0], password=names[1], **given),
        expected_connect(user=names[0], password=names[1], **given),
    ),
    names=st.tuples(words, payloads | st.none()) | st.just((None, None)),
    client_id=words,
    clean=st.booleans(),
    keep_alive=st.integers(0, 65535),
    will=st.tuples(topics, payloads) | st.none(),
)
publishes = st.one_of(
    st.builds(
        lambda topic, payload: (
            publish(topic, payload, packet_id=None, qos=0),
            Publish(topic, payload),
        ),
        topics,
        payloads,
    ),
    st.builds(
        lambda topic, payload, number, qos: (
            publish(topic, payload, packet_id=number, qos=qos),
            Publish(topic, payload, qos, number),
        ),
        topics,
        payloads,
        ids,
        st.sampled_from([1, 2]),
    ),
)
subscribes = st.builds(
    lambda filters, number, qos: (
        subscribe(*filters, packet_id=number, qos=qos),
        Subscribe(number, tuple((topic, qos) for topic in filters)),
    ),
    st.lists(names, min_size=1, max_size=4),
    ids,
    st.integers(0, 2),
)
unsubscribes = st.builds(
    lambda filters, number: (
        unsubscribe(*filters, packet_id=number),
        Unsubscribe(number, tuple(filters)),
    ),
    st.lists(names, min_size=1, max_size=4),
    ids,
)
others = st.one_of(
    st.just((wire.PING, Ping())),
    st.just((wire.DISCONNECT, Disconnect())),
    st.builds(lambda number: (packet(4, 0, number.to_bytes(2, "big")), Acknowledge(number)), ids),
)
anything = st.one_of(connects, publishes, subscribes, unsubscribes, others)


def expected_connect(**given: Any) -> Connect:
    return Connect(
        "MQTT",
        4,
        given["client_id"],
        given["clean"],
        given["keep_alive"],
        given["user"] or "",
        given["password"],
    )


def decoded(*chunks: bytes) -> list[Packet]:
    decoder = Decoder()
    return [found for chunk in chunks for found in fed(decoder, chunk)]


def fed(decoder: Decoder, data: bytes) -> Iterator[Packet]:
    decoder.feed(data)
    while (found := decoder.take()) is not None:
        yield found


def only_malformed_packet(*chunks: bytes) -> None:
    with contextlib.suppress(MalformedPacket):
        decoded(*chunks)


@given(st.lists(anything, max_size=6))
def test_what_a_client_writes_is_read_as_it_was_meant(sent: list[tuple[bytes, Packet]]) -> None:
    assert decoded(b"".join(data for data, _ in sent)) == [meant for _, meant in sent]


@given(st.lists(anything, max_size=5), st.lists(st.integers(0, 600), max_size=12))
def test_it_does_not_matter_how_the_bytes_are_split(
    sent: list[tuple[bytes, Packet]], cuts: list[int]
) -> None:
    data = b"".join(part for part, _ in sent)
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    chunks = [data[a:b] for a, b in itertools.pairwise(places)]
    assert decoded(*chunks) == decoded(data)


@given(st.lists(st.binary(max_size=60), max_size=6))
def test_arbitrary_bytes_raise_nothing_but_malformed_packet(chunks: list[bytes]) -> None:
    only_malformed_packet(*chunks)


@given(anything, st.integers(0, 400), st.integers(0, 255))
def test_a_packet_with_any_byte_changed_raises_nothing_else(
    sent: tuple[bytes, Packet], place: int, value: int
) -> None:
    data = bytearray(sent[0])
    data[place % len(data)] = value
    only_malformed_packet(bytes(data))


@given(st.binary(max_size=2000))
def test_the_buffer_never_holds_more_than_one_packet(data: bytes) -> None:
    largest = 64
    decoder = Decoder(largest)
    try:
        for byte in data:
            list(fed(decoder, bytes([byte])))
            assert len(decoder._buffer) <= largest + 5
    except MalformedPacket:
        pass


def test_a_packet_beyond_the_limit_is_refused_at_its_header() -> None:
    """Before its body is waited for."""
    with pytest.raises(MalformedPacket, match="65 bytes; 64 at most"):
        list(fed(Decoder(64), b"\x30\x41"))
    assert list(fed(Decoder(64), b"\x30\x40")) == []


BROKEN = {
    "length of 5 bytes": b"\x30\xff\xff\xff\xff\x01",
    "type 0": packet(0, 0, b""),
    "type 15": packet(15, 0, b""),
    "CONNACK, which only a server sends": packet(2, 0, b"\0\0"),
    "PUBREL of QoS 2": packet(6, 2, b"\0\1"),
    "PINGREQ with a body": packet(12, 0, b"\0"),
    "PINGREQ with flags": packet(12, 1, b""),
    "SUBSCRIBE without its flag": packet(8, 0, b"\0\1" + text("a") + b"\0"),
    "SUBSCRIBE to nothing": packet(8, 2, b"\0\1"),
    "SUBSCRIBE with packet identifier 0": packet(8, 2, b"\0\0" + text("a") + b"\0"),
    "SUBSCRIBE with QoS 3": packet(8, 2, b"\0\1" + text("a") + b"\3"),
    "SUBSCRIBE to an empty filter": packet(8, 2, b"\0\1" + text("") + b"\0"),
    "UNSUBSCRIBE from nothing": packet(10, 2, b"\0\1"),
    "PUBLISH with QoS 3": packet(3, 6, text("a") + b"\0\1"),
    "PUBLISH again (DUP) with QoS 0": packet(3, 8, text("a")),
    "PUBLISH to a wildcard": packet(3, 0, text("a/#")),
    "PUBLISH to nothing": packet(3, 0, text("")),
    "PUBLISH with packet identifier 0": packet(3, 2, text("a") + b"\0\0"),
    "PUBLISH that ends in its topic": packet(3, 0, b"\0\5abc"),
    "a string that is not UTF-8": packet(3, 0, text(b"\xff\xfe")),
    "a surrogate": packet(3, 0, text(b"\xed\xa0\x80")),
    "U+0000": packet(3, 0, text("a\0b")),
    "CONNECT with its reserved flag": packet(1, 0, text("MQTT") + b"\4\1\0\0" + text("a")),
    "CONNECT with bytes behind": packet(1, 0, text("MQTT") + b"\4\0\0\0" + text("a") + b"x"),
    "PUBACK of 1 byte": packet(4, 0, b"\1"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_a_client_may_not_send_is_malformed_and_said_how(name: str) -> None:
    with pytest.raises(MalformedPacket) as caught:
        decoded(BROKEN[name])
    assert len(str(caught.value)) > 5


def test_flags_that_contradict_each_other_are_malformed() -> None:
    """MQTT-3.1.2-22: a password without user name; 3.1.2.6: a will of QoS 3, flags of no will."""
    for flags in (0b01000000, 0b00011100, 0b00100000, 0b00001000):
        body = text("MQTT") + bytes([4, flags]) + b"\0\0" + text("a")
        body += (text("t") + text("w")) if flags & 4 else b""
        body += text("p") if flags & 64 else b""
        with pytest.raises(MalformedPacket):
            decoded(packet(1, 0, body))


# ---- what the server writes


@given(topics, payloads)
def test_an_answer_is_read_by_others_as_it_was_meant(topic: str, payload: bytes) -> None:
    found = wire.take_packet(bytearray(Publish(topic, payload).encode()))
    assert found is not None
    assert (found.kind, found.topic, found.payload) == (wire.PUBLISH, topic, payload)


@pytest.mark.parametrize("size", [0, 1, 123, 124, 16_378, 16_379, 100_000])
def test_lengths_are_written_in_as_few_bytes_as_they_need(size: int) -> None:
    data = bytearray(Publish("t", b"x" * size).encode())
    found = wire.take_packet(data)
    assert found is not None
    assert len(found.payload) == size
    assert not data


def test_acknowledgements_are_those_of_the_standard() -> None:
    assert connack(ReturnCode.ACCEPTED) == b"\x20\x02\x00\x00"
    assert connack(ReturnCode.NOT_AUTHORIZED) == b"\x20\x02\x00\x05"
    assert puback(258) == b"\x40\x02\x01\x02"
    assert suback(1, [1, 0x80]) == b"\x90\x04\x00\x01\x01\x80"
    assert unsuback(1) == b"\xb0\x02\x00\x01"
    assert pingresp() == b"\xd0\x00"
