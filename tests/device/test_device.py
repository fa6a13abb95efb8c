"""A device: a key in its token, a chain in its flash, and what it does without a cloud."""

from __future__ import annotations

import json

from complaints import refused
from stories import Story, supply_chain

from labkit import Lab
from labkit.errors import BadCertificate, ConnectionFailed, ProvisioningFailed


def test_a_chain_must_begin_with_the_certificate_of_the_devices_own_key(story: Story) -> None:
    other = story.technician.make_device("other")
    before = story.widget.chain
    for wrong in ([], other.chain, before[1:], [before[1], before[0]]):
        with refused(BadCertificate, "does not belong to smart-x-widget-001"):
            story.widget.install_chain(wrong)
    assert story.widget.chain == before


def test_an_installed_chain_stays(story: Story) -> None:
    story.widget.install_chain(story.widget.chain[:1])
    path = story.lab.path
    story.lab.close()
    with Lab.open(path) as again:
        assert len(again.device("smart-x-widget-001").chain) == 1


def test_flash_holds_certificates_and_what_dps_said_and_no_key(story: Story) -> None:
    story.widget.provision()
    folder = story.lab.path / "devices" / "smart-x-widget-001"
    assert sorted(p.name for p in folder.iterdir()) == ["chain.pem", "state.json"]
    kept = json.loads((folder / "state.json").read_text())
    assert kept["assignment"]["hub"] == "contoso-hub.azure-devices.net"


def test_before_provisioning_it_has_no_hub_to_connect_to(lab: Lab) -> None:
    widget = supply_chain(lab).widget
    assert widget.assignment is None
    with refused(ConnectionFailed, "has no hub yet", "provision it first"):
        widget.connect()


def test_before_connecting_it_cannot_send(story: Story) -> None:
    story.widget.provision()
    with refused(ConnectionFailed, "not connected", "connect it first"):
        story.widget.send({"temperature": 21.5})


def test_disconnecting_is_harmless_at_any_time(story: Story) -> None:
    story.widget.disconnect()
    story.widget.provision()
    story.widget.connect().disconnect()
    story.widget.disconnect()
    story.widget.connect().send(1)


def test_connecting_twice_keeps_the_connection(story: Story) -> None:
    story.widget.provision()
    story.widget.connect()
    before = len(story.lab.events.about(source="hub", kind="connected"))
    story.widget.connect().send(1)
    assert len(story.lab.events.about(source="hub", kind="connected")) == before


def test_a_refused_device_learns_no_more_than_the_network_told_it(story: Story) -> None:
    """The reason is the lab's to tell, not the device's."""
    story.widget.install_chain(story.widget.chain[:1])
    with refused(ProvisioningFailed, "401", "lab.explain()") as caught:
        story.widget.provision()
    assert "Technician-Z" not in str(caught.error)
    assert story.widget.assignment is None


def test_its_repr_names_what_it_sends(story: Story) -> None:
    assert "CN=Technician-Z CA" in repr(story.widget)
