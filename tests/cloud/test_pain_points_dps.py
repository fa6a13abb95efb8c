"""What people trip over at DPS: the symptom as Azure has it, the reason that the lab adds, and
where the picture shows it.

Each pain point (its number is that of the facts that the lab was built from) is set up with real
devices: Microsoft's SDK, MQTT over TLS, keys in tokens. The symptom is read out of what went over
the wire; a cure is carried out, and the device gets through.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from stories import Story, authority_of

from labkit import Lab
from labkit.cloud import certificates
from labkit.cloud.dps import attestation, service
from labkit.cloud.hub import authentication
from labkit.errors import ConnectionFailed, ProvisioningFailed, ServiceRefusal
from labkit.graph.model import of_lab
from labkit.pki import checks, profiles, request, verdict

WIDGET, TECHNICIAN = "smart-x-widget-001", "CN=Technician-Z CA"
DEVICE, IDENTITY = f"device {WIDGET}", f"identity contoso-hub/{WIDGET}"
SIGNED = "ca Technician-Z/Technician-Z CA"


@dataclass(frozen=True)
class Symptom:
    """What goes over the wire: DPS's answer to the registration."""

    status: int
    code: int
    message: str


@dataclass(frozen=True)
class Pain:
    """``set_up`` makes the mistake, ``cure`` mends it. ``words`` are said by the cures, each by
    one of them; ``marks`` are states of nodes, ``broken`` a link, ``headline`` is told always."""

    set_up: Callable[[Story], Any]
    symptom: Symptom
    check: str
    why: str
    words: tuple[str, ...]
    cure: Callable[[Story], Any]
    marks: dict[str, str]
    broken: tuple[str, str] | None = None


def leaf_only(story: Story) -> None:
    story.widget.install_chain(story.widget.chain[:1])


def whole_chain(story: Story) -> None:
    story.widget.install_chain(story.lab.issued_chain(WIDGET))


def verify_the_intermediate(story: Story) -> None:
    """The other cure of 1: an upload, its proof, and a group that names it."""
    ca = story.lab.dps.certificates.upload("technician-z", story.technician.certificate)
    proof = story.technician.prove_possession(ca.verification_code)
    story.lab.dps.certificates.verify(ca, proof)
    story.lab.dps.enrollment_groups.create("by-technician", ca="technician-z")


def another_name(story: Story) -> None:
    """CN and registration ID differ: the factory wrote another name into the certificate."""
    _reissue(story, "smart-x-widget-0O1")


def right_name(story: Story) -> None:
    _reissue(story, WIDGET)


def _reissue(story: Story, name: str, profile: profiles.Profile = profiles.DEVICE) -> None:
    signer, key = authority_of(story.technician), story.widget.certificate.public_key()
    leaf = signer.issue(key, request.name(name), profile)
    story.widget.install_chain([leaf, *story.widget.chain[1:]])


def ca_in_an_individual_enrollment(story: Story) -> None:
    story.lab.dps.enrollments.create(WIDGET, certificate=story.technician.certificate)


def root_in_an_individual_enrollment(story: Story) -> None:
    """The group names the root already, and a certificate is in one entry only."""
    story.lab.dps.enrollment_groups.delete("smart-x-widgets")
    story.lab.dps.enrollments.create(WIDGET, certificate=story.company.certificate)


def own_certificate_in_it(story: Story) -> None:
    story.lab.dps.enrollments.delete(WIDGET)
    story.lab.dps.enrollments.create(WIDGET, certificate=story.widget.certificate)


def group_of_an_older_intermediate(story: Story) -> None:
    """Technician-Z was issued again under the same name: the group still names the first one."""
    groups = story.lab.dps.enrollment_groups
    groups.delete("smart-x-widgets")
    signer, ca = authority_of(story.factory), story.technician.certificate
    older = signer.issue(ca.public_key(), ca.subject, profiles.INTERMEDIATE_CA)
    groups.create("by-technician", signing=older)


def group_of_the_present_one(story: Story) -> None:
    groups = story.lab.dps.enrollment_groups
    group = groups.get("by-technician")
    both = replace(group.attestation, secondary=story.technician.certificate)  # type: ignore[type-var]
    groups.update(replace(group, attestation=both))


def for_servers_only(story: Story) -> None:
    """The chain is sound, and openssl verify is content with it unless asked for the purpose."""
    servers = (ExtendedKeyUsageOID.SERVER_AUTH,)
    _reissue(story, WIDGET, replace(profiles.DEVICE, purposes=servers))


def disabled(story: Story) -> None:
    story.widget.provision()
    story.lab.dps.enrollment_groups.disable("smart-x-widgets")


def enabled(story: Story) -> None:
    story.lab.dps.enrollment_groups.enable("smart-x-widgets")


def another_id_scope(story: Story) -> None:
    story.widget.configure(id_scope="0ne00000000")


