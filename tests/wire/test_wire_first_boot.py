"""Certificates at first boot, from a certificate authority of another company: asked for by clients
that share no code with the lab, raw MQTT and HTTPS by the standard library.

A test for each arrow of the sequence diagram in the document on certificates (file 002), named
after it, and one for each failure.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from first_boot_clients import (
    API,
    TRANSPORTS,
    ask,
    asked_at_ca,
    at_ca,
    by_mqtt,
    enters_hub,
    issued,
    told,
)
from first_boot_stories import (
    AUTHORITY,
    DAYS,
    GROUP,
    VERSION,
    FirstBoot,
    csr_pem,
    linked,
    set_authority,
)
from foreign_tools import openssl_verify
from https_clients import back_end, client, sign
from issuance_stories import new_key
from linter import beside, by_itself
from stories import (
    PemDevice,
    Story,
    failed_check,
    pem_device,
    write_device,
)

from labkit.cloud.dps import ca_client
from labkit.cloud.dps.entries import InitialTwin, SymmetricKeyAttestation
from labkit.device.registration import Transport
from labkit.errors import Conflict, ServiceRefusal
from labkit.pki import chain

LINKS = {"clientCertificateIssuancePolicy", "trustBundleId"}


@pytest.fixture
def boot(story: Story) -> FirstBoot:
    return linked(story)


@pytest.fixture
def device(boot: FirstBoot, tmp_path: Path) -> PemDevice:
    return pem_device(boot.story, tmp_path / "device", "widget-007")


@TRANSPORTS
def test_a_device_gets_its_certificate_and_enters_its_hub_with_it(
    boot: FirstBoot, device: PemDevice, transport: str, tmp_path: Path
) -> None:
    """Leaf, issuing CA, root in PEM; and the hub knows the device by that leaf's thumbprint."""
    story, key = boot.story, new_key()
    answer = ask(transport, story, device, {"clientCertificateCsr": csr_pem(device.name, key)})
    found = issued(answer)
    assert found[0].public_key() == key.public_key()
    assert found[1:] == [boot.ca.certificate, boot.ca.root]
    identity = story.lab.hub().devices.get(device.name)
    assert identity.authentication == "selfSigned"
    assert enters_hub(story, write_device(tmp_path / "issued", key, tuple(found)))


# ---- the setup, arrow by arrow


def test_arrow_01_customer_to_ca__setup_account_and_configure_the_ca(story: Story) -> None:
    """An account, and a profile that says what may be signed; the same again is the same."""
    ca = story.lab.third_party_ca()
    account = ca.account("Company-X")
    profile = account.profile("first-boot", common_names="widget-*", days=30)
    assert account.profiles == [profile]
    assert account.profile("first-boot", common_names="widget-*", days=30) == profile
    with pytest.raises(Conflict):
        account.profile("first-boot", days=31)
    assert chain.subject(ca.certificate) == "CN=Digital-Trust Client Issuing CA"
    assert chain.signed_by(ca.certificate, ca.root)


def test_arrow_02_ca_to_customer__api_key_and_profile(boot: FirstBoot, tmp_path: Path) -> None:
    """The key opens the profile over HTTPS, and nothing that is kept holds it."""
    key = boot.account.new_api_key()
    answer = at_ca(boot, "GET", "/v1/profiles/first-boot", key)
    assert answer.status == 200
    assert (answer.json["name"], answer.json["days"]) == ("first-boot", 30)
    assert at_ca(boot, "GET", "/v1/profiles/first-boot", "3ca_wrong").status == 401
    kept = (tmp_path / "lab" / "third-party-ca.db").read_bytes()
    kept += (tmp_path / "lab" / "third-party-ca.db-wal").read_bytes()
    assert key.encode() not in kept
    assert hashlib.sha256(key.encode()).hexdigest().encode() in kept


