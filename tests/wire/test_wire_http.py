"""HTTPS: its limits, its manners, and the refusals that it tells this machine."""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
import wire_clients as wire
from stories import PATIENCE, Story, eventually, said
from wire_clients import MqttClient, dps_user, secure, tls, until_end

from labkit.cloud.presented import Presented
from labkit.wire.http import connection as http_connection
from labkit.wire.http import refusals as refusals_routes
from labkit.wire.http.messages import Request, Router

LIST = "/labkit/refusals"


@pytest.fixture
def https(shared: Story) -> Iterator[http.client.HTTPSConnection]:
    """The standard library's client, one connection that it keeps."""
    listener = shared.lab.listener
    connection = http.client.HTTPSConnection(
        listener.host, listener.https_port, timeout=8, context=tls(shared.lab)
    )
    yield connection
    connection.close()


@pytest.fixture
def raw(shared: Story) -> Iterator[ssl.SSLSocket]:
    with secure(shared.lab, tls(shared.lab), shared.lab.listener.https_port) as opened:
        yield opened


def ask(https: http.client.HTTPSConnection, path: str, method: str = "GET") -> tuple[int, Any]:
    https.request(method, path)
    answer = https.getresponse()
    body = answer.read()
    return answer.status, json.loads(body) if body else None


def be_refused(story: Story, device: str) -> None:
    with MqttClient(story.lab, tls(story.lab)) as client:
        assert client.enter(device, dps_user(story.lab, device)) == 5


# ---- the refusals


def test_refusals_are_listed_the_last_first(
    shared: Story, https: http.client.HTTPSConnection
) -> None:
    be_refused(shared, "first")
    be_refused(shared, "second")
    status, rows = ask(https, LIST)
    assert status == 200
    assert [row["device"] for row in rows[:2]] == ["second", "first"]


def test_one_refusal_is_told_whole(shared: Story, https: http.client.HTTPSConnection) -> None:
    be_refused(shared, "third")
    known = shared.lab.explain()
    status, row = ask(https, f"{LIST}/{known.tracking_id}")
    assert status == 200
    assert (row["status"], row["errorCode"], row["message"]) == (401, 401002, "Unauthorized")
    assert [c["name"] for c in row["checks"]] == [check.name for check in known.checks]
    assert row["checks"][0]["cures"]
    assert row["presented"] == []


def test_refusals_are_filtered_by_device(shared: Story, https: http.client.HTTPSConnection) -> None:
    be_refused(shared, "fourth")
    be_refused(shared, "fifth")
    _, rows = ask(https, f"{LIST}?device=fourth")
    assert {row["device"] for row in rows} == {"fourth"}
    assert ask(https, f"{LIST}?device=nobody-of-this-name") == (200, [])


def test_an_unknown_tracking_id_is_404_in_words(https: http.client.HTTPSConnection) -> None:
    status, body = ask(https, f"{LIST}/00000000-0000-0000-0000-000000000000")
    assert status == 404
    assert "tracking ID" in body["message"]


@pytest.mark.parametrize("path", ["/LabKit/Refusals", LIST + "/", "/labkit/%72efusals"])
def test_paths_are_matched_as_azures_are(https: http.client.HTTPSConnection, path: str) -> None:
    assert ask(https, path)[0] == 200


def test_every_port_of_the_cloud_answers(shared: Story) -> None:
    ports = {shared.lab.listener.https_port, *shared.lab.listener.hub_ports.values()}
    for port in ports:
        connection = http.client.HTTPSConnection(
            shared.lab.listener.host, port, timeout=8, context=tls(shared.lab)
        )
        assert ask(connection, LIST)[0] == 200
        connection.close()


def test_only_this_machine_may_ask(shared: Story) -> None:
    """The trace tells more than Azure would tell a stranger."""
    router = Router()
    refusals_routes.add_routes(router, shared.lab.cloud.refusals)
    for peer, status in (
        ("127.0.0.9", 200),
        ("::1", 200),
        ("192.0.2.7", 403),
        ("2001:db8::1", 403),
    ):
        found = router.answer(Request("GET", LIST, {}, {}, b"", Presented(), peer))
        assert found.status == status


# ---- manners


