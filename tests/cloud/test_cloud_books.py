"""The books of enrollments and registrations, as the service API has them."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import forge
import pytest
from complaints import refused
from provisioning import Emulated, emulated

from labkit.cloud import codes
from labkit.cloud.dps.entries import (
    CLIENT,
    CUSTOM,
    REFERENCES,
    RESET,
    SIGNING,
    Capabilities,
    CustomAllocation,
    Enrollment,
    EnrollmentGroup,
    InitialTwin,
    KnownCertificate,
    SymmetricKeyAttestation,
    X509Attestation,
)
from labkit.cloud.store import wire_etag
from labkit.errors import Conflict, NotFound, ServiceRefusal
from labkit.pki import chain

KEYS = SymmetricKeyAttestation()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Emulated]:
    with emulated(tmp_path / "cloud") as opened:
        yield opened


def whole(certificate_of: forge.Forged) -> Enrollment:
    """An enrollment in which every field is used."""
    return Enrollment(
        "Widget-1",
        X509Attestation(CLIENT, certificate_of.certificate),
        capabilities=Capabilities(iot_edge=True),
        iot_hub_host_name="alpha-hub.azure-devices.net",
        iot_hubs=("alpha-hub.azure-devices.net",),
        initial_twin=InitialTwin({"line": 1}, {"rate": {"seconds": 5}}),
        allocation_policy=CUSTOM,
        custom_allocation=CustomAllocation("https://127.0.0.1/choose", "2021-10-01"),
        reprovision_policy=RESET,
        provisioning_status="disabled",
        device_id="Widget@1",
        optional_device_information={"colour": "blue"},
    )


def test_an_entry_comes_back_as_it_was_put(service: Emulated) -> None:
    wanted = whole(forge.device("Widget-1", None))
    put = service.dps.enrollments.put(wanted)
    assert put.etag
    assert put.created == put.updated == service.dps.enrollments.get("WIDGET-1").created
    found = service.dps.enrollments.get("widget-1")
    assert found == put
    assert replace(found, etag="", created=wanted.created, updated=wanted.updated) == wanted


def test_an_existing_entry_is_changed_only_under_its_etag(service: Emulated) -> None:
    """sdk-python #35187, sdk-csharp #3076: without an ETag, Azure says that it exists."""
    book = service.dps.enrollments
    first = book.put(Enrollment("a", KEYS))
    with refused(Conflict, "409201"):
        book.put(Enrollment("A", KEYS))
    second = book.put(replace(first, device_id="x"), first.etag)
    assert second.etag != first.etag
    assert second.created == first.created
    with refused(ServiceRefusal, "412"):
        book.put(replace(first, device_id="y"), first.etag)
    assert book.get("a") == second


@pytest.mark.parametrize(
    "form", ["*", '"*"', "{}", '"{}"', '\\"{}\\"', 'W/"{}"', '"other", "{}"', "base64"]
)
def test_an_etag_counts_in_every_form_that_clients_send(service: Emulated, form: str) -> None:
    book = service.dps.enrollments
    etag = book.put(Enrollment("a", KEYS)).etag
    sent = wire_etag(etag) if form == "base64" else form.format(etag)
    book.delete("a", sent)
    assert book.find("a") is None


@pytest.mark.parametrize("form", ["other", '"other"', base64.b64encode(b'"other"').decode()])
def test_another_etag_is_412_and_changes_nothing(service: Emulated, form: str) -> None:
    """Pain point 19: the ETag of an earlier state."""
    book = service.dps.enrollments
    entry = book.put(Enrollment("a", KEYS))
    with refused(ServiceRefusal, "412201") as caught:
        book.delete("a", form)
    assert "read it again" in caught.error.cure
    assert book.get("a") == entry


def test_what_is_not_there_is_404_or_412(service: Emulated) -> None:
    book = service.dps.enrollments
    for act in (lambda: book.get("a"), lambda: book.delete("a"), lambda: book.disable("a")):
        with refused(NotFound, "404201", "none yet"):
            act()
    with refused(ServiceRefusal, "412"):
        book.put(Enrollment("a", KEYS), "*")


