"""An MQTT library that knows nothing of Azure, with a key file: the answers on the raw wire."""

from __future__ import annotations

import json
import queue
import uuid
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from stories import PATIENCE, Story, pem_device
from wire_clients import ANSWERS, REGISTER, dps_user, tls


def registered(story: Story, directory: Path, name: str, *, sends: int) -> tuple[str, Any]:
    """Registers over DPS's topics and returns the answer's topic and body."""
    device = pem_device(story, directory, name, sends=sends)
    answers: queue.Queue[tuple[str, bytes]] = queue.Queue()
    client = mqtt.Client(name, clean_session=True, protocol=mqtt.MQTTv311)
    client.username_pw_set(dps_user(story.lab, name))
    client.tls_set_context(tls(story.lab, device.chain_file, device.key_file))
    client.on_message = lambda _, __, message: answers.put((message.topic, message.payload))
    client.on_subscribe = lambda *_: client.publish(REGISTER.format("abc"), b"{}", qos=1)
    client.on_connect = lambda *_: client.subscribe(ANSWERS, qos=1)
    client.connect(story.lab.listener.host, story.lab.listener.mqtt_port)
    client.loop_start()
    try:
        topic, body = answers.get(timeout=PATIENCE)
    finally:
        client.disconnect()
        client.loop_stop()
    return topic, json.loads(body)


def test_paho_is_assigned(shared: Story, tmp_path: Path) -> None:
    topic, body = registered(shared, tmp_path / "pem", "paho-widget", sends=3)
    assert topic == "$dps/registrations/res/200/?$rid=abc"
    assert body["registrationState"]["deviceId"] == "paho-widget"


def test_paho_sees_the_bare_401_for_a_leaf_alone(shared: Story, tmp_path: Path) -> None:
    topic, body = registered(shared, tmp_path / "pem", "paho-leaf-only", sends=1)
    assert topic == "$dps/registrations/res/401/?$rid=abc"
    assert set(body) == {"errorCode", "message", "trackingId", "timestampUtc"}
    assert body["errorCode"] == 401002
    assert uuid.UUID(body["trackingId"])
    assert "CN=Technician-Z CA" in str(shared.lab.explain(body["trackingId"]))
