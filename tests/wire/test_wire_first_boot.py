"""Certificates at first boot, from a certificate authority of another company: asked for by clients
that share no code with the lab, raw MQTT and HTTPS by the standard library.

A test for each arrow of the sequence diagram in the document on certificates (file 002), named
after it, and one for each failure.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import socket
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from first_boot_stories import (
    AUTHORITY,
    DAYS,
    GROUP,
    USER,
    VERSION,
    FirstBoot,
    armoured,
    csr_pem,
    linked,
    set_authority,
)
from foreign_tools import openssl_verify
from https_clients import Answer, Client, back_end, client, sign
from issuance_stories import csr, new_key, tampered
from linter import beside, by_itself
from stories import (
    PATIENCE,
    PemDevice,
    Story,
    failed_check,
    open_lab,
    pem_device,
    write_device,
)
from wire_clients import ANSWERS, SUBACK, MqttClient, hub_user, register, subscribe, tls

from labkit.cloud.dps import ca_client, ca_issuing, certificate_authorities, issuance
from labkit.cloud.dps.ca_client import CaAnswer
from labkit.cloud.dps.entries import InitialTwin, SymmetricKeyAttestation
from labkit.device.registration import Transport
from labkit.errors import Conflict, ServiceRefusal
from labkit.pki import chain
from labkit.pki.authority import Authority

LINKS = {"clientCertificateIssuancePolicy", "trustBundleId"}
API = f"api-version={VERSION}"
TRANSPORTS = pytest.mark.parametrize("transport", ["mqtt", "https"])


@pytest.fixture
def boot(story: Story) -> FirstBoot:
    return linked(story)


@pytest.fixture
def device(boot: FirstBoot, tmp_path: Path) -> PemDevice:
    return pem_device(boot.story, tmp_path / "device", "widget-007")


def by_mqtt(story: Story, device: PemDevice, body: dict[str, Any], user: str = USER) -> Answer:
    """The answer of DPS to a registration: its status is in the topic."""
    name = user.format(story.lab.dps.id_scope, device.name)
    with MqttClient(story.lab, tls(story.lab, device.chain_file, device.key_file)) as mqtt:
        assert mqtt.enter(device.name, name) == 0
        assert mqtt.ask(subscribe(ANSWERS)).kind == SUBACK
        answer = register(mqtt, json.dumps(body).encode())
        return Answer(int(answer.topic.split("/")[3]), {}, answer.payload)


def by_https(story: Story, device: PemDevice, body: dict[str, Any], api: str = API) -> Answer:
    path = f"/{story.lab.dps.id_scope}/registrations/{device.name}/register?{api}"
    with client(story.lab, chain_file=device.chain_file, key_file=device.key_file) as https:
        return https.ask("PUT", path, body)


def ask(transport: str, story: Story, device: PemDevice, body: dict[str, Any]) -> Answer:
    return (by_mqtt if transport == "mqtt" else by_https)(story, device, body)


def issued(answer: Answer) -> list[x509.Certificate]:
    assert answer.status == 200, answer.body
    assert answer.json["status"] == "assigned", answer.body
    pem = answer.json["registrationState"]["issuedClientCertificate"]
    return x509.load_pem_x509_certificates(pem.encode())


def failed_(answer: Answer) -> None:
    """The registration ended, and its state says so."""
    assert (answer.status, answer.json["status"]) == (200, "failed"), answer.body
    state = answer.json["registrationState"]
    assert (state["status"], state["errorCode"]) == ("failed", 400004)
    assert state["errorMessage"]
    assert "issuedClientCertificate" not in state


def enters_hub(story: Story, shown: PemDevice) -> bool:
    """Whether the hub lets in who shows this chain."""
    with MqttClient(story.lab, tls(story.lab, shown.chain_file, shown.key_file)) as mqtt:
        return mqtt.enter(shown.name, hub_user(story.lab, shown.name)) == 0


def at_ca(boot: FirstBoot, method: str, path: str, key: str) -> Answer:
    """What the authority's web service answers to a customer's own program."""
    context = ssl.create_default_context(cadata=boot.ca.web_root_pem)
    connection = http.client.HTTPSConnection(
        boot.story.lab.listener.host, boot.ca.port, timeout=PATIENCE, context=context
    )
    try:
        return Client(connection, {"X-API-Key": key}).ask(method, path)
    finally:
        connection.close()


def asked_at_ca(story: Story) -> list[str]:
    """What the authority was asked, and its status, in order."""
    return [e.text for e in story.lab.events.about(source="https") if "/v1/" in e.text]


def told(story: Story) -> str:
    """All that the event log and the refusals keep."""
    refused = [str(check) for row in story.lab.cloud.refusals.recent() for check in row.checks]
    return "\n".join([*map(repr, story.lab.events), *refused])


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


# ---- failures


def test_an_api_key_that_was_revoked_is_named_and_can_be_replaced(
    boot: FirstBoot, device: PemDevice
) -> None:
    boot.account.revoke_api_keys()
    body = {"clientCertificateCsr": csr_pem(device.name)}
    failed_(by_mqtt(boot.story, device, body))
    assert failed_check(boot.story.lab) == ca_client.API_KEY
    assert boot.story.lab.hub().devices.find(device.name) is None
    boot.story.lab.dps.certificate_authorities.create(
        AUTHORITY, profile="first-boot", api_key=boot.account.new_api_key()
    )
    assert issued(by_mqtt(boot.story, device, body))


@TRANSPORTS
def test_an_authority_that_is_down_fails_the_registration_and_it_can_be_repeated(
    boot: FirstBoot, device: PemDevice, transport: str
) -> None:
    """Nothing has happened then, and the record says what it was."""
    boot.ca.stop()
    body = {"clientCertificateCsr": csr_pem(device.name)}
    failed_(ask(transport, boot.story, device, body))
    assert failed_check(boot.story.lab) == ca_client.REACHED
    assert boot.story.lab.dps.registrations.get(device.name).status == "failed"
    assert boot.story.lab.hub().devices.find(device.name) is None
    boot.ca.start()
    assert issued(ask(transport, boot.story, device, body))


def test_a_device_that_has_its_certificate_keeps_it_while_the_authority_is_down(
    boot: FirstBoot, device: PemDevice, tmp_path: Path
) -> None:
    """A registration without a request, and one that fails, take nothing from it."""
    story, key = boot.story, new_key()
    found = issued(by_mqtt(story, device, {"clientCertificateCsr": csr_pem(device.name, key)}))
    shown = write_device(tmp_path / "issued", key, tuple(found))
    boot.ca.stop()
    assert by_mqtt(story, device, {}).json["status"] == "assigned"
    assert enters_hub(story, shown)
    failed_(by_mqtt(story, device, {"clientCertificateCsr": csr_pem(device.name)}))
    assert enters_hub(story, shown)


REFUSED: dict[str, dict[str, Any]] = {
    "suspended": {"suspended": True},
    "another name": {"common_names": "gadget-*"},
    "another key": {"keys": ("RSA-2048",)},
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_profile_that_refuses_is_told_in_its_own_words(
    boot: FirstBoot, device: PemDevice, case: str
) -> None:
    boot.account.change_profile("first-boot", **REFUSED[case])
    failed_(by_mqtt(boot.story, device, {"clientCertificateCsr": csr_pem(device.name)}))
    explained = boot.story.lab.explain(device.name)
    assert explained.failure is not None
    assert explained.failure.name == ca_client.GRANTED
    assert "'first-boot'" in explained.failure.why
    assert explained.cures
    assert boot.account.certificates == []


BAD_REQUESTS = {
    "CN": (lambda name: csr_pem("somebody-else"), "its common name is the registration ID"),
    "DER": (lambda name: csr(name), ca_issuing.FORM),
    "base64 of nothing": (lambda name: "a request, please!", ca_issuing.FORM),
    "empty": (lambda name: "", ca_issuing.FORM),
    "too large": (lambda name: "A" * 40_000, ca_issuing.FORM),
    "signature": (
        lambda name: armoured(base64.b64decode(tampered(name))),
        "it is signed with the key that it holds",
    ),
}


@TRANSPORTS
@pytest.mark.parametrize("case", BAD_REQUESTS)
def test_a_request_that_is_not_one_is_refused_before_the_authority_is_asked(
    boot: FirstBoot, device: PemDevice, transport: str, case: str
) -> None:
    """400 in Azure's form, and nothing has happened."""
    make, rule = BAD_REQUESTS[case]
    before = len(asked_at_ca(boot.story))
    answer = ask(transport, boot.story, device, {"clientCertificateCsr": make(device.name)})
    assert (answer.status, answer.json["errorCode"]) == (400, 400004)
    explained = boot.story.lab.explain(answer.json["trackingId"])
    assert explained.failure is not None
    assert explained.failure.name == rule
    assert explained.cures
    assert len(asked_at_ca(boot.story)) == before
    assert boot.story.lab.dps.registrations.find(device.name) is None