def test_to_ask_for_what_is_not_there_is_not_the_last_refusal_of_all(service: Emulated) -> None:
    """It can be explained by its tracking ID; ``lab.explain()`` is about something else."""
    with refused(NotFound) as caught:
        service.dps.enrollment_groups.get("nope")
    assert service.cloud.refusals.find(caught.error.tracking_id).checks == caught.error.checks
    assert service.cloud.refusals.last() is None


def test_only_the_info_of_a_certificate_is_needed_to_keep_it(service: Emulated) -> None:
    """SDKs read an entry without its certificate, change it, and put it back."""
    old, new = (forge.device("a", None) for _ in range(2))
    book = service.dps.enrollments
    entry = book.create("a", certificate=old.certificate, secondary=new.certificate)
    known = KnownCertificate(chain.thumbprint(new.certificate).lower())
    rolled = book.update(replace(entry, attestation=X509Attestation(CLIENT, known)))
    assert rolled.attestation == X509Attestation(CLIENT, new.certificate)
    stranger = KnownCertificate(chain.thumbprint(old.certificate))
    with refused(ServiceRefusal, "400004"):
        book.update(replace(rolled, attestation=X509Attestation(CLIENT, stranger)))


WRONG = {
    "an ID with a blank": Enrollment("a b", KEYS),
    "a signing certificate in an individual enrollment": Enrollment(
        "a", X509Attestation(SIGNING, forge.ca("R").certificate)
    ),
    "no certificate at all": Enrollment("a", X509Attestation(CLIENT)),
    "an unknown allocation policy": Enrollment("a", KEYS, allocation_policy="nearest"),
    "custom allocation without a webhook": Enrollment("a", KEYS, allocation_policy=CUSTOM),
    "an unknown status": Enrollment("a", KEYS, provisioning_status="off"),
    "a device ID with a slash": Enrollment("a", KEYS, device_id="a/b"),
    "a device's certificate in a group": EnrollmentGroup(
        "a", X509Attestation(SIGNING, forge.device("a", None).certificate)
    ),
    "client certificates in a group": EnrollmentGroup(
        "a", X509Attestation(CLIENT, forge.ca("R").certificate)
    ),
    "no reference": EnrollmentGroup("a", X509Attestation(REFERENCES)),
}


@pytest.mark.parametrize("entry", WRONG.values(), ids=WRONG.keys())
def test_what_cannot_be_is_400_and_is_not_kept(
    service: Emulated, entry: Enrollment | EnrollmentGroup
) -> None:
    individual = isinstance(entry, Enrollment)
    book = service.dps.enrollments if individual else service.dps.enrollment_groups
    with refused(ServiceRefusal, "400004") as caught:
        book.put(entry)  # type: ignore[arg-type]
    assert caught.error.error == codes.BAD_REQUEST
    assert list(book) == []


# ---- lists and bulk


def test_a_query_goes_through_all_entries_page_by_page(service: Emulated) -> None:
    names = [f"w-{number:02}" for number in range(7)]
    for name in reversed(names):
        service.dps.enrollments.put(Enrollment(name.upper(), KEYS))
    found, pages, token = [], 0, ""
    while True:
        page, token = service.dps.enrollments.query("SELECT * FROM enrollments", 3, token)
        found += [entry.id.lower() for entry in page]
        pages += 1
        if not token:
            break
    assert (found, pages) == (names, 3)


def test_a_full_last_page_has_no_continuation(service: Emulated) -> None:
    for number in range(4):
        service.dps.enrollments.put(Enrollment(f"w-{number}", KEYS))
    assert service.dps.enrollments.query("", 4)[1] == ""


@pytest.mark.parametrize(
    "text", ["SELECT * FROM enrollmentGroups", "DROP TABLE enrollment", "select id from x"]
)
def test_a_query_that_cannot_be_read_is_400(service: Emulated, text: str) -> None:
    with refused(ServiceRefusal, "400004", "SELECT * FROM enrollments"):
        service.dps.enrollments.query(text)


