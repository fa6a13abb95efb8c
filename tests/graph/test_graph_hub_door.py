"""A hub's door on the board: whom it turned away, why, and which CAs it has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from stories import Story, enroll, supply_chain

from labkit import Lab
from labkit.errors import LabError, ServerNotTrusted
from labkit.graph import Picture
from labkit.graph.model import of_lab
from labkit.pki import request
from labkit.ui.inspector import inspect_all

if TYPE_CHECKING:
    from networkx import DiGraph

HUB, WIDGET = "contoso-hub", "smart-x-widget-001"
IDENTITY, DEVICE = f"identity {HUB}/{WIDGET}", f"device {WIDGET}"
TECHNICIAN = "ca Technician-Z/Technician-Z CA"


@pytest.fixture
def assigned(story: Story) -> Story:
    """The widget has a hub, and another one has come to DPS since."""
    story.widget.provision()
    story.technician.make_device("smart-x-widget-002").provision()
    return story


def renew(story: Story) -> None:
    widget = story.widget
    asked = request.make(widget.key, request.name(widget.name))
    widget.install_chain(story.technician.sign_device(asked))


def refused(story: Story) -> DiGraph[str]:
    story.widget.disconnect()
    with pytest.raises(LabError):
        story.widget.connect()
    return of_lab(story.lab)


def trust(story: Story) -> None:
    hub = story.lab.hub()
    entry = hub.certificates.upload("company-x", story.company.certificate)
    hub.certificates.verify(entry, story.company.prove_possession(entry.verification_code))


def test_who_is_connected_is_seen_and_who_has_left(assigned: Story) -> None:
    assigned.widget.connect()
    assert of_lab(assigned.lab).nodes[IDENTITY]["state"] == "connected"
    assigned.widget.disconnect()
    assert of_lab(assigned.lab).nodes[IDENTITY]["state"] == "enabled"


def test_each_identity_says_by_what_the_hub_knows_it(assigned: Story) -> None:
    devices = assigned.lab.hub().devices
    devices.create("by-key")
    devices.create("by-ca", ca=True)
    graph = of_lab(assigned.lab)
    names = (WIDGET, "by-key", "by-ca")
    told = [graph.nodes[f"identity {HUB}/{name}"]["detail"] for name in names]
    assert told == ["thumbprint", "symmetric key", "CA chain"]


def test_a_renewed_certificate_is_drawn_as_the_visit_that_was_refused(assigned: Story) -> None:
    """The picture is about the device that the hub refused, not about the last one at DPS."""
    renew(assigned)
    graph = refused(assigned)
    assert graph.graph["title"] == f"{WIDGET} is refused by {HUB}"
    assert "thumbprints differ" in graph.graph["caption"]
    assert graph.graph["connection"] == DEVICE
    assert graph.edges[DEVICE, IDENTITY]["broken"]
    assert f"is refused as {WIDGET}" in Picture.of(graph).text
    assert graph.nodes[TECHNICIAN]["presented"], "the whole chain was sent"


def test_a_chain_that_was_cut_is_told_at_the_gap(assigned: Story) -> None:
    trust(assigned)
    assigned.lab.hub().devices.update(WIDGET, ca=True)
    assigned.widget.install_chain([assigned.widget.certificate])
    graph = refused(assigned)
    assert graph.nodes[TECHNICIAN]["state"] == "not sent"
    assert graph.edges[TECHNICIAN, DEVICE]["broken"]
    assert not graph.edges["ca Factory-Y/Factory-Y CA", TECHNICIAN]["broken"]
    assert "Needed and not sent: Technician-Z CA and Factory-Y CA." in Picture.of(graph).text


def test_the_picture_goes_back_to_dps_when_the_device_does(assigned: Story) -> None:
    renew(assigned)
    refused(assigned)
    assigned.widget.provision()
    graph = of_lab(assigned.lab)
    assert graph.graph["title"] == f"{WIDGET} is provisioned"
    assert not graph.edges[DEVICE, IDENTITY]["broken"]


def test_once_it_is_let_in_nothing_is_broken(assigned: Story) -> None:
    renew(assigned)
    refused(assigned)
    hub = assigned.lab.hub()
    hub.devices.update(WIDGET, certificate=assigned.widget.certificate)
    assigned.widget.connect()
    graph = of_lab(assigned.lab)
    assert not any(data["broken"] for _, _, data in graph.edges(data=True))
    assert graph.nodes[DEVICE]["state"] == "trusted"


def test_what_else_the_hub_refuses_takes_no_ones_place(assigned: Story) -> None:
    """A method on a device that is away is refused as well, under the device's name."""
    renew(assigned)
    refused(assigned)
    with pytest.raises(LabError, match="404103"):
        assigned.lab.hub().invoke(WIDGET, "blink")
    assert "thumbprints differ" in of_lab(assigned.lab).graph["caption"]


def test_a_connection_that_ended_in_tls_since_is_what_the_picture_is_about(
    assigned: Story,
) -> None:
    renew(assigned)
    refused(assigned)
    other = assigned.lab.device("smart-x-widget-002")
    other.install_roots(assigned.company.certificate)
    with pytest.raises(ServerNotTrusted):
        other.connect()
    assert of_lab(assigned.lab).graph["title"] == "A connection ended in TLS"


def test_a_device_that_the_hub_does_not_know_any_more(assigned: Story) -> None:
    assigned.lab.hub().devices.delete(WIDGET)
    graph = refused(assigned)
    assert graph.graph["title"] == f"{WIDGET} is refused by {HUB}"
    assert IDENTITY not in graph


def test_a_disabled_identity_turns_its_device_away(assigned: Story) -> None:
    assigned.lab.hub().devices.disable(WIDGET, "stolen")
    graph = refused(assigned)
    assert graph.nodes[IDENTITY]["state"] == "disabled"
    assert "stolen" in graph.graph["caption"]


def test_a_hub_s_ca_is_its_own_and_can_be_looked_into(assigned: Story) -> None:
    hub, lab, node = assigned.lab.hub(), assigned.lab, f"hub ca {HUB}/company-x"
    hub.certificates.upload("company-x", assigned.company.certificate)
    assert of_lab(lab).nodes[node]["state"] == "unverified"
    trust(assigned)
    graph = of_lab(lab)
    assert graph.nodes[node]["state"] == "verified"
    assert graph.edges["ca Company-X/Company-X Root CA", node]["kind"] == "uploaded"
    assert set(inspect_all(lab)) == set(graph)
    told = Picture.of(graph).text
    assert "is uploaded to DPS as company-x; is uploaded to the hub as company-x" in told
    assert "company-x, CA certificate in the hub, verified" in told


def test_a_ca_that_only_the_hub_has_is_not_said_to_be_in_dps(lab: Lab) -> None:
    story = supply_chain(lab)
    enroll(lab, story.technician, "technician-z")
    story.widget.provision()
    trust(story)
    text = Picture.of(of_lab(lab)).text
    (root,) = (line for line in text.splitlines() if line.startswith("- Company-X Root CA"))
    assert "uploaded to the hub" in root
    assert "DPS" not in root