def test_pem_without_line_ends_is_taken_as_the_specification_shows_it(
    boot: FirstBoot, device: PemDevice
) -> None:
    one_line = "".join(csr_pem(device.name).split("\n"))
    assert issued(by_mqtt(boot.story, device, {"clientCertificateCsr": one_line}))


def test_an_enrollment_without_authority_is_named(boot: FirstBoot, device: PemDevice) -> None:
    set_authority(boot.story, "")
    assert by_mqtt(boot.story, device, {"clientCertificateCsr": csr_pem(device.name)}).status == 400
    assert failed_check(boot.story.lab) == issuance.AUTHORITY_NAMED


def test_an_authority_that_is_not_linked_is_named(boot: FirstBoot, device: PemDevice) -> None:
    set_authority(boot.story, "somebody")
    assert by_mqtt(boot.story, device, {"clientCertificateCsr": csr_pem(device.name)}).status == 400
    assert failed_check(boot.story.lab) == ca_issuing.KNOWN


@pytest.mark.parametrize("version", ["2019-03-31", "2021-06-01", "2025-07-01-preview"])
def test_other_api_versions_know_no_such_request(
    boot: FirstBoot, device: PemDevice, version: str
) -> None:
    body = {"clientCertificateCsr": csr_pem(device.name)}
    assert by_https(boot.story, device, body, f"api-version={version}").status == 400
    assert failed_check(boot.story.lab) == issuance.VERSION


