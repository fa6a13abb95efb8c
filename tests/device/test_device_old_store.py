"""A device whose trust store is of another day than the service's root: what it does, and what
the lab tells of it."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

import pytest
from complaints import refused
from stories import Story, eventually, open_lab, said

from labkit import Lab
from labkit.cloud import handshakes
from labkit.device import Device
from labkit.device.flash import Flash
from labkit.errors import BadCertificate, ConnectionFailed, ProvisioningFailed, ServerNotTrusted
from labkit.pki import chain
from labkit.pki.identity import Identity

OLD, NEW = "Lab Service Root CA", "Lab Service Root CA G2"


def switched(lab: Lab) -> None:
    """To a new root, without an overlap."""
    lab.server.switch_root(lab.server.new_root())


def store(device: Device) -> list[str]:
    return [chain.common_name(root) for root in device.trusted_roots]


def cut(lab: Lab) -> None:
    """Every connection ends, as when a router is switched off."""
    for link in list(lab.listener._links):
        link.soon(link.abort)
    eventually(lambda: not lab.listener._links)


# ---- what is put in at manufacture


def test_a_device_has_the_roots_of_the_day_it_was_made(story: Story) -> None:
    lab, technician = story.lab, story.technician
    lab.server.new_root()
    during = technician.make_device("made-during-the-overlap")
    lab.server.switch_root(NEW)
    after = technician.make_device("made-after-the-change")
    assert [store(d) for d in (story.widget, during, after)] == [[OLD], [OLD, NEW], [NEW]]


def test_it_keeps_them_when_the_lab_is_opened_again(story: Story) -> None:
    switched(story.lab)
    path = story.lab.path
    story.lab.close()
    with open_lab(path) as again:
        assert store(again.device(story.widget.name)) == [OLD]


def test_a_device_off_the_line_has_the_roots_of_its_day_too(story: Story) -> None:
    """Nobody asked for it before the change: it is not made when it is first looked at."""
    made = story.technician.make_device("nobody-asked")
    lab, path = story.lab, story.lab.path
    lab.close()
    for file in (path / "devices" / made.name).iterdir():
        file.unlink()
    with open_lab(path) as again:
        switched(again)
        assert store(again.device(made.name)) == [OLD]


def test_what_is_no_ca_is_no_root(story: Story) -> None:
    """Pinning the server's own certificate, or a device's: both would fail with the next roll."""
    for pinned in (story.lab.server.chain[0], [story.widget.certificate], ""):
        with pytest.raises(BadCertificate):
            story.widget.install_roots(pinned)
    assert store(story.widget) == [OLD]
    story.widget.install_roots(story.lab.server.root.certificate)


# ---- an old store


def test_an_old_store_ends_in_tls_and_not_with_401(story: Story) -> None:
    switched(story.lab)
    with refused(ServerNotTrusted, "left in the TLS handshake", "install_roots") as caught:
        story.widget.provision()
    assert caught.error.why == "root"
    assert "401" not in str(caught.error)
    assert isinstance(caught.error, ProvisioningFailed), "for those who catch that"
    assert story.lab.events.about(source="dps", kind="refused") == []
    assert story.lab.events.about(source="mqtt", kind="connect") == []
    (left,) = story.lab.events.about(source="device", kind="left")
    assert "does not trust the server" in left.text


def test_a_401_is_no_distrust(story: Story) -> None:
    """The two directions, told apart by their kinds."""
    story.widget.install_chain(story.widget.chain[:1])
    with refused(ProvisioningFailed, "401") as caught:
        story.widget.provision()
    assert not isinstance(caught.error, ServerNotTrusted)


def test_the_lab_knows_both_sides_and_the_service_s_side_knows_no_name(story: Story) -> None:
    switched(story.lab)
    with pytest.raises(ServerNotTrusted):
        story.widget.provision()
    told = story.lab.explain(story.widget)
    assert (told.refusal.status, told.refusal.chain) == (0, ())
    assert [(c.name, str(c.outcome)) for c in told.checks] == [
        (handshakes.TRUST, "failed"),
        (handshakes.OWN, "not reached"),
    ]
    assert told.failure is not None
    assert told.failure.why == (
        f"it holds CN={OLD}; the server sent CN=Lab Services, CN=Lab Service Issuing CA 2, which "
        f"leads to CN={NEW}"
    )
    assert "no service refused it, or heard of it" in str(told)
    assert len(told.cures) == 2
    service = story.lab.explain()
    assert (service.refusal.device, service.refusal.message) == ("", handshakes.BY_CLIENT)
    assert "'unknown ca'" in str(service)


def test_both_cures_of_an_old_store_work(story: Story) -> None:
    switched(story.lab)
    with pytest.raises(ServerNotTrusted):
        story.widget.provision()
    story.lab.server.switch_root(OLD)
    assert story.widget.provision().status == "assigned"
    story.widget.install_roots(story.lab.server.trust_bundle)
    story.lab.server.switch_root(NEW)
    assert story.widget.provision().status == "assigned"


def test_what_comes_later_is_what_is_explained(story: Story) -> None:
    switched(story.lab)
    with pytest.raises(ServerNotTrusted):
        story.widget.provision()
    story.widget.install_roots(story.lab.server.trust_bundle)
    story.widget.install_chain(story.widget.chain[:1])
    with pytest.raises(ProvisioningFailed):
        story.widget.provision()
    assert story.lab.explain(story.widget).refusal.status == 401
    story.lab.server.switch_root(OLD)
    with pytest.raises(ServerNotTrusted):
        story.widget.provision()
    assert story.lab.explain(story.widget).refusal.status == 0


def test_a_root_of_the_same_name_with_another_key_is_told_apart(
    story: Story, tmp_path: Any
) -> None:
    """Two labs: both name their root alike."""
    with open_lab(tmp_path / "other") as other:
        story.widget.install_roots(other.server.trust_bundle)
    with pytest.raises(ServerNotTrusted):
        story.widget.provision()
    told = story.lab.explain(story.widget)
    assert told.failure is not None
    assert "one of that name, with another key" in told.failure.why
    assert len(told.cures) == 1, "the service has never had the root that it holds"


# ---- connections that were open


def test_a_connection_outlives_the_change_and_its_successor_does_not(story: Story) -> None:
    """As in the field: all is well until the next reconnect."""
    lab, widget = story.lab, story.widget
    widget.provision()
    widget.connect()
    switched(lab)
    widget.send({"temperature": 21.5})
    cut(lab)
    eventually(lambda: said(lab, "tls", "unknown ca"))  # the SDK tries again by itself
    with refused(ConnectionFailed, "did not trust the server") as caught:
        widget.connect()
    assert isinstance(caught.error, ServerNotTrusted)
    widget.install_roots(lab.server.trust_bundle)
    widget.connect().send({"temperature": 21.7})
    heard = [message.text for message in lab.hub().messages(widget.name)]
    assert (heard[0], heard[-1]) == ('{"temperature": 21.5}', '{"temperature": 21.7}')


def test_with_the_bundle_a_device_reconnects_by_itself(story: Story) -> None:
    lab, widget = story.lab, story.widget
    widget.provision()
    lab.server.new_root()
    widget.install_roots(lab.server.trust_bundle)
    widget.connect()
    lab.server.switch_root(NEW)
    cut(lab)
    eventually(lambda: len(lab.events.about(source="hub", kind="connected")) == 2)
    eventually(lambda: widget._client.connected)
    widget.send({"temperature": 21.5})
    assert len(lab.hub().messages(widget.name)) == 1


# ---- another fault of the same kind


def test_a_wrong_host_name_is_told_apart_and_no_root_is_blamed(story: Story) -> None:
    """127.257 is the address 127.0.1.1 in a form that no certificate names."""
    lab, identity = story.lab, Identity(story.widget.key, tuple(story.widget.chain))
    alias = f"127.{int(IPv4Address(lab.listener.host)) % 2**24}"
    flash = Flash(lab.path / "devices", identity.name)
    elsewhere = replace(lab.network, address=alias)
    left = lab._rooms._left
    widget = Device(identity, flash, lambda: elsewhere, lab.events, left)
    with refused(ServerNotTrusted, alias, "another root would not help") as caught:
        widget.provision()
    assert caught.error.why == "name"
    told = lab.explain(widget)
    assert told.failure is not None
    assert told.failure.name == handshakes.NAME
    assert "it covers contoso-hub.azure-devices.net" in told.failure.why
    assert not any("install_roots" in cure for cure in told.cures)
