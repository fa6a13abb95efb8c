"""Namespaces, credentials and policies of the Device Registry, as Python says them."""

from __future__ import annotations

import pytest
from complaints import refused
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from issuance_stories import managed
from stories import Story

from labkit import Lab
from labkit.errors import Conflict, LabError, NotFound
from labkit.pki import chain


def test_a_namespace_has_a_root_and_issuing_cas_on_p384_and_sha384(lab: Lab) -> None:
    """Two tiers: the root signs itself and each policy's CA, which may sign no further CA."""
    namespace = lab.registry.namespaces.create("contoso")
    root = namespace.create_credential().certificate
    issuing = namespace.policies.create("short", validity_days=7).certificate
    for certificate in (root, issuing):
        assert isinstance(certificate.public_key().curve, ec.SECP384R1)  # type: ignore[union-attr]
        assert isinstance(certificate.signature_hash_algorithm, hashes.SHA384)
        assert chain.is_ca(certificate)
    assert chain.is_self_signed(root)
    assert chain.signed_by(issuing, root)
    assert chain.subject(root) == "CN=contoso Root CA"
    assert chain.subject(issuing) == "CN=short Issuing CA"


def test_the_keys_are_in_a_token_of_the_namespaces_own(lab: Lab) -> None:
    namespace = lab.registry.namespaces.create("contoso")
    namespace.create_credential()
    namespace.policies.create("short")
    row = namespace.root
    assert row is not None
    token = lab._rooms.tokens.token(row.token)
    assert row.token.startswith("ADR contoso ")
    assert token.key_labels == ["policy 2", "root 1"]
    for label in token.key_labels:
        attributes = token.key(label).attributes
        assert attributes["SENSITIVE"]
        assert not attributes["EXTRACTABLE"]


def test_each_namespace_has_a_root_and_a_token_of_its_own(lab: Lab) -> None:
    made = [lab.registry.namespaces.create(name) for name in ("contoso", "fabrikam")]
    roots = [namespace.create_credential().certificate for namespace in made]
    assert roots[0].public_key() != roots[1].public_key()
    assert len({namespace.root.token for namespace in made if namespace.root}) == 2


def test_making_it_again_just_so_is_harmless(lab: Lab) -> None:
    for _ in range(2):
        namespace = lab.registry.namespaces.create("contoso")
        credential = namespace.create_credential()
        policy = namespace.policies.create("short", validity_days=7)
        namespace.link_dps()
        namespace.link_hub("contoso-hub")
        namespace.synchronize()
        seen = (credential.certificate, policy.certificate)
    assert (namespace.credential.certificate, namespace.policies.get("SHORT").certificate) == seen
    assert len(namespace.policies) == len(lab.registry.namespaces) == 1
    assert len(list(lab.hub().certificates)) == 1


def test_everything_is_there_when_the_lab_is_opened_again(lab: Lab) -> None:
    namespace = lab.registry.namespaces.create("contoso")
    root = namespace.create_credential().certificate
    namespace.policies.create("short", validity_days=7)
    namespace.link_hub("contoso-hub")
    lab.registry.request_key = "EC"
    path = lab.path
    lab.close()
    with Lab.open(path) as again:
        found = again.registry.namespaces.get("contoso")
        assert found.credential.certificate == root
        assert [policy.validity_days for policy in found.policies] == [7]
        assert found.hubs == ["contoso-hub"]
        assert again.registry.request_key == "EC"
        assert found.policies.create("long", validity_days=90).certificate


@pytest.mark.parametrize("days", [0, 91, 1.5, True, "7"])
def test_a_policy_signs_for_1_to_90_days(lab: Lab, days: object) -> None:
    namespace = lab.registry.namespaces.create("contoso")
    namespace.create_credential()
    with refused(LabError, "1 to 90"):
        namespace.policies.create("short", validity_days=days)  # type: ignore[arg-type]
    assert len(namespace.policies) == 0


def test_the_fewest_days_are_a_switch_for_the_documents_disagree(lab: Lab) -> None:
    namespace = lab.registry.namespaces.create("contoso")
    namespace.create_credential()
    namespace.policies.create("a-day", validity_days=1)
    lab.registry.shortest_validity = 7
    with refused(LabError, "7 to 90"):
        namespace.policies.create("two-days", validity_days=2)
    with refused(LabError, "shortest_validity cannot be 3"):
        lab.registry.shortest_validity = 3


def test_one_policy_for_each_credential_is_a_switch(lab: Lab) -> None:
    namespace = lab.registry.namespaces.create("contoso")
    namespace.create_credential()
    namespace.policies.create("one")
    lab.registry.one_policy = True
    with refused(Conflict, "no room for another policy", "one_policy = False"):
        namespace.policies.create("two")
    lab.registry.one_policy = False
    namespace.policies.create("two")


@pytest.mark.parametrize("name", ["ab", "-dash", "has_underscore", "x" * 64, "", "ä" * 5])
def test_a_policys_name_is_azures(lab: Lab, name: str) -> None:
    namespace = lab.registry.namespaces.create("contoso")
    namespace.create_credential()
    with pytest.raises(LabError, match="cannot be the name of a policy"):
        namespace.policies.create(name)


@pytest.mark.parametrize("name", ["ab", "Contoso", "-dash", "dash-", "x" * 65, "", 7])
def test_a_namespaces_name_is_azures(lab: Lab, name: str) -> None:
    with pytest.raises(LabError, match="cannot be the name of a namespace"):
        lab.registry.namespaces.create(name)


