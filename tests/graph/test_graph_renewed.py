"""What was renewed, in the picture: the same name twice is two boxes, and another name is a mistake
that can be seen."""

from __future__ import annotations

import pytest
from stories import Story, enroll, supply_chain

from labkit import Lab
from labkit.errors import ProvisioningFailed
from labkit.graph.kinds import Board, Edge, read
from labkit.graph.model import of_lab
from labkit.ui.inspector import inspect_all

NAME = "smart-x-widget-001"


def board(lab: Lab) -> Board:
    return read(of_lab(lab))


def edges(found: Board, **wanted: str) -> list[Edge]:
    return [e for e in found.edges if all(getattr(e, k) == v for k, v in wanted.items())]


def test_each_certificate_of_a_renewed_ca_is_a_box_of_its_own_below_its_issuer(
    story: Story,
) -> None:
    root = story.company.custodian.create_root_ca("Company-X Root CA 2")
    story.factory.renew()
    story.factory.renew(root, new_key=True)
    found = board(story.lab)
    ids = [f"ca Factory-Y/Factory-Y CA{number}" for number in ("", " · renewal 1", " · renewal 2")]
    details = [found.nodes[one].detail for one in ids]
    assert details == [
        "intermediate CA · token Factory-Y",
        "renewal 1 · first key",
        "renewal 2 · new key",
    ]
    issuers = [edges(found, target=one, kind="signed")[0].source for one in ids]
    first, second = "ca Company-X/Company-X Root CA", "ca Company-X/Company-X Root CA 2"
    assert issuers == [first, first, second]
    assert set(ids) <= set(inspect_all(story.lab)), "and each can be looked into"


def test_a_renewed_root_stands_beside_the_old_one(story: Story) -> None:
    story.company.renew()
    story.company.custodian.create_root_ca("Company-X Root CA 2")
    found = board(story.lab)
    kinds = [node.kind for name, node in found.nodes.items() if name.startswith("ca Company-X/")]
    assert kinds == ["root-ca"] * 3


def test_a_device_hangs_below_the_certificate_that_it_holds(story: Story) -> None:
    technician = story.technician.renew(story.factory.renew())
    story.widget.renew(technician)
    (link,) = edges(board(story.lab), target=f"device {NAME}", kind="signed")
    assert link.source == "ca Technician-Z/Technician-Z CA · renewal 1"


def test_a_group_that_names_the_old_certificate_of_that_name_is_marked(lab: Lab) -> None:
    story = supply_chain(lab)
    entry = lab.dps.certificates.upload("root", story.company.certificate)
    lab.dps.certificates.verify(entry, story.company.prove_possession(entry.verification_code))
    lab.dps.enrollment_groups.create("widgets", signing=story.factory.certificate)
    story.widget.provision()
    story.widget.renew(story.technician.renew(story.factory.renew()))
    with pytest.raises(ProvisioningFailed):
        story.widget.provision()
    found = board(lab)
    (broken,) = [edge for edge in found.edges if edge.kind == "names" and edge.broken]
    assert (broken.source, broken.target) == (
        "group widgets",
        "ca Factory-Y/Factory-Y CA · renewal 1",
    )
    assert found.title == f"{NAME} is refused"


def test_a_refusal_of_a_device_with_a_new_key_is_in_the_picture(story: Story) -> None:
    """The service takes it for a stranger: it has never seen that key. The lab knows better."""
    story.widget.provision()
    story.widget.renew(story.technician)
    story.lab.dps.enrollment_groups.disable("smart-x-widgets")
    with pytest.raises(ProvisioningFailed):
        story.widget.provision()
    found = board(story.lab)
    assert found.title == f"{NAME} is refused"
    assert found.nodes[f"device {NAME}"].presented


def test_another_name_leaves_the_first_identity_behind(story: Story) -> None:
    story.widget.provision()
    story.widget.renew(story.technician, common_name="smart-x-widget-1")
    story.widget.provision()
    found = board(story.lab)
    assert found.nodes[f"device {NAME}"].detail == "goes by smart-x-widget-1"
    assert found.nodes[f"identity contoso-hub/{NAME}"].detail == "left behind"
    (old,) = edges(found, kind="provisioned", target=f"identity contoso-hub/{NAME}")
    (new,) = edges(found, kind="provisioned", target="identity contoso-hub/smart-x-widget-1")
    assert (old.broken, old.label, new.broken) == (True, "left behind", False)
    assert old.source == new.source == f"device {NAME}"


def test_a_ca_hangs_below_the_certificate_that_was_sent_behind_it(story: Story) -> None:
    """Its issuer's key has a certificate of a second root. DPS does not know that one, and the
    device sends the other: the way up that is drawn is the one that it shows."""
    root = story.company.custodian.create_root_ca("Company-X Root CA 2")
    other = story.factory.renew(root)
    below = "ca Technician-Z/Technician-Z CA"
    (recorded,) = edges(board(story.lab), target=below, kind="signed")
    assert recorded.source == "ca Factory-Y/Factory-Y CA"
    story.widget.install_chain([*story.widget.chain[:2], other.certificate])
    with pytest.raises(ProvisioningFailed):
        story.widget.provision()
    found = board(story.lab)
    (sent,) = edges(found, target=below, kind="signed")
    assert sent.source == "ca Factory-Y/Factory-Y CA · renewal 1"
    assert found.nodes[below].state == "unknown"
    enroll(story.lab, root, "company-x-2", "by-the-second-root")
    story.widget.provision()
    assert board(story.lab).nodes[below].state == "trusted"
