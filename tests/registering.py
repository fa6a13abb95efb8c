"""Clients that register and share no code with the lab: raw MQTT, and HTTPS by the standard
library."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from https_clients import Answer, client
from stories import PemDevice, Story
from wire_clients import ANSWERS, SUBACK, MqttClient, register, subscribe, tls


@dataclass(frozen=True)
class Speaker:
    """Speaks one api-version, unless a call names another user name or query."""

    version: str

    def by_mqtt(
        self, story: Story, device: PemDevice, body: dict[str, Any], user: str = ""
    ) -> Answer:
        """The answer of DPS to a registration: its status is in the topic."""
        user = user or "{}/registrations/{}/api-version=" + self.version
        name = user.format(story.lab.dps.id_scope, device.name)
        with MqttClient(story.lab, tls(story.lab, device.chain_file, device.key_file)) as mqtt:
            assert mqtt.enter(device.name, name) == 0
            assert mqtt.ask(subscribe(ANSWERS)).kind == SUBACK
            answer = register(mqtt, json.dumps(body).encode())
            return Answer(int(answer.topic.split("/")[3]), {}, answer.payload)

    def by_https(
        self, story: Story, device: PemDevice, body: dict[str, Any], api: str = ""
    ) -> Answer:
        api = api or f"api-version={self.version}"
        path = f"/{story.lab.dps.id_scope}/registrations/{device.name}/register?{api}"
        with client(story.lab, chain_file=device.chain_file, key_file=device.key_file) as https:
            return https.ask("PUT", path, body)

    def ask(self, transport: str, story: Story, device: PemDevice, body: dict[str, Any]) -> Answer:
        return (self.by_mqtt if transport == "mqtt" else self.by_https)(story, device, body)
