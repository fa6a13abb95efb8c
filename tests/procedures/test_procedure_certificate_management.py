"""Certificate management (file 003): a test for each row of its feature table, named after the row,
and for what its other headings promise. Over the wire: what devices get, show and are refused."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from issuance_stories import DAYS, POLICY, managed, set_policy
from key_search import findings
from procedure_steps import assert_connects, assert_unauthorized
from stories import Story, failed_check

from labkit.cloud.adr.namespaces import Namespace
from labkit.cloud.hub import authentication as hub_checks
from labkit.device import Device
from labkit.device.operational import REPORTED
from labkit.errors import NotIssued, ProvisioningFailed
from labkit.pki import chain, verdict
from labkit.ui.dashboard.reports import Band


@pytest.fixture
def story_managed(story: Story) -> Iterator[Story]:
    managed(story)
    yield story
    story.widget.disconnect()


def namespace_of(story: Story) -> Namespace:
    return story.lab.registry.namespaces.get("contoso")


def shown(story: Story, device: Device) -> list[x509.Certificate]:
    """What the hub saw in TLS, when this device came last."""
    visits = story.lab.cloud.visits("contoso-hub")
    return list(next(visit for visit in visits if visit.device == device.name).chain)


def onboarded(story: Story) -> Device:
    """The widget, known to its hub by what was issued to it."""
    story.widget.renew_operational()
    assert_connects(story.widget)
    return story.widget


# ---- the feature table


def test_overview_of_features__create_multiple_certificate_authorities_ca_in_an_adr_namespace(
    story_managed: Story,
) -> None:
    """Two tiers: the root signs an issuing CA for each policy, and each of these a device, which
    shows all three to its hub."""
    story, namespace = story_managed, namespace_of(story_managed)
    namespace.policies.create("longer", validity_days=30)
    namespace.synchronize()
    issuers = []
    for policy in (POLICY, "longer"):
        set_policy(story, policy)
        issuers.append(shown(story, onboarded(story))[1:])
        story.lab.clock.advance(hours=2)
    root = namespace.credential.certificate
    assert issuers == [
        [namespace.policies.get(policy).certificate, root] for policy in (POLICY, "longer")
    ]
    assert issuers[0][0] != issuers[1][0]


def test_overview_of_features__create_a_unique_root_certificate_authority_ca_per_adr_namespace(
    story_managed: Story,
) -> None:
    """One, however often it is asked for; another namespace has another, and a chain of the one is
    nothing to a hub of the other."""
    story, namespace = story_managed, namespace_of(story_managed)
    assert namespace.create_credential() == namespace.credential
    other = story.lab.registry.namespaces.create("fabrikam")
    other.create_credential()
    other.policies.create(POLICY, validity_days=DAYS)
    assert other.credential.certificate != namespace.credential.certificate
    widget = onboarded(story)
    assert shown(story, widget)[-1] == namespace.credential.certificate
    namespace.unlink("contoso-hub")
    other.link_hub("contoso-hub")
    for held in list(story.lab.hub().certificates):
        story.lab.hub().certificates.delete(held.name)
    other.synchronize()
    assert_unauthorized(story.lab, widget, verdict.ANCHOR)


def test_overview_of_features__create_up_to_one_issuing_ca_per_policy(story_managed: Story) -> None:
    """And its validity is the policy's to choose: the next certificate lasts as long as it says."""
    story, policy = story_managed, namespace_of(story_managed).policies.get(POLICY)
    before = policy.certificate
    lives = []
    for days in (1, 90):
        policy.update(validity_days=days)
        leaf = shown(story, onboarded(story))[0]
        lives.append((leaf.not_valid_after_utc - leaf.not_valid_before_utc).days)
        story.lab.clock.advance(hours=2)
    assert lives == [1, 90]
    assert policy.certificate == before


def test_overview_of_features__signing_and_encryption_algorithms(story_managed: Story) -> None:
    """ECDSA on P-384, from the root to the device; another curve gets nothing."""
    story = story_managed
    for certificate in shown(story, onboarded(story)):
        key = certificate.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        assert isinstance(key.curve, ec.SECP384R1)
    with pytest.raises(ProvisioningFailed):
        story.widget.provision(csr=story.widget.operational.request(algorithm="P-256"))
    assert failed_check(story.lab) == "its key is one that the policy signs"


def test_overview_of_features__hash_algorithms(story_managed: Story) -> None:
    """SHA-384, in each signature of the chain."""
    for certificate in shown(story_managed, onboarded(story_managed)):
        assert isinstance(certificate.signature_hash_algorithm, hashes.SHA384)