@pytest.mark.parametrize("token", ["nonsense", "W10=", "é"])
def test_a_continuation_of_nobody_is_400(service: Emulated, token: str) -> None:
    with refused(ServiceRefusal, "400004"):
        service.dps.enrollments.query("", 1, token)


def test_bulk_does_what_it_can_and_says_what_it_refused(service: Emulated) -> None:
    book = service.dps.enrollments
    book.put(Enrollment("b", KEYS))
    result = book.bulk("create", [Enrollment(name, KEYS) for name in ("a", "b", "c")])
    assert not result.is_successful
    assert [(e.id, e.code) for e in result.errors] == [("b", 409201)]
    assert [entry.id for entry in book] == ["a", "b", "c"]
    assert book.bulk("update", [replace(book.get("a"), device_id="x")]).is_successful
    stale = replace(book.get("a"), etag="old")
    assert [e.code for e in book.bulk("updateIfMatchEtag", [stale]).errors] == [412201]
    assert book.bulk("update", [stale]).is_successful, "without regard to the ETag"
    result = book.bulk("delete", [Enrollment("a", KEYS), Enrollment("z", KEYS)])
    assert [(e.id, e.code) for e in result.errors] == [("z", 404201)]
    assert [entry.id for entry in book] == ["b", "c"]


def test_bulk_takes_ten_and_knows_its_modes(service: Emulated) -> None:
    eleven = [Enrollment(f"w-{number}", KEYS) for number in range(11)]
    for mode, entries in (("create", eleven), ("create", []), ("upsert", eleven[:1])):
        with refused(ServiceRefusal, "400004"):
            service.dps.enrollments.bulk(mode, entries)
    assert len(service.dps.enrollments) == 0


# ---- in Python


def test_create_twice_is_harmless_and_says_so(service: Emulated) -> None:
    device = forge.device("a", None)
    book = service.dps.enrollments
    first = book.create("a", certificate=device.certificate)
    book.disable("a")
    again = book.create("A", certificate=device.certificate)
    assert (again.id, again.provisioning_status) == (first.id, "disabled")
    assert service.events.about(kind="again")[-1].text == (
        "Individual enrollment 'a' was there already"
    )
    with refused(Conflict, "'a' exists already"):
        book.create("a", certificate=device.certificate, device_id="b")


def test_an_entry_outlives_the_process(tmp_path: Path) -> None:
    with emulated(tmp_path / "cloud") as first:
        entry = first.dps.enrollments.put(whole(forge.device("Widget-1", None)))
        first.dps.enrollment_groups.create("g", keys=KEYS)
    with emulated(tmp_path / "cloud") as second:
        assert second.dps.enrollments.get("widget-1") == entry
        assert [group.id for group in second.dps.enrollment_groups] == ["g"]


# ---- registration records


def fleet(service: Emulated, *names: str) -> None:
    root = forge.ca("R")
    service.trust(root)
    service.dps.enrollment_groups.create("Fleet", signing=root.certificate)
    for name in names:
        service.register(name, forge.device(name, root))


def test_records_are_listed_by_group_and_outlive_it(service: Emulated) -> None:
    fleet(service, "a", "b", "c")
    service.dps.enrollments.create("lone", certificate=forge.device("lone", None).certificate)
    page, token = service.dps.registrations.query("FLEET", 2)
    rest, end = service.dps.registrations.query("fleet", 2, token)
    assert [r.registration_id for r in (*page, *rest)] == ["a", "b", "c"]
    assert end == ""
    service.dps.enrollment_groups.delete("fleet")
    assert len(service.dps.registrations.query("fleet")[0]) == 3


def test_a_record_is_deleted_under_its_etag_and_the_identity_stays(service: Emulated) -> None:
    fleet(service, "a")
    record = service.dps.registrations.get("A")
    hub = service.cloud.hubs.get(record.assigned_hub)
    with refused(ServiceRefusal, "412201"):
        service.dps.registrations.delete("a", '"other"')
    service.dps.registrations.delete("a", wire_etag(record.etag))
    with refused(NotFound, "404202"):
        service.dps.registrations.get("a")
    assert hub.devices.get("a").device_id == "a"
