"""The TLS end: whom it lets in, whom it does not, and that it goes on serving after each."""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import forge
import impostor
import pytest
import sslcontext
import wire_clients as wire
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from foreign_tools import run
from stories import PATIENCE, Story, eventually, pem_device, said
from wire_clients import MqttClient, dial, dps_user, secure, tls, until_end

from labkit.cloud import presentations
from labkit.events import Event
from labkit.wire import tls as server_tls
from labkit.wire.mqtt import connection as mqtt_connection


@pytest.fixture
def serves(shared: Story, tmp_path: Path) -> Iterator[None]:
    """Whatever the test did to the listener: it answers the next client."""
    yield
    with MqttClient(shared.lab, tls(shared.lab)) as client:
        assert client.enter("anybody", dps_user(shared.lab, "anybody")) == 5


pytestmark = pytest.mark.usefixtures("serves")


# ---- whom it lets in


def test_openssl_finds_the_servers_chain_and_names_good(shared: Story) -> None:
    lab = shared.lab
    for name, option in (
        (lab.listener.host, "-verify_ip"),
        ("global.azure-devices-provisioning.net", "-verify_hostname"),
        ("contoso-hub.azure-devices.net", "-verify_hostname"),
        ("localhost", "-verify_hostname"),
    ):
        for port in (lab.listener.mqtt_port, lab.listener.https_port):
            result = run(
                "openssl", "s_client", "-connect", f"{lab.listener.host}:{port}",
                "-CAfile", lab.server.root_file, "-verify_return_error", option, name,
            )  # fmt: skip
            assert b"Verify return code: 0 (ok)" in result.stdout, result.stderr


def test_the_servers_certificate_lives_in_real_time(shared: Story) -> None:
    """A client looks at its own machine's clock, wherever the lab's has been moved."""
    shared.lab.clock.advance(days=20 * 365)
    try:
        secure(shared.lab, tls(shared.lab)).close()
    finally:
        shared.lab.clock.reset()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_1_2_and_1_3_show_the_same_chain(
    shared: Story, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    device = pem_device(shared, tmp_path / "pem", f"tls-{version.name.lower()}".replace("_", "-"))
    context = tls(shared.lab, device.chain_file, device.key_file)
    context.minimum_version = context.maximum_version = version
    with MqttClient(shared.lab, context) as client:
        wire.at_dps(client, shared.lab, device.name)
        answer = wire.register(client)
        assert answer.topic.startswith("$dps/registrations/res/200/"), answer.payload
    dots = version.name.replace("_", ".")
    eventually(lambda: said(shared.lab, "tls", dots, "3 certificates"))


def test_a_session_is_never_resumed_so_the_chain_is_shown_each_time(
    shared: Story, tmp_path: Path
) -> None:
    device = pem_device(shared, tmp_path / "pem", "no-resumption")
    context = tls(shared.lab, device.chain_file, device.key_file)
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context.minimum_version = context.maximum_version = version
        with MqttClient(shared.lab, context) as first:
            first.enter(device.name, dps_user(shared.lab, device.name))
            kept = first.socket.session
        again = context.wrap_socket(
            dial(shared.lab), server_hostname=shared.lab.listener.host, session=kept
        )
        assert not again.session_reused
        again.close()


def test_a_chain_of_any_length_is_taken_leaf_first(shared: Story, tmp_path: Path) -> None:
    for sends in (1, 2, 4):
        device = pem_device(shared, tmp_path / "pem", f"sends-{sends}", sends=sends)
        with MqttClient(shared.lab, tls(shared.lab, device.chain_file, device.key_file)) as client:
            wire.at_dps(client, shared.lab, device.name)
            wire.register(client)
        visits = presentations.all_of(shared.lab.cloud.database)
        found = [visit for visit in visits if visit.device == device.name]
        assert list(found[0].chain) == list(device.chain)


# ---- whom it does not


def test_tls_1_1_is_refused_and_logged(shared: Story) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError, match=r"(?i)protocol.version|unsupported"):
        secure(shared.lab, context)
    eventually(lambda: said(shared.lab, "tls", "no TLS from", "protocol"))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_stolen_certificate_with_another_key_dies_in_the_handshake(
    shared: Story, version: ssl.TLSVersion
) -> None:
    """A certificate is public; what counts is its private key (CertificateVerify)."""
    context = tls(shared.lab)
    context.minimum_version = context.maximum_version = version
    leaf, *rest = (c.public_bytes(Encoding.DER) for c in shared.widget.chain)
    sslcontext.load_identity(context, sslcontext.Identity(leaf, impostor.Signer(), tuple(rest)))  # type: ignore[arg-type]
    before = len(shared.lab.events.about(kind="handshake failed"))
    with pytest.raises((ssl.SSLError, EOFError, ConnectionError)):
        MqttClient(shared.lab, context).enter("thief", dps_user(shared.lab, "thief"))
    eventually(lambda: len(shared.lab.events.about(kind="handshake failed")) > before)
    failure = shared.lab.events.about(kind="handshake failed")[-1]
    assert "does not hold the private key" in failure.text


