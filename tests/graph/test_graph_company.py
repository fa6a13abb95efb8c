"""Another company's CA on the board: a tree of its own, and what it has signed."""

from __future__ import annotations

import pytest
from first_boot_stories import AUTHORITY, VERSION, FirstBoot, linked
from stories import Story

from labkit.device import Device
from labkit.errors import ProvisioningFailed
from labkit.graph import Picture
from labkit.graph.model import of_lab
from labkit.ui.inspector import inspect_all

NAME = "smart-x-widget-001"
ROOT, ISSUING = "company Digital-Trust/root", "company Digital-Trust/issuing"
CLIENT, LINK = f"client {NAME}", f"authority {AUTHORITY}"


@pytest.fixture
def boot(story: Story) -> FirstBoot:
    found = linked(story)
    found.account.change_profile("first-boot", common_names="*")
    return found


def boots(device: Device) -> None:
    device.provision(csr=device.operational.request(), api_version=VERSION)


def test_a_lab_without_such_a_company_shows_none(story: Story) -> None:
    assert not [node for node in of_lab(story.lab) if node.startswith(("company", "client"))]


def test_the_tree_and_who_asks_it(boot: FirstBoot) -> None:
    boots(boot.story.widget)
    graph = of_lab(boot.story.lab)
    assert graph.edges[ROOT, ISSUING]["kind"] == graph.edges[ISSUING, CLIENT]["kind"] == "signed"
    assert graph.edges[LINK, ISSUING]["label"] == "asks"
    assert graph.nodes["group smart-x-widgets"]["detail"] == f"asks {AUTHORITY}"
    assert graph.nodes[CLIENT]["state"] == "on record"
    told = Picture.of(graph).text
    assert "digital-trust, certificate authority in DPS, enabled, profile first-boot; has " in told


def test_no_entry_is_said_to_name_it_and_the_legend_says_who_knows_it(boot: FirstBoot) -> None:
    """It was signed by another company: a group has admitted the device by its onboarding
    certificate, and what the hub compares is a thumbprint."""
    boots(boot.story.widget)
    assert not list(boot.story.lab.dps.enrollments)
    svg = Picture.of(of_lab(boot.story.lab)).svg
    assert "on record: its hub holds its thumbprint" in svg
    assert "its own entry names it" not in svg
    boot.story.lab.hub().devices.delete(NAME)
    svg = Picture.of(of_lab(boot.story.lab)).svg
    assert "not on record: no hub holds its thumbprint" in svg
    assert "its entry names another" not in svg


def test_states_follow_what_happens(boot: FirstBoot) -> None:
    """Its web service is down; the certificate ends; the hub is told of another."""
    boots(boot.story.widget)
    boot.ca.stop()
    assert of_lab(boot.story.lab).nodes[ISSUING]["state"] == "disabled"
    boot.story.lab.clock.advance(days=31)
    assert of_lab(boot.story.lab).nodes[CLIENT]["state"] == "expired"
    boot.story.lab.clock.advance(days=-31)
    boot.story.lab.hub().devices.delete(NAME)
    assert of_lab(boot.story.lab).nodes[CLIENT]["state"] == "not on record"


def test_a_device_that_has_another_name_in_its_hub_is_found_there(boot: FirstBoot) -> None:
    widget = boot.story.widget
    boot.story.lab.dps.enrollments.create(
        NAME,
        certificate=widget.certificate,
        device_id="named-otherwise",
        certificate_authority=AUTHORITY,
    )
    boots(widget)
    assert of_lab(boot.story.lab).nodes[CLIENT]["state"] == "on record"


def test_a_device_whose_request_nobody_signed_is_not_at_fault(boot: FirstBoot) -> None:
    boot.ca.stop()
    with pytest.raises(ProvisioningFailed):
        boots(boot.story.widget)
    graph = of_lab(boot.story.lab)
    assert graph.nodes[f"device {NAME}"]["state"] == "trusted"
    assert "could not be asked" in graph.graph["caption"]


def test_each_of_its_nodes_can_be_looked_into_and_none_tells_the_api_key(boot: FirstBoot) -> None:
    boots(boot.story.widget)
    found = inspect_all(boot.story.lab)
    assert {ROOT, ISSUING, CLIENT, LINK} <= set(found)
    link = boot.story.lab.dps.certificate_authorities.link(AUTHORITY)
    assert link is not None
    assert link.api_key not in str(found)
