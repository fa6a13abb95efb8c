"""Cloud-to-device messages over HTTPS, fetched and settled by a client of the standard library."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, unquote

import pytest
from https_clients import Answer, Client, client, sign
from stories import Story, pem_device

from labkit import Lab

API = "api-version=2021-04-12"
HUB = "contoso-hub"
_numbers = itertools.count()


@pytest.fixture
def name() -> str:
    return f"Fetches-{next(_numbers)}"


@pytest.fixture
def device(shared: Story, tmp_path: Path, name: str) -> Iterator[Client]:
    """A device that is known by its certificate."""
    made = pem_device(shared, tmp_path / "pem", name)
    shared.lab.hub().devices.create(name, certificate=made.chain[0])
    port = shared.lab.listener.hub_ports[HUB]
    files = {"chain_file": made.chain_file, "key_file": made.key_file}
    with client(shared.lab, port=port, **files) as opened:
        yield opened


def fetch(device: Client, name: str, spelled: str = "deviceBound") -> Answer:
    return device.ask("GET", f"/devices/{name}/messages/{spelled}?{API}")


def lock_of(answer: Answer) -> str:
    assert re.fullmatch(r'"[0-9a-f-]{36}"', answer.headers["etag"])
    return answer.headers["etag"].strip('"')


def settle(device: Client, name: str, lock: str, how: str) -> Answer:
    path = f"/devices/{name}/messages/deviceBound/{lock}"
    if how == "abandon":
        return device.ask("POST", f"{path}/abandon?{API}", b"")
    return device.ask("DELETE", f"{path}?{API}{how}", if_match=lock)


def waiting(lab: Lab, name: str) -> list[str]:
    return [message.text for message in lab.hub().queued(name)]


def test_a_message_as_azure_writes_it(shared: Story, device: Client, name: str) -> None:
    sent = shared.lab.hub().send(name, {"a": 1}, message_id="m 1", priority="high")
    answer = fetch(device, name)
    assert (answer.status, json.loads(answer.body)) == (200, {"a": 1})
    at = f"{sent.enqueued.month}/{sent.enqueued.day}/{sent.enqueued.year} "
    assert answer.headers["iothub-enqueuedtime"].startswith(at)
    assert re.fullmatch(r"[\d/]+ \d+:\d\d:\d\d [AP]M", answer.headers["iothub-expiry"])
    expected = {
        "iothub-messageid": "m 1",
        "iothub-to": f"/devices/{name}/messages/devicebound",
        "iothub-deliverycount": "0",
        "iothub-sequencenumber": str(sent.number),
        "iothub-correlationid": "",
        "iothub-ack": "none",
        "iothub-app-priority": "high",
        "contenttype": "application/json",
        "contentencoding": "utf-8",
    }
    assert {key: answer.headers[key] for key in expected} == expected
    assert answer.headers["x-ms-request-id"]


@pytest.mark.parametrize(
    ("how", "left"),
    [("", []), ("&reject", []), ("&reject=true", []), ("&reject=false", []), ("abandon", ["x"])],
)
def test_each_way_to_settle(
    shared: Story, device: Client, name: str, how: str, left: list[str]
) -> None:
    assert fetch(device, name).status == 204, "nothing waits"
    shared.lab.hub().send(name, "x")
    lock = lock_of(fetch(device, name, "devicebound"))
    assert fetch(device, name).status == 204, "it is locked"
    answer = settle(device, name, lock, how)
    assert (answer.status, answer.body) == (204, b"")
    assert waiting(shared.lab, name) == left
    said = [e.text for e in shared.lab.events.about(source="hub") if name in e.text]
    assert any("rejected" in text for text in said) is (how in ("&reject", "&reject=true"))
    again = settle(device, name, lock, how)
    assert again.status == 412
    assert again.headers["iothub-errorcode"] == "DeviceMessageLockLost"
    assert "412002" in str(shared.lab.explain(again.headers["x-ms-request-id"]))


def test_what_no_header_can_carry_is_escaped(shared: Story, device: Client, name: str) -> None:
    """Else a property could write headers of its own, or end the connection."""
    text = "a\r\nSet-Cookie: x=1"
    shared.lab.hub().send(name, b"\x00\xff", **{"two words": text, "ä:": " é "})
    answer = fetch(device, name)
    assert answer.body == b"\x00\xff"
    assert "set-cookie" not in answer.headers
    assert unquote(answer.headers["iothub-app-two%20words"]) == text
    assert unquote(answer.headers["iothub-app-%c3%a4%3a"]) == " é "


def test_a_device_fetches_its_own_messages_only(shared: Story, device: Client, name: str) -> None:
    other = f"{name}-other"
    shared.lab.hub().devices.create(other)
    shared.lab.hub().send(other, "not yours")
    for answer in (
        fetch(device, other),
        settle(device, other, "any", ""),
        settle(device, other, "any", "abandon"),
    ):
        assert answer.status == 401
    assert waiting(shared.lab, other) == ["not yours"]


def test_a_device_fetches_with_its_key(shared: Story, name: str) -> None:
    made = shared.lab.hub().devices.create(name)
    shared.lab.hub().send(name, "hello")
    resource = quote(f"contoso-hub.azure-devices.net/devices/{name}", safe="")
    with client(shared.lab, port=shared.lab.listener.hub_ports[HUB]) as opened:
        opened.headers["Authorization"] = sign(resource, made.primary_key)
        answer = fetch(opened, name)
        assert answer.body == b"hello"
        assert settle(opened, name, lock_of(answer), "").status == 204
