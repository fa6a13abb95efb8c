"""A device's own configuration: which servers it trusts, and which provisioning service it asks."""

from __future__ import annotations

import pytest
from complaints import refused
from foreign_tools import run
from stories import Story

from labkit import Lab
from labkit.cloud import handshakes
from labkit.cloud.dps import attestation
from labkit.errors import BadCertificate, ConnectionFailed, ProvisioningFailed
from labkit.graph.model import of_lab
from labkit.pki import chain

WIDGET = "device smart-x-widget-001"


def distrustful(story: Story) -> None:
    """The widget trusts its own company's root, where the service's belongs."""
    story.widget.install_roots([story.company.certificate])


def headline(lab: Lab) -> tuple[str, str]:
    graph = of_lab(lab)
    return graph.graph["title"], graph.graph["caption"]


# ---- whom it trusts


def test_made_in_a_lab_it_trusts_the_lab_s_services(story: Story) -> None:
    (root,) = story.widget.trusted_roots
    assert chain.to_pem([root]) == story.lab.server.root_pem


def test_openssl_with_the_same_trust_store_comes_to_the_same_verdict(story: Story) -> None:
    """The store is what decides, and not something that the lab does beside it."""
    lab, widget = story.lab, story.widget
    for roots, verdict in (
        ([story.company.certificate], b"unable to get local issuer certificate"),
        (lab.network.server_roots, b"Verification: OK"),
    ):
        widget.install_roots(roots)
        store = lab.path / "store.pem"
        store.write_text(widget.network.server_roots)
        at = f"{lab.listener.host}:{lab.listener.mqtt_port}"
        seen = run("openssl", "s_client", "-connect", at, "-CAfile", store)
        assert verdict in seen.stdout
    assert widget.provision().status == "assigned"


def test_with_other_roots_it_leaves_before_it_says_who_it_is(story: Story) -> None:
    """In the SDK's own TLS, told in the lab's words; no certificate of the device is shown."""
    distrustful(story)
    with refused(ProvisioningFailed, "did not trust the server", "unable to get local issuer"):
        story.widget.provision()
    found = story.lab.explain()
    assert found.failure is not None
    assert (found.failure.name, found.refusal.chain) == (handshakes.TRUST, ())
    assert "trust store" in found.cures[0]
    assert "before it had shown a certificate" in str(found)
    assert found.refusal.device == "", "the service's side knows no name"


def test_a_hub_that_it_does_not_trust_is_told_in_the_same_words(story: Story) -> None:
    story.widget.provision()
    distrustful(story)
    with refused(ConnectionFailed, "did not trust the server", "widget.install_roots"):
        story.widget.connect()


def test_the_picture_of_a_broken_handshake_blames_no_certificate(story: Story) -> None:
    """Nobody in it failed: the headline says that it ended in TLS, and no device is accused."""
    story.widget.provision()
    distrustful(story)
    with pytest.raises(ProvisioningFailed):
        story.widget.provision()
    story.lab.listener.settle()
    title, caption = headline(story.lab)
    assert title == "A connection ended in TLS"
    assert "'unknown ca'. No service ever heard of it" in caption
    graph = of_lab(story.lab)
    assert graph.nodes[WIDGET]["state"] == "trusted", "as DPS saw it last"
    assert {data["presented"] for _, data in graph.nodes(data=True)} <= {None, True}
    story.widget.install_roots(story.lab.network.server_roots)
    story.widget.provision()
    assert headline(story.lab)[0] == "smart-x-widget-001 is provisioned"


def test_roots_and_id_scope_stay_in_flash(story: Story) -> None:
    distrustful(story)
    story.widget.configure(id_scope="0ne00000000")
    path, root = story.lab.path, story.company.certificate
    story.lab.close()
    with Lab.open(path) as again:
        widget = again.device("smart-x-widget-001")
        assert widget.trusted_roots == [root]
        assert widget.network.id_scope == "0ne00000000"
        widget.configure()
        assert widget.network.id_scope == again.dps.id_scope


@pytest.mark.parametrize("roots", [[], "", b"\x00", "no certificate"])
def test_a_trust_store_without_a_root_is_not_installed(story: Story, roots: str) -> None:
    with pytest.raises(BadCertificate):
        story.widget.install_roots(roots)
    assert story.widget.provision().status == "assigned"


# ---- which service it asks


def test_a_wrong_id_scope_is_named_and_marked_on_the_picture(story: Story) -> None:
    """Pain point 20: Azure's 401 is that of a bad chain; check, cure and picture say otherwise.
    No certificate is accused, and the device is not shown as provisioned."""
    story.widget.provision()
    story.widget.configure(id_scope="0ne00000000")
    with refused(ProvisioningFailed, "401"):
        story.widget.provision()
    failure = story.lab.explain(story.widget).failure
    assert failure is not None
    assert failure.name == "the ID scope is this provisioning service's"
    assert story.lab.dps.id_scope in failure.cures[0]
    title, caption = headline(story.lab)
    assert title == "smart-x-widget-001 is refused"
    assert "names '0ne00000000'" in caption
    graph = of_lab(story.lab)
    assert graph.nodes[WIDGET]["state"] == "unknown"
    kinds = [data["kind"] for _, _, data in graph.edges(data=True) if data.get("broken")]
    assert kinds == []
    assert not any(data["kind"] == "provisioned" for _, _, data in graph.edges(data=True))
    story.widget.configure()
    assert story.widget.provision().status == "assigned"


# ---- who has its certificates and not its key


def test_who_caught_the_certificates_dies_in_the_handshake(story: Story) -> None:
    """Over the wire, with Microsoft's SDK on the thief's side: nothing reaches DPS, and the
    refusal is held against nobody."""
    story.widget.provision()
    thief = story.lab.custodian("Eavesdropper-E")
    played = story.lab.impersonate("smart-x-widget-001", by=thief, key=thief.make_key("own"))
    assert repr(played) == ("<Eavesdropper-E as 'smart-x-widget-001', with a key of their own>")
    connects = len(story.lab.events.about(source="mqtt", kind="connect"))
    with pytest.raises(ProvisioningFailed):
        played.provision()
    failure = story.lab.explain().failure
    assert failure is not None
    assert failure.name == attestation.POSSESSION
    assert failure.about == "the client that sent CN=smart-x-widget-001", "and not the widget"
    assert len(story.lab.events.about(source="mqtt", kind="connect")) == connects
    assert headline(story.lab)[0] == "A connection ended in TLS"
    assert story.widget.provision().status == "assigned"