def test_the_longest_names_are_taken(lab: Lab) -> None:
    namespace = lab.registry.namespaces.create("n" * 64)
    namespace.create_credential()
    assert namespace.policies.create("p" * 63).certificate


def test_without_a_credential_there_is_no_policy(lab: Lab) -> None:
    namespace = lab.registry.namespaces.create("contoso")
    for ask in (
        lambda: namespace.policies.create("short"),
        lambda: namespace.credential,
        namespace.synchronize,
        namespace.delete_credential,
    ):
        with refused(NotFound, "has no credential", "create_credential()"):
            ask()


def test_a_service_belongs_to_one_namespace(lab: Lab) -> None:
    contoso, fabrikam = map(lab.registry.namespaces.create, ("contoso", "fabrikam"))
    contoso.link_dps()
    contoso.link_hub(lab.hub())
    with refused(Conflict, "belongs to a namespace already", "unlink"):
        fabrikam.link_dps()
    with refused(Conflict, "belongs to a namespace already"):
        fabrikam.link_hub("contoso-hub")
    with refused(NotFound, "not linked to fabrikam"):
        fabrikam.unlink("dps")
    contoso.unlink("dps")
    contoso.unlink(lab.hub())
    fabrikam.link_dps()
    assert (contoso.links, fabrikam.links) == ([], ["dps"])


def test_a_policy_of_the_same_name_has_another_key_and_is_called_differently(lab: Lab) -> None:
    """Two CAs of one name and different keys would be hard to tell apart."""
    namespace = lab.registry.namespaces.create("contoso")
    namespace.create_credential()
    first = namespace.policies.create("short").certificate
    namespace.policies.delete("short")
    second = namespace.policies.create("short").certificate
    assert first.public_key() != second.public_key()
    assert chain.subject(second) == "CN=short Issuing CA 2"


def test_a_policy_is_not_quietly_another(lab: Lab) -> None:
    namespace = lab.registry.namespaces.create("contoso")
    namespace.create_credential()
    policy = namespace.policies.create("short", validity_days=7)
    with refused(Conflict, "has a policy 'short' already", "validity_days=30"):
        namespace.policies.create("short", validity_days=30)
    assert policy.update(validity_days=30).validity_days == 30


def test_synchronising_brings_the_cas_of_all_policies_to_the_linked_hubs(story: Story) -> None:
    """Verified, though nobody has proven anything; what is deleted is not taken back."""
    namespace = managed(story, synchronized=False)
    namespace.policies.create("long", validity_days=90)
    assert list(story.lab.hub().certificates) == []
    assert namespace.synchronize() == ["contoso-hub"]
    held = {ca.certificate: ca.is_verified for ca in story.lab.hub().certificates}
    assert held == {policy.certificate: True for policy in namespace.policies}
    namespace.policies.delete("long")
    namespace.synchronize()
    assert len(list(story.lab.hub().certificates)) == 2


def test_that_a_new_policy_reaches_the_hubs_at_once_is_a_switch(story: Story) -> None:
    namespace = managed(story, synchronized=False)
    story.lab.registry.synchronizes_itself = True
    policy = namespace.policies.create("long", validity_days=90)
    held = [ca.certificate for ca in story.lab.hub().certificates]
    assert held == [policy.certificate]


def test_a_credential_goes_last_and_takes_the_hubs_trust_along(story: Story) -> None:
    namespace = managed(story)
    with refused(Conflict, "in use", "short"):
        namespace.delete_credential()
    namespace.policies.delete("short")
    namespace.delete_credential()
    assert list(story.lab.hub().certificates) == []
    assert (
        namespace.create_credential()
        .certificate.subject.rfc4514_string()
        .startswith("CN=contoso Root CA 2")
    )


def test_the_cas_of_deleted_policies_are_known_for_good(story: Story) -> None:
    """Also when the credential is gone, and the namespace: what they have signed may be valid."""
    namespace, namespaces = managed(story, synchronized=False), story.lab.registry.namespaces
    root, issuing = namespace.credential.certificate, namespace.policies.get("short").certificate
    assert namespaces.retired() == []
    before = story.lab.clock.now()
    namespace.policies.delete("short")
    (found,) = namespaces.retired()
    assert (found.namespace, found.policy) == ("contoso", "short")
    assert (found.root, found.certificate) == (root, issuing)
    assert before <= found.at <= story.lab.clock.now()
    assert found.root_at is None
    namespace.delete_credential()
    for service in namespace.links:
        namespace.unlink(service)
    namespaces.delete(namespace)
    (again,) = namespaces.retired()
    assert again.certificate == issuing
    assert again.root_at is not None
    assert found.at <= again.root_at <= story.lab.clock.now()


def test_a_namespace_in_use_stays(story: Story) -> None:
    namespace = managed(story)
    with refused(Conflict, "in use", "a credential", "a link to dps"):
        story.lab.registry.namespaces.delete("contoso")
    namespace.policies.delete("short")
    namespace.delete_credential()
    for service in namespace.links:
        namespace.unlink(service)
    story.lab.registry.namespaces.delete(namespace)
    with refused(NotFound, "no namespace 'contoso'"):
        story.lab.registry.namespaces.get("contoso")
