"""Certificates at first boot, from a certificate authority of another company: asked for by clients
that share no code with the lab, raw MQTT and HTTPS by the standard library.

A test for each arrow of the sequence diagram in the document on certificates (file 002), named
after it, and one for each failure.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from first_boot_stories import USER, VERSION, FirstBoot, csr_pem, linked
from https_clients import Answer, client
from issuance_stories import new_key
from stories import PemDevice, Story, pem_device, write_device
from wire_clients import ANSWERS, SUBACK, MqttClient, hub_user, register, subscribe, tls

API = f"api-version={VERSION}"
TRANSPORTS = pytest.mark.parametrize("transport", ["mqtt", "https"])


@pytest.fixture
def boot(story: Story) -> FirstBoot:
    return linked(story)


@pytest.fixture
def device(boot: FirstBoot, tmp_path: Path) -> PemDevice:
    return pem_device(boot.story, tmp_path / "device", "widget-007")


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


@TRANSPORTS
def test_a_device_gets_its_certificate_and_enters_its_hub_with_it(
    boot: FirstBoot, device: PemDevice, transport: str, tmp_path: Path
) -> None:
    """Leaf, issuing CA, root in PEM; and the hub knows the device by that leaf's thumbprint."""
    story, key = boot.story, new_key()
    answer = ask(transport, story, device, {"clientCertificateCsr": csr_pem(device.name, key)})
    found = issued(answer)
    assert found[0].public_key() == key.public_key()
    assert found[1:] == [boot.ca.certificate, boot.ca.root]
    identity = story.lab.hub().devices.get(device.name)
    assert identity.authentication == "selfSigned"
    shown = write_device(tmp_path / "issued", key, tuple(found))
    with MqttClient(story.lab, tls(story.lab, shown.chain_file, shown.key_file)) as mqtt:
        assert mqtt.enter(shown.name, hub_user(story.lab, shown.name)) == 0
