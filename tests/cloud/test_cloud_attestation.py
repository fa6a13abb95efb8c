"""Who may register: individual enrollments, groups by certificate and by reference."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import forge
import pytest
from complaints import refused
from cryptography import x509
from foreign_tools import openssl
from provisioning import Emulated, emulated

from labkit.cloud import codes
from labkit.cloud.dps import attestation
from labkit.cloud.dps.entries import SIGNING, SymmetricKeyAttestation, X509Attestation
from labkit.errors import Conflict
from labkit.pki import verdict

NAME = "widget-1"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Emulated]:
    with emulated(tmp_path / "cloud") as opened:
        yield opened


# ---- individual, self-signed


def test_a_self_signed_device_needs_no_ca_but_its_own_enrollment(service: Emulated) -> None:
    device = forge.device(NAME, None)
    service.dps.enrollments.create(NAME, certificate=device.certificate)
    record = service.register(NAME, device)
    assert (record.status, record.group_id, record.device_id) == ("assigned", "", NAME)


def test_openssls_own_self_signed_certificate_is_taken(service: Emulated, tmp_path: Path) -> None:
    """``openssl req -x509`` says CA:TRUE unless told otherwise. That the entry names this very
    certificate is all the trust that it needs."""
    made = tmp_path / "device.pem"
    arguments = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30")
    openssl(
        "req", "-x509", *arguments, "-subj", f"/CN={NAME}", "-keyout", "/dev/null", "-out", made
    )
    service.clock.reset()
    certificate = x509.load_pem_x509_certificate(made.read_bytes())
    assert service.refusal(NAME, certificate)[1] == verdict.LEAF
    last = service.cloud.refusals.last(NAME)
    assert last is not None
    assert "individual enrollment with this very certificate" in str(last.checks)
    service.dps.enrollments.create(NAME, certificate=made)
    assert service.register(NAME, certificate).status == "assigned"


def test_an_expired_self_signed_device_is_refused(service: Emulated) -> None:
    device = forge.device(NAME, None, days=(-10, -1))
    service.dps.enrollments.create(NAME, certificate=device.certificate)
    assert service.refusal(NAME, device) == (codes.INVALID_CERTIFICATE, verdict.VALIDITY)


def test_a_self_signed_server_certificate_is_refused_for_its_purpose(service: Emulated) -> None:
    """Pain point 8: an extended key usage without clientAuth."""
    device = forge.device(NAME, None, purposes=(forge.SERVER,))
    service.dps.enrollments.create(NAME, certificate=device.certificate)
    assert service.refusal(NAME, device) == (codes.INVALID_CERTIFICATE, verdict.PURPOSE)


def test_either_certificate_of_the_entry_proves_the_device(service: Emulated) -> None:
    """To roll a certificate: the new one is put beside the old one."""
    old, new, other = (forge.device(NAME, None) for _ in range(3))
    service.dps.enrollments.create(NAME, certificate=old.certificate, secondary=new.certificate)
    assert service.register(NAME, old).device_id == NAME
    assert service.register(NAME, new).device_id == NAME
    error, check = service.refusal(NAME, other)
    assert (error, check) == (codes.INVALID_CERTIFICATE, attestation.OWN_ENTRY)


def test_the_hub_gets_both_thumbprints_of_the_entry(service: Emulated) -> None:
    old, new = (forge.device(NAME, None) for _ in range(2))
    service.dps.enrollments.create(NAME, certificate=old.certificate, secondary=new.certificate)
    hub = service.cloud.hubs.get(service.register(NAME, old).assigned_hub)
    for device in (old, new):
        hub.connect(NAME, NAME, service.caller(NAME, device).presented)


# ---- individual, signed by a CA


def test_a_chained_device_needs_its_chain_to_a_verified_ca(service: Emulated) -> None:
    root = forge.ca("R")
    middle = forge.ca("I", root)
    device = forge.device(NAME, middle)
    service.dps.enrollments.create(NAME, certificate=device.certificate)
    assert service.refusal(NAME, device, middle) == (codes.CA_NOT_FOUND, verdict.ISSUER)
    service.trust(root)
    assert service.refusal(NAME, device) == (codes.CA_NOT_FOUND, verdict.ISSUER)
    assert service.register(NAME, device, middle).status == "assigned"


def test_the_root_in_an_individual_enrollment_is_explained(service: Emulated) -> None:
    """Pain point 6: the CA was uploaded where the device's own certificate belongs."""
    root = forge.ca("R")
    device = forge.device(NAME, root)
    service.trust(root)
    service.dps.enrollments.create(NAME, certificate=root.certificate)
    answer = service.refusal(NAME, device, root)
    assert answer == (codes.INVALID_CERTIFICATE, attestation.OWN_ENTRY)
    assert "CN=R, the CA that signed it" in service.why()


