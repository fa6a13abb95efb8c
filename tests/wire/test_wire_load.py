"""Many clients that are slow, stuck or gone: the others do not notice."""

from __future__ import annotations

import gc
import itertools
import socket
import ssl
import weakref
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import wire_clients as wire
from stories import PemDevice, Story, eventually, pem_device
from wire_clients import MqttClient, at_dps, dial, hub_user, publish, register, subscribe, tls

from labkit import Lab
from labkit.wire import tls as server_tls

HALF_OPEN = 100
"""Of each kind of client that begins TLS and does not end it."""
SLOW, ANSWERS = 4, 450
"""Readers that read nothing, and what each has asked for: answers of 30 KB."""
_numbers = itertools.count()


@pytest.fixture
def others() -> Iterator[ExitStack]:
    """Clients that are in nobody's way; they leave at the end."""
    with ExitStack() as opened:
        yield opened


def newcomer(story: Story, tmp_path: Path) -> PemDevice:
    name = f"newcomer-{next(_numbers)}"
    return pem_device(story, tmp_path / name, name)


def hello() -> bytes:
    """What a client's TLS says first."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def register_once(lab: Lab, device: PemDevice) -> int:
    """Registers, and returns the status."""
    with MqttClient(lab, tls(lab, device.chain_file, device.key_file)) as client:
        at_dps(client, lab, device.name)
        return int(register(client).topic.split("/")[3])


def half_open(lab: Lab, first: bytes) -> socket.socket:
    """A client that says so much of TLS and then nothing."""
    connection = dial(lab)
    connection.sendall(first)
    return connection


def reads_nothing(lab: Lab, device: PemDevice) -> MqttClient:
    """A client at its hub that asked for its large twin again and again."""
    client = MqttClient(lab, tls(lab, device.chain_file, device.key_file))
    assert client.enter(device.name, hub_user(lab, device.name)) == 0
    assert client.ask(subscribe("$iothub/twin/res/#")).kind == wire.SUBACK
    topics = (f"$iothub/twin/GET/?$rid={number}" for number in range(ANSWERS))
    client.send(*(publish(topic, b" ", packet_id=None, qos=0) for topic in topics))
    return client


def test_half_open_handshakes_keep_nobody_from_registering(
    shared: Story, tmp_path: Path, others: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hundreds of clients have the server's answer, or not even that, and say no more: each new
    device is assigned all the same, within the time that a client waits."""
    monkeypatch.setattr(server_tls, "HANDSHAKE_SECONDS", 60.0)  # the time in which to notice them
    lab, whole = shared.lab, hello()
    for first in (b"", whole[:5], whole):
        for _ in range(HALF_OPEN):
            others.enter_context(half_open(lab, first))
    eventually(lambda: len(lab.listener._links) >= 3 * HALF_OPEN)
    for _ in range(5):
        assert register_once(lab, newcomer(shared, tmp_path)) == 200
    assert len(lab.listener._links) >= 3 * HALF_OPEN, "they were there all the time"


def test_readers_that_read_nothing_keep_nobody_from_registering(
    shared: Story, tmp_path: Path, others: ExitStack
) -> None:
    """Megabytes wait for each of several clients: they wait there, and nobody else does."""
    lab = shared.lab
    for _ in range(SLOW):
        device = newcomer(shared, tmp_path)
        register_once(lab, device)
        lab.hub().report(device.name, {f"text-{n}": "x" * 4_000 for n in range(7)})
        others.enter_context(reads_nothing(lab, device))
    eventually(lambda: sum(link.is_full for link in list(lab.listener._links)) == SLOW)
    for _ in range(5):
        assert register_once(lab, newcomer(shared, tmp_path)) == 200
    assert sum(link.is_full for link in list(lab.listener._links)) == SLOW


def test_a_client_that_is_gone_leaves_no_tls_behind(shared: Story, tmp_path: Path) -> None:
    """OpenSSL's part of a connection is large: it goes at once, without waiting for Python's
    garbage collector, which would see no reason to come."""
    lab, device = shared.lab, newcomer(shared, tmp_path)
    eventually(lambda: not lab.listener._links)
    gc.disable()
    try:
        with MqttClient(lab, tls(lab, device.chain_file, device.key_file)) as client:
            at_dps(client, lab, device.name)
            (link,) = lab.listener._links
            left = weakref.ref(link._tls)
            assert left() is not None
        eventually(lambda: left() is None)
    finally:
        gc.enable()