def test_arrow_03_customer_to_dps__create_ca_object(boot: FirstBoot) -> None:
    """In the shape of the specification; the API key goes in and never comes out."""
    path, key = f"/certificateAuthorities/spare?{API}", boot.account.new_api_key()
    said = {
        "certificateAuthorityType": "DigiCertCertificateAuthority",
        "profileName": "first-boot",
        "apiKey": key,
    }
    with back_end(boot.story.lab) as service:
        made, read = service.ask("PUT", path, said), service.ask("GET", path)
        listed = service.ask("POST", f"/certificateAuthorities/query?{API}", {"query": "*"})
        assert made.status == read.status == listed.status == 200
        assert made.json == read.json
        assert (
            made.json.items()
            >= {
                "id": "spare",
                "certificateAuthorityType": "DigiCertCertificateAuthority",
                "profileName": "first-boot",
            }.items()
        )
        assert {"etag", "createdDateTimeUtc", "lastUpdatedDateTimeUtc"} <= set(made.json)
        assert [each["id"] for each in listed.json] == [AUTHORITY, "spare"]
        assert key.encode() not in made.body + read.body + listed.body
        stale = service.ask("PUT", path, said, if_match="another")
        assert (stale.status, stale.json["errorCode"]) == (412, 412201)
        assert service.ask("DELETE", path, if_match=made.json["etag"]).status == 204
        assert service.ask("GET", path).status == 404
    assert key not in told(boot.story)


def test_arrow_04_dps_to_ca__connect(boot: FirstBoot) -> None:
    """Creating the object makes DPS ask the authority at once, over HTTPS, with the API key."""
    before = len(asked_at_ca(boot.story))
    boot.story.lab.dps.certificate_authorities.create(
        AUTHORITY, profile="first-boot", api_key=boot.account.new_api_key()
    )
    assert asked_at_ca(boot.story)[before:] == ["GET /v1/profiles/first-boot → 200"]


def test_arrow_05_ca_to_dps__success(boot: FirstBoot) -> None:
    """What the authority does not take is no link: DPS keeps nothing of it, and says why."""
    authorities = boot.story.lab.dps.certificate_authorities
    with pytest.raises(ServiceRefusal):
        authorities.create("other", profile="first-boot", api_key="3ca_wrong")
    assert failed_check(boot.story.lab) == ca_client.API_KEY
    with pytest.raises(ServiceRefusal):
        authorities.create("other", profile="nobody's", api_key=boot.account.new_api_key())
    assert failed_check(boot.story.lab) == ca_client.PROFILE
    assert [each.id for each in authorities] == [AUTHORITY]


@pytest.mark.parametrize("kind", ["x509", "symmetricKey"])
def test_arrow_06_customer_to_dps__create_enrollment_linked_to_the_ca_object(
    boot: FirstBoot, kind: str
) -> None:
    """The version that knows the link keeps and shows it. Others show none, and keep it when they
    change something else."""
    attestation: dict[str, Any] = {"type": "symmetricKey"}
    if kind == "x509":
        pem = chain.to_pem(boot.story.widget.chain[:1])
        certificate = {"primary": {"certificate": pem}}
        attestation = {"type": "x509", "x509": {"clientCertificates": certificate}}
    said = {
        "registrationId": "widget-008",
        "attestation": attestation,
        "clientCertificateIssuancePolicy": {"certificateAuthorityName": AUTHORITY},
        "trustBundleId": "smart-x-roots",
    }
    new, old = (f"/enrollments/widget-008?api-version={v}" for v in (VERSION, "2021-10-01"))
    with back_end(boot.story.lab) as service:
        made = service.ask("PUT", new, said)
        assert made.status == 200
        assert made.json.items() >= {k: said[k] for k in LINKS}.items()
        shown = service.ask("GET", old).json
        assert not LINKS & set(shown)
        changed = service.ask("PUT", old, shown | {"provisioningStatus": "disabled"}, if_match="*")
        assert changed.status == 200
        assert service.ask("GET", new).json.items() >= {k: said[k] for k in LINKS}.items()
        queried = service.ask("POST", f"/enrollments/query?{API}", {"query": "SELECT *"})
        assert queried.json[0].items() >= {k: said[k] for k in LINKS}.items()


