"""Certificates asked for from a server that is killed meanwhile, as often as LAB_SOAK_KILLS says.

What is claimed: a device that asks again, once the server is up, ends with exactly one certificate
for its key; the ledger knows it, and knows every one that was ever handed out.
"""

from __future__ import annotations

import itertools
import os
import random
import sqlite3
import threading
import time
from pathlib import Path

import pytest
from cryptography import x509
from drones import KEYS, Drone
from served import Served
from stories import PATIENCE, open_lab
from subprocesses import children, have_softhsm

from labkit.wire.cores import spare

KILLS = int(os.environ.get("LAB_SOAK_KILLS", "3"))
LONGEST = 0.8
"""Seconds from the request to the kill: about twice what a new process takes to its answer."""
CROWD, LONGEST_CROWD = 24, 0.6
"""Drones that ask at once, and the same for them."""
_numbers = itertools.count()


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
        lab.dps.enrollment_groups.create("drones", keys=KEYS, credential_policy="short")
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


def test_a_crowd_ends_with_one_certificate_each_however_often_the_server_is_killed(
    place: Path,
) -> None:
    """Over MQTT, and more than there are threads: so other processes verify and sign, which end
    when the server is gone. Crowds before are left alone until they are there."""
    chance = random.Random(20261130)
    server = Served(place / "lab", place / "log")
    handed_out = 0
    try:
        for number in range(KILLS):
            end = time.monotonic() + PATIENCE
            while not have_others(server):
                assert time.monotonic() < end, "nobody else verifies and signs"
                crowd(server, [Drone(f"warm-{next(_numbers)}") for _ in range(CROWD)])
            drones = [Drone(f"drone-{number}-{each}") for each in range(CROWD)]
            asking = ask(server, drones)
            time.sleep(chance.uniform(0, LONGEST_CROWD))
            server.kill()
            for thread in asking:
                thread.join()
            before = {drone.name: drone.issued for drone in drones if drone.issued}
            for name, issued in before.items():
                assert ledger(place, name) == [issued], "handed out, and not on record"
            handed_out += len(before)
            server = Served(place / "lab", place / "log")
            crowd(server, drones)
            for drone in drones:
                assert drone.issued == before.get(drone.name, drone.issued)
                assert ledger(place, drone.name) == [drone.issued]
                assert drone.chain[0].public_key() == drone.key.public_key()
    finally:
        server.kill()
    print(f"{KILLS} kills, {handed_out} of {KILLS * CROWD} drones after the answer")


def ask(server: Served, drones: list[Drone]) -> list[threading.Thread]:
    """All of them at once, of a server that may go away."""
    asking = [
        threading.Thread(target=drone.try_to_register, args=(server.said,), kwargs={"mqtt": True})
        for drone in drones
    ]
    for thread in asking:
        thread.start()
    return asking


def have_others(server: Served) -> bool:
    """Whether it has other processes sign by now, where it has cores for them."""
    others = children(server.process.pid)
    return not spare() or (bool(others) and have_softhsm(others))


def crowd(server: Served, drones: list[Drone]) -> None:
    """All of them at once; each is handed a certificate."""
    for thread in ask(server, drones):
        thread.join()
    assert all(drone.issued for drone in drones)
