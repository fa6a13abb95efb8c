"""MQTT clients that know nothing of Azure, with a device certificate: paho, mosquitto, bytes."""

from __future__ import annotations

import itertools
import json
import queue
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import paho.mqtt.client as mqtt
import pytest
import wire_clients as wire
from identities import add_device, disable
from stories import PATIENCE, PemDevice, Story, eventually, failed_check
from wire_clients import MqttClient, connect, hub_user, publish, subscribe, tls, unsubscribe

from labkit.cloud.hub.authentication import ENABLED
from labkit.cloud.hub.commands import LARGEST_BAG

_numbers = itertools.count()


@pytest.fixture
def device(shared: Story, tmp_path: Path) -> PemDevice:
    made = add_device(shared, tmp_path / "pem", f"foreign-{next(_numbers)}")
    assert isinstance(made, PemDevice)
    return made


# ---- mosquitto's own clients


def mosquitto(
    program: str, story: Story, device: PemDevice, *options: str
) -> subprocess.Popen[str]:
    """Debian's client; the test is skipped, and says so, where it is not installed."""
    if shutil.which(program) is None:
        pytest.skip(f"NOT TESTED: {program} is not installed (Debian: mosquitto-clients)")
    command = [
        program, "-h", story.lab.listener.host, "-p", str(story.lab.listener.mqtt_port),
        "-V", "mqttv311", "--cafile", str(story.lab.server.root_file),
        "--cert", str(device.chain_file), "--key", str(device.key_file),
        "-i", device.name, "-u", hub_user(story.lab, device.name), "-q", "1", *options,
    ]  # fmt: skip
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_mosquitto_pub_sends_telemetry(shared: Story, device: PemDevice) -> None:
    topic = f"devices/{device.name}/messages/events/alert=yes&%24.ct=application%2Fjson"
    with mosquitto("mosquitto_pub", shared, device, "-t", topic, "-m", '{"t": 21.5}') as process:
        assert process.communicate(timeout=PATIENCE) == ("", "")
    (message,) = shared.lab.hub().messages(device.name)
    assert (message.text, message.properties) == ('{"t": 21.5}', {"alert": "yes"})
    assert message.system == {"ct": "application/json"}


def test_mosquitto_pub_with_the_retain_flag_is_told_to_who_reads(
    shared: Story, device: PemDevice
) -> None:
    topic = f"devices/{device.name}/messages/events/"
    with mosquitto("mosquitto_pub", shared, device, "-t", topic, "-m", "x", "-r") as process:
        process.communicate(timeout=PATIENCE)
    (message,) = shared.lab.hub().messages(device.name)
    assert message.properties == {"mqtt-retain": "true"}


def test_mosquitto_sub_receives_and_completes_messages(shared: Story, device: PemDevice) -> None:
    topic, hub = f"devices/{device.name}/messages/devicebound/#", shared.lab.hub()
    hub.send(device.name, "wake up", note="a b&c")
    with mosquitto("mosquitto_sub", shared, device, "-t", topic, "-C", "1", "-v") as process:
        said, complaints = process.communicate(timeout=PATIENCE)
    assert complaints == ""
    assert said.endswith("wake up\n")
    assert "note=a%20b%26c" in said
    eventually(lambda: not hub.queued(device.name))


def test_mosquitto_pub_is_refused_once_the_identity_is_disabled(
    shared: Story, device: PemDevice
) -> None:
    disable(shared, device.name)
    topic = f"devices/{device.name}/messages/events/"
    with mosquitto("mosquitto_pub", shared, device, "-t", topic, "-m", "x") as process:
        _, complaints = process.communicate(timeout=PATIENCE)
    assert "not authorised" in complaints.lower()
    assert failed_check(shared.lab, device.name) == ENABLED


# ---- paho


@contextmanager
def paho(story: Story, device: PemDevice) -> Iterator[tuple[Any, queue.Queue[Any]]]:
    """Connected, and what it receives."""
    inbox: queue.Queue[Any] = queue.Queue()
    client = mqtt.Client(device.name, clean_session=True, protocol=mqtt.MQTTv311)
    client.username_pw_set(hub_user(story.lab, device.name))
    client.tls_set_context(tls(story.lab, device.chain_file, device.key_file))
    client.on_message = lambda _, __, message: inbox.put(message)
    client.on_subscribe = lambda *_: inbox.put("subscribed")
    client.connect(story.lab.listener.host, story.lab.listener.mqtt_port)
    client.loop_start()
    try:
        yield client, inbox
    finally:
        client.disconnect()
        client.loop_stop()


