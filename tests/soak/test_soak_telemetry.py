"""The hub under kill -9 while a device sends, as often as LAB_SOAK_KILLS says.

What is claimed, after each kill: every message that was acknowledged is there, once for each
time that it was sent, in the order in which it was sent; and the lab goes on.
"""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from pathlib import Path

from kills import killed
from stories import open_lab

KILLS = int(os.environ.get("LAB_SOAK_KILLS", "4"))

RUN = """
import sys
place, round_, chain, key, tests = sys.argv[1:]
sys.path.insert(0, tests)
from pathlib import Path
from stories import open_lab
from wire_clients import MqttClient, connect, hub_user, publish, tls
from labkit.cloud.hub import telemetry
telemetry.KEPT_MESSAGES = telemetry.KEPT_BYTES = 10**12  # retention is not what is tested
lab = open_lab(Path(place), say=None)
client = MqttClient(lab, tls(lab, Path(chain), Path(key)))
assert client.ask(connect("sender", hub_user(lab, "sender"))).body == b"\\0\\0"
topic = "devices/sender/messages/events/"
print("ready", flush=True)
sent = 0
for number in range(1, 60_000):
    while sent < number + 50:
        sent += 1
        client.send(publish(topic, b"%s %d" % (round_.encode(), sent), packet_id=sent))
    assert int.from_bytes(client.receive().body, "big") == number
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
"""


def kept(place: Path) -> list[tuple[int, int]]:
    """Round and number of each message, read past everything of ours, in their order."""
    with sqlite3.connect(place / "cloud.db") as database:
        rows = database.execute("SELECT body FROM message ORDER BY number").fetchall()
    found = (body.decode().split() for (body,) in rows)
    return [(int(round_), int(number)) for round_, number in found]


def test_a_hub_that_is_killed_again_and_again_under_load(told: Path, tmp_path: Path) -> None:
    from identities import add_device
    from stories import PemDevice, found_again

    place, chance = tmp_path / "lab", random.Random()
    shutil.copytree(told, place)
    with open_lab(place) as lab:
        device = add_device(found_again(lab), tmp_path / "pem", "sender")
        assert isinstance(device, PemDevice)
    said: list[tuple[int, int]] = []
    for round_ in range(KILLS):
        program = (place, round_, device.chain_file, device.key_file)
        lines = killed(RUN, chance.uniform(0.05, 1), *program)
        whole = lines if not lines or lines[-1] == "" else lines[:-1]  # the last may be half
        said += [(round_, int(number)) for number in whole if number]
        found = kept(place)
        assert set(said) <= set(found), "it was acknowledged and is not there"
        assert found == sorted(set(found)), "each once, in the order in which it was sent"
    print(f"{len(said)} messages were acknowledged, {len(kept(place))} are there")
    assert said, "no round lasted long enough to say anything"
    with open_lab(place, say=None) as lab:
        assert len(lab.hub().messages()) == len(kept(place))
