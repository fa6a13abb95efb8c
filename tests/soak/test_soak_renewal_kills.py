"""Certificates asked for at a hub whose server is killed meanwhile, LAB_SOAK_KILLS times.

What is claimed: the device finds its answer when it comes again, or asks again and gets the same;
it ends with exactly one certificate for its key, and the ledger knows every one that it was handed.
"""

from __future__ import annotations

import base64
import json
import os
import queue
import random
import sqlite3
import ssl
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from issuance_stories import csr, managed, new_key
from paho.mqtt import client as paho
from renewal_client import ANSWERS, ASK, Files, Heard
from served import Served
from stories import PemDevice, enrolled, open_lab, pem_device, write_device

from labkit.device.provisioning_client import ProvisioningClient

KILLS = int(os.environ.get("LAB_SOAK_KILLS", "3"))
LONGEST = 0.25
"""Seconds from the request to the kill: about twice what a new process takes to its answer."""
NAME, PATIENCE = "widget-killed", 20.0


@pytest.fixture
def device(tmp_path: Path) -> PemDevice:
    """A device with an operational certificate, in a workspace that a server may open."""
    with open_lab(tmp_path / "lab") as lab:
        story = enrolled(lab)
        managed(story)
        onboarding, key = pem_device(story, tmp_path / "device", NAME), new_key()
        proof, request = Files(onboarding), csr(NAME, key)
        client = ProvisioningClient(lab.network, NAME, proof, "mqtt", request)
        return write_device(tmp_path / "device", key, client.register().chain)


class Line:
    """A connection to the hub of a server, which listens to the answers."""

    def __init__(self, said: dict[str, Any], device: PemDevice) -> None:
        self.heard: queue.Queue[Any] = queue.Queue()
        context = ssl.create_default_context(cafile=said["serverCa"])
        context.load_cert_chain(device.chain_file, device.key_file)
        self.client = paho.Client(NAME, clean_session=True, protocol=paho.MQTTv311)
        self.client.username_pw_set(f"{said['hubs'][0]['hostName']}/{NAME}/?api-version=2021-04-12")
        self.client.tls_set_context(context)
        self.client.on_connect = lambda client, *_: client.subscribe(ANSWERS, 1)
        self.client.on_subscribe = lambda *_: self.heard.put("subscribed")
        self.client.on_message = lambda _c, _d, message: self.heard.put(Heard.read(message))
        self.client.reconnect_delay_set(60, 60)
        self.client.connect(said["dps"]["host"], said["dps"]["mqttPort"])
        self.client.loop_start()
        assert self.heard.get(timeout=PATIENCE) == "subscribed"

    def ask(self, request: str, rid: str, **more: str) -> None:
        body = {"id": NAME, "csr": request, **more}
        self.client.publish(ASK.format(rid), json.dumps(body), qos=1)

    def issued(self) -> bytes:
        """The certificate that comes next."""
        while True:
            found = self.heard.get(timeout=PATIENCE)
            if found.status == 200:
                return base64.b64decode(found.body["certificates"][0])
            assert found.status == 202, found

    def leave(self) -> list[bytes]:
        """What came by now that nobody has taken."""
        self.client.disconnect()
        self.client.loop_stop()
        left = [self.heard.get_nowait() for _ in range(self.heard.qsize())]
        return [
            base64.b64decode(found.body["certificates"][0]) for found in left if found.status == 200
        ]


def ledger(place: Path) -> list[bytes]:
    """What is on record for the device, read past everything of ours."""
    with sqlite3.connect(f"file:{place / 'lab' / 'cloud.db'}?mode=ro", uri=True) as opened:
        wanted = "SELECT der FROM adr_certificate WHERE device = ?"
        return [der for (der,) in opened.execute(wanted, (NAME,))]


def test_a_device_ends_with_one_certificate_for_its_key_however_often_the_server_is_killed(
    device: PemDevice, tmp_path: Path
) -> None:
    chance = random.Random(20261130)
    server = Served(tmp_path / "lab", tmp_path / "log")
    handed_out = 0
    try:
        for number in range(KILLS):
            key, rid = new_key(), f"rid-{number:04}"
            line = Line(server.said, device)
            line.ask(csr(NAME, key), rid)
            time.sleep(chance.uniform(0, LONGEST))
            server.kill()
            before = line.leave()
            assert all(der in ledger(tmp_path) for der in before), "handed out, and not on record"
            handed_out += bool(before)
            server = Served(tmp_path / "lab", tmp_path / "log")
            again = Line(server.said, device)
            again.ask(csr(NAME, key), f"{rid}-again", replace="*")
            final = again.issued()
            again.leave()
            mine = [der for der in ledger(tmp_path) if _key_of(der) == key.public_key()]
            assert mine == [final] == (before or mine)[:1]
    finally:
        server.kill()
    print(f"{KILLS} kills, {handed_out} of them after the answer")


def _key_of(der: bytes) -> object:
    return x509.load_der_x509_certificate(der).public_key()