def test_paho_is_called_told_and_sent_to(shared: Story, device: PemDevice) -> None:
    """A method at QoS 0, desired properties and a message at QoS 1, on the topics of Azure."""
    hub, name = shared.lab.hub(), device.name
    with paho(shared, device) as (client, inbox):
        wanted = ["$iothub/methods/POST/#", "$iothub/twin/PATCH/properties/desired/#"]
        client.subscribe(
            [(topic, 1) for topic in (*wanted, f"devices/{name}/messages/devicebound/#")]
        )
        assert inbox.get(timeout=PATIENCE) == "subscribed"
        begun = hub.begin_method(name, "reboot", {"delay": 5})
        call = inbox.get(timeout=PATIENCE)
        assert (call.topic.split("/?$rid=")[0], call.qos) == ("$iothub/methods/POST/reboot", 0)
        assert json.loads(call.payload) == {"delay": 5}
        rid = call.topic.split("=")[1]
        client.publish(f"$iothub/methods/res/201/?$rid={rid}", b'{"ok":true}', qos=1)
        answer = begun.result(PATIENCE)
        assert (answer.status, answer.payload) == (201, {"ok": True})

        hub.update_twin(name, desired={"interval": 5, "old": None})
        change = inbox.get(timeout=PATIENCE)
        assert change.topic == "$iothub/twin/PATCH/properties/desired/?$version=2"
        assert json.loads(change.payload) == {"interval": 5, "old": None, "$version": 2}
        assert change.qos == 1

        hub.send(name, b"\x00\xff", message_id="m/1", empty="")
        message = inbox.get(timeout=PATIENCE)
        where, _, bag = message.topic.rpartition("/")
        assert where == f"devices/{name}/messages/devicebound"
        assert set(bag.split("&")) == {
            "%24.mid=m%2F1", f"%24.to=%2Fdevices%2F{name}%2Fmessages%2Fdevicebound", "empty=",
        }  # fmt: skip
        assert (message.payload, message.qos) == (b"\x00\xff", 1)
        eventually(lambda: not hub.queued(name))


# ---- rules, byte by byte


@contextmanager
def at_hub(
    story: Story, device: PemDevice, *, clean: bool = True, present: bool = False
) -> Iterator[MqttClient]:
    context = tls(story.lab, device.chain_file, device.key_file)
    with MqttClient(story.lab, context) as client:
        hello = connect(device.name, hub_user(story.lab, device.name), clean=clean)
        assert client.ask(hello).body == bytes([present, 0])
        yield client


def refused(story: Story, device: PemDevice, user: str, client_id: str = "") -> str:
    """The check that refused a user name, with CONNACK 5."""
    context = tls(story.lab, device.chain_file, device.key_file)
    with MqttClient(story.lab, context) as client:
        assert client.enter(client_id or device.name, user) == 5
    return failed_check(story.lab, device.name)


def test_qos_2_ends_the_connection(shared: Story, device: PemDevice) -> None:
    with at_hub(shared, device) as client:
        client.send(publish(f"devices/{device.name}/messages/events/", b"x", qos=2))
        assert client.is_cut_off()
    assert shared.lab.hub().messages(device.name) == []
    eventually(lambda: "publish with QoS 0 or 1" in str(shared.lab.explain(device.name)))