def this_id_scope(story: Story) -> None:
    story.widget.configure()


UNAUTHORIZED = Symptom(401, 401002, "Unauthorized")
NO_CA = Symptom(401, 401002, "CA certificate not found.")
INVALID = Symptom(401, 401002, "Invalid certificate.")
MISMATCH = Symptom(401, 401002, "Signing certificate info did not match chain elements.")

PAINS = {
    "1 leaf only": Pain(
        leaf_only,
        NO_CA,
        verdict.ISSUER,
        f"{TECHNICIAN}, which was not presented",
        (f"let the device send {TECHNICIAN} too", "put the whole chain"),
        whole_chain,
        {SIGNED: "not sent"},
        (SIGNED, DEVICE),
    ),
    "2 leaf only, the other cure": Pain(
        leaf_only,
        NO_CA,
        verdict.ISSUER,
        f"{TECHNICIAN}, which was not presented",
        (f"upload {TECHNICIAN} itself to DPS", "let an enrollment group name it"),
        verify_the_intermediate,
        {SIGNED: "not sent"},
        (SIGNED, DEVICE),
    ),
    "3 CN is not the registration ID": Pain(
        another_name,
        UNAUTHORIZED,
        attestation.REGISTRATION_ID,
        f"the device asks as '{WIDGET}', its certificate says 'smart-x-widget-0O1'",
        ("register as 'smart-x-widget-0O1'", f"issue a certificate with CN={WIDGET}"),
        right_name,
        {},
    ),
    "6 a CA in an individual enrollment": Pain(
        ca_in_an_individual_enrollment,
        INVALID,
        attestation.OWN_ENTRY,
        f"names {TECHNICIAN}",
        ("own certificate into the individual enrollment", "create an enrollment group"),
        own_certificate_in_it,
        {},
    ),
    "6 the root in an individual enrollment": Pain(
        root_in_an_individual_enrollment,
        INVALID,
        attestation.OWN_ENTRY,
        "names CN=Company-X Root CA",
        ("into the",),
        own_certificate_in_it,
        {},
    ),
    "7 the group names the intermediate's predecessor": Pain(
        group_of_an_older_intermediate,
        MISMATCH,
        attestation.ENTRY,
        "it was issued again, and the thumbprints differ",
        (f"put the {TECHNICIAN} of the chain into group 'by-technician'", "install the chain"),
        group_of_the_present_one,
        {},
    ),
    "8 no clientAuth": Pain(
        for_servers_only,
        INVALID,
        checks.PURPOSE,
        "its extended key usage does not name clientAuth",
        ("issue it again with clientAuth",),
        right_name,
        {DEVICE: "unfit"},
    ),
    "10 disabled": Pain(
        disabled,
        UNAUTHORIZED,
        attestation.ENABLED,
        "enrollment group 'smart-x-widgets' is disabled",
        ("enable it", "enroll the device on its own"),
        enabled,
        {"group smart-x-widgets": "disabled", IDENTITY: "enabled"},
    ),
    "20 another ID scope": Pain(
        another_id_scope,
        UNAUTHORIZED,
        service._ID_SCOPE,
        "the device names '0ne00000000', this service has",
        ("configure the device with the ID scope",),
        this_id_scope,
        {},
    ),
}


@pytest.mark.parametrize("name", PAINS)
def test_the_symptom_is_azures_and_the_lab_adds_the_reason_the_picture_and_a_cure_that_cures(
    story: Story, name: str
) -> None:
    pain, widget = PAINS[name], story.widget
    pain.set_up(story)
    with pytest.raises(ProvisioningFailed):
        widget.provision(registration_id=WIDGET)
    assert answered(story.lab) == pain.symptom
    told = story.lab.explain(widget)
    assert told.failure is not None
    assert told.failure.name == pain.check
    assert pain.why in told.failure.why
    for words in pain.words:
        assert any(words in cure for cure in told.cures), told.cures
    assert told.failure.source or name.startswith("20"), "which document says so"
    assert_shown(story.lab, pain)
    pain.cure(story)
    widget.provision(registration_id=WIDGET)
    graph = of_lab(story.lab)
    assert graph.nodes[DEVICE]["state"] not in ("unfit", "not sent", "unknown")
    assert graph.has_edge(DEVICE, IDENTITY)
    assert not [edge for edge in graph.edges(data=True) if edge[2].get("broken")]


def answered(lab: Lab) -> Symptom:
    """What DPS said to the last registration, as the bytes on the wire say it."""
    sent = [e for e in lab.events.about(source="mqtt", kind="sent") if "DPS answers" in e.text]
    topic, body = sent[-1].details["topic"], json.loads(sent[-1].details["payload"])
    assert set(body) == {"errorCode", "trackingId", "message", "timestampUtc"}
    return Symptom(int(topic.split("/")[3]), body["errorCode"], body["message"])