NOT_UTF8 = "name that is not UTF-8"
"""No OpenSSL on either side takes it: it is sent without one."""
ODD = forge.odd_certificates()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("name", sorted(set(ODD) - {NOT_UTF8}))
@pytest.mark.parametrize("place", ["as leaf", "behind the leaf"])
def test_a_certificate_that_cannot_be_read_is_refused_and_logged(
    shared: Story, name: str, place: str, version: ssl.TLSVersion
) -> None:
    """OpenSSL lets these through TLS. The client gets a clean answer, and the log says why."""
    odd, key = ODD[name]
    sent = [odd]
    if place == "behind the leaf":
        key = forge.new_key()
        leaf = forge.device("odd-widget", None, key=key).certificate.public_bytes(Encoding.DER)
        sent = [leaf, odd]
    context = tls(shared.lab)
    context.minimum_version = context.maximum_version = version
    identity = sslcontext.Identity(sent[0], impostor.Signer(key), tuple(sent[1:]))
    sslcontext.load_identity(context, identity)
    heard: list[Event] = []
    stop = shared.lab.events.listen(heard.append)
    try:
        with MqttClient(shared.lab, context) as client:
            if client.enter("odd-widget", dps_user(shared.lab, "odd-widget")) == 0:
                client.ask(wire.subscribe(wire.ANSWERS))
                assert "/res/401/" in wire.register(client).topic
    except (EOFError, OSError):
        pass  # a close is an answer too, once it is logged
    wanted = {"refused", "broken", "failed", "handshake failed"}
    eventually(lambda: wanted & {event.kind for event in heard})
    eventually(lambda: not shared.lab.listener._links)
    stop()
    assert not any("the lab itself failed" in event.text for event in heard)


@pytest.mark.parametrize(
    "der",
    [b"", b"no certificate", b"\x30\x82\xff\xff" + b"\0" * 500, ODD[NOT_UTF8][0]],
    ids=["empty", "words", "zeros", "not UTF-8"],
)
def test_bytes_that_are_no_certificate_end_the_handshake_and_are_logged(
    shared: Story, der: bytes
) -> None:
    before = len(shared.lab.events.about(kind="handshake failed"))
    with dial(shared.lab) as client:
        client.sendall(impostor.client_hello())
        greeting = b""
        while impostor.SERVER_HELLO_DONE not in greeting:
            greeting += client.recv(65536)
        client.sendall(impostor.certificate_message(der))
        alert = until_end(client)
    assert alert[:1] == b"\x15", "an alert, and the end"
    eventually(lambda: len(shared.lab.events.about(kind="handshake failed")) > before)


def test_plain_http_gets_a_400_in_plain_words(shared: Story) -> None:
    for port in (shared.lab.listener.mqtt_port, shared.lab.listener.https_port):
        with dial(shared.lab, port) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = until_end(client)
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 ")
        assert b"https://" in body
        assert body.decode().isprintable() or body.decode().endswith("\n"), body
    eventually(lambda: said(shared.lab, "tls", "plain HTTP"))


def test_the_plain_answer_is_text_and_nothing_behind_it(shared: Story) -> None:
    """No TLS alert among the words: a browser or curl shows these bytes to a person."""
    with dial(shared.lab) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert until_end(client).endswith(b"\n")


def test_plain_mqtt_is_closed_and_logged_in_words(shared: Story) -> None:
    with dial(shared.lab) as client:
        client.sendall(wire.connect("widget", dps_user(shared.lab, "widget")))
        until_end(client)
    eventually(lambda: said(shared.lab, "tls", "plain MQTT"))