def test_properties_as_long_as_they_may_be_are_brought(shared: Story, device: PemDevice) -> None:
    """An MQTT topic has 65,535 bytes; what is longer than that is refused to who sends it."""
    hub, largest = shared.lab.hub(), "ü" * (LARGEST_BAG // 6 - 20)
    hub.send(device.name, "x", note=largest)
    with at_hub(shared, device) as client:
        client.ask(subscribe(f"devices/{device.name}/messages/devicebound/#"))
        assert quote(largest) in client.receive().topic


@pytest.mark.parametrize(
    "form",
    [
        "{hub}/{name}/?api-version=2021-04-12",
        "{hub}/{name}/?DeviceClientType=x&api-version=2020-09-30-preview",
        "{hub}/{name}/api-version=2016-11-14",
        "{hub}/{name}/",
        "{hub}/{name}",
    ],
)
def test_the_api_version_may_be_any_date_or_left_out(
    shared: Story, device: PemDevice, form: str
) -> None:
    """Azure's document recommends to say it, and does not demand it."""
    context = tls(shared.lab, device.chain_file, device.key_file)
    with MqttClient(shared.lab, context) as client:
        user = form.format(hub=shared.lab.hub().host_name, name=device.name)
        assert client.enter(device.name, user) == 0


@pytest.mark.parametrize("version", ["1", "latest", "2021-04", "2021-04-12-beta"])
def test_an_api_version_that_is_no_date_is_refused(
    shared: Story, device: PemDevice, version: str
) -> None:
    user = f"{shared.lab.hub().host_name}/{device.name}/?api-version={version}"
    assert refused(shared, device, user) == "the api-version is a date"


def test_a_module_is_refused_and_told_that_the_lab_has_none(
    shared: Story, device: PemDevice
) -> None:
    user = f"{shared.lab.hub().host_name}/{device.name}/camera/?api-version=2021-04-12"
    found = refused(shared, device, user, f"{device.name}/camera")
    assert found == "the user name names a device"


def test_only_the_documented_filters_are_granted_and_there_are_at_most_five(
    shared: Story, device: PemDevice
) -> None:
    """A device's subscriptions can never be more than Azure allows."""
    name = device.name
    granted = (
        f"devices/{name}/messages/devicebound/#",
        "$iothub/methods/POST/#",
        "$iothub/twin/res/#",
        "$iothub/twin/PATCH/properties/desired/#",
    )
    others = ("#", "+/#", "$iothub/#", "devices/another/messages/devicebound/#", "x")
    with at_hub(shared, device) as client:
        answer = client.ask(subscribe(*granted, *others, qos=2))
        assert answer.body[2:] == b"\1" * len(granted) + b"\x80" * len(others)


def test_a_lasting_session_is_present_again_and_a_clean_one_is_not(
    shared: Story, device: PemDevice
) -> None:
    topic = f"devices/{device.name}/messages/devicebound/#"
    with at_hub(shared, device, clean=False) as client:
        client.ask(subscribe(topic, "$iothub/methods/POST/#"))
        client.ask(unsubscribe("$iothub/methods/POST/#"))
    shared.lab.hub().send(device.name, "outstanding")
    with at_hub(shared, device, clean=False, present=True) as client:
        assert client.receive().payload.endswith(b"outstanding")
    with at_hub(shared, device, clean=True) as client:
        assert client.ask(wire.PING).kind == wire.PINGRESP
    with at_hub(shared, device, clean=False) as client:
        assert client.ask(wire.PING).kind == wire.PINGRESP


def test_the_older_connection_ends_and_the_newer_goes_on(shared: Story, device: PemDevice) -> None:
    with at_hub(shared, device) as older, at_hub(shared, device) as newer:
        assert older.is_cut_off()
        assert newer.ask(wire.PING).kind == wire.PINGRESP
        assert [p.device_id for p in shared.lab.hub().connected()].count(device.name) == 1


def test_a_method_is_not_answered_by_what_is_no_answer(shared: Story, device: PemDevice) -> None:
    """Each can be explained; the right answer behind them still counts."""
    with at_hub(shared, device) as client:
        client.ask(subscribe("$iothub/methods/POST/#", qos=0))
        begun = shared.lab.hub().begin_method(device.name, "ping")
        rid = client.receive().topic.split("=")[1]
        for status, number, body in (
            ("200", "999999", b"{}"), ("ok", rid, b"{}"), ("200", rid, b"no JSON"), ("", rid, b""),
        ):  # fmt: skip
            topic = f"$iothub/methods/res/{status}/?$rid={number}"
            assert client.ask(publish(topic, body)).kind == wire.PUBACK
        assert not begun.done()
        client.ask(publish(f"$iothub/methods/res/200/?$rid={rid}", b""))
        assert begun.result(PATIENCE).payload is None


def test_who_reads_nothing_is_cut_off_and_nothing_piles_up(
    shared: Story, device: PemDevice
) -> None:
    with at_hub(shared, device) as client:
        client.ask(subscribe("$iothub/methods/POST/#", qos=0))
        hub = shared.lab.hub()
        for _ in range(500):
            hub.begin_method(device.name, "ping", "x" * 100_000, 0.5)
        eventually(lambda: hub.connections.find(hub.name, device.name) is None)
    assert any("takes none" in e.text for e in shared.lab.events.about(kind="broken"))
