"""A device: a key in its token, a chain in its flash, and what it does without a cloud."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from complaints import refused
from stories import Story, failed_check, open_lab, supply_chain

from labkit import Lab
from labkit.device import Device, sdk
from labkit.errors import (
    BadCertificate,
    ConnectionFailed,
    LabError,
    ProvisioningFailed,
    WorkspaceError,
)


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
    assert sorted(p.name for p in folder.iterdir()) == [
        "chain.pem",
        "server-roots.pem",
        "state.json",
    ]
    kept = json.loads((folder / "state.json").read_text())
    assert kept["assignment"]["hub"] == "contoso-hub.azure-devices.net"


def test_firmware_may_be_configured_with_another_registration_id(story: Story) -> None:
    """The ID that it asks with is its firmware's: a wrong one is refused, another spelling not."""
    with refused(ProvisioningFailed, "did not provision somebody-else"):
        story.widget.provision(registration_id="somebody-else")
    assert story.widget.assignment is None
    assert (
        failed_check(story.lab, "somebody-else")
        == "the registration ID is the CN of that certificate"
    )
    assert story.widget.provision(registration_id="SMART-X-Widget-001").device_id == (
        "smart-x-widget-001"
    )


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


# ---- what the SDK would say in its own words

ASKED: dict[str, Callable[[Device], Any]] = {
    "send": lambda widget: widget.send({"temperature": 21.5}),
    "twin": lambda widget: widget.twin(),
    "report": lambda widget: widget.report(firmware="1.0"),
}


@pytest.fixture
def connected(story: Story) -> Story:
    story.widget.provision()
    story.widget.connect()
    return story


@pytest.mark.parametrize("what", ASKED)
def test_a_cloud_that_is_gone_is_said_in_the_labs_words(connected: Story, what: str) -> None:
    connected.lab.listener.stop()
    with refused(ConnectionFailed, "Expected: a connection to the hub", "connect again"):
        ASKED[what](connected.widget)


@pytest.mark.parametrize("what", ASKED)
def test_a_hub_that_does_not_answer_is_not_waited_for_without_an_end(
    connected: Story, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    ASKED[what](connected.widget)  # the first time it subscribes, too
    monkeypatch.setattr(sdk, "ANSWER_SECONDS", 0.2)
    for link in list(connected.lab.listener._links):
        link.soon(partial(time.sleep, 2.0))  # the whole hub is busy
    with refused(ConnectionFailed, "no answer within 0.2 s", "connect again"):
        ASKED[what](connected.widget)
    monkeypatch.undo()
    connected.widget.send({"temperature": 21.5})


def ring() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


@pytest.mark.parametrize(
    "value",
    [{1, 2}, float("nan"), float("inf"), b"bytes", {"a": {1}}, ring()],
    ids=["a set", "NaN", "infinity", "bytes", "a set inside", "a list in itself"],
)
def test_what_is_no_json_is_said_before_anything_is_sent(connected: Story, value: Any) -> None:
    with refused(LabError, "cannot be sent as JSON", "RFC 8259"):
        connected.widget.send(value)
    with refused(LabError, "cannot be sent as JSON", "RFC 8259"):
        connected.widget.report(value=value)
    connected.widget.send([1, 2])
    assert [m.text for m in connected.lab.hub().messages()] == ["[1, 2]"]


def test_a_message_of_more_than_256_kb_is_said_to_be(connected: Story) -> None:
    with refused(LabError, "at most 256 KB", "300,002 bytes", "several messages"):
        connected.widget.send("x" * 300_000)
    connected.widget.send("x" * 200_000)


def test_what_the_hub_refuses_leads_to_the_explanation(connected: Story) -> None:
    with refused(LabError, "The hub refused", "400", "lab.explain()") as caught:
        connected.widget.report(text="x" * 40_000)
    assert type(caught.error) is LabError, "it did arrive"
    assert "4,096 bytes" in str(connected.lab.explain(connected.widget))
    connected.widget.report(text="x")


# ---- the lab was closed

ANYTHING: dict[str, Callable[[Device], Any]] = {
    **ASKED,
    "provision": lambda widget: widget.provision(),
    "connect": lambda widget: widget.connect(),
    "install_chain": lambda widget: widget.install_chain([]),
}


@pytest.mark.parametrize("what", ANYTHING)
def test_a_device_of_a_closed_lab_says_that_the_lab_is_closed(connected: Story, what: str) -> None:
    connected.lab.close()
    with refused(WorkspaceError, "This lab is closed"):
        ANYTHING[what](connected.widget)
    connected.widget.disconnect()


def test_so_does_a_device_whose_workspace_was_thrown_away(connected: Story) -> None:
    widget, path = connected.widget, connected.lab.path
    connected.lab.close()
    with open_lab(path, fresh=True):
        for ask in (*ANYTHING.values(), lambda widget: widget.certificate):
            with refused(WorkspaceError, "This lab is closed"):
                ask(widget)
        assert "smart-x-widget-001" in repr(widget)
