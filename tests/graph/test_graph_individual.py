"""Individual enrollments in the picture: whom an entry admits, and what it says no to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from labkit import Lab
from labkit.cloud.dps.entries import CLIENT, SymmetricKeyAttestation, X509Attestation
from labkit.errors import ProvisioningFailed
from labkit.graph import Picture
from labkit.graph.family import Family
from labkit.graph.kinds import read
from labkit.graph.layout import Layout, layout
from labkit.graph.legible import PORT_GAP
from labkit.graph.model import of_lab
from labkit.graph.presented import Presented

OWN, WIDGET, ROOT = "device own-1", "device widget-1", "ca Company-X/Company-X Root CA"
FACTORY = "ca Factory-Y/Factory-Y CA"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A device that signs for itself, and one two levels below Company-X, which is verified."""
    with Lab.open(tmp_path / "lab", clock="2027-03-01T09:00:00Z", say=None) as lab:
        company = lab.custodian("Company-X").create_root_ca()
        company.sign_intermediate(lab.custodian("Factory-Y")).make_device("widget-1")
        lab.self_signed_device("own-1")
        yield lab


def verify(lab: Lab) -> None:
    (company,) = lab.custodian("Company-X").authorities()
    ca = lab.dps.certificates.upload("company-x", company.certificate)
    lab.dps.certificates.verify(ca, company.prove_possession(ca.verification_code))


def refused(lab: Lab, name: str, registration_id: str = "") -> None:
    with pytest.raises(ProvisioningFailed):
        lab.device(name).provision(registration_id=registration_id)


def state(lab: Lab, node: str) -> str:
    return str(of_lab(lab).nodes[node]["state"])


def links(lab: Lab, kind: str) -> list[tuple[Any, Any, bool, str]]:
    edges = of_lab(lab).edges(data=True)
    return [(a, b, d["broken"], d["label"]) for a, b, d in edges if d["kind"] == kind]


def told(lab: Lab) -> str:
    return Picture.of(of_lab(lab)).text


def stops(lab: Lab) -> bool:
    return "stops here" in Picture.of(of_lab(lab)).svg


def plan(lab: Lab) -> Layout:
    board = read(of_lab(lab))
    family = Family(board)
    return layout(board, family, Presented(board, family))


def test_a_lab_without_a_ca_is_not_called_empty(tmp_path: Path) -> None:
    with Lab.open(tmp_path / "own") as lab:
        lab.self_signed_device("own-1")
        assert of_lab(lab).graph["title"] == "The supply chain"


def test_a_device_that_nobody_vouches_for_goes_no_further_than_dps(lab: Lab) -> None:
    refused(lab, "own-1")
    assert state(lab, OWN) == "untrusted issuer"
    assert stops(lab)


def test_an_entry_of_its_own_makes_it_enrolled_and_not_trusted(lab: Lab) -> None:
    """No CA is behind it: ``trusted`` says that a chain leads to one."""
    own = lab.device("own-1")
    lab.dps.enrollments.create("own-1", certificate=own.certificate, device_id="Desk-3")
    own.provision()
    assert state(lab, OWN) == "enrolled"
    assert links(lab, "names") == [("enrollment own-1", OWN, False, "admits")]
    assert links(lab, "provisioned")[0][:2] == (OWN, "identity contoso-hub/Desk-3")
    assert not stops(lab)


def test_which_of_two_certificates_came_is_said_beside_the_entry(lab: Lab) -> None:
    own, spare = lab.device("own-1"), lab.spare_certificate("own-1")
    lab.dps.enrollments.create("own-1", certificate=own.certificate, secondary=spare)
    seen = [of_lab(lab).nodes["enrollment own-1"]["detail"]]
    own.provision()
    seen.append(of_lab(lab).nodes["enrollment own-1"]["detail"])
    own.install_chain([spare])
    own.provision()
    seen.append(of_lab(lab).nodes["enrollment own-1"]["detail"])
    assert seen == [
        "one device · 2 certificates",
        "sent the primary of two",
        "sent the secondary of two",
    ]


def test_a_root_in_the_entry_is_linked_and_the_device_is_not_named(lab: Lab) -> None:
    """Pain point 6: the picture shows what the entry names, and that the device is another."""
    verify(lab)
    (company,) = lab.custodian("Company-X").authorities()
    lab.dps.enrollments.create("widget-1", certificate=company.certificate)
    refused(lab, "widget-1")
    assert state(lab, WIDGET) == "not named"
    assert state(lab, ROOT) == "trusted", "nothing is wrong with the CA"
    assert links(lab, "names") == [
        ("enrollment widget-1", "entry company-x", False, "names"),
        ("enrollment widget-1", WIDGET, True, "not named"),
    ]
    assert links(lab, "provisioned") == []
    assert stops(lab)
    assert "names company-x; does not name widget-1" in told(lab)


