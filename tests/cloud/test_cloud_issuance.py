"""Certificates issued at registration, asked of the service itself."""

from __future__ import annotations

import forge
import pytest
from cryptography import x509
from issuance_stories import POLICY, csr

from labkit import Lab
from labkit.cloud import Presented
from labkit.cloud.dps.caller import Caller
from labkit.cloud.dps.registrations import ASSIGNED, FAILED, Operation
from labkit.errors import NotFound
from labkit.pki import chain
from labkit.trace import first_failure

ROOT = forge.ca("Root")


@pytest.fixture
def managed_lab(lab: Lab) -> Lab:
    """Devices below a forged root have certificates issued."""
    lab.clock.set(forge.NOW)
    ca = lab.dps.certificates.upload("root", ROOT.certificate)
    proof = forge.device(ca.verification_code, ROOT)
    lab.dps.certificates.verify(ca, proof.certificate)
    namespace = lab.registry.namespaces.create("contoso")
    namespace.create_credential()
    namespace.policies.create(POLICY, validity_days=7)
    namespace.link_dps()
    namespace.link_hub("contoso-hub")
    lab.dps.enrollment_groups.create("widgets", signing=ROOT.certificate, credential_policy=POLICY)
    return lab


def register(lab: Lab, name: str) -> Operation:
    presented = Presented((forge.device(name, ROOT).certificate,))
    caller = Caller(lab.dps.id_scope, name, presented, api_version="2025-07-01-preview")
    return lab.dps.register(caller, csr=csr(name))


def test_who_was_disabled_gets_no_certificate_under_another_spelling(managed_lab: Lab) -> None:
    """A registration ID is compared without regard to case, and the hub's device ID is as it was
    spelled first: that is the identity that must not be disabled."""
    assert register(managed_lab, "Widget-1").status == ASSIGNED
    managed_lab.hub().devices.disable("Widget-1")
    assert register(managed_lab, "widget-1").status == FAILED
    refusal = managed_lab.cloud.refusals.last()
    assert refusal is not None
    failure = first_failure(refusal.checks)
    assert failure is not None
    assert "'Widget-1' is disabled in contoso-hub" in failure.why


def test_nothing_is_assigned_where_the_token_cannot_sign(managed_lab: Lab) -> None:
    """Certificate, identity and record are written together, or none of them is."""
    row = managed_lab.registry.namespaces.get("contoso").policies.get(POLICY).row
    managed_lab._rooms.tokens.token(row.token).destroy_key(row.key)
    with pytest.raises(NotFound):
        register(managed_lab, "widget-1")
    assert managed_lab.dps.registrations.find("widget-1") is None
    assert managed_lab.hub().devices.find("widget-1") is None
    assert not managed_lab.registry.namespaces.get("contoso").certificates()


def test_a_certificate_names_the_device_as_its_hub_does_whoever_was_faster(
    managed_lab: Lab,
) -> None:
    """Another registration of the same device is done between signature and record: its spelling
    stands, so what was signed for the other is thrown away and signed anew."""
    faster = iter(["widget-1"])
    stop = managed_lab.events.listen(
        lambda event: (
            [register(managed_lab, name) for name in faster] if event.kind == "issued" else None
        )
    )
    found = register(managed_lab, "Widget-1")
    stop()
    assert found.registration is not None
    assert found.registration.device_id == "widget-1"
    assert chain.common_name(x509.load_der_x509_certificate(found.chain[0])) == "widget-1"
    assert [each.device_id for each in managed_lab.hub().devices] == ["widget-1"]