# ---- the first boot, arrow by arrow


def test_arrow_07_device__create_keypair(boot: FirstBoot) -> None:
    """In its own token, beside the key that it was made with; and it stays there."""
    widget = boot.story.widget
    asked = widget.operational.request(algorithm="P-256")
    token = widget.key.token
    key = token.key("operational 1")
    assert key.public_key() == asked.public_key()
    assert key.public_key() != widget.key.public_key()
    assert boot.story.widget.operational.certificate is None


def test_arrow_08_device__create_csr(boot: FirstBoot) -> None:
    """For its registration ID, signed with the new key."""
    asked = boot.story.widget.operational.request(algorithm="P-256")
    assert asked.subject.rfc4514_string() == "CN=smart-x-widget-001"
    assert asked.is_signature_valid


@TRANSPORTS
def test_arrow_09_device_to_dps__register_with_csr_and_onboarding_credential(
    boot: FirstBoot, device: PemDevice, transport: str
) -> None:
    """A request alone admits nobody: the onboarding credential does."""
    body = {"registrationId": device.name, "clientCertificateCsr": csr_pem(device.name)}
    boot.story.lab.dps.enrollment_groups.disable(GROUP)
    assert ask(transport, boot.story, device, body).status == 401
    assert boot.account.certificates == []
    boot.story.lab.dps.enrollment_groups.enable(GROUP)
    assert issued(ask(transport, boot.story, device, body))


def test_arrow_09_device_to_dps__register_with_csr_and_symmetric_key(boot: FirstBoot) -> None:
    """The onboarding credential may be a key, too."""
    secret = base64.b64encode(b"s" * 32).decode()
    boot.story.lab.dps.enrollments.create(
        "widget-keyed",
        keys=SymmetricKeyAttestation(secret, secret),
        certificate_authority=AUTHORITY,
    )
    scope = boot.story.lab.dps.id_scope
    with client(boot.story.lab) as https:
        https.headers["Authorization"] = sign(f"{scope}%2Fregistrations%2Fwidget-keyed", secret)
        path = f"/{scope}/registrations/widget-keyed/register?{API}"
        found = issued(https.ask("PUT", path, {"clientCertificateCsr": csr_pem("widget-keyed")}))
    assert chain.common_name(found[0]) == "widget-keyed"


def test_arrow_10_dps_to_ca__csr(boot: FirstBoot, device: PemDevice) -> None:
    """The request itself goes to the authority, with the profile; the API key is in no log."""
    csr, before = csr_pem(device.name), len(asked_at_ca(boot.story))
    by_mqtt(boot.story, device, {"clientCertificateCsr": csr})
    assert asked_at_ca(boot.story)[before:] == ["POST /v1/certificates → 201"]
    body = json.loads(boot.story.lab.events.about(source="https")[-1].details["body"])
    assert body["profile"] == "first-boot"
    assert body["csr"].split() == csr.split()
    link = boot.story.lab.dps.certificate_authorities.link(AUTHORITY)
    assert link is not None
    assert link.api_key not in told(boot.story)


def test_arrow_11_ca_to_dps__client_certificate(
    boot: FirstBoot, device: PemDevice, tmp_path: Path
) -> None:
    """What it signed is on its record, good for openssl and pkilint, for just the profile's days
    by the lab's clock, wherever that is set."""
    boot.story.lab.clock.advance(days=40)
    before = boot.story.lab.clock.now().replace(microsecond=0)
    found = issued(by_mqtt(boot.story, device, {"clientCertificateCsr": csr_pem(device.name)}))
    after, last = boot.story.lab.clock.now(), found[0].not_valid_after_utc
    assert before + timedelta(days=DAYS) <= last <= after + timedelta(days=DAYS)
    assert boot.account.certificates == found[:1]
    assert [by_itself(certificate) for certificate in found] == [[], [], []]
    assert beside(found[1], found[0]) == beside(found[2], found[1]) == []
    assert openssl_verify(tmp_path, found[:2], found[2:], after) == ""
    assert openssl_verify(tmp_path, found[:2], found[2:], last + timedelta(seconds=1)) != ""