def test_overview_of_features__hsm_keys_signing_and_encryption(story_managed: Story) -> None:
    """The CAs' keys are born in a token that does not give them away, and sign in there; so does
    the device's own. No key is in any file."""
    story = story_managed
    widget = onboarded(story)
    root = namespace_of(story).root
    assert root is not None
    for token in (story.lab._rooms.tokens.token(root.token), widget.key.token):
        for label in token.key_labels:
            attributes = token.key(label).attributes
            assert attributes["ALWAYS_SENSITIVE"]
            assert attributes["NEVER_EXTRACTABLE"]
    assert findings(story.lab.path) == {}


@pytest.mark.parametrize("by", ["dps", "hub"])
def test_overview_of_features__end_entity_certificate_issuance_and_renewal(
    story_managed: Story, by: str
) -> None:
    """Signed by the issuing CA, delivered to the device, and renewed by the same CA: by another
    registration, or by the hub. The old one ends, and the device does not notice."""
    story = story_managed
    widget = onboarded(story)
    first = widget.operational.chain
    story.lab.clock.advance(days=5)
    widget.renew_operational(by)  # type: ignore[arg-type]
    assert_connects(widget)
    second = shown(story, widget)
    assert second[0] != first[0]
    assert second[1:] == first[1:]
    story.lab.clock.advance(days=4)
    assert story.lab.clock.now() > first[0].not_valid_after_utc
    assert_connects(widget)


def test_overview_of_features__at_scale_provisioning_of_leaf_certificates(
    story_managed: Story,
) -> None:
    """Whatever comes through an enrollment that names a policy gets its certificates below it."""
    story = story_managed
    names = [f"at-scale-{number}" for number in range(5)]
    devices = [d for d in story.technician.make_devices(names).devices if isinstance(d, Device)]
    for device in devices:
        device.renew_operational()
        assert_connects(device)
    policy = namespace_of(story).policies.get(POLICY).certificate
    assert {chain.subject(shown(story, device)[0]) for device in devices} == {
        f"CN={name}" for name in names
    }
    assert all(shown(story, device)[1] == policy for device in devices)
    for device in devices:
        device.disconnect()


def test_overview_of_features__syncing_of_ca_certificates_with_iot_hubs(story: Story) -> None:
    """Before, the hub refuses what was issued; after, it takes it. Nobody proved anything."""
    namespace, widget = managed(story, synchronized=False), story.widget
    widget.renew_operational()
    assert_unauthorized(story.lab, widget, verdict.ANCHOR)
    assert "synchronize()" in story.lab.explain(widget).cures[0]
    assert namespace.synchronize() == ["contoso-hub"]
    assert_connects(widget)


# ---- what the other headings promise


def test_onboarding_vs_operational_credentials__each_opens_its_own_door(
    story_managed: Story,
) -> None:
    """The one for DPS, the other for the hub; the hub does not take the first any more."""
    story = story_managed
    widget = onboarded(story)
    visit = next(v for v in story.lab.cloud.visits("dps") if v.device == widget.name)
    assert list(visit.chain) == widget.chain
    assert shown(story, widget) == widget.operational.chain
    widget.operational.remove()
    assert_unauthorized(story.lab, widget, verdict.ISSUER)


def test_renewal_of_leaf_certificates__the_device_watches_its_dates_and_reports_them(
    story_managed: Story,
) -> None:
    """By its firmware, on the lab's clock; and a dashboard has it from the twin alone."""
    story, widget = story_managed, story_managed.widget
    widget.firmware.configure(keep_operational=True)
    board = story.lab.dashboard()
    for day in range(2 * DAYS):
        widget.firmware.run()
        held = widget.operational.certificate
        assert held is not None
        assert held.not_valid_after_utc > widget.now(), day
        said = story.lab.hub().twin(widget.name).reported[REPORTED]
        assert said["expires"] == f"{held.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"
        assert said["issued"] == f"{held.not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ}"
        story.lab.clock.advance(days=1)
    board.refresh()
    assert (board.renewals, board.failures) == (2, 0)
    assert board.bands[Band.EXPIRED] == 0
    assert board.renewals == len(namespace_of(story).certificates(widget.name)) - 1


def test_disable_a_device__it_is_cut_off_and_renewed_no_more(story_managed: Story) -> None:
    """Certificates are not revoked: the identity is disabled. The connection ends, the certificate
    opens nothing, and neither way leads to another; enabled again, both do."""
    story = story_managed
    widget = onboarded(story)
    story.lab.hub().devices.disable(widget.name, "stolen")
    assert_unauthorized(story.lab, widget, hub_checks.ENABLED)
    with pytest.raises(NotIssued) as at_hub:
        widget.renew_operational("hub")
    with pytest.raises(ProvisioningFailed) as at_dps:
        widget.renew_operational("dps")
    assert at_hub.value.refused
    assert at_dps.value.refused
    assert "because: stolen" in str(story.lab.explain(widget))
    assert len(namespace_of(story).certificates(widget.name)) == 1
    story.lab.hub().devices.enable(widget.name)
    widget.renew_operational("hub")
    assert_connects(widget)
