"""Clients of a first boot that share no code with the lab: what they send, what comes back."""

from __future__ import annotations

import http.client
import ssl

import pytest
from cryptography import x509
from first_boot_stories import VERSION, FirstBoot
from https_clients import Answer, Client
from registering import Speaker
from stories import PATIENCE, PemDevice, Story
from wire_clients import MqttClient, hub_user, tls

API = f"api-version={VERSION}"
SPEAKER = Speaker(VERSION)
TRANSPORTS = pytest.mark.parametrize("transport", ["mqtt", "https"])


by_mqtt, by_https, ask = SPEAKER.by_mqtt, SPEAKER.by_https, SPEAKER.ask


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
