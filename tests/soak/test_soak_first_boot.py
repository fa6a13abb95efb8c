"""Certificates of another company's CA, asked for from a server that is killed meanwhile, as often
as LAB_SOAK_KILLS says.

What is claimed: a device that asks again, once the server is up, ends with exactly one certificate
that opens its hub; whatever DPS has handed out is on record there, and the company has every one
that it ever signed on its own books, also those that nobody got.
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
from cryptography.hazmat.primitives.serialization import Encoding
from first_boot_stories import ACCOUNT, AUTHORITY, PROFILE, VERSION, csr_pem
from https_clients import sign
from issuance_stories import new_key
from provisioning import hmac_sha256
from served import Served
from stories import open_lab, write_device

from labkit.cloud.dps.entries import SymmetricKeyAttestation

KILLS = int(os.environ.get("LAB_SOAK_KILLS", "3"))
LONGEST = 0.3
"""Seconds from the request to the kill: about twice what a new process takes to its answer."""
SECRET = base64.b64encode(b"s" * 32).decode()


@dataclass
class Drone:
    """A device with a key, and the chain that it was handed, once it was."""

    name: str
    key: ec.EllipticCurvePrivateKey = field(default_factory=new_key)
    chain: tuple[x509.Certificate, ...] = ()

    def register(self, said: dict[str, Any]) -> None:
        """Asks for a certificate, with a request that is signed anew."""
        where = f"{said['idScope']}/registrations/{self.name}"
        token = sign(quote(where, safe=""), hmac_sha256(SECRET, self.name))
        context = ssl.create_default_context(cafile=said["serverCa"])
        status, body = ask(
            http.client.HTTPSConnection(
                "127.0.0.1", said["dps"]["httpsPort"], timeout=20, context=context
            ),
            "PUT",
            f"/{where}/register?api-version={VERSION}",
            json.dumps({"clientCertificateCsr": csr_pem(self.name, self.key)}),
            {"Content-Type": "application/json", "Authorization": token},
        )
        found = json.loads(body)
        assert (status, found["status"]) == (200, "assigned"), found
        pem = found["registrationState"]["issuedClientCertificate"]
        self.chain = tuple(x509.load_pem_x509_certificates(pem.encode()))

    def try_to_register(self, said: dict[str, Any]) -> None:
        """The same, from a server that may go away."""
        try:
            self.register(said)
        except (OSError, http.client.HTTPException, ValueError):
            return

    def opens_hub(self, said: dict[str, Any], certificate: bytes, folder: Path) -> bool:
        """Whether its hub takes a message from whoever shows this certificate."""
        shown = x509.load_der_x509_certificate(certificate)
        files = write_device(folder, self.key, (shown, *self.chain[1:]))
        context = ssl.create_default_context(cafile=said["serverCa"])
        context.load_cert_chain(files.chain_file, files.key_file)
        port = said["hubs"][0]["httpsPort"]
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=20, context=context)
        path = f"/devices/{self.name}/messages/events?api-version=2021-04-12"
        return ask(connection, "POST", path, "{}", {})[0] == 204


def ask(
    connection: http.client.HTTPSConnection,
    method: str,
    path: str,
    body: str,
    headers: dict[str, str],
) -> tuple[int, bytes]:
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A workspace in which another company signs for devices with keys of a group."""
    with open_lab(tmp_path / "lab") as lab:
        account = lab.third_party_ca().account(ACCOUNT)
        account.profile(PROFILE)
        lab.dps.certificate_authorities.create(
            AUTHORITY, profile=PROFILE, api_key=account.new_api_key()
        )
        keys = SymmetricKeyAttestation(SECRET, SECRET)
        lab.dps.enrollment_groups.create("drones", keys=keys, certificate_authority=AUTHORITY)
    return tmp_path


def books(place: Path, file: str, statement: str) -> list[Any]:
    """What is on record, read past everything of ours."""
    with sqlite3.connect(f"file:{place / 'lab' / file}?mode=ro", uri=True) as opened:
        return [row[0] for row in opened.execute(statement)]


def of_dps(place: Path, name: str) -> list[bytes]:
    """The certificates that DPS has had issued for a device."""
    chains = books(
        place,
        "cloud.db",
        f"SELECT chain FROM issued_client_certificate WHERE device = '{name}'",
    )
    found = (x509.load_pem_x509_certificate(chain.encode()) for chain in chains)
    return [certificate.public_bytes(Encoding.DER) for certificate in found]


def of_company(place: Path, key: ec.EllipticCurvePrivateKey) -> list[bytes]:
    """What the company has signed for a key."""
    ders = books(place, "third-party-ca.db", "SELECT der FROM certificate")
    return [
        der for der in ders if x509.load_der_x509_certificate(der).public_key() == key.public_key()
    ]


def test_a_device_ends_with_one_certificate_that_opens_its_hub_however_often_the_server_is_killed(
    place: Path,
) -> None:
    chance = random.Random(20261130)
    server = Served(place / "lab", place / "log")
    handed_out = unclaimed = 0
    try:
        for number in range(KILLS):
            drone = Drone(f"drone-{number}")
            asking = threading.Thread(target=drone.try_to_register, args=(server.said,))
            asking.start()
            time.sleep(chance.uniform(0, LONGEST))
            server.kill()
            asking.join()
            before = drone.chain
            handed_out += bool(before)
            server = Served(place / "lab", place / "log")
            drone.register(server.said)
            assert drone.chain == (before or drone.chain), "a lost answer is given again"
            final = drone.chain[0].public_bytes(Encoding.DER)
            assert of_dps(place, drone.name) == [final]
            signed = of_company(place, drone.key)
            unclaimed += len(signed) - 1
            opening = [der for der in signed if drone.opens_hub(server.said, der, place / "files")]
            assert opening == [final]
    finally:
        server.kill()
    print(f"{KILLS} kills, {handed_out} after the answer, {unclaimed} signed that nobody got")
