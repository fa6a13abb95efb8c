"""A fleet that keeps its certificates by itself, day by day of the lab's clock: what is claimed of
ninety days of 200 devices is measured here, and printed.

LAB_SOAK_RENEWAL is how many devices there are, LAB_SOAK_DAYS how many days. The whole: 200 and 90.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from cryptography import x509
from issuance_stories import managed
from stories import Story

from labkit.cloud.adr.namespaces import Namespace
from labkit.device import Device
from labkit.ui.dashboard.reports import reports

COUNT = int(os.environ.get("LAB_SOAK_RENEWAL", "12"))
DAYS = int(os.environ.get("LAB_SOAK_DAYS", "30"))
VALID_FOR = DAYS // 3
"""Days of a certificate, as its policy has it: each is renewed at 0.7 to 0.8 of them."""


def fleet(story: Story) -> list[Device]:
    """Half of them renew by registering again, half by asking their hub."""
    names = [f"renewing-{number:03}" for number in range(COUNT)]
    made = story.technician.make_devices(names).devices
    devices = [device for device in made if isinstance(device, Device)]
    for number, device in enumerate(devices):
        device.firmware.configure(keep_operational=True, renew_at_hub=number % 2 == 1)
    return devices


def by_device(namespace: Namespace) -> dict[str, list[x509.Certificate]]:
    found = defaultdict(list)
    for entry in namespace.certificates():
        found[entry.registration_id].append(entry.certificate)
    return found


def is_valid(certificate: x509.Certificate | None, moment: datetime) -> bool:
    if certificate is None:
        return False
    return certificate.not_valid_before_utc <= moment <= certificate.not_valid_after_utc


@dataclass
class Sleeper:
    """A device that is awake when its firmware has named the moment, and else off the line: paho
    can watch no socket whose number is above 1,023, and a connection in this process takes five."""

    device: Device
    wakes: datetime | None = None

    def live(self) -> None:
        """One day: nothing, or what there is to be done."""
        if self.wakes is not None and self.wakes > self.device.now():
            return
        self.wakes = self.device.firmware.run()[-1].until
        self.device.disconnect()


def test_a_fleet_keeps_its_certificates_by_itself(story: Story) -> None:
    """No device is without a valid certificate for a moment, each renewal comes before expiry, all
    chains end in one root, and the dashboard agrees with the ledger."""
    lab, namespace = story.lab, managed(story)
    namespace.policies.get("short").update(validity_days=VALID_FOR)
    sleepers, began = list(map(Sleeper, fleet(story))), time.monotonic()
    for day in range(DAYS + 1):
        for sleeper in sleepers:
            sleeper.live()
            held = sleeper.device.operational.certificate
            assert is_valid(held, sleeper.device.now()), (day, sleeper.device.name)
        if day < DAYS:
            lab.clock.advance(days=1)
    took = time.monotonic() - began
    root = namespace.credential.certificate
    issued = by_device(namespace)
    said = {report.device: report for report in reports([lab.hub()])}
    for device in (sleeper.device for sleeper in sleepers):
        mine = issued[device.name]
        gaps = [
            earlier.not_valid_after_utc - later.not_valid_before_utc
            for earlier, later in pairwise(mine)
        ]
        assert all(gap > timedelta() for gap in gaps), "renewed before it expired"
        assert device.operational.chain[0] == mine[-1]
        assert device.operational.chain[-1] == root
        assert device.key.token.key_labels == ["identity", f"operational {len(mine)}"]
        assert said[device.name].expires == mine[-1].not_valid_after_utc
        assert said[device.name].issued == mine[-1].not_valid_before_utc
        assert said[device.name].renewals == len(mine) - 1
        assert said[device.name].failures == device.firmware.memory.missed
        assert device.firmware.memory.refusals == 0
    total = sum(map(len, issued.values()))
    missed = sum(report.failures for report in said.values())
    print(f"\n{COUNT} devices, {DAYS} days: {total} certificates in {took:.0f} s, {missed} missed")
    assert total >= COUNT * (1 + DAYS // VALID_FOR)
