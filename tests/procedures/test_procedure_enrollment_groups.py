"""Roll certificates for enrollment groups: *Update root CA certificates* and *Update intermediate
certificates*, before they expire and after a breach.

A group names a root or an intermediate CA. What is below the old CA and what is below the new one
are two devices here, the one not rolled yet and the other rolled; a thief has the key of one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import pytest
from cryptography import x509
from procedure_steps import (
    Breach,
    assert_connects,
    assert_provisions,
    assert_refused,
    save,
    verify,
    without_groups,
)
from stories import CA, Story

from labkit import Lab
from labkit.cloud.dps import attestation
from labkit.device import Device
from labkit.pki import verdict


@pytest.fixture(scope="module")
def lab(shared: Story) -> Lab:  # type: ignore[override]
    return without_groups(shared)


@dataclass(frozen=True)
class Roll:
    """A group that names ``old``, and ``new``, a CA that is to take its place."""

    lab: Lab
    group: str
    old: CA
    new: CA

    def save(self, primary: CA, secondary: CA | None = None) -> None:
        """Which CAs the group names from now on."""
        other: x509.Certificate | None = secondary.certificate if secondary else None
        save(self.lab.dps.enrollment_groups, self.group, primary.certificate, other)

    def breached(self, name: str) -> Breach:
        """A device below the old CA, and a thief; the group has just been changed, and the device
        rolled."""
        widget = self.old.make_device(name, key_in_file=True)
        breach = Breach.begun(self.lab, widget)
        self.save(self.new)
        widget.renew(self.new)
        return breach


def intermediate(lab: Lab, story: Story, name: str) -> Roll:
    """Two intermediates below the verified root of the story."""
    old, new = (
        story.factory.sign_intermediate(lab.custodian(f"{name}-{age}")) for age in ("old", "new")
    )
    lab.dps.enrollment_groups.create(name, signing=old.certificate)
    return Roll(lab, name, old, new)


def root_roll(lab: Lab, name: str, *, lifetime: int = 3650) -> Roll:
    """Two roots, of which the old one is verified, and lasts so many days."""
    old = lab.custodian(f"{name}-old").create_root_ca(lifetime=timedelta(days=lifetime))
    new = lab.custodian(f"{name}-new").create_root_ca()
    verify(lab, f"{name}-old", old)
    lab.dps.enrollment_groups.create(name, signing=old.certificate)
    return Roll(lab, name, old, new)


MakeRoll = Callable[[Lab, Story, str], Roll]


def root(lab: Lab, _: Story, name: str) -> Roll:
    roll = root_roll(lab, name)
    verify(lab, f"{name}-new", roll.new)
    return roll


either = pytest.mark.parametrize("make", [root, intermediate], ids=["root", "intermediate"])


# ---- Roll certificates for enrollment groups


@either
def test_roll_certificates_for_enrollment_groups__expiry_by_the_secondary_and_back(
    lab: Lab, shared: Story, make: MakeRoll
) -> None:
    """Secondary, then rotated to primary: who is rolled and who is not are both let in, until the
    old CA is taken out. No device is refused before its time."""
    roll = make(lab, shared, f"rotate-{make.__name__}")
    late, early = roll.old.make_device(f"{roll.group}-late"), roll.old.make_device(roll.group)
    assert_provisions(late, early)
    roll.save(roll.old, roll.new)
    early.renew(roll.new)
    assert_provisions(late, early)
    roll.save(roll.new, roll.old)
    assert_provisions(late, early)
    late.renew(roll.new)
    roll.save(roll.new)
    assert_provisions(late, early)
    late.use_reserve()
    assert_out(lab, late)


@either
def test_roll_certificates_for_enrollment_groups__breach_by_removal_at_once(
    lab: Lab, shared: Story, make: MakeRoll
) -> None:
    """Everybody below the compromised CA is out at once, the good with the bad, until they are
    rolled."""
    roll = make(lab, shared, f"breach-{make.__name__}")
    good = roll.old.make_device(f"{roll.group}-good")
    assert_provisions(good)
    breach = roll.breached(f"{roll.group}-bad")
    assert breach.thief.try_dps().outcome == "refused"
    assert_out(lab, good)
    good.renew(roll.new)
    assert_provisions(good, breach.widget)


def assert_out(lab: Lab, device: Device) -> None:
    """Its chain may be sound: no entry names a CA of it any more."""
    assert_refused(lab, device, attestation.ENTRY)


# ---- Update root CA certificates


def test_update_root_ca_certificates__a_new_root_is_added_and_verified_first(
    lab: Lab, shared: Story
) -> None:
    """That the group names the new root is not enough: possession of it has to be proven."""
    roll = root_roll(lab, "root-first")
    widget = roll.old.make_device("root-first")
    assert_provisions(widget)
    roll.save(roll.old, roll.new)
    widget.renew(roll.new)
    assert_refused(lab, widget, verdict.ISSUER)
    lab.dps.certificates.upload("root-first-new", roll.new.certificate)
    assert_refused(lab, widget, verdict.ISSUER)
    verify(lab, "root-first-new", roll.new)
    assert_provisions(widget)


def test_update_root_ca_certificates__expiry_with_primary_and_secondary(
    lab: Lab, shared: Story
) -> None:
    """The old root expires while the group names both: whoever was rolled in time goes on."""
    roll = root_roll(lab, "root-expiry", lifetime=30)
    verify(lab, "root-expiry-new", roll.new)
    rolled, late = (roll.old.make_device(f"root-expiry-{n}") for n in ("rolled", "late"))
    assert_provisions(rolled, late)
    roll.save(roll.old, roll.new)
    rolled.renew(roll.new)
    assert_provisions(rolled, late)
    lab.clock.advance(days=31)
    assert_refused(lab, late, verdict.VALIDITY)
    assert_provisions(rolled)
    roll.save(roll.new)
    lab.dps.certificates.delete("root-expiry-old")
    assert_provisions(rolled)


def test_update_root_ca_certificates__breach_by_deleting_the_root(lab: Lab, shared: Story) -> None:
    """Select the compromised certificate, and delete it: nothing below it is trusted any more,
    whichever entry names it. Then a new root is added and verified, and the group gets it."""
    roll = root_roll(lab, "root-breach")
    widget = roll.old.make_device("root-breach", key_in_file=True)
    breach = Breach.begun(lab, widget)
    lab.dps.certificates.delete("root-breach-old")
    assert breach.thief.try_dps().outcome == "refused"
    assert_refused(lab, widget, verdict.ISSUER)
    verify(lab, "root-breach-new", roll.new)
    roll.save(roll.new)
    widget.renew(roll.new)
    assert_provisions(widget)
    assert breach.attempts == ["refused", "refused"]


def test_update_root_ca_certificates__the_hole_first_way_remove_the_registrations(
    lab: Lab, shared: Story
) -> None:
    breach = root(lab, shared, "root-hole-1").breached("root-hole-1")
    breach.assert_hole()
    breach.close_by_removing_the_registration()


def test_update_root_ca_certificates__the_hole_second_way_reprovision(
    lab: Lab, shared: Story
) -> None:
    breach = root(lab, shared, "root-hole-2").breached("root-hole-2")
    breach.assert_hole()
    breach.close_by_reprovisioning()


# ---- Update intermediate certificates


def test_update_intermediate_certificates__each_chains_to_a_verified_root(
    lab: Lab, shared: Story
) -> None:
    """A new intermediate below a root that nobody has verified: refused, though the group names
    it."""
    roll = intermediate(lab, shared, "inter-first")
    widget = roll.old.make_device("inter-first")
    assert_provisions(widget)
    unverified = lab.custodian("Company-N").create_root_ca()
    below = unverified.sign_intermediate(lab.custodian("Factory-N"))
    roll.save(roll.old, below)
    widget.renew(below)
    assert_refused(lab, widget, verdict.ISSUER)
    verify(lab, "company-n", unverified)
    assert_provisions(widget)


def test_update_intermediate_certificates__expiry_with_primary_and_secondary(
    lab: Lab, shared: Story
) -> None:
    """A CA's next generation, of the same name with a new key, waits as secondary; devices move
    below it one by one."""
    roll = intermediate(lab, shared, "inter-expiry")
    rolled, late = (roll.old.make_device(f"inter-expiry-{n}") for n in ("rolled", "late"))
    assert_provisions(rolled, late)
    following = roll.old.renew(new_key=True)
    rolled.renew(following)
    assert_refused(lab, rolled, attestation.ENTRY)
    roll.save(roll.old, following)
    assert_provisions(rolled, late)
    late.renew(following)
    roll.save(following)
    assert_provisions(rolled, late)
    late.use_reserve()
    assert_out(lab, late)


def test_update_intermediate_certificates__breach_by_removal(lab: Lab, shared: Story) -> None:
    """The intermediate leaves its group; those below its sister, in a group of their own, notice
    nothing."""
    roll = intermediate(lab, shared, "inter-breach")
    sister = intermediate(lab, shared, "inter-sister").old.make_device("inter-sister")
    assert_provisions(sister)
    breach = roll.breached("inter-breach")
    assert breach.thief.try_dps().outcome == "refused"
    assert_provisions(breach.widget, sister)
    assert breach.attempts == ["refused", "refused"]
    assert_connects(sister)


def test_update_intermediate_certificates__the_hole_first_way_remove_the_registrations(
    lab: Lab, shared: Story
) -> None:
    breach = intermediate(lab, shared, "inter-hole-1").breached("inter-hole-1")
    breach.assert_hole()
    breach.close_by_removing_the_registration()


def test_update_intermediate_certificates__the_hole_second_way_reprovision(
    lab: Lab, shared: Story
) -> None:
    breach = intermediate(lab, shared, "inter-hole-2").breached("inter-hole-2")
    breach.assert_hole()
    breach.close_by_reprovisioning()
