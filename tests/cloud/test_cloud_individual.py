"""Individual enrollments that do not fit: each refusal names the true cause, and its cure first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import forge
import pytest
from complaints import refused
from provisioning import Emulated, emulated

from labkit.cloud import codes
from labkit.cloud.dps import attestation
from labkit.cloud.dps.entries import CLIENT, InitialTwin, KnownCertificate, X509Attestation
from labkit.errors import ServiceRefusal
from labkit.explanation import Explanation
from labkit.pki import chain, verdict

NAME = "widget-1"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Emulated]:
    with emulated(tmp_path / "cloud") as opened:
        yield opened


def explained(service: Emulated) -> Explanation:
    last = service.cloud.refusals.last()
    assert last is not None
    return Explanation(last)


# ---- pain point 6: a CA where the device's own certificate belongs


def test_a_root_two_levels_above_is_recognised(service: Emulated) -> None:
    """It did not sign the device, so only the chain that was sent tells that it is above it."""
    root = forge.ca("R")
    middle = forge.ca("I", root)
    device = forge.device(NAME, middle)
    service.trust(root)
    service.dps.enrollments.create(NAME, certificate=root.certificate)
    answer = service.refusal(NAME, device, middle)
    assert answer == (codes.INVALID_CERTIFICATE, attestation.OWN_ENTRY)
    told = explained(service)
    assert "names CN=R, which is a CA, and not the device's own certificate" in service.why()
    assert told.cures[0] == "put the device's own certificate into the individual enrollment"
    assert "enrollment group for CN=R" in told.cures[1]


def test_a_root_is_recognised_though_the_chain_to_it_was_not_sent(service: Emulated) -> None:
    root = forge.ca("R")
    device = forge.device(NAME, forge.ca("I", root))
    service.dps.enrollments.create(NAME, certificate=root.certificate)
    service.refusal(NAME, device)
    assert "names CN=R, which is a CA" in service.why()


def test_after_the_cure_the_device_is_admitted(service: Emulated) -> None:
    root = forge.ca("R")
    device = forge.device(NAME, root)
    service.trust(root)
    book = service.dps.enrollments
    entry = book.create(NAME, certificate=root.certificate)
    service.refusal(NAME, device)
    book.update(replace(entry, attestation=X509Attestation(CLIENT, device.certificate)))
    assert service.register(NAME, device).status == "assigned"


def test_an_older_certificate_that_calls_itself_a_ca_is_no_ca_mix_up(service: Emulated) -> None:
    """``openssl req -x509`` says CA:TRUE: a device's earlier certificate of that kind is still the
    device's."""
    old = forge.Forged(NAME, ca=True, usage=("digital_signature", "key_cert_sign"))
    service.dps.enrollments.create(NAME, certificate=old.certificate)
    service.refusal(NAME, forge.device(NAME, None))
    assert "which is a CA" not in service.why()
    assert "their thumbprints differ" in service.why()


# ---- pain point 16: thumbprints, primary and secondary


def test_a_new_certificate_in_place_of_the_old_one_shuts_the_old_one_out(
    service: Emulated,
) -> None:
    """The new one was put into the primary slot, and the device still sends the old one."""
    old, new = (forge.device(NAME, None) for _ in range(2))
    book = service.dps.enrollments
    entry = book.create(NAME, certificate=old.certificate)
    entry = book.update(replace(entry, attestation=X509Attestation(CLIENT, new.certificate)))
    answer = service.refusal(NAME, old)
    assert answer == (codes.INVALID_CERTIFICATE, attestation.OWN_ENTRY)
    assert f"names one certificate of CN={NAME}, but not the one that was sent" in service.why()
    assert "certificate that the device sends" in explained(service).cures[0]
    both = X509Attestation(CLIENT, old.certificate, new.certificate)
    book.update(replace(entry, attestation=both))
    assert service.register(NAME, old).status == "assigned"


@pytest.mark.parametrize("form", [chain.thumbprint, chain.thumbprint_sha1])
def test_an_entry_keeps_the_certificate_that_a_thumbprint_of_either_form_names(
    service: Emulated, form: object
) -> None:
    """A back end reads thumbprints and sends them back. SHA-1 and SHA-256 are two digests of one
    certificate; the hub is given the same form for primary and secondary, whichever was sent."""
    assert callable(form)
    old, new = (forge.device(NAME, None) for _ in range(2))
    book = service.dps.enrollments
    entry = book.create(NAME, certificate=old.certificate)
    beside = X509Attestation(CLIENT, KnownCertificate(form(old.certificate)), new.certificate)
    entry = book.update(replace(entry, attestation=beside))
    assert entry.attestation == X509Attestation(CLIENT, old.certificate, new.certificate)
    hub = service.cloud.hubs.get(service.register(NAME, new).assigned_hub)
    for device in (old, new):
        hub.connect(NAME, NAME, service.caller(NAME, device).presented)