def test_the_picture_is_well_again_after_the_cure(lab: Lab) -> None:
    verify(lab)
    (company,) = lab.custodian("Company-X").authorities()
    entry = lab.dps.enrollments.create("widget-1", certificate=company.certificate)
    refused(lab, "widget-1")
    widget = lab.device("widget-1")
    own = X509Attestation(CLIENT, widget.certificate)
    lab.dps.enrollments.update(replace(entry, attestation=own))
    widget.provision()
    assert state(lab, WIDGET) == "trusted"
    assert links(lab, "names") == [("enrollment widget-1", WIDGET, False, "admits")]
    assert not stops(lab)


def test_another_name_than_the_cn_marks_the_device_that_sent_the_certificate(lab: Lab) -> None:
    """Pain point 3: it asked under a name that is no device's."""
    own = lab.device("own-1")
    lab.dps.enrollments.create("own-1", certificate=own.certificate)
    own.provision()
    refused(lab, "own-1", "desk-3")
    assert state(lab, OWN) == "other name"
    assert of_lab(lab).graph["title"] == "desk-3 is refused"
    assert links(lab, "provisioned") == []
    assert "In its last connection own-1 sent own-1." in told(lab)
    own.provision(registration_id="OWN-1")
    assert state(lab, OWN) == "enrolled"
    assert links(lab, "provisioned")[0][:2] == (OWN, "identity contoso-hub/own-1")


def test_a_disabled_entry_keeps_its_device_out_though_a_group_covers_it(lab: Lab) -> None:
    verify(lab)
    (factory,) = lab.custodian("Factory-Y").authorities()
    lab.dps.enrollment_groups.create("line", signing=factory.certificate)
    widget = lab.device("widget-1")
    lab.dps.enrollments.create("widget-1", certificate=widget.certificate, status="disabled")
    refused(lab, "widget-1")
    assert ("enrollment widget-1", WIDGET, True, "keeps out") in links(lab, "names")
    assert state(lab, "enrollment widget-1") == "disabled"
    assert stops(lab)
    assert "keeps out widget-1" in told(lab)


def test_a_root_that_dps_does_not_know_is_not_called_unsent(lab: Lab) -> None:
    """To send a root is of no use: DPS has to be told of it."""
    widget = lab.device("widget-1")
    lab.dps.enrollments.create("widget-1", certificate=widget.certificate)
    refused(lab, "widget-1")
    assert state(lab, ROOT) == "unknown"
    assert state(lab, FACTORY) == "untrusted issuer"
    assert (ROOT, FACTORY, True, "unknown") in links(lab, "signed")
    assert "Needed and not sent" not in told(lab)
    assert "signed Factory-Y CA, but its own certificate is not known to DPS" in told(lab)


def test_an_entry_with_a_symmetric_key_says_so(lab: Lab) -> None:
    lab.dps.enrollments.create("thermostat-1", keys=SymmetricKeyAttestation())
    assert of_lab(lab).nodes["enrollment thermostat-1"]["detail"] == "one device · symmetric key"
    assert links(lab, "names") == []


def test_nothing_stands_where_a_refused_connection_ends(lab: Lab) -> None:
    """The ways of other devices, and their words, keep away from the cross."""
    verify(lab)
    (factory,) = lab.custodian("Factory-Y").authorities()
    lab.dps.enrollment_groups.create("line", signing=factory.certificate)
    for device in lab.devices:
        lab.dps.enrollments.create(device.name, certificate=device.certificate)
        device.provision()
    lab.dps.enrollments.disable("widget-1")
    refused(lab, "widget-1")
    placed = plan(lab)
    (stopped,) = [link for link in placed.links if link.kind == "stopped"]
    assert stopped.cross is not None
    x, y = stopped.cross
    others = [link for link in placed.links if link is not stopped]
    ends = [end for link in others for end in link.points[-2:] if abs(end[0] - x) < 40]
    words = [word for link in others for word in link.words if abs(word.x - x) < 60]
    assert ends
    assert all(abs(end[1] - y) >= PORT_GAP for end in ends)
    assert all(not y - 10 <= word.y <= y + 20 for word in words)
