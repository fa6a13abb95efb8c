"""Certificates of another company's CA, asked for from a server that is killed meanwhile, as often
as LAB_SOAK_KILLS says.

What is claimed: a device that asks again, once the server is up, ends with exactly one certificate
that opens its hub; whatever DPS has handed out is on record there, and the company has every one
that it ever signed on its own books, also those that nobody got.
"""

from __future__ import annotations

import http.client
import os
import random
import sqlite3
import ssl
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from drones import KEYS, Drone
from first_boot_stories import ACCOUNT, AUTHORITY, PROFILE, VERSION, csr_pem
from served import Served
from stories import open_lab, write_device

KILLS = int(os.environ.get("LAB_SOAK_KILLS", "3"))
LONGEST = 0.3
"""Seconds from the request to the kill: about twice what a new process takes to its answer."""


class Customer(Drone):
    """A drone whose certificates another company signs."""

    version = VERSION

    def body(self) -> dict[str, str]:
        return {"clientCertificateCsr": csr_pem(self.name, self.key)}

    def read(self, state: dict[str, Any]) -> list[x509.Certificate]:
        return x509.load_pem_x509_certificates(state["issuedClientCertificate"].encode())

    def opens_hub(self, said: dict[str, Any], certificate: bytes, folder: Path) -> bool:
        """Whether its hub takes a message from whoever shows this certificate."""
        shown = x509.load_der_x509_certificate(certificate)
        files = write_device(folder, self.key, (shown, *self.chain[1:]))
        context = ssl.create_default_context(cafile=said["serverCa"])
        context.load_cert_chain(files.chain_file, files.key_file)
        port = said["hubs"][0]["httpsPort"]
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=20, context=context)
        path = f"/devices/{self.name}/messages/events?api-version=2021-04-12"
        try:
            connection.request("POST", path, "{}")
            return connection.getresponse().status == 204
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
        lab.dps.enrollment_groups.create("drones", keys=KEYS, certificate_authority=AUTHORITY)
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
            drone = Customer(f"drone-{number}")
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
