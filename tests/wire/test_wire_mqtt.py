"""DPS and hub over MQTT and TLS, as clients see them that share no code with the lab."""

from __future__ import annotations

import contextlib
import json
import re
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import wire_clients as wire
from hypothesis import given, settings
from hypothesis import strategies as st
from stories import PemDevice, Story, eventually, pem_device, said
from wire_clients import (
    PUBACK,
    SUBACK,
    MqttClient,
    Received,
    at_dps,
    dps_user,
    hub_user,
    publish,
    register,
    request,
    subscribe,
    tls,
)

from labkit.cloud.dps import attestation
from labkit.cloud.hub import authentication

noise = st.one_of(
    st.binary(max_size=200),
    st.builds(wire.packet, st.integers(0, 15), st.integers(0, 15), st.binary(max_size=60)),
    st.builds(
        wire.connect, st.text(max_size=9), st.sampled_from(["a/b/?c=d", "s/registrations/w"])
    ),
    st.just(wire.PING),
)

MakeDevice = Callable[..., PemDevice]
Dial = Callable[[PemDevice | None], MqttClient]


@pytest.fixture
def make(shared: Story, tmp_path: Path) -> MakeDevice:
    """PEM devices below Technician-Z."""
    return lambda name, sends=3: pem_device(shared, tmp_path / "pem", name, sends=sends)


@pytest.fixture
def client_of(shared: Story) -> Iterator[Dial]:
    opened: list[MqttClient] = []

    def dial(device: PemDevice | None) -> MqttClient:
        files = (device.chain_file, device.key_file) if device else (None, None)
        opened.append(MqttClient(shared.lab, tls(shared.lab, *files)))
        return opened[-1]

    yield dial
    for client in opened:
        client.socket.close()


def topic_of(status: int, rid: str = "1") -> str:
    return f"$dps/registrations/res/{status}/?$rid={rid}"