def assert_shown(lab: Lab, pain: Pain) -> None:
    """The headline says who was refused and why; nothing leads on to a hub; the marks are there."""
    graph = of_lab(lab)
    assert graph.graph["title"] == f"{WIDGET} is refused"
    assert pain.why in graph.graph["caption"]
    assert not graph.has_edge(DEVICE, IDENTITY)
    for node, state in pain.marks.items():
        assert graph.nodes[node]["state"] == state, node
    if pain.broken:
        assert graph.edges[pain.broken]["broken"]


# ---- 3: case does not matter, to DPS


def test_a_registration_id_is_compared_without_regard_to_case_and_a_hubs_device_id_is_not(
    story: Story,
) -> None:
    """The certificate's spelling is the one that the hub has (sdk-csharp #547)."""
    _reissue(story, WIDGET.upper())
    assert story.widget.provision().device_id == WIDGET.upper()
    assert story.lab.hub().devices.get(WIDGET.upper())
    assert [device.device_id for device in story.lab.hub().devices] == [WIDGET.upper()]


# ---- 10: disabled in DPS is not disconnected from the hub


def test_a_device_that_dps_keeps_out_goes_on_talking_to_its_hub(story: Story) -> None:
    """It has a connection, and an assignment in its flash: DPS is not asked (iotedge #1235)."""
    widget = story.widget
    widget.provision()
    widget.connect().send({"before": 1})
    story.lab.dps.enrollment_groups.disable("smart-x-widgets")
    widget.send({"connected": 2})
    widget.disconnect()
    widget.connect().send({"again": 3})
    assert story.lab.hub().message_count() == 3
    with pytest.raises(ProvisioningFailed):
        widget.provision()
    assert answered(story.lab) == UNAUTHORIZED
    nodes = of_lab(story.lab).nodes
    assert nodes["group smart-x-widgets"]["state"] == "disabled"
    assert nodes[IDENTITY]["state"] == "connected", "the picture says that it is there still"


# ---- 16: thumbprints


def test_a_new_certificate_is_not_the_thumbprint_that_the_hub_holds(story: Story) -> None:
    """The hub compares thumbprints and nothing else: a fresh certificate of the same key and name
    is refused until DPS has told the hub, or an entry names both."""
    widget = story.widget
    widget.provision()
    right_name(story)
    with pytest.raises(ConnectionFailed):
        widget.connect()
    told = story.lab.explain(widget)
    assert told.answer.startswith("401 ")
    assert told.failure is not None
    assert told.failure.name == authentication.THUMBPRINT
    assert "provision again" in told.cures[0]
    connacks = [e.text for e in story.lab.events.about(source="mqtt", kind="connack")]
    assert "CONNACK 5" in connacks[-1]
    widget.provision()
    widget.connect().send({"thumbprint": "new"})


def test_primary_and_secondary_certificate_are_both_thumbprints_of_the_identity(
    story: Story,
) -> None:
    """Both are SHA-256, of one length; the device may change to the other at any time."""
    widget, first = story.widget, story.widget.chain
    right_name(story)
    slots = {"certificate": first[0], "secondary": widget.certificate}
    story.lab.dps.enrollments.create(WIDGET, **slots)
    widget.provision()
    identity = story.lab.hub().devices.get(WIDGET)
    held = (identity.thumbprint, identity.secondary_thumbprint)
    assert [len(thumbprint) for thumbprint in held] == [64, 64]
    for certificates_ in (widget.chain, first):
        widget.install_chain(certificates_)
        widget.connect().send({})
        widget.disconnect()
    assert story.lab.hub().message_count() == 2


# ---- 19: a stale ETag on the way of proof


def test_a_stale_etag_is_412_and_the_certificate_stays_unverified(story: Story) -> None:
    """To ask for the code gives a new ETag: that of the upload is stale then (azure-cli #13098)."""
    certificates_, technician = story.lab.dps.certificates, story.technician
    etag = certificates_.upload("technician-z", technician.certificate).etag
    code = certificates_.generate_verification_code("technician-z", etag=etag)
    proof = technician.prove_possession(code)
    with pytest.raises(ServiceRefusal) as refused:
        certificates_.verify("technician-z", proof, etag=etag)
    error = refused.value.error
    assert (error.status, error.code) == (412, "IH412001")
    told = story.lab.explain(refused.value)
    assert told.failure is not None
    assert told.failure.name == certificates.ETAG
    assert "read it again just before" in told.cures[0]
    assert "no certificate" not in str(told)
    entry = "entry technician-z"
    assert of_lab(story.lab).nodes[entry]["state"] == "unverified"
    present = certificates_.get("technician-z").etag
    certificates_.verify("technician-z", proof, etag=present)
    assert of_lab(story.lab).nodes[entry]["state"] == "verified"
