"""Which enrollment decides: only certificates that were validated may take part in the walk."""

from __future__ import annotations

import forge
import pytest
from cryptography import x509
from stories import open_lab

from labkit import Lab
from labkit.cloud import Presented
from labkit.cloud.dps.caller import Caller
from labkit.errors import ServiceRefusal
from labkit.pki import verdict

NAME = "widget-1"


@pytest.fixture
def lab(tmp_path):  # type: ignore[no-untyped-def]
    with open_lab(tmp_path / "lab") as lab:
        lab.clock.set(forge.NOW)
        yield lab


def trust(lab: Lab, ca: forge.Forged) -> None:
    """Uploaded and verified, by its own key."""
    entry = lab.dps.certificates.upload(ca.name, ca.certificate)
    proof = forge.device(entry.verification_code, ca)
    lab.dps.certificates.verify(entry, proof.certificate)


def group_of(lab: Lab, *chain: x509.Certificate) -> str:
    """The group that admits this chain, or ``refused``."""
    try:
        found = lab.dps.register(Caller(lab.dps.id_scope, NAME, Presented(chain)))
        assert found.registration is not None
        return found.registration.group_id
    except ServiceRefusal:
        return "refused"


def enroll(lab: Lab, group: str, ca: forge.Forged, *, enabled: bool = True) -> None:
    lab.dps.enrollment_groups.create(group, signing=ca.certificate)
    if not enabled:
        lab.dps.enrollment_groups.disable(group)


def test_an_expired_cross_signer_does_not_lend_its_group(lab: Lab) -> None:
    """R, verified, has no group. B, a former partner, has one, was never verified and has
    expired. That B once signed I must not bring I's devices into B's group."""
    root, partner = forge.ca("R"), forge.ca("B", days=(-400, -30))
    middle = forge.ca("I", root)
    by_partner = forge.ca("I", partner, key=middle.key, days=(-400, -30))
    leaf = forge.device(NAME, middle)
    trust(lab, root)
    enroll(lab, "former-partner", partner)
    sent = (leaf, by_partner, middle, partner)
    for chain in (sent, (leaf, middle, by_partner, partner), (leaf, partner, by_partner, middle)):
        assert group_of(lab, *(forged.certificate for forged in chain)) == "refused"


def test_a_disabled_group_cannot_be_steered_around(lab: Lab) -> None:
    """The nearest certificate with an entry decides, however many others are sent."""
    root, partner = forge.ca("R"), forge.ca("B")
    middle = forge.ca("I", root)
    by_partner = forge.ca("I", partner, key=middle.key)
    leaf = forge.device(NAME, middle)
    trust(lab, root)
    enroll(lab, "partner", partner)
    enroll(lab, "closed", root, enabled=False)
    sent = (leaf, by_partner, partner, middle)
    assert group_of(lab, *(forged.certificate for forged in sent)) == "refused"


def test_a_group_above_the_first_trusted_ca_is_found(lab: Lab) -> None:
    """Intermediate and root are both verified; the group names the root."""
    root = forge.ca("R")
    middle = forge.ca("I", root)
    leaf = forge.device(NAME, middle)
    trust(lab, root)
    trust(lab, middle)
    enroll(lab, "all", root)
    assert group_of(lab, leaf.certificate, middle.certificate) == "all"
    assert group_of(lab, leaf.certificate) == "all", "both CAs are in DPS: nothing is missing"


def test_the_deepest_entry_decides(lab: Lab) -> None:
    root = forge.ca("R")
    middle = forge.ca("I", root)
    leaf = forge.device(NAME, middle)
    trust(lab, root)
    enroll(lab, "all", root)
    enroll(lab, "line-1", middle)
    assert group_of(lab, leaf.certificate, middle.certificate) == "line-1"
    lab.dps.enrollment_groups.disable("line-1")
    assert group_of(lab, leaf.certificate, middle.certificate) == "refused"
    lab.dps.enrollment_groups.enable("line-1")
    assert group_of(lab, leaf.certificate, middle.certificate) == "line-1"


def test_a_certificate_that_cannot_be_read_whole_is_refused_for_just_that(lab: Lab) -> None:
    """The verifier reads only what it needs. Decision and explanation agree all the same."""
    root = forge.ca("R")
    trust(lab, root)
    enroll(lab, "all", root)
    leaf = forge.with_broken_extension(forge.device(NAME, root), root)
    assert group_of(lab, leaf) == "refused"
    failure = lab.explain().failure
    assert failure is not None
    assert failure.name == verdict.READABLE


def test_without_a_trusted_ca_nobody_is_told_to_send_more(lab: Lab) -> None:
    """To send the root as well never helps: it counts when DPS has verified it."""
    root = forge.ca("R")
    leaf = forge.device(NAME, root)
    assert group_of(lab, leaf.certificate) == "refused"
    (cure,) = lab.explain().cures
    assert cure.startswith("upload CN=R itself")


def test_a_known_device_keeps_its_hub_when_another_is_linked(lab: Lab) -> None:
    root = forge.ca("R")
    leaf = forge.device(NAME, root)
    trust(lab, root)
    enroll(lab, "all", root)
    group_of(lab, leaf.certificate)
    before = lab.dps.registrations.get(NAME).assigned_hub
    for name in ("aaa-hub", "bbb-hub", "zzz-hub"):
        lab.cloud.hubs.add(name)
        group_of(lab, leaf.certificate)
        assert lab.dps.registrations.get(NAME).assigned_hub == before


def test_the_last_visitor_is_the_last_whatever_the_clock_says(lab: Lab) -> None:
    root = forge.ca("R")
    leaf = forge.device(NAME, root)
    trust(lab, root)
    enroll(lab, "all", root)
    lab.clock.advance(days=4000)
    group_of(lab, leaf.certificate)
    lab.clock.set(forge.NOW)
    other = forge.device("widget-2", root)
    lab.dps.register(Caller(lab.dps.id_scope, "widget-2", Presented((other.certificate,))))
    assert [visit.device for visit in lab.cloud.visits("dps")] == ["widget-2", NAME]
