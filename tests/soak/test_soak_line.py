"""The manufacturing line under kill -9, as often as LAB_SOAK_KILLS says: ./lab soak kills 50 times.

What is claimed, after each kill: every certificate that left the line is in its ledger, no
serial number is there twice, and no device has two certificates. In the end: the line goes on,
makes just what is missing, and every device with a token has the key to its certificate.
"""

from __future__ import annotations

import os
import random
import sqlite3
from collections import Counter
from pathlib import Path

import pytest
from foreign_tools import openssl_verify
from kills import killed
from stories import open_lab

from labkit.supplychain import Line
from labkit.supplychain.line import Where

KILLS = int(os.environ.get("LAB_SOAK_KILLS", "4"))
WAYS: tuple[tuple[Where, int, int], ...] = (
    ("token", 1, 10),
    ("memory", 2, 1000),
    ("session", 1, 500),
    ("memory", 1, 1000),
)
"""Where keys are born, in how many processes, and how many devices more each round asks for."""

RUN = """
import sys
place, round_, keys, processes, count, tests = sys.argv[1:]
sys.path.insert(0, tests)
from pathlib import Path
from stories import open_lab
from labkit.supplychain import Line
lab = open_lab(Path(place), say=None)
factory = lab.custodian("Company-X").create_root_ca().sign_intermediate(lab.custodian("Factory-Y"))
line = Line(factory, f"{keys}-")
names = line.missing(line.names(int(count)), keys=keys)
print("ready", flush=True)
for lot in line.each_lot(names, keys=keys, processes=int(processes)):
    print(*(f"{d.name}={d.certificate.serial_number:040x}" for d in lot), flush=True)
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    with open_lab(tmp_path / "lab") as lab:
        root = lab.custodian("Company-X").create_root_ca()
        root.sign_intermediate(lab.custodian("Factory-Y"))
    return tmp_path / "lab"


def recorded(place: Path) -> list[str]:
    """The serials in the ledger, read past everything of ours."""
    with sqlite3.connect(place / "supply-chain.db") as database:
        return [serial for (serial,) in database.execute("SELECT serial FROM issued")]


def on_record(place: Path) -> int:
    """How many devices are."""
    with sqlite3.connect(place / "supply-chain.db") as database:
        (number,) = database.execute(
            "SELECT (SELECT count(*) FROM device) + (SELECT count(*) FROM simulated)"
        ).fetchone()
    return int(number)


def test_a_line_that_is_killed_again_and_again(place: Path, tmp_path: Path) -> None:
    chance = random.Random()
    left: dict[str, str] = {}
    for round_ in range(KILLS):
        keys, processes, more = WAYS[round_ % len(WAYS)]
        count = more * (round_ // len(WAYS) + 1)
        said = killed(RUN, chance.uniform(0, 1), place, round_, keys, processes, count)
        for finished in " ".join(said).split():
            name, serial = finished.split("=")
            assert left.setdefault(name, serial) == serial, "it was made twice"
        known = recorded(place)
        assert set(left.values()) <= set(known), "it left and is not in the ledger"
        assert max(Counter(known).values()) == 1
        assert len(known) == 2 + on_record(place), "two CAs, and one certificate for each device"
    _goes_on(place, tmp_path, left)


def _goes_on(place: Path, tmp_path: Path, left: dict[str, str]) -> None:
    with open_lab(place, say=None) as lab:
        company, factory = (lab.custodian(name) for name in ("Company-X", "Factory-Y"))
        (ca,), (root,) = factory.authorities(), company.authorities()
        for keys in ("token", "memory", "session"):
            before = on_record(place)
            line = Line(ca, f"{keys}-")
            done = line.run(20, keys=keys)  # type: ignore[arg-type]
            assert (done.made + done.again, on_record(place)) == (20, before + done.made)
        for device in lab.devices:
            assert device.key.public_key() == device.certificate.public_key()
            assert left.get(device.name, f"{device.certificate.serial_number:040x}") == (
                f"{device.certificate.serial_number:040x}"
            )
        signatures = lab._supply_chain.ledger.issued(limit=10)
        for entry in signatures[2:]:
            path = [entry.certificate, ca.certificate]
            assert openssl_verify(tmp_path, path, [root.certificate], lab.clock.now()) == ""