def test_a_certificate_of_another_entry_is_refused(service: Emulated) -> None:
    """The leaf is the first certificate of the walk: the entry that names it decides."""
    root = forge.ca("R")
    device = forge.device(NAME, root)
    service.trust(root)
    service.dps.enrollment_groups.create("all", signing=root.certificate)
    service.dps.enrollments.create("somebody-else", certificate=device.certificate)
    assert service.refusal(NAME, device)[1] == attestation.OWN_ENTRY
    assert "'somebody-else'" in service.why()
    service.dps.enrollments.delete("somebody-else")
    assert service.register(NAME, device).group_id == "all"


def test_a_device_id_may_be_what_a_registration_id_may_not(service: Emulated) -> None:
    device = forge.device(NAME, None)
    wanted = "Line-1_Widget@home"
    service.dps.enrollments.create(NAME, certificate=device.certificate, device_id=wanted)
    record = service.register(NAME, device)
    assert (record.registration_id, record.device_id) == (NAME, wanted)
    assert service.cloud.hubs.get(record.assigned_hub).devices.get(wanted).device_id == wanted


# ---- individual before group


def grouped(service: Emulated) -> tuple[forge.Forged, forge.Forged]:
    """A root with a group, and a device below it."""
    root = forge.ca("R")
    service.trust(root)
    service.dps.enrollment_groups.create("all", signing=root.certificate)
    return root, forge.device(NAME, root)


def test_the_individual_enrollment_decides_before_the_group(service: Emulated) -> None:
    _, device = grouped(service)
    service.dps.enrollments.create(NAME, certificate=device.certificate)
    assert service.register(NAME, device).group_id == ""
    service.dps.enrollments.delete(NAME)
    assert service.register(NAME, device).group_id == "all", "deleted is not disabled"


@pytest.mark.parametrize("by", ["its certificate", "a symmetric key"])
def test_a_disabled_individual_enrollment_blocks_a_device_of_a_group(
    service: Emulated, by: str
) -> None:
    """Without the certificate at hand, a symmetric key does: the registration ID is enough."""
    _, device = grouped(service)
    if by == "its certificate":
        service.dps.enrollments.create(NAME, certificate=device.certificate, status="disabled")
    else:
        service.dps.enrollments.create(NAME, keys=SymmetricKeyAttestation(), status="disabled")
    assert service.refusal(NAME, device) == (codes.UNAUTHORIZED, attestation.ENABLED)
    assert f"{NAME!r} is disabled" in service.why()
    service.dps.enrollments.delete(NAME)
    assert service.register(NAME, device).group_id == "all"


def test_disabled_may_be_told_as_a_status_instead(service: Emulated) -> None:
    """Azure's documents name both answers."""
    _, device = grouped(service)
    service.dps.enrollment_groups.disable("all")
    assert service.refusal(NAME, device)[1] == attestation.ENABLED
    service.dps.disabled_answer = "status"
    assert service.operation(NAME, device).status == "disabled"
    last = service.cloud.refusals.last(NAME)
    assert last is not None, "it is explained all the same"


def test_a_device_that_was_cut_off_in_dps_stays_connected_to_its_hub(service: Emulated) -> None:
    """Pain point 10: what DPS disables cannot register; the hub does not hear of it."""
    _, device = grouped(service)
    hub = service.cloud.hubs.get(service.register(NAME, device).assigned_hub)
    service.dps.enrollment_groups.disable("all")
    assert service.refusal(NAME, device)[1] == attestation.ENABLED
    hub.connect(NAME, NAME, service.caller(NAME, device).presented)


# ---- groups


def test_either_certificate_of_a_group_admits(service: Emulated) -> None:
    """To roll a CA: the new one is put beside the old one."""
    old, new = forge.ca("old"), forge.ca("new")
    for ca in (old, new):
        service.trust(ca)
    groups = service.dps.enrollment_groups
    groups.create("line", signing=old.certificate, secondary=new.certificate)
    for number, ca in enumerate((old, new)):
        name = f"widget-{number}"
        assert service.register(name, forge.device(name, ca)).group_id == "line"
    attestation_after = X509Attestation(SIGNING, new.certificate)
    groups.update(replace(groups.get("line"), attestation=attestation_after))
    name = "widget-2"
    assert service.refusal(name, forge.device(name, old))[1] == attestation.ENTRY
    assert service.register(name, forge.device(name, new)).group_id == "line"


def test_a_group_by_reference_admits_what_is_below_the_uploaded_ca(service: Emulated) -> None:
    root, second = forge.ca("company-x"), forge.ca("company-y")
    for ca in (root, second):
        service.trust(ca)
    service.dps.enrollment_groups.create("all", ca="company-x", secondary_ca="company-y")
    for number, ca in enumerate((root, second)):
        name = f"widget-{number}"
        assert service.register(name, forge.device(name, ca)).group_id == "all"


def test_a_reference_is_a_name_whose_case_does_not_count(service: Emulated) -> None:
    """And a name that differs by its case alone is taken: names of resources are one then."""
    root = forge.ca("company-x")
    service.trust(root)
    service.dps.enrollment_groups.create("all", ca="Company-X")
    assert service.register(NAME, forge.device(NAME, root)).group_id == "all"
    with refused(Conflict, "belongs to an entry already"):
        service.dps.enrollment_groups.create("again", ca="COMPANY-x")