def test_a_thumbprint_of_nobody_is_refused(service: Emulated) -> None:
    """It is a digest: from a thumbprint alone no certificate can be had."""
    old, new = (forge.device(NAME, None) for _ in range(2))
    entry = service.dps.enrollments.create(NAME, certificate=old.certificate)
    unknown = X509Attestation(CLIENT, KnownCertificate(chain.thumbprint(new.certificate)))
    with refused(ServiceRefusal, "400004", "certificate that this entry does not have"):
        service.dps.enrollments.update(replace(entry, attestation=unknown))


# ---- pain point 3: the registration ID is the CN


def test_another_name_than_the_cn_is_told_with_both_names(service: Emulated) -> None:
    device = forge.device(NAME, None)
    service.dps.enrollments.create(NAME, certificate=device.certificate, device_id="desk-3")
    answer = service.refusal("desk-3", device)
    assert answer == (codes.UNAUTHORIZED, attestation.REGISTRATION_ID)
    assert service.why() == f"the device asks as 'desk-3', its certificate says {NAME!r}"
    assert explained(service).cures[0] == f"register as {NAME!r}"


def test_case_does_not_count_for_dps_and_counts_for_the_hub(service: Emulated) -> None:
    device = forge.device(NAME, None)
    service.dps.enrollments.create(NAME.upper(), certificate=device.certificate)
    record = service.register(NAME.title(), device)
    assert record.device_id == NAME, "as the certificate spells it"
    hub = service.cloud.hubs.get(record.assigned_hub)
    with refused(ServiceRefusal, f"has no identity {NAME.upper()!r}"):
        hub.connect(NAME.upper(), NAME.upper(), service.caller(NAME, device).presented)


# ---- nobody vouches


def test_a_self_signed_device_without_an_entry_is_told_to_be_enrolled(service: Emulated) -> None:
    """No CA certificate can be uploaded for it: it has none."""
    device = forge.device(NAME, None)
    assert service.refusal(NAME, device) == (codes.CA_NOT_FOUND, verdict.ANCHOR)
    (cure,) = explained(service).cures
    assert cure.startswith("create an individual enrollment")
    assert "signed itself" in service.why()
    service.dps.enrollments.create(NAME, certificate=device.certificate)
    assert service.register(NAME, device).status == "assigned"


def test_an_enrolled_device_of_an_unknown_ca_needs_no_group(service: Emulated) -> None:
    root = forge.ca("R")
    device = forge.device(NAME, root)
    service.dps.enrollments.create(NAME, certificate=device.certificate)
    assert service.refusal(NAME, device) == (codes.CA_NOT_FOUND, verdict.ISSUER)
    told = explained(service)
    assert told.cures[0].startswith("upload CN=R itself to DPS and prove possession")
    assert not any("group" in cure for cure in told.cures)
    assert not any(check.outcome == "not reached" for check in told.checks)


# ---- pain point 19: two people, one entry


def test_a_change_of_an_earlier_state_is_told_as_such(service: Emulated) -> None:
    """412: nobody overwrites what they have not seen. Nothing is said of certificates."""
    device = forge.device(NAME, None)
    book = service.dps.enrollments
    hers = his = book.create(NAME, certificate=device.certificate)
    book.update(replace(hers, device_id="desk-3"))
    with refused(ServiceRefusal, "412", "changed since that ETag was read"):
        book.update(replace(his, initial_twin=InitialTwin(tags={"room": "attic"})))
    told = explained(service)
    assert told.cures[0] == "read it again and repeat the request with its ETag"
    assert str(told).startswith(f"A change of the record {NAME!r} was refused. Azure says only:")
    assert "no certificate" not in str(told)
    assert told.about == f"the change of {NAME}"
    book.update(replace(book.get(NAME), initial_twin=InitialTwin(tags={"room": "attic"})))
    assert book.get(NAME).device_id == "desk-3", "both changes are there"


def test_an_entry_with_two_certificates_of_one_name_says_so(service: Emulated) -> None:
    old, new = (forge.device(NAME, None) for _ in range(2))
    entry = service.dps.enrollments.create(
        NAME, certificate=old.certificate, secondary=new.certificate
    )
    assert repr(entry) == (f"<Enrollment {NAME!r}: CN={NAME}, by one of two certificates, enabled>")