def test_arrow_12_dps_to_hub__register_device_thumbprint_and_twin(
    boot: FirstBoot, device: PemDevice
) -> None:
    """By the thumbprint of the issued certificate, not of the one that the device came with."""
    groups = boot.story.lab.dps.enrollment_groups
    groups.update(replace(groups.get(GROUP), initial_twin=InitialTwin({"site": "here"})))
    found = issued(by_mqtt(boot.story, device, {"clientCertificateCsr": csr_pem(device.name)}))
    identity = boot.story.lab.hub().devices.get(device.name)
    assert identity.thumbprint == chain.thumbprint(found[0])
    assert identity.secondary_thumbprint == ""
    assert boot.story.lab.hub().twin(device.name).tags == {"site": "here"}


@TRANSPORTS
def test_arrow_13_dps_to_device__certificate_hub_and_trust_bundle(
    boot: FirstBoot, device: PemDevice, transport: str
) -> None:
    """In one answer. The same operation says the same again; the lookup has no certificate."""
    story, scope = boot.story, boot.story.lab.dps.id_scope
    bundle = story.lab.dps.trust_bundles.create("smart-x-roots", story.lab.server.trust_bundle)
    set_authority(story, AUTHORITY, bundle.id)
    first = ask(transport, story, device, {"clientCertificateCsr": csr_pem(device.name)})
    state = first.json["registrationState"]
    assert state["assignedHub"] == "contoso-hub.azure-devices.net"
    assert state["issuedClientCertificate"].startswith("-----BEGIN CERTIFICATE-----")
    assert "issuedCertificateChain" not in state
    sent = state["trustBundle"]
    assert sent["id"] == "smart-x-roots"
    assert sent["certificates"][0]["certificate"] == story.lab.server.root_pem
    assert sent["certificates"][0]["metadata"]["subjectName"] == "CN=Lab Service Root CA"
    root = f"/{scope}/registrations/{device.name}"
    with client(story.lab, chain_file=device.chain_file, key_file=device.key_file) as https:
        again = https.ask("GET", f"{root}/operations/{first.json['operationId']}?{API}")
        assert again.json["registrationState"] == state
        looked_up = https.ask("POST", f"{root}?{API}", {"registrationId": device.name})
        assert "issuedClientCertificate" not in looked_up.json


def test_arrow_14_device_to_hub__connect_with_the_client_certificate(
    boot: FirstBoot, device: PemDevice, tmp_path: Path
) -> None:
    """And not with the onboarding credential any more."""
    key = new_key()
    found = issued(by_mqtt(boot.story, device, {"clientCertificateCsr": csr_pem(device.name, key)}))
    assert enters_hub(boot.story, write_device(tmp_path / "issued", key, tuple(found)))
    assert not enters_hub(boot.story, device)


@TRANSPORTS
def test_arrow_15_device_to_hub__send_telemetry(boot: FirstBoot, transport: Transport) -> None:
    """All of it by the lab's own device, with its keys in its token and Microsoft's SDK at the
    hub: the trust bundle that came along is its trust store then."""
    story, widget = boot.story, boot.story.widget
    boot.account.change_profile("first-boot", common_names="smart-x-*")
    story.lab.server.new_root()
    story.lab.dps.trust_bundles.create("smart-x-roots", story.lab.server.trust_bundle)
    set_authority(story, AUTHORITY, "smart-x-roots")
    asked = widget.operational.request(algorithm="P-256")
    widget.provision(csr=asked, api_version=VERSION, transport=transport)
    assert widget.operational.certificate is not None
    assert len(widget.trusted_roots) == 2
    widget.connect().send({"temperature": 21.5})
    (message,) = story.lab.hub().messages()
    assert message.device_id == "smart-x-widget-001"
