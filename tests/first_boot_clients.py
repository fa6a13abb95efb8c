"""Clients of a first boot that share no code with the lab: what they send, what comes back."""

from __future__ import annotations

import http.client
import json
import ssl
from typing import Any

import pytest
from cryptography import x509
from first_boot_stories import USER, VERSION, FirstBoot
from https_clients import Answer, Client, client
from stories import PATIENCE, PemDevice, Story
from wire_clients import ANSWERS, SUBACK, MqttClient, hub_user, register, subscribe, tls

API = f"api-version={VERSION}"
TRANSPORTS = pytest.mark.parametrize("transport", ["mqtt", "https"])


def by_mqtt(story: Story, device: PemDevice, body: dict[str, Any], user: str = USER) -> Answer:
    """The answer of DPS to a registration: its status is in the topic."""
    name = user.format(story.lab.dps.id_scope, device.name)
    with MqttClient(story.lab, tls(story.lab, device.chain_file, device.key_file)) as mqtt:
        assert mqtt.enter(device.name, name) == 0
        assert mqtt.ask(subscribe(ANSWERS)).kind == SUBACK
        answer = register(mqtt, json.dumps(body).encode())
        return Answer(int(answer.topic.split("/")[3]), {}, answer.payload)


def by_https(story: Story, device: PemDevice, body: dict[str, Any], api: str = API) -> Answer:
    path = f"/{story.lab.dps.id_scope}/registrations/{device.name}/register?{api}"
    with client(story.lab, chain_file=device.chain_file, key_file=device.key_file) as https:
        return https.ask("PUT", path, body)


def ask(transport: str, story: Story, device: PemDevice, body: dict[str, Any]) -> Answer:
    return (by_mqtt if transport == "mqtt" else by_https)(story, device, body)


def issued(answer: Answer) -> list[x509.Certificate]:
    assert answer.status == 200, answer.body
    assert answer.json["status"] == "assigned", answer.body
    pem = answer.json["registrationState"]["issuedClientCertificate"]
    return x509.load_pem_x509_certificates(pem.encode())


def ended_as_failed(answer: Answer) -> None:
    """The registration ended, and its state says so."""
    assert (answer.status, answer.json["status"]) == (200, "failed"), answer.body
    state = answer.json["registrationState"]
    assert (state["status"], state["errorCode"]) == ("failed", 400004)
    assert state["errorMessage"]
    assert "issuedClientCertificate" not in state


def enters_hub(story: Story, shown: PemDevice) -> bool:
    """Whether the hub lets in who shows this chain."""
    with MqttClient(story.lab, tls(story.lab, shown.chain_file, shown.key_file)) as mqtt:
        return mqtt.enter(shown.name, hub_user(story.lab, shown.name)) == 0


def at_ca(boot: FirstBoot, method: str, path: str, key: str) -> Answer:
    """What the authority's web service answers to a customer's own program."""
    context = ssl.create_default_context(cadata=boot.ca.web_root_pem)
    connection = http.client.HTTPSConnection(
        boot.story.lab.listener.host, boot.ca.port, timeout=PATIENCE, context=context
    )
    try:
        return Client(connection, {"X-API-Key": key}).ask(method, path)
    finally:
        connection.close()


def asked_at_ca(story: Story) -> list[str]:
    """What the authority was asked, and its status, in order."""
    return [e.text for e in story.lab.events.about(source="https") if "/v1/" in e.text]


def told(story: Story) -> str:
    """All that the event log and the refusals keep."""
    refused = [str(check) for row in story.lab.cloud.refusals.recent() for check in row.checks]
    return "\n".join([*map(repr, story.lab.events), *refused])
