"""`labkit serve` under kill -9 and under load, as often as LAB_SOAK_KILLS says.

What is claimed, after each kill: the server comes up again by itself, and every enrollment and
every registration that was ever acknowledged is there, with the hub that the device was told and
its identity in that hub. In the end the database is sound, and the server stops as it should.
"""

from __future__ import annotations

import json
import os
import random
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import forge
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from load_client import register
from served import Served
from stories import open_lab

KILLS = int(os.environ.get("LAB_SOAK_KILLS", "3"))
THREADS = 12
"""Connections at once: of as many back ends, and of one device of each."""
HUBS = ("--hub", "alpha-hub", "--hub", "beta-hub", "--hub", "gamma-hub")
CLIENT = Path(__file__).parents[1] / "load_client.py"


@dataclass
class Acknowledged:
    """Everything that a client was told was done: IDs of enrollments, and where each device is."""

    enrolled: set[str] = field(default_factory=set)
    registered: dict[str, tuple[str, str]] = field(default_factory=dict)

    def read(self, lines: str) -> int:
        """Takes what a load client wrote, and says how much it was. A last line may be cut off."""
        whole = lines[: lines.rfind("\n") + 1].splitlines()
        for line in whole:
            what, name, *where = line.split()
            if what == "enrolled":
                self.enrolled.add(name)
            else:
                assert what == "registered"
                self.registered[name] = (where[0], where[1])
        return len(whole)

    def missing(self, database: Path) -> list[str]:
        """What the database of a server does not have, read past everything of ours."""
        with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as opened:
            entries = {key for (key,) in opened.execute("SELECT key FROM enrollment")}
            columns = "key, assigned_hub, device_id, status"
            found = opened.execute(f"SELECT {columns} FROM registration").fetchall()
            identities = set(opened.execute("SELECT hub, device_id FROM device_identity"))
            twins = set(opened.execute("SELECT hub, device_id FROM twin"))
        records = {key: (hub, device) for key, hub, device, status in found if status == "assigned"}
        lost = [f"enrollment {name}" for name in self.enrolled - entries]
        for name, where in self.registered.items():
            identity = where[0].partition(".")[0], where[1]
            if records.get(name) != where:
                lost.append(f"registration {name}: {where}, now {records.get(name)}")
            lost += [f"identity {identity}"] * (identity not in identities)
            lost += [f"twin {identity}"] * (identity not in twins)
        return lost


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a workspace, in which a group admits the devices below a CA, and that CA."""
    ca = forge.ca("Company-X")
    with open_lab(tmp_path / "lab") as lab:
        lab.clock.set(forge.NOW)
        entry = lab.dps.certificates.upload("company-x", ca.certificate)
        proof = forge.device(entry.verification_code, ca).certificate
        lab.dps.certificates.verify(entry, proof)
        lab.dps.enrollment_groups.create("widgets", signing=ca.certificate)
    (tmp_path / "ca.pem").write_bytes(ca.certificate.public_bytes(Encoding.PEM))
    key = ca.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "ca.key").write_bytes(key)
    return tmp_path


def served(place: Path) -> Served:
    """A server of the workspace, whose announcement load clients find."""
    server = Served(place / "lab", place / "log", *HUBS)
    (place / "ready.json").write_text(json.dumps(server.said))
    return server


def killed_under_load(server: Served, place: Path, round_: int, seconds: float) -> str:
    """What was acknowledged until the server was killed, so long after the first."""
    command = [sys.executable, str(CLIENT), str(place), str(round_), str(THREADS)]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as client,
    ):
        assert client.stdout is not None
        assert client.stderr is not None
        first = client.stdout.readline()
        time.sleep(seconds)
        server.kill()
        rest, complaints = client.communicate(timeout=60)
    assert complaints == b"", complaints.decode()
    return (first + rest).decode()


def test_a_server_that_is_killed_again_and_again(place: Path) -> None:
    chance, told, server = random.Random(), Acknowledged(), served(place)
    try:
        for round_ in range(KILLS):
            seconds = chance.uniform(0, 1.5)
            count = told.read(killed_under_load(server, place, round_, seconds))
            assert count, "nothing was acknowledged before the kill"
            server = served(place)
            assert told.missing(place / "lab" / "cloud.db") == []
            _is_known_again(server, place, told, chance)
            print(f"kill {round_ + 1} after {seconds:.2f} s: {count} acknowledged")
        server.stop()
    finally:
        server.kill()
    with sqlite3.connect(place / "lab" / "cloud.db") as opened:
        assert opened.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    print(f"{len(told.enrolled)} enrollments, {len(told.registered)} registrations, none lost")


def _is_known_again(server: Served, place: Path, told: Acknowledged, chance: random.Random) -> None:
    """A device that was acknowledged before comes back, and keeps its hub."""
    name, where = chance.choice(list(told.registered.items()))
    state = register(server.said, name, place / f"{name}.pem")
    assert (state["assignedHub"], state["deviceId"]) == where