def test_a_reference_to_an_unverified_ca_admits_nobody(service: Emulated) -> None:
    root = forge.ca("company-x")
    service.trust(root, prove=False)
    service.dps.enrollment_groups.create("all", ca="company-x")
    answer = service.refusal(NAME, forge.device(NAME, root), root)
    assert answer == (codes.CA_NOT_FOUND, verdict.ANCHOR)


def test_a_reference_follows_what_is_uploaded(service: Emulated) -> None:
    """The group names a name: when the CA behind it is another, so are its devices."""
    old, new = forge.ca("company-x"), forge.ca("company-x")
    service.trust(old)
    service.dps.enrollment_groups.create("all", ca="company-x")
    assert service.register("a", forge.device("a", old)).group_id == "all"
    service.dps.certificates.delete("company-x")
    assert service.refusal("a", forge.device("a", old))[0] == codes.CA_NOT_FOUND
    service.trust(new)
    assert service.register("b", forge.device("b", new)).group_id == "all"


def test_an_intermediates_group_fails_without_the_whole_chain(service: Emulated) -> None:
    """Pain points 1 and 2: the group's own certificate need not be verified, but the chain has to
    reach one that is."""
    root = forge.ca("R")
    middle = forge.ca("I", root)
    device = forge.device(NAME, middle)
    service.trust(root)
    service.dps.enrollment_groups.create("line", signing=middle.certificate)
    assert service.refusal(NAME, device) == (codes.CA_NOT_FOUND, verdict.ISSUER)
    assert service.register(NAME, device, middle).group_id == "line", "one cure"
    service.trust(middle)
    assert service.register(NAME, device).group_id == "line", "the other"


def test_an_intermediate_that_was_issued_again_is_told_from_the_groups(service: Emulated) -> None:
    """Pain point 7: same name, same key even, another certificate."""
    root = forge.ca("R")
    old = forge.ca("Line CA", root)
    new = forge.ca("Line CA", root, key=old.key)
    device = forge.device(NAME, new)
    service.trust(root)
    service.dps.enrollment_groups.create("line", signing=old.certificate)
    answer = service.refusal(NAME, device, new)
    assert answer == (codes.SIGNING_MISMATCH, attestation.ENTRY)
    assert "issued again" in service.why()
    groups = service.dps.enrollment_groups
    both = X509Attestation(SIGNING, old.certificate, new.certificate)
    groups.update(replace(groups.get("line"), attestation=both))
    assert service.register(NAME, device, new).group_id == "line"


def test_a_registration_id_is_the_cn_whatever_the_case(service: Emulated) -> None:
    """Pain point 3."""
    grouped(service)
    root = forge.ca("other")
    service.trust(root)
    service.dps.enrollment_groups.create("other", signing=root.certificate)
    device = forge.device("Widget-A", root)
    assert service.register("WIDGET-a", device).device_id == "Widget-A"
    assert service.refusal("widget-b", device)[1] == attestation.REGISTRATION_ID


# ---- one certificate, one entry


def test_a_certificate_is_in_one_entry_only(service: Emulated) -> None:
    root, _ = grouped(service)
    device = forge.device(NAME, root)
    service.dps.enrollments.create(NAME, certificate=device.certificate)
    with refused(Conflict, "CN=R belongs to an entry already", "'all'"):
        service.dps.enrollments.create("other", certificate=root.certificate)
    with refused(Conflict, f"'{NAME}' uses it"):
        service.dps.enrollments.create("other", certificate=device.certificate)
    other = forge.ca("S")
    with refused(Conflict, "CN=R belongs to an entry already"):
        service.dps.enrollment_groups.create(
            "second", signing=other.certificate, secondary=root.certificate
        )
    assert [entry.id for entry in service.dps.enrollments] == [NAME]
    assert [group.id for group in service.dps.enrollment_groups] == ["all"]


def test_a_certificate_is_free_again_when_its_entry_is_gone(service: Emulated) -> None:
    root, _ = grouped(service)
    service.dps.enrollment_groups.delete("all")
    assert service.dps.enrollment_groups.create("new", signing=root.certificate).id == "new"


def test_the_wrong_scope_is_explained(service: Emulated) -> None:
    """Pain point 20."""
    _, device = grouped(service)
    caller = replace(service.caller(NAME, device), id_scope="0ne00000000")
    assert "ID scope" in service.refused(caller)[1]


def test_a_ca_that_one_group_names_by_its_upload_is_no_other_groups_certificate(
    service: Emulated,
) -> None:
    """Otherwise a disabled group would keep nobody out: the same CA would decide elsewhere."""
    root = forge.ca("R")
    service.trust(root)
    (uploaded,) = service.dps.certificates
    groups = service.dps.enrollment_groups
    groups.create("by-name", ca=uploaded.name.upper())
    with refused(Conflict, "CN=R belongs to an entry already", "'by-name'"):
        groups.create("by-certificate", signing=root.certificate)
    groups.delete("by-name")
    groups.create("by-certificate", signing=root.certificate)
    with refused(Conflict, "belongs to an entry already", "'by-certificate'"):
        groups.create("by-name", ca=uploaded.name)