def test_an_unknown_path_is_404_and_a_wrong_method_405(
    https: http.client.HTTPSConnection,
) -> None:
    assert ask(https, "/nothing/here")[0] == 404
    https.request("DELETE", LIST)
    answer = https.getresponse()
    answer.read()
    assert answer.status == 405
    assert answer.headers["Allow"]


def test_a_connection_is_kept_for_the_next_request(
    https: http.client.HTTPSConnection,
) -> None:
    ask(https, LIST)
    kept = https.sock
    for _ in range(5):
        assert ask(https, LIST)[0] == 200
    assert https.sock is kept


def test_a_client_that_wants_to_close_is_obeyed(raw: ssl.SSLSocket) -> None:
    raw.sendall(f"GET {LIST} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert until_end(raw).startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_status_is_put_into_words_too(https: http.client.HTTPSConnection) -> None:
    """HTTP/1.1 may leave that out, but azure-iot-hub's exceptions tell nothing else."""
    https.request("GET", "/labkit/nothing")
    answer = https.getresponse()
    assert (answer.status, answer.reason) == (404, "Not Found")


def test_the_log_keeps_what_was_answered(shared: Story, https: http.client.HTTPSConnection) -> None:
    """The bytes on demand: a trainee can look at the JSON behind the line."""
    https.request("GET", "/labkit/nothing")
    body = https.getresponse().read().decode()
    event = [e for e in shared.lab.events.about(source="https") if "/labkit/nothing" in e.text][-1]
    assert event.details["answer"] == body


def test_head_answers_as_get_does_without_the_body(https: http.client.HTTPSConnection) -> None:
    """RFC 9110, 9.1: GET and HEAD are the two methods that every server has."""
    https.request("HEAD", LIST)
    answer = https.getresponse()
    assert answer.read() == b""
    assert ask(https, LIST)[0] == 200, "the connection is in order"
    assert answer.status == 200


def test_several_requests_in_one_go_are_answered_in_their_order(raw: ssl.SSLSocket) -> None:
    one = "GET {} HTTP/1.1\r\nHost: x\r\n{}\r\n"
    last = one.format("/third", "Connection: close\r\n")
    raw.sendall((one.format("/first", "") + one.format("/second", "") + last).encode())
    answer = until_end(raw)
    places = [answer.index(name) for name in (b"/first", b"/second", b"/third")]
    assert places == sorted(places)
    assert answer.count(b"HTTP/1.1 404") == 3


def test_a_request_byte_by_byte_is_the_same_request(raw: ssl.SSLSocket) -> None:
    for byte in f"GET {LIST} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode():
        raw.sendall(bytes([byte]))
    assert until_end(raw).startswith(b"HTTP/1.1 200")


def test_a_body_may_wait_for_100_continue(raw: ssl.SSLSocket) -> None:
    raw.sendall(b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
    assert raw.recv(1000).startswith(b"HTTP/1.1 100")
    raw.sendall(b"{}")
    assert raw.recv(1000).startswith(b"HTTP/1.1 404")


@pytest.mark.parametrize(
    "target", ["//evil/labkit/refusals", "//evil" + LIST, "///labkit/refusals"]
)
def test_two_slashes_are_a_path_and_no_host(
    shared: Story, https: http.client.HTTPSConnection, target: str
) -> None:
    """RFC 9112, 3.2.1: what begins with a slash is a path from there on."""
    assert ask(https, target)[0] == 404


def test_the_absolute_form_is_taken(raw: ssl.SSLSocket) -> None:
    """RFC 9112, 3.2.2: a server MUST accept it."""
    head = f"GET https://localhost{LIST}?device=x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    raw.sendall(head.encode())
    assert until_end(raw).startswith(b"HTTP/1.1 200")


def test_an_answer_says_when_it_was_given(https: http.client.HTTPSConnection) -> None:
    """RFC 9110, 6.6.1: an origin server with a clock MUST send Date."""
    https.request("GET", LIST)
    answer = https.getresponse()
    answer.read()
    date = parsedate_to_datetime(answer.headers["Date"])
    assert abs((datetime.now(UTC) - date).total_seconds()) < 60


# ---- limits and noise


def test_a_body_that_says_it_is_too_large_is_not_waited_for(raw: ssl.SSLSocket) -> None:
    """RFC 9110, 10.1.1: with 100-continue the final answer may come at once, and alone."""
    length = http_connection.LARGEST_BODY + 1
    head = f"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n"
    raw.sendall(head.encode() + b"Expect: 100-continue\r\n\r\n")
    assert until_end(raw).startswith(b"HTTP/1.1 413")


def test_a_request_that_trickles_is_closed(shared: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    """From its first byte on it has a time in which it must be whole."""
    monkeypatch.setattr(http_connection, "REQUEST_SECONDS", 0.5)
    begin = time.monotonic()
    port = shared.lab.listener.https_port
    with secure(shared.lab, tls(shared.lab), port) as client, contextlib.suppress(OSError):
        for byte in f"GET {LIST} HTTP/1.1\r\n".encode() + b"x: y\r\n" * 1000:
            client.send(bytes([byte]))
            time.sleep(0.05)
            assert time.monotonic() - begin < PATIENCE, "it is still waited for"
    eventually(lambda: said(shared.lab, "tls", "silent", "a whole request"))


def test_a_request_has_its_own_time_not_that_of_the_one_before(
    shared: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_connection, "REQUEST_SECONDS", 0.5)
    with secure(shared.lab, tls(shared.lab), shared.lab.listener.https_port) as client:
        for _ in range(4):
            client.sendall(b"GET /none HTTP/1.1\r\nHo")
            time.sleep(0.2)
            client.sendall(b"st: x\r\n\r\n")
            assert client.recv(4096).startswith(b"HTTP/1.1 404")


def test_a_body_beyond_the_limit_is_413_and_logged(
    shared: Story, raw: ssl.SSLSocket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_connection, "LARGEST_BODY", 1000)
    before = len(shared.lab.events.about(source="https"))
    raw.sendall(b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\n" + b"x" * 1001)
    assert until_end(raw).startswith(b"HTTP/1.1 413")
    eventually(lambda: len(shared.lab.events.about(source="https")) > before)


def test_a_body_within_the_limit_is_read_whole(raw: ssl.SSLSocket) -> None:
    size = http_connection.LARGEST_BODY
    head = f"POST /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {size}\r\n\r\n"
    raw.sendall(head.encode() + b"x" * size)
    assert until_end(raw).startswith(b"HTTP/1.1 404")


BAD = {
    "no request line": b"nonsense\r\n\r\n",
    "no HTTP version": b"GET /\r\n\r\n",
    "a blank header": b"GET / HTTP/1.1\r\n: x\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "a length that is no number": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
    "a chunk that is none": (
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
    ),
    "a head without end": b"GET / HTTP/1.1\r\nx: " + b"x" * (http_connection.LARGEST_HEAD + 10),
    "a target that is no URL": b"GET http://[::1/ HTTP/1.1\r\nHost: x\r\n\r\n",
    "MQTT": wire.connect("widget", "user"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_request_gets_a_4xx_and_a_close_and_is_logged(
    shared: Story, raw: ssl.SSLSocket, kind: str
) -> None:
    before = len(shared.lab.events.about(source="https"))
    raw.sendall(BAD[kind])
    raw.settimeout(4)
    assert until_end(raw)[:10] in (b"HTTP/1.1 4", b"HTTP/1.0 4")
    eventually(lambda: len(shared.lab.events.about(source="https")) > before)


def test_an_idle_connection_is_closed(shared: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_connection, "IDLE_SECONDS", 0.2)
    with secure(shared.lab, tls(shared.lab), shared.lab.listener.https_port) as idle:
        assert until_end(idle) == b""
    eventually(lambda: said(shared.lab, "tls", "silent", "next request"))


def test_a_handler_that_fails_is_a_500_and_its_cause_is_in_the_log(
    shared: Story, https: http.client.HTTPSConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    router = shared.lab.listener._services.dps
    monkeypatch.setattr(router, "_routes", list(router._routes))
    router.add("GET", "/fails", lambda *_: 1 / 0)  # type: ignore[arg-type, return-value]
    status, body = ask(https, "/fails")
    assert status == 500
    assert "ZeroDivision" not in str(body)
    assert said(shared.lab, "https", "ZeroDivisionError")
    assert ask(https, LIST)[0] == 200
