"""A device's operational credential: asked for, used, renewed, taken away."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from complaints import refused
from issuance_stories import managed
from key_search import findings
from stories import Story, failed_check, said

from labkit import Lab
from labkit.cloud.dps.entries import SymmetricKeyAttestation
from labkit.device import registration
from labkit.device.operational import Renewer
from labkit.device.provisioning_client import ProvisioningClient
from labkit.errors import (
    BadCertificate,
    ConnectionFailed,
    LabError,
    ProvisioningFailed,
    ServerNotTrusted,
)
from labkit.hsm import Algorithm
from labkit.pki import request

TRANSPORTS = pytest.mark.parametrize("transport", ["mqtt", "https"])


@pytest.fixture
def story_managed(story: Story) -> Iterator[Story]:
    managed(story)
    yield story
    story.widget.disconnect()


@TRANSPORTS
def test_a_device_is_known_by_what_was_issued_and_its_onboarding_chain_stays(
    story_managed: Story, transport: registration.Transport
) -> None:
    """Asked for with the onboarding credential; the hub sees the operational one. Both keys are in
    the device's token."""
    story, widget = story_managed, story_managed.widget
    onboarding = widget.chain
    csr = widget.operational.request()
    assigned = widget.provision(csr=csr, transport=transport)
    assert assigned.hub == "contoso-hub.azure-devices.net"
    issued = widget.operational.chain
    assert issued[0].public_key() == csr.public_key()
    assert len(issued) == 3
    assert widget.chain == onboarding
    widget.connect().send({"temperature": 21.5})
    assert story.lab.hub().message_count() == 1
    visit = next(v for v in story.lab.cloud.visits("contoso-hub") if v.device == widget.name)
    assert list(visit.chain) == issued
    labels = widget.key.token.key_labels
    assert labels == ["identity", "operational 1"]
    attributes = widget.key.token.key("operational 1").attributes
    assert attributes["NEVER_EXTRACTABLE"]
    assert attributes["ALWAYS_SENSITIVE"]


def test_the_sdk_and_the_labs_own_client_say_the_same(story_managed: Story) -> None:
    """One face: what is asked decides who asks."""
    widget = story_managed.widget
    by_sdk = widget.provision()
    by_https = widget.provision(transport="https")
    with_csr = widget.provision(csr=widget.operational.request())
    assert (by_sdk.hub, by_sdk.device_id) == (by_https.hub, by_https.device_id)
    assert by_https == with_csr


@pytest.mark.parametrize("by", ["dps", "hub"])
def test_a_renewal_has_another_key_and_the_old_one_is_kept_until_the_new_one_works(
    story_managed: Story, by: Renewer
) -> None:
    """Then it is destroyed. The hub is asked with what it has issued before."""
    widget = story_managed.widget
    widget.renew_operational("dps")
    widget.connect()
    for number in (1, 2, 3):
        before, now = f"operational {number}", f"operational {number + 1}"
        widget.renew_operational(by)
        assert widget.key.token.key_labels == ["identity", before, now]
        assert widget.operational.reserve
        widget.disconnect()
        widget.connect().send({"number": number})
        assert widget.key.token.key_labels == ["identity", now]
        assert not widget.operational.reserve
        story_managed.lab.clock.advance(days=3)


def test_a_request_that_was_not_answered_is_made_again_for_the_same_key(
    story_managed: Story,
) -> None:
    """So that whoever loses power over and over has one key, and one certificate for it."""
    widget = story_managed.widget
    asked = [widget.operational.request() for _ in range(3)]
    assert all(csr.public_key() == asked[0].public_key() for csr in asked)
    widget.provision(csr=asked[0])
    assert widget.operational.request().public_key() != asked[0].public_key()


def test_it_is_there_when_the_lab_is_opened_again(story_managed: Story) -> None:
    lab, widget = story_managed.lab, story_managed.widget
    widget.provision(csr=widget.operational.request())
    issued, path = widget.operational.chain, lab.path
    lab.close()
    with Lab.open(path) as again:
        found = again.device(widget.name)
        assert found.operational.chain == issued
        found.connect().send({"after": "opening"})