@pytest.mark.parametrize("wrong", [7, ["x"], {"a": 1}, True])
def test_a_request_that_is_no_text_is_400(
    boot: FirstBoot, device: PemDevice, wrong: object
) -> None:
    assert by_https(boot.story, device, {"clientCertificateCsr": wrong}).status == 400


def test_an_entry_has_one_issuer(boot: FirstBoot) -> None:
    groups = boot.story.lab.dps.enrollment_groups
    with pytest.raises(ServiceRefusal, match="400004"):
        groups.update(replace(groups.get(GROUP), credential_policy="short"))


@TRANSPORTS
def test_nobody_waits_for_a_slow_authority(
    boot: FirstBoot, device: PemDevice, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes its time; DPS goes on with everybody else."""
    go_on, asked = threading.Event(), threading.Event()
    issue = Authority.issue

    def slow(*arguments: Any, **options: Any) -> x509.Certificate:
        asked.set()
        assert go_on.wait(PATIENCE)
        return issue(*arguments, **options)

    other = pem_device(boot.story, device.chain_file.parent, "widget-quick")
    monkeypatch.setattr(Authority, "issue", slow)
    body = {"clientCertificateCsr": csr_pem(device.name)}
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ask, transport, boot.story, device, body)
        assert asked.wait(PATIENCE)
        assert by_mqtt(boot.story, other, {}).json["status"] == "assigned"
        assert by_https(boot.story, other, {}).json["status"] == "assigned"
        again = by_mqtt(boot.story, device, body)
        assert (again.status, again.json["errorCode"]) == (409, 409203)
        assert not waiting.done()
        go_on.set()
        assert issued(waiting.result())


def test_a_busy_authority_is_asked_again_while_the_device_polls(
    boot: FirstBoot, device: PemDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The device sent its request once; what polls bring in the end is the certificate for it."""
    key, authorities = new_key(), boot.story.lab.dps.certificate_authorities
    ask_ca, busy = authorities.ask, iter([CaAnswer(429)])
    monkeypatch.setattr(authorities, "ask", lambda question: next(busy, None) or ask_ca(question))
    first = by_https(boot.story, device, {"clientCertificateCsr": csr_pem(device.name, key)})
    assert first.status == 202
    boot.story.lab.clock.advance(seconds=5)
    path = f"/registrations/{device.name}/operations/{first.json['operationId']}?{API}"
    with client(boot.story.lab, chain_file=device.chain_file, key_file=device.key_file) as https:
        found = issued(https.ask("GET", f"/{boot.story.lab.dps.id_scope}{path}"))
    assert found[0].public_key() == key.public_key()


ANSWERS_OF_A_CA = {
    "no JSON": (201, b"hello", ca_client.USABLE),
    "no certificate": (201, b'{"certificate": "x", "chain": []}', ca_client.USABLE),
    "another key": (201, b"", ca_client.USABLE),
    "a long chain": (201, b'{"certificate": "x", "chain": [1,2,3,4,5,6,7,8,9]}', ca_client.USABLE),
    "its own failure": (500, b"\xff", ca_client.REACHED),
    "a web page": (404, b"<html>", ca_client.PROFILE),
    "forbidden": (403, b'{"error": {"message": "no", "cures": 7}}', ca_client.GRANTED),
}


@pytest.mark.parametrize("case", ANSWERS_OF_A_CA)
def test_an_answer_that_is_none_fails_the_registration_and_is_explained(
    boot: FirstBoot, device: PemDevice, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, body, rule = ANSWERS_OF_A_CA[case]
    if case == "another key":
        body = json.dumps({"certificate": chain.to_pem(boot.story.widget.chain[:1])}).encode()
    authorities = boot.story.lab.dps.certificate_authorities
    monkeypatch.setattr(authorities, "ask", lambda _: CaAnswer(status, body))
    failed_(by_mqtt(boot.story, device, {"clientCertificateCsr": csr_pem(device.name)}))
    assert failed_check(boot.story.lab) == rule
    assert boot.story.lab.hub().devices.find(device.name) is None


def test_the_same_request_at_once_has_the_same_certificate(
    boot: FirstBoot, device: PemDevice
) -> None:
    """Its answer may have been lost. By the key; an hour later it is a renewal."""
    key = new_key()
    body = [{"clientCertificateCsr": csr_pem(device.name, key)} for _ in range(3)]
    first, second = (issued(by_mqtt(boot.story, device, each)) for each in body[:2])
    assert first == second
    boot.story.lab.clock.advance(hours=2)
    assert issued(by_mqtt(boot.story, device, body[2])) != first
    assert len(boot.account.certificates) == 2


def test_a_certificate_that_has_ended_is_no_longer_what_the_hub_knows_the_device_by(
    boot: FirstBoot, device: PemDevice
) -> None:
    issued(by_mqtt(boot.story, device, {"clientCertificateCsr": csr_pem(device.name)}))
    boot.story.lab.clock.advance(days=DAYS + 1)
    by_mqtt(boot.story, device, {})
    identity = boot.story.lab.hub().devices.get(device.name)
    assert identity.thumbprint == chain.thumbprint(device.chain[0])


# ---- trust bundles


def test_trust_bundles_over_the_service_api(boot: FirstBoot) -> None:
    """PUT, GET, query, DELETE; what is no CA's certificate is in none."""
    path, root = f"/trustBundles/smart-x-roots?{API}", boot.story.lab.server.root_pem
    with back_end(boot.story.lab) as service:
        made = service.ask("PUT", path, {"certificates": [{"certificate": root}]})
        assert made.status == 200
        assert service.ask("GET", path).json == made.json
        assert made.json["certificates"][0]["certificate"] == root
        listed = service.ask("POST", f"/trustBundles/query?{API}", {"query": "*"})
        assert [each["id"] for each in listed.json] == ["smart-x-roots"]
        leaf = chain.to_pem(boot.story.widget.chain[:1])
        for wrong in ([{"certificate": leaf}], [], [{"certificate": "x"}], [{}], "x"):
            refused = service.ask("PUT", path, {"certificates": wrong})
            assert (refused.status, refused.json["errorCode"]) == (400, 400004), wrong
        assert service.ask("DELETE", path, if_match="another").status == 412
        assert service.ask("DELETE", path).status == 204
        assert service.ask("GET", path).status == 404


def test_a_bundle_goes_out_without_a_request_too_and_under_its_version_alone(
    boot: FirstBoot, device: PemDevice
) -> None:
    boot.story.lab.dps.trust_bundles.create("smart-x-roots", boot.story.lab.server.trust_bundle)
    set_authority(boot.story, "", "smart-x-roots")
    assert "trustBundle" in by_https(boot.story, device, {}).json["registrationState"]
    old = by_https(boot.story, device, {}, "api-version=2021-06-01")
    assert "trustBundle" not in old.json["registrationState"]


def test_a_bundle_that_would_cut_the_device_off_is_tried_and_left(boot: FirstBoot) -> None:
    story, widget = boot.story, boot.story.widget
    story.lab.dps.trust_bundles.create("wrong", [story.company.certificate])
    set_authority(story, "", "wrong")
    before = widget.trusted_roots
    widget.provision(api_version=VERSION)
    assert widget.trusted_roots == before
    assert "does not install the trust bundle" in story.lab.events.about(kind="left out")[-1].text


# ---- rights, secrets, restarts


def test_who_may_read_enrollments_may_not_link_an_authority(boot: FirstBoot) -> None:
    boot.story.lab.cloud.policies("dps").create("reader", "EnrollmentRead")
    path = f"/certificateAuthorities/{AUTHORITY}?{API}"
    with back_end(boot.story.lab, "reader") as service:
        assert service.ask("GET", path).status == 200
        assert service.ask("DELETE", path).status == 401
        assert service.ask("PUT", path, {}).status == 401


def test_other_kinds_of_authority_are_named_as_not_served(boot: FirstBoot) -> None:
    said = {"certificateAuthorityType": "GlobalSignCertificateAuthority", "apiKey": "k"}
    with back_end(boot.story.lab) as service:
        answer = service.ask("PUT", f"/certificateAuthorities/other?{API}", said)
    assert answer.status == 400
    assert failed_check(boot.story.lab) == certificate_authorities.KIND


def test_the_web_service_of_the_authority_is_another_company_s(boot: FirstBoot) -> None:
    """Its server certificate leads to a web root of its own: who trusts the lab's services alone
    leaves in TLS."""
    context = ssl.create_default_context(cadata=boot.story.lab.server.root_pem)
    with (
        socket.create_connection((boot.story.lab.listener.host, boot.ca.port), PATIENCE) as plain,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        context.wrap_socket(plain, server_hostname=boot.story.lab.listener.host)
    assert at_ca(boot, "GET", "/", "").status == 404


def test_everything_is_there_when_the_lab_is_opened_again(
    boot: FirstBoot, device: PemDevice, tmp_path: Path
) -> None:
    found = issued(by_mqtt(boot.story, device, {"clientCertificateCsr": csr_pem(device.name)}))
    boot.story.lab.close()
    with open_lab(tmp_path / "lab") as lab:
        story = replace(boot.story, lab=lab)
        assert lab.third_party_ca().account("Company-X").certificates == found[:1]
        assert issued(by_mqtt(story, device, {"clientCertificateCsr": csr_pem(device.name)}))
        with pytest.raises(Conflict):
            lab.third_party_ca("Another Company")
