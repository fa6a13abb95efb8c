"""Certificates issued at registration, asked of the service itself."""

from __future__ import annotations

import itertools
from typing import Any

import forge
import pytest
from cryptography import x509
from issuance_stories import POLICY, csr, new_key

from labkit import Lab
from labkit.cloud import Presented
from labkit.cloud.adr import ledger
from labkit.cloud.dps.caller import Caller
from labkit.cloud.dps.registrations import ASSIGNED, FAILED, Operation
from labkit.errors import NotFound, ServiceRefusal
from labkit.pki import chain
from labkit.steps import Steps
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


def caller_of(lab: Lab, name: str) -> Caller:
    presented = Presented((forge.device(name, ROOT).certificate,))
    return Caller(lab.dps.id_scope, name, presented, api_version="2025-07-01-preview")


def register(lab: Lab, name: str) -> Operation:
    return lab.dps.register(caller_of(lab, name), csr=csr(name))


def done(lab: Lab, steps: Steps[Operation], task: Any) -> tuple[Any, Operation | None]:
    """The next task of a registration, once this one is done; or its end."""
    try:
        return steps.send(lab.cloud.do(task) if task is not None else None), None
    except StopIteration as end:
        return None, end.value


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


@pytest.mark.parametrize("turns", ["abababab", "aabbab", "abbbaaaa"])
def test_two_registrations_of_one_device_that_overlap_are_two(managed_lab: Lab, turns: str) -> None:
    """Whoever is overtaken between its steps signs anew: each request has one certificate on
    record, and the device's record is that of the last."""
    keys = {name: new_key() for name in "ab"}
    caller = caller_of(managed_lab, "widget")
    steps = {
        name: managed_lab.dps.registering(caller, csr=csr("widget", key))
        for name, key in keys.items()
    }
    tasks = dict.fromkeys(steps)
    ended: dict[str, Operation] = {}
    for name in itertools.chain(turns, itertools.cycle("ab")):
        if name not in ended:
            tasks[name], end = done(managed_lab, steps[name], tasks[name])
            if end is not None:
                ended[name] = end
        if len(ended) == 2:
            break
    namespace = managed_lab.registry.namespaces.get("contoso")
    on_record = [each.certificate.public_key() for each in namespace.certificates()]
    assert len(on_record) == 2
    assert all(key.public_key() in on_record for key in keys.values())
    for name, operation in ended.items():
        issued = x509.load_der_x509_certificate(operation.chain[0])
        assert issued.public_key() == keys[name].public_key()
    last = list(ended.values())[-1]
    assert managed_lab.dps.registrations.get("widget").operation_id == last.operation_id


def test_who_fails_late_does_not_undo_what_was_assigned_meanwhile(managed_lab: Lab) -> None:
    """The device registers without a request while its first registration waits for a signature.
    That one is denied: its hub has left the namespace. Where the device belongs is still known."""
    steps = managed_lab.dps.registering(caller_of(managed_lab, "widget"), csr=csr("widget"))
    verify, _ = done(managed_lab, steps, None)
    managed_lab.dps.register(caller_of(managed_lab, "widget"))
    managed_lab.registry.namespaces.get("contoso").unlink("contoso-hub")
    _, end = done(managed_lab, steps, verify)
    assert end is not None
    record = managed_lab.dps.registrations.get("widget")
    assert (end.status, record.status, record.device_id) == (FAILED, FAILED, "widget")
    assert record.assigned_hub.startswith("contoso-hub.")


def test_what_is_refused_by_a_glance_is_not_verified(managed_lab: Lab) -> None:
    """The first check that fails ends it, before anybody works for the request."""
    caller = caller_of(managed_lab, "widget")
    for asked in ("AAAA", "A" * 20_000):
        with pytest.raises(ServiceRefusal, match="400"):
            next(managed_lab.dps.registering(caller, csr=asked))
    managed_lab.registry.namespaces.get("contoso").policies.delete(POLICY)
    with pytest.raises(ServiceRefusal, match="400"):
        next(managed_lab.dps.registering(caller, csr=csr("widget")))


def test_a_request_is_looked_up_by_its_key_however_many_certificates_the_device_had(
    managed_lab: Lab,
) -> None:
    """And not among all of them: a device renews for years."""
    with managed_lab.cloud.database.quick_read() as connection:
        driver = connection.connection.dbapi_connection
        assert driver is not None
        asked = ledger._repeated._sql
        values = [""] * asked.count("?")
        plan = driver.execute(f"EXPLAIN QUERY PLAN {asked}", values).fetchall()
    assert "(device=? AND ca=? AND public_key=?)" in plan[0][-1]