def test_without_it_the_onboarding_credential_is_shown_again(story_managed: Story) -> None:
    widget = story_managed.widget
    widget.provision(csr=widget.operational.request())
    widget.operational.remove()
    widget.operational.remove()
    assert widget.operational.certificate is None
    assert widget.key.token.key_labels == ["identity"]
    with refused(ConnectionFailed):
        widget.connect()


def test_a_chain_for_somebody_elses_key_is_not_installed(story_managed: Story) -> None:
    story, widget = story_managed, story_managed.widget
    other = story.technician.make_device("other")
    widget.provision(csr=widget.operational.request())
    before = widget.operational.chain
    for chain in (other.chain, []):
        with refused(BadCertificate, "no key of the device", "operational.request()"):
            widget.operational.install(chain)
    with refused(BadCertificate, "no key of the device"):
        key = other.key.token.ensure_key("another", Algorithm.P384)
        widget.provision(csr=request.make(key, request.name(widget.name)))
    assert widget.operational.chain == before


@TRANSPORTS
@pytest.mark.parametrize("algorithm", ["P-256", "RSA-2048"])
def test_what_is_refused_leaves_the_device_as_it_was(
    story_managed: Story, transport: registration.Transport, algorithm: str
) -> None:
    """The lab's own client repeats the service's words, which the SDK loses."""
    widget = story_managed.widget
    csr = widget.operational.request(algorithm=algorithm)
    with refused(ProvisioningFailed, "400 400004", "lab.explain()"):
        widget.provision(csr=csr, transport=transport)
    assert widget.assignment is None
    assert widget.operational.chain == []
    rule = "its key is one that the policy signs"
    assert failed_check(story_managed.lab, widget) == rule


@TRANSPORTS
def test_a_server_that_it_does_not_trust_is_left(
    story_managed: Story, transport: registration.Transport
) -> None:
    widget = story_managed.widget
    widget.install_roots(story_managed.company.certificate)
    with refused(ServerNotTrusted, "did not trust the server"):
        widget.provision(csr=widget.operational.request(), transport=transport)
    assert said(story_managed.lab, "device", "left in TLS")


def test_the_client_proves_itself_by_a_symmetric_key_too(story_managed: Story) -> None:
    lab = story_managed.lab
    keys = lab.dps.enrollments.create(
        "keyed", keys=SymmetricKeyAttestation(), credential_policy="short"
    ).attestation
    assert isinstance(keys, SymmetricKeyAttestation)
    csr = story_managed.widget.operational.request("keyed")
    for transport in ("mqtt", "https"):
        client = ProvisioningClient(lab.network, "keyed", keys.primary_key, transport, csr)
        found = client.register()
        assert found.chain[0].public_key() == csr.public_key()
    wrong = ProvisioningClient(lab.network, "keyed", lab.dps.id_scope + "AAAA=", "mqtt", csr)
    with pytest.raises(ProvisioningFailed):
        wrong.register()


def test_it_polls_until_there_is_an_outcome(story_managed: Story) -> None:
    """As long as the service says 202, and as often as it says."""
    lab, widget = story_managed.lab, story_managed.widget
    lab.dps.retry_after, lab.dps.assignment_delay = 1, 0.5
    for transport in ("mqtt", "https"):
        widget.provision(csr=widget.operational.request(), transport=transport)
        assert widget.operational.certificate is not None


def test_no_other_transport_is_spoken(story_managed: Story) -> None:
    with refused(LabError, "amqp"):
        story_managed.widget.provision(transport="amqp")  # type: ignore[arg-type]


def test_no_key_is_anywhere_in_the_workspace(story_managed: Story) -> None:
    widget = story_managed.widget
    widget.provision(csr=widget.operational.request())
    assert findings(story_managed.lab.path) == {}