def assert_azures_error(answer: Received, status: int, code: int) -> str:
    """The body that Azure sends, and nothing more; returns its tracking ID."""
    assert answer.topic == topic_of(status)
    body = answer.json
    assert set(body) == {"errorCode", "trackingId", "message", "timestampUtc"}
    assert body["errorCode"] == code
    assert uuid.UUID(body["trackingId"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z", body["timestampUtc"])
    assert isinstance(body["message"], str)
    return str(body["trackingId"])


# ---- DPS: assigned


def test_registration_is_answered_as_azure_answers_it(
    shared: Story, make: MakeDevice, client_of: Dial
) -> None:
    device = make("assigned-device")
    client = client_of(device)
    at_dps(client, shared.lab, device.name)
    rid = str(uuid.uuid4())
    answer = register(client, b'{"registrationId":"assigned-device","payload":null}', rid)
    assert answer.topic == topic_of(200, rid)
    body = answer.json
    assert body["status"] == "assigned"
    state = body["registrationState"]
    assert state["assignedHub"] == "contoso-hub.azure-devices.net"
    assert state["registrationId"] == state["deviceId"] == device.name
    assert state["substatus"] == "initialAssignment"
    assert state["x509"]["enrollmentGroupId"] == "smart-x-widgets"
    for name in ("createdDateTimeUtc", "lastUpdatedDateTimeUtc", "etag"):
        assert state[name]


def test_an_operation_can_be_polled_by_its_device_only(
    shared: Story, make: MakeDevice, client_of: Dial
) -> None:
    owner, curious = make("op-owner"), make("op-curious")
    client = client_of(owner)
    at_dps(client, shared.lab, owner.name)
    operation = register(client).json["operationId"]
    answer = request(client, wire.POLL.format("1", operation), b" ")
    assert answer.topic == topic_of(200)
    assert answer.json["operationId"] == operation
    other = client_of(curious)
    at_dps(other, shared.lab, curious.name)
    answer = request(other, wire.POLL.format("1", operation), b" ")
    assert_azures_error(answer, 404, 404202)


def test_any_api_version_and_client_version_is_taken(
    shared: Story, make: MakeDevice, client_of: Dial
) -> None:
    device = make("api-versions")
    for rest in ("api-version=2021-06-01", "api-version=2019-03-31&ClientVersion=a%2Fb", ""):
        user = f"{shared.lab.dps.id_scope}/registrations/{device.name}/{rest}"
        assert client_of(device).enter(device.name, user) == 0


# ---- DPS: refused


def test_leaf_only_is_azures_401_and_the_lab_knows_why(
    shared: Story, make: MakeDevice, client_of: Dial
) -> None:
    device = make("leaf-only", sends=1)
    client = client_of(device)
    at_dps(client, shared.lab, device.name)
    answer = register(client)
    tracking_id = assert_azures_error(answer, 401, 401002)
    assert "Technician" not in answer.payload.decode(), "Azure never tells"
    found = shared.lab.explain(tracking_id)
    assert found.failure is not None
    assert "CN=Technician-Z CA" in found.failure.why
    assert len(found.cures) == 2


def test_the_timestamp_on_the_wire_is_todays(
    shared: Story, make: MakeDevice, client_of: Dial
) -> None:
    client = client_of(make("timestamped", 1))
    at_dps(client, shared.lab, "timestamped")
    stamp = datetime.fromisoformat(register(client).json["timestampUtc"][:19] + "+00:00")
    assert abs((datetime.now(UTC) - stamp).total_seconds()) < 60


def test_no_certificate_is_connack_5_and_explained(shared: Story, client_of: Dial) -> None:
    assert client_of(None).enter("nobody", dps_user(shared.lab, "nobody")) == 5
    found = shared.lab.explain()
    assert found.refusal.device == "nobody"
    assert found.failure is not None
    assert found.failure.name == attestation.POSSESSION
    assert "no certificate" in str(found)


def test_a_client_id_that_is_not_the_registration_id_is_connack_5(
    shared: Story, make: MakeDevice, client_of: Dial
) -> None:
    device = make("right-name")
    assert client_of(device).enter("wrong-name", dps_user(shared.lab, device.name)) == 5
    text = str(shared.lab.explain())
    assert "client ID" in text
    assert "'wrong-name'" in text


def test_another_devices_name_is_401(shared: Story, make: MakeDevice, client_of: Dial) -> None:
    client = client_of(make("mallory"))
    at_dps(client, shared.lab, "alice")
    tracking_id = assert_azures_error(register(client), 401, 401002)
    failure = shared.lab.explain(tracking_id).failure
    assert failure is not None
    assert failure.name == attestation.REGISTRATION_ID


def test_a_wrong_id_scope_is_refused_and_the_right_one_named(
    shared: Story, make: MakeDevice, client_of: Dial
) -> None:
    client = client_of(make("wrong-scope"))
    at_dps(client, shared.lab, "wrong-scope", scope="0ne12345678")
    tracking_id = assert_azures_error(register(client), 401, 401002)
    assert shared.lab.dps.id_scope in str(shared.lab.explain(tracking_id))


DEEP = b"[" * 100_000
BODIES = {
    "no JSON": b"{",
    "no object": b"[]",
    "a string": b'"x"',
    "not UTF-8": b"\xff\xfe{",
    "deeply nested": DEEP,
    "deeply nested object": b'{"registrationId":' + DEEP,
    "another registration ID": b'{"registrationId":"somebody-else"}',
    "a number for an ID": b'{"registrationId":7}',
}


@pytest.mark.parametrize("kind", BODIES)
def test_a_garbage_body_is_400_and_the_connection_goes_on(
    shared: Story, make: MakeDevice, client_of: Dial, kind: str
) -> None:
    device = make("garbage-body")
    client = client_of(device)
    at_dps(client, shared.lab, device.name)
    tracking_id = assert_azures_error(register(client, BODIES[kind]), 400, 400004)
    assert shared.lab.explain(tracking_id).cures
    assert register(client).topic == topic_of(200)


def test_an_empty_body_is_taken(shared: Story, make: MakeDevice, client_of: Dial) -> None:
    """Not every SDK sends one."""
    client = client_of(make("empty-body"))
    at_dps(client, shared.lab, "empty-body")
    assert register(client, b"").topic == topic_of(200)


def test_a_request_id_comes_back_as_it_was_sent(
    shared: Story, make: MakeDevice, client_of: Dial
) -> None:
    device = make("request-ids")
    client = client_of(device)
    at_dps(client, shared.lab, device.name)
    for rid in ("1", "a-b.c_d~e", "f81d4fae-7dec-11d0-a765-00a0c91e6bf6", "%41%2fä b=c", ""):
        assert register(client, b"{}", rid).topic == topic_of(200, rid)


def test_a_request_id_too_long_to_be_answered_ends_in_a_clean_close(
    shared: Story, make: MakeDevice, client_of: Dial
) -> None:
    """It would leave no room for the answer's topic. The fault is the client's, not the lab's."""
    device = make("long-request-id")
    client = client_of(device)
    at_dps(client, shared.lab, device.name)
    assert "/res/200/" in register(client, b"{}", "x" * 512).topic
    before = len(shared.lab.events.about(source="tls", kind="failed"))
    client.send(publish(wire.REGISTER.format("ä" * 30_000), b"{}"))
    assert client.is_cut_off()
    eventually(lambda: said(shared.lab, "mqtt", "closed", "$rid"))
    assert len(shared.lab.events.about(source="tls", kind="failed")) == before


def test_the_hub_echoes_request_ids_as_they_were_sent(
    shared: Story, make: MakeDevice, client_of: Dial
) -> None:
    client = at_hub(shared, make("hub-request-ids"), client_of)
    client.ask(subscribe("$iothub/twin/res/#"))
    answer = request(client, "$iothub/twin/GET/?$rid=%41%2fä", b" ")
    assert answer.topic == "$iothub/twin/res/200/?$rid=%41%2fä"
    report = "$iothub/twin/PATCH/properties/reported/?$rid=%41%2fä"
    assert request(client, report, b"{}").topic == ("$iothub/twin/res/204/?$rid=%41%2fä&$version=2")


# ---- the user name


@pytest.mark.parametrize(
    "user",
    ["", "nonsense", "a/b", "a/b/c/d/e", "/registrations", "contoso-hub/x/?", "no-such-hub/x/?api"],
)
def test_a_user_name_that_names_no_service_is_connack_5_and_logged(
    shared: Story, make: MakeDevice, client_of: Dial, user: str
) -> None:
    before = len(shared.lab.events.about(source="mqtt", kind="connack"))
    assert client_of(make("lost")).enter("lost", user) == 5
    found = shared.lab.events.about(source="mqtt", kind="connack")[before:]
    assert found
    assert "CONNACK 5" in found[0].text


@pytest.mark.parametrize(
    "form",
    [
        "{hub}:8883/{name}/?api-version=2021-04-12",
        "{hub}/{name}/?api-version=2021-04-12&DeviceClientType=node/1.2 (a/b; c/d)",
        "{hub}:8883/{name}/?a/registrations/b",
        "Contoso-Hub.AZURE-devices.net/{name}/?api-version=2021-04-12",
    ],
    ids=["the port that Node keeps", "slashes in the query", "DPS in the query", "in capitals"],
)
def test_a_hub_is_named_in_the_ways_of_the_sdks(
    shared: Story, make: MakeDevice, client_of: Dial, form: str
) -> None:
    device = make("user-names")
    at_hub(shared, device, client_of)
    user = form.format(hub=shared.lab.hub().host_name, name=device.name)
    assert client_of(device).enter(device.name, user) == 0


@pytest.mark.parametrize("rest", ["?api-version=1&a=b/c", "a/b/c", "api-version=1&x=/?/", "?"])
def test_dps_takes_anything_behind_the_registration_id(
    shared: Story, make: MakeDevice, client_of: Dial, rest: str
) -> None:
    device = make("dps-rest")
    user = f"{shared.lab.dps.id_scope}/registrations/{device.name}/{rest}"
    assert client_of(device).enter(device.name, user) == 0


def test_an_unknown_hub_can_be_explained(shared: Story, make: MakeDevice, client_of: Dial) -> None:
    """A CONNACK has no room for a reason: the last refusal has it."""
    device = make("unknown-hub")
    assert client_of(device).enter(device.name, hub_user(shared.lab, device.name, "fabrikam")) == 5
    found = shared.lab.explain()
    assert found.refusal.device == device.name
    assert "fabrikam" in str(found)


# ---- broken rules: closed, logged, and the next client is served

BROKEN = {
    "malformed": b"\xf0\x00",
    "a length that never ends": b"\x30\xff\xff\xff\xff",
    "oversize": b"\x30" + b"\xff\xff\xff\x7f",
    "QoS 2": publish(wire.REGISTER.format("1"), b"{}", qos=2),
    "an unknown topic": publish("$dps/registrations/DELETE/everything/?$rid=1", b"{}"),
    "a topic outside of $dps": publish("devices/x/messages/events/", b"{}"),
    "a second CONNECT": wire.connect("breaks-rules", "x"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_rule_closes_the_connection_and_is_logged(
    shared: Story, make: MakeDevice, client_of: Dial, kind: str
) -> None:
    device = make("breaks-rules")
    client = client_of(device)
    at_dps(client, shared.lab, device.name)
    before = len(shared.lab.events.about(source="mqtt", kind="broken"))
    client.send(BROKEN[kind])
    assert client.is_cut_off()
    eventually(lambda: len(shared.lab.events.about(source="mqtt", kind="broken")) > before)
    next_one = client_of(device)
    at_dps(next_one, shared.lab, device.name)
    assert register(next_one).topic == topic_of(200)


def test_the_largest_message_is_taken(shared: Story, make: MakeDevice, client_of: Dial) -> None:
    """IoT Hub's limit: 256 KB."""
    client = at_hub(shared, make("largest"), client_of)
    body = b"x" * 256 * 1024
    assert client.ask(publish("devices/largest/messages/events/", body)).kind == PUBACK
    assert [m.body for m in shared.lab.hub().messages("largest")] == [body]


def test_subscribing_is_for_ones_own_answers_only(
    shared: Story, make: MakeDevice, client_of: Dial
) -> None:
    device = make("subscriber")
    client = client_of(device)
    assert client.enter(device.name, dps_user(shared.lab, device.name)) == 0
    answer = client.ask(subscribe(wire.ANSWERS, "#", "$dps/registrations/res/200/#"))
    assert answer.body == b"\0\2\1\x80\x80"
    (told,) = shared.lab.events.about(kind="refused filter")
    assert told.text == f"SUBACK 0x80: subscriber may not listen to #, {wire.ANSWERS[:-2]}/200/#"


# ---- the hub


def at_hub(shared: Story, device: PemDevice, client_of: Dial) -> MqttClient:
    """Registers the device, and connects it to the hub."""
    client = client_of(device)
    at_dps(client, shared.lab, device.name)
    register(client)
    client = client_of(device)
    assert client.enter(device.name, hub_user(shared.lab, device.name)) == 0
    return client


def test_telemetry_is_acknowledged_once_it_is_kept(
    shared: Story, make: MakeDevice, client_of: Dial
) -> None:
    client = at_hub(shared, make("talker"), client_of)
    where = "devices/talker/messages/events/%24.ct=application%2Fjson&%24.ce=utf-8&k=v%20w&flag"
    assert client.ask(publish(where, b'{"t":1}')).kind == PUBACK
    (message,) = shared.lab.hub().messages("talker")
    assert message.text == '{"t":1}'
    assert message.properties == {"k": "v w", "flag": ""}
    assert message.system == {"ct": "application/json", "ce": "utf-8"}


def test_a_twin_is_read_and_reported(shared: Story, make: MakeDevice, client_of: Dial) -> None:
    client = at_hub(shared, make("twin"), client_of)
    assert client.ask(subscribe("$iothub/twin/res/#")).kind == SUBACK
    answer = request(client, "$iothub/twin/GET/?$rid=5", b" ")
    assert answer.topic == "$iothub/twin/res/200/?$rid=5"
    assert answer.json == {"desired": {"$version": 1}, "reported": {"$version": 1}}
    report = "$iothub/twin/PATCH/properties/reported/?$rid=6"
    answer = request(client, report, b'{"fan":{"on":true}}')
    assert answer.topic == "$iothub/twin/res/204/?$rid=6&$version=2"
    assert answer.payload == b""
    assert shared.lab.hub().twin("twin").reported == {"fan": {"on": True}}


@pytest.mark.parametrize("body", [b"{", b"[]", b"", DEEP, b'{"t":NaN}'])
def test_a_garbage_patch_is_400_and_changes_nothing(
    shared: Story, make: MakeDevice, client_of: Dial, body: bytes
) -> None:
    """NaN is no JSON (RFC 8259, 6): a twin that holds it could not be read by others."""
    client = at_hub(shared, make("garbage-twin"), client_of)
    client.ask(subscribe("$iothub/twin/res/#"))
    answer = request(client, "$iothub/twin/PATCH/properties/reported/?$rid=1", body)
    assert answer.topic.startswith("$iothub/twin/res/400/")
    assert shared.lab.hub().twin("garbage-twin").reported_version == 1


def test_a_twin_stays_json_whatever_is_reported(
    shared: Story, make: MakeDevice, client_of: Dial
) -> None:
    client = at_hub(shared, make("odd-twin"), client_of)
    client.ask(subscribe("$iothub/twin/res/#"))
    odd = {"ä\ud800": "\u0000", "big": 1e300, "deep": [[[{}]]]}
    request(client, "$iothub/twin/PATCH/properties/reported/?$rid=1", json.dumps(odd).encode())
    answer = request(client, "$iothub/twin/GET/?$rid=2", b" ")
    assert answer.json["reported"] == {**odd, "$version": 2}


def test_answers_go_to_subscribers_only(shared: Story, make: MakeDevice, client_of: Dial) -> None:
    client = at_hub(shared, make("deaf"), client_of)
    assert client.ask(publish("$iothub/twin/GET/?$rid=1", b" ")).kind == PUBACK
    assert client.ask(wire.PING).kind == wire.PINGRESP


@pytest.mark.parametrize(
    "topic",
    ["devices/another/messages/events/", "$iothub/methods/POST/x", "nonsense", "$dps/x"],
)
def test_a_hub_topic_that_is_not_the_devices_own_ends_the_connection(
    shared: Story, make: MakeDevice, client_of: Dial, topic: str
) -> None:
    client = at_hub(shared, make("trespasser"), client_of)
    client.send(publish(topic, b"{}"))
    assert client.is_cut_off()
    assert shared.lab.hub().messages("another") == []
    eventually(lambda: repr(topic) in str(shared.lab.explain("trespasser")))
    told = str(shared.lab.explain())
    assert told.startswith("trespasser was cut off: the connection ended, and Azure says nothing.")
    assert "publish to devices/trespasser/messages/events/" in told


@pytest.mark.parametrize(
    ("device_id", "client_id", "certified", "check"),
    [
        ("hub-known", "hub-known", False, authentication.CERTIFICATE),
        ("hub-known", "another", True, authentication.CLIENT_ID),
        ("never-provisioned", "never-provisioned", True, authentication.KNOWN),
    ],
)
def test_whom_the_hub_does_not_know_gets_connack_5_and_an_explanation(
    shared: Story,
    make: MakeDevice,
    client_of: Dial,
    device_id: str,
    client_id: str,
    certified: bool,
    check: str,
) -> None:
    device = make("hub-known")
    at_hub(shared, device, client_of)
    client = client_of(device if certified else None)
    assert client.enter(client_id, hub_user(shared.lab, device_id)) == 5
    failure = shared.lab.explain().failure
    assert failure is not None
    assert failure.name == check


def test_a_connection_that_ends_is_told_to_the_hub_once(
    shared: Story, make: MakeDevice, client_of: Dial
) -> None:
    client = at_hub(shared, make("leaves"), client_of)
    client.send(wire.DISCONNECT)
    assert client.is_cut_off()
    gone = "leaves left contoso-hub"
    eventually(lambda: said(shared.lab, "hub", gone))
    assert [e.text for e in shared.lab.events.about(kind="disconnected")].count(gone) == 1


# ---- noise


@settings(max_examples=60, deadline=None)
@given(st.lists(noise, max_size=6))
def test_arbitrary_bytes_end_in_a_clean_close_and_nothing_is_kept(
    shared: Story, sent: list[bytes]
) -> None:
    """Packets that may be, packets that may not, and no packets at all, in any order: the server
    answers or closes, no failure of its own is logged, and of the client nothing is left."""
    before = len(shared.lab.events.about(kind="failed"))
    with MqttClient(shared.lab, tls(shared.lab)) as client:
        with contextlib.suppress(OSError):
            client.send(*sent, wire.DISCONNECT)
        client.socket.settimeout(0.2)
        with contextlib.suppress(EOFError, TimeoutError):
            while True:
                client.receive()
    eventually(lambda: not shared.lab.listener._links)
    assert len(shared.lab.events.about(kind="failed")) == before


def test_a_packet_that_never_ends_is_bounded(shared: Story) -> None:
    """What it announces is checked before anything of it is waited for."""
    with MqttClient(shared.lab, tls(shared.lab)) as client:
        client.send(b"\x10\xff\xff\xff\x7f")
        assert client.is_cut_off()
