"""Certificates asked for from a server that is killed meanwhile, as often as LAB_SOAK_KILLS says.

What is claimed: a device that asks again, once the server is up, ends with exactly one certificate
for its key; the ledger knows it, and knows every one that was ever handed out.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import random
import sqlite3
import ssl
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from https_clients import sign
from issuance_stories import csr, new_key
from provisioning import hmac_sha256
from served import Served
from stories import open_lab

from labkit.cloud.dps.entries import SymmetricKeyAttestation

KILLS = int(os.environ.get("LAB_SOAK_KILLS", "3"))
LONGEST = 0.8
"""Seconds from the request to the kill: about twice what a new process takes to its answer."""
SECRET = base64.b64encode(b"s" * 32).decode()


@dataclass
class Drone:
    """A device with a key, and the certificate that it was handed, once it was."""

    name: str
    key: ec.EllipticCurvePrivateKey = field(default_factory=new_key)
    issued: bytes = b""

    def register(self, said: dict[str, Any]) -> None:
        """Asks for a certificate, with a request that is signed anew."""
        context = ssl.create_default_context(cafile=said["serverCa"])
        port, scope = said["dps"]["httpsPort"], said["idScope"]
        where = f"{scope}/registrations/{self.name}"
        token = sign(quote(where, safe=""), hmac_sha256(SECRET, self.name))
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=20, context=context)
        try:
            connection.request(
                "PUT",
                f"/{where}/register?api-version=2025-07-01-preview",
                json.dumps({"csr": csr(self.name, self.key)}),
                {"Content-Type": "application/json", "Authorization": token},
            )
            answer = connection.getresponse()
            found = json.loads(answer.read())
        finally:
            connection.close()
        assert answer.status == 200, found
        self.issued = base64.b64decode(found["registrationState"]["issuedCertificateChain"][0])

    def try_to_register(self, said: dict[str, Any]) -> None:
        """The same, from a server that may go away."""
        try:
            self.register(said)
        except (OSError, http.client.HTTPException, ValueError):
            return


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A workspace in which devices with keys of a group have certificates issued."""
    with open_lab(tmp_path / "lab") as lab:
        namespace = lab.registry.namespaces.create("contoso")
        namespace.create_credential()
        namespace.policies.create("short", validity_days=7)
        namespace.link_dps()
        namespace.link_hub("contoso-hub")
        namespace.synchronize()
        keys = SymmetricKeyAttestation(SECRET, SECRET)
        lab.dps.enrollment_groups.create("drones", keys=keys, credential_policy="short")
    return tmp_path


def ledger(place: Path, name: str) -> list[bytes]:
    """What is on record for a device, read past everything of ours."""
    with sqlite3.connect(f"file:{place / 'lab' / 'cloud.db'}?mode=ro", uri=True) as opened:
        wanted = "SELECT der FROM adr_certificate WHERE device = ?"
        return [der for (der,) in opened.execute(wanted, (name,))]


def test_a_device_ends_with_one_certificate_however_often_the_server_is_killed(
    place: Path,
) -> None:
    chance = random.Random(20261129)
    server = Served(place / "lab", place / "log")
    handed_out = 0
    try:
        for number in range(KILLS):
            drone = Drone(f"drone-{number}")
            asking = threading.Thread(target=drone.try_to_register, args=(server.said,))
            asking.start()
            time.sleep(chance.uniform(0, LONGEST))
            server.kill()
            asking.join()
            before, known = drone.issued, ledger(place, drone.name)
            assert not before or known == [before], "handed out, and not on record"
            handed_out += bool(before)
            server = Served(place / "lab", place / "log")
            drone.register(server.said)
            assert drone.issued == (before or drone.issued)
            assert ledger(place, drone.name) == [drone.issued]
            certificate = x509.load_der_x509_certificate(drone.issued)
            assert certificate.public_key() == drone.key.public_key()
    finally:
        server.kill()
    print(f"{KILLS} kills, {handed_out} of them after the answer")