@pytest.mark.parametrize(
    "data", [b"\0" * 100, b"\x16\x03\x01\xff\xff" + b"x" * 400, b"SSH-2.0-x\r\n"]
)
def test_noise_is_closed_and_logged(shared: Story, data: bytes) -> None:
    before = len(shared.lab.events.about(kind="handshake failed"))
    with dial(shared.lab) as client:
        client.sendall(data)
        until_end(client)
    eventually(lambda: len(shared.lab.events.about(kind="handshake failed")) > before)


def test_a_client_that_leaves_in_the_handshake_harms_nobody(shared: Story) -> None:
    for _ in range(20):
        with dial(shared.lab) as client:
            client.sendall(b"\x16\x03\x01")


# ---- who says nothing


def test_a_client_that_never_begins_tls_is_closed(
    shared: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_tls, "HANDSHAKE_SECONDS", 0.2)
    with dial(shared.lab) as client:
        assert until_end(client) == b""
    eventually(lambda: said(shared.lab, "tls", "silent", "TLS handshake"))


def test_a_handshake_that_trickles_does_not_buy_time(
    shared: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_tls, "HANDSHAKE_SECONDS", 0.4)
    hello = b"\x16\x03\x01\x01\x00\x01\x00\x00\xfc\x03\x03" + bytes(240)
    begin = time.monotonic()
    with dial(shared.lab) as client:
        client.settimeout(0.05)
        try:
            for byte in hello:
                client.sendall(bytes([byte]))
                try:
                    if client.recv(100) == b"":
                        break
                except TimeoutError:
                    pass
        except OSError:
            pass
    assert time.monotonic() - begin < PATIENCE / 2


def test_a_client_that_is_silent_after_tls_is_closed(
    shared: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt_connection, "CONNECT_SECONDS", 0.2)
    with secure(shared.lab, tls(shared.lab)) as client:
        assert until_end(client) == b""
    eventually(lambda: said(shared.lab, "tls", "silent", "CONNECT"))


def test_a_client_that_breaks_its_keep_alive_is_closed(shared: Story, tmp_path: Path) -> None:
    """One and a half times the keep-alive: MQTT-3.1.2-24."""
    device = pem_device(shared, tmp_path / "pem", "keeps-quiet")
    with MqttClient(shared.lab, tls(shared.lab, device.chain_file, device.key_file)) as client:
        hello = wire.connect(device.name, dps_user(shared.lab, device.name), keep_alive=1)
        assert client.ask(hello).body == b"\0\0"
        begin = time.monotonic()
        assert client.is_cut_off()
        assert 1.2 < time.monotonic() - begin < PATIENCE


def test_bytes_that_trickle_do_not_keep_a_client_alive(shared: Story, tmp_path: Path) -> None:
    """Only a whole packet is a sign of life."""
    device = pem_device(shared, tmp_path / "pem", "trickles")
    with MqttClient(shared.lab, tls(shared.lab, device.chain_file, device.key_file)) as client:
        hello = wire.connect(device.name, dps_user(shared.lab, device.name), keep_alive=1)
        assert client.ask(hello).body == b"\0\0"
        begin = time.monotonic()
        with contextlib.suppress(OSError):
            for byte in wire.publish("t", b"x" * 1000):
                client.socket.send(bytes([byte]))
                time.sleep(0.1)
                assert time.monotonic() - begin < PATIENCE, "it is still served"


def test_many_clients_at_once_are_all_served(shared: Story) -> None:
    context = tls(shared.lab)
    clients = [MqttClient(shared.lab, context) for _ in range(40)]
    for client in clients:
        client.send(wire.connect("anybody", dps_user(shared.lab, "anybody")))
    for client in clients:
        assert client.receive().body[1] == 5
        client.socket.close()


def test_ports_are_free_again_when_the_lab_is_closed(told: Path, tmp_path: Path) -> None:
    from stories import open_lab

    shutil.copytree(told, tmp_path / "lab")
    with open_lab(tmp_path / "lab") as lab:
        where = (lab.listener.host, lab.listener.mqtt_port)
        client = secure(lab, tls(lab))
    assert until_end(client) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(where, 2)


def test_certificates_are_x509(shared: Story) -> None:
    """The root file is what ``labkit serve`` tells clients to trust: one CA certificate."""
    pem = shared.lab.server.root_file.read_bytes()
    (root,) = x509.load_pem_x509_certificates(pem)
    assert root.subject == root.issuer
