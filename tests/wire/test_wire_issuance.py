"""Certificates that come with a registration, asked for by a client that shares no code with the
lab: raw MQTT, and HTTPS by the standard library.

A test for each row of the feature table in the document on certificate management, and for each
refusal.
"""

from __future__ import annotations

import base64
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from foreign_tools import openssl_verify
from https_clients import Answer, back_end, client, sign
from issuance_stories import (
    DAYS,
    GROUP,
    POLICY,
    certificates,
    csr,
    csr_der,
    managed,
    new_key,
    rsa_key,
    set_policy,
    tampered,
)
from linter import beside, by_itself
from registering import Speaker
from stories import PATIENCE, PemDevice, Story, failed_check, pem_device, write_device
from wire_clients import MqttClient, hub_user, tls

from labkit.cloud.dps.allocation import WebhookAnswer
from labkit.cloud.dps.entries import (
    CUSTOM,
    CustomAllocation,
    InitialTwin,
    SymmetricKeyAttestation,
)
from labkit.cloud.hub.credentials import AUTHORITY
from labkit.pki.authority import Authority

API = "api-version=2025-07-01-preview"
SPEAKER = Speaker("2025-07-01-preview")
TRANSPORTS = pytest.mark.parametrize("transport", ["mqtt", "https"])


@pytest.fixture
def story_managed(story: Story) -> Story:
    managed(story)
    return story


@pytest.fixture
def device(story_managed: Story, tmp_path: Path) -> PemDevice:
    return pem_device(story_managed, tmp_path / "device", "widget-csr")


by_mqtt, by_https, ask = SPEAKER.by_mqtt, SPEAKER.by_https, SPEAKER.ask


def issued(answer: Answer) -> list[x509.Certificate]:
    assert answer.status == 200, answer.body
    assert answer.json["status"] == "assigned"
    return certificates(answer.json["registrationState"]["issuedCertificateChain"])


def enters_hub(
    story: Story, directory: Path, key: ec.EllipticCurvePrivateKey, chain: list[x509.Certificate]
) -> bool:
    """Whether the hub lets in who shows this chain."""
    shown = write_device(directory, key, tuple(chain))
    with MqttClient(story.lab, tls(story.lab, shown.chain_file, shown.key_file)) as mqtt:
        return mqtt.enter(shown.name, hub_user(story.lab, shown.name)) == 0


# ---- what is issued


@TRANSPORTS
def test_a_device_gets_a_chain_and_enters_its_hub_with_it(
    story_managed: Story, device: PemDevice, transport: str, tmp_path: Path
) -> None:
    """Leaf, issuing CA, root; and in the hub it is known by a CA, not by a thumbprint."""
    story, key = story_managed, new_key()
    body = {"registrationId": device.name, "csr": csr(device.name, key)}
    chain = issued(ask(transport, story, device, body))
    namespace = story.lab.registry.namespaces.get("contoso")
    assert chain[0].public_key() == key.public_key()
    policy = namespace.policies.get(POLICY)
    assert chain[1:] == [policy.certificate, namespace.credential.certificate]
    assert story.lab.hub().devices.get(device.name).authentication == AUTHORITY
    assert enters_hub(story, tmp_path / "issued", key, chain)


def test_the_chain_is_good_for_openssl_and_pkilint(
    story_managed: Story, device: PemDevice, tmp_path: Path
) -> None:
    """P-384 and SHA-384 throughout; valid from now for just the policy's days, by the lab's clock,
    wherever that is set."""
    story = story_managed
    story.lab.clock.advance(days=40)
    before = story.lab.clock.now().replace(microsecond=0)
    chain = issued(by_mqtt(story, device, {"csr": csr(device.name)}))
    after, last = story.lab.clock.now(), chain[0].not_valid_after_utc
    assert before + timedelta(days=DAYS) <= last <= after + timedelta(days=DAYS)
    assert chain[0].not_valid_before_utc <= before
    for certificate in chain:
        key = certificate.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        assert isinstance(key.curve, ec.SECP384R1)
        assert isinstance(certificate.signature_hash_algorithm, hashes.SHA384)
        assert by_itself(certificate) == []
    assert beside(chain[1], chain[0]) == []
    assert beside(chain[2], chain[1]) == []
    assert openssl_verify(tmp_path, chain[:2], chain[2:], story.lab.clock.now()) == ""
    assert openssl_verify(tmp_path, chain[:2], chain[2:], last + timedelta(seconds=1)) != ""


def test_the_hub_refuses_what_is_issued_until_it_was_synchronised(
    story: Story, tmp_path: Path
) -> None:
    """And the explanation says what brings the CA there."""
    namespace = managed(story, synchronized=False)
    device, key = pem_device(story, tmp_path / "device", "widget-csr"), new_key()
    chain = issued(by_mqtt(story, device, {"csr": csr(device.name, key)}))
    assert not enters_hub(story, tmp_path / "early", key, chain)
    explained = story.lab.explain(device.name)
    assert "namespaces.get('contoso').synchronize()" in explained.cures[0]
    namespace.synchronize()
    assert enters_hub(story, tmp_path / "late", key, chain)
    assert enters_hub(story, tmp_path / "leaf alone", key, chain[:1])


def test_a_hub_that_is_not_linked_any_more_is_to_be_linked_first(
    story: Story, tmp_path: Path
) -> None:
    namespace = managed(story, synchronized=False)
    device, key = pem_device(story, tmp_path / "device", "widget-csr"), new_key()
    chain = issued(by_mqtt(story, device, {"csr": csr(device.name, key)}))
    namespace.unlink("contoso-hub")
    assert not enters_hub(story, tmp_path / "early", key, chain)
    assert "link the hub to namespace contoso" in story.lab.explain(device.name).cures[0]


def test_a_certificate_ends_and_is_renewed_by_registering_again(
    story_managed: Story, device: PemDevice, tmp_path: Path
) -> None:
    """With a new request for a new key; the old certificate is refused once it is over."""
    story, keys = story_managed, [new_key(), new_key()]
    first = issued(by_mqtt(story, device, {"csr": csr(device.name, keys[0])}))
    story.lab.clock.advance(days=5)
    second = issued(by_mqtt(story, device, {"csr": csr(device.name, keys[1])}))
    assert second[0].serial_number != first[0].serial_number
    assert enters_hub(story, tmp_path / "both good", keys[0], first)
    story.lab.clock.advance(days=4)
    assert not enters_hub(story, tmp_path / "over", keys[0], first)
    assert enters_hub(story, tmp_path / "renewed", keys[1], second)


def test_deleting_the_policy_leaves_what_was_issued_valid(
    story_managed: Story, device: PemDevice, tmp_path: Path
) -> None:
    story, key = story_managed, new_key()
    chain = issued(by_mqtt(story, device, {"csr": csr(device.name, key)}))
    story.lab.registry.namespaces.get("contoso").policies.delete(POLICY)
    assert enters_hub(story, tmp_path / "still", key, chain)
    assert by_mqtt(story, device, {"csr": csr(device.name)}).status == 400


def test_whoever_is_to_stay_away_is_disabled_in_the_hub(
    story_managed: Story, device: PemDevice, tmp_path: Path
) -> None:
    """There is no list of revoked certificates."""
    story, key = story_managed, new_key()
    chain = issued(by_mqtt(story, device, {"csr": csr(device.name, key)}))
    story.lab.hub().devices.disable(device.name)
    assert not enters_hub(story, tmp_path / "disabled", key, chain)
    by_mqtt(story, device, {"csr": csr(device.name, key)})
    assert not enters_hub(story, tmp_path / "still", key, chain), "registering enables nobody"


def test_an_individual_enrollment_with_a_symmetric_key_has_a_policy_too(
    story_managed: Story, tmp_path: Path
) -> None:
    """The onboarding credential may be of any kind; what is issued is named as in the hub."""
    story, key, secret = story_managed, new_key(), base64.b64encode(b"s" * 32).decode()
    entry = story.lab.dps.enrollments.create(
        "keyed",
        keys=SymmetricKeyAttestation(secret, secret),
        device_id="Keyed-In-Hub",
        credential_policy=POLICY,
        initial_twin=InitialTwin({"site": "here"}),
    )
    assert entry.credential_policy == POLICY
    path = f"/{story.lab.dps.id_scope}/registrations/keyed/register?{API}"
    with client(story.lab) as https:
        resource = f"{story.lab.dps.id_scope}%2Fregistrations%2Fkeyed"
        https.headers["Authorization"] = sign(resource, secret)
        chain = issued(https.ask("PUT", path, {"csr": csr("keyed", key)}))
    assert chain[0].subject.rfc4514_string() == "CN=Keyed-In-Hub"
    assert enters_hub(story, tmp_path / "keyed", key, chain)


# ---- operations


@TRANSPORTS
def test_the_same_operation_has_the_same_chain_and_the_lookup_none(
    story_managed: Story, device: PemDevice, transport: str
) -> None:
    story = story_managed
    first = ask(transport, story, device, {"csr": csr(device.name)})
    chain = first.json["registrationState"]["issuedCertificateChain"]
    root = f"/{story.lab.dps.id_scope}/registrations/{device.name}"
    operation = f"{root}/operations/{first.json['operationId']}?{API}"
    with client(story.lab, chain_file=device.chain_file, key_file=device.key_file) as https:
        for _ in range(2):
            again = https.ask("GET", operation)
            assert again.json["registrationState"]["issuedCertificateChain"] == chain
        looked_up = https.ask("POST", f"{root}?{API}", {"registrationId": device.name})
        assert looked_up.status == 200
        assert "issuedCertificateChain" not in looked_up.json
        refused = https.ask("POST", f"{root}?{API}", {"csr": csr(device.name)})
        assert (refused.status, refused.json["errorCode"]) == (400, 400004)
    with back_end(story.lab) as service:
        shown = service.ask("GET", f"/registrations/{device.name}?{API}")
        assert "issuedCertificateChain" not in shown.json


def test_a_request_that_is_repeated_at_once_is_answered_with_the_same_certificate(
    story_managed: Story, device: PemDevice
) -> None:
    """Its answer may have been lost. By the key: a request is another one each time it is signed.
    An hour later it is a renewal, with the same key."""
    story, key = story_managed, new_key()
    chains = [issued(by_mqtt(story, device, {"csr": csr(device.name, key)})) for _ in range(2)]
    assert chains[0] == chains[1]
    story.lab.clock.advance(hours=2)
    assert issued(by_mqtt(story, device, {"csr": csr(device.name, key)})) != chains[0]
    ledger = story.lab.registry.namespaces.get("contoso").certificates(device.name)
    assert len(ledger) == 2


def test_an_assignment_that_takes_its_time_brings_the_chain_at_its_end(
    story_managed: Story, device: PemDevice
) -> None:
    story = story_managed
    story.lab.dps.assignment_delay = 60
    first = by_https(story, device, {"csr": csr(device.name)})
    assert first.status == 202
    assert "issuedCertificateChain" not in str(first.json)
    story.lab.clock.advance(minutes=2)
    operation = f"/registrations/{device.name}/operations/{first.json['operationId']}?{API}"
    with client(story.lab, chain_file=device.chain_file, key_file=device.key_file) as https:
        assert issued(https.ask("GET", f"/{story.lab.dps.id_scope}{operation}"))


def test_a_webhook_that_is_busy_does_not_make_dps_forget_the_request(
    story_managed: Story, device: PemDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The device sent it once; what polls bring in the end is the certificate for it."""
    story, key = story_managed, new_key()
    chosen = WebhookAnswer(200, b'{"iotHubHostName": "contoso-hub.azure-devices.net"}')
    answers = iter([WebhookAnswer(429), chosen])
    monkeypatch.setattr(story.lab.dps, "webhook", lambda *_: next(answers))
    hook = CustomAllocation("http://localhost:1/choose", "2019-03-31")
    groups = story.lab.dps.enrollment_groups
    groups.update(replace(groups.get(GROUP), allocation_policy=CUSTOM, custom_allocation=hook))
    first = by_https(story, device, {"csr": csr(device.name, key)})
    assert first.status == 202
    story.lab.clock.advance(seconds=5)
    operation = f"/registrations/{device.name}/operations/{first.json['operationId']}?{API}"
    with client(story.lab, chain_file=device.chain_file, key_file=device.key_file) as https:
        chain = issued(https.ask("GET", f"/{story.lab.dps.id_scope}{operation}"))
    assert chain[0].public_key() == key.public_key()


def test_without_a_request_nothing_is_issued(story_managed: Story, device: PemDevice) -> None:
    """A policy alone asks nobody for anything: the device goes to its hub as it is."""
    story = story_managed
    answer = by_mqtt(story, device, {"registrationId": device.name})
    assert "issuedCertificateChain" not in answer.json["registrationState"]
    assert story.lab.hub().devices.get(device.name).authentication == "selfSigned"


def test_who_has_a_certificate_keeps_it_when_it_registers_without_a_request(
    story_managed: Story, device: PemDevice, tmp_path: Path
) -> None:
    """An SDK that knows no requests does that at each start. Once the certificate is over, the
    hub knows the device by its onboarding credential again."""
    story, key = story_managed, new_key()
    chain = issued(by_mqtt(story, device, {"csr": csr(device.name, key)}))
    by_mqtt(story, device, {})
    assert enters_hub(story, tmp_path / "kept", key, chain)
    story.lab.registry.namespaces.get("contoso").policies.delete(POLICY)
    by_mqtt(story, device, {})
    assert enters_hub(story, tmp_path / "policy gone", key, chain)
    story.lab.clock.advance(days=DAYS + 1)
    by_mqtt(story, device, {})
    assert story.lab.hub().devices.get(device.name).authentication == "selfSigned"


@TRANSPORTS
def test_nobody_waits_for_the_signature_of_another(
    story_managed: Story, device: PemDevice, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token takes its time; the event loop goes on meanwhile."""
    story, go_on, asked = story_managed, threading.Event(), threading.Event()
    issue = Authority.issue

    def slow(*arguments: Any, **options: Any) -> x509.Certificate:
        asked.set()
        assert go_on.wait(PATIENCE)
        return issue(*arguments, **options)

    other = pem_device(story, device.chain_file.parent, "widget-quick")
    monkeypatch.setattr(Authority, "issue", slow)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ask, transport, story, device, {"csr": csr(device.name)})
        assert asked.wait(PATIENCE)
        assert by_mqtt(story, other, {}).json["status"] == "assigned"
        assert not waiting.done()
        go_on.set()
        assert issued(waiting.result())


def test_the_ledger_knows_each_certificate(story_managed: Story, device: PemDevice) -> None:
    story = story_managed
    chains = [issued(by_mqtt(story, device, {"csr": csr(device.name)})) for _ in range(3)]
    namespace = story.lab.registry.namespaces.get("contoso")
    kept = namespace.certificates()
    assert [entry.certificate for entry in kept] == [chain[0] for chain in chains]
    assert {entry.device_id for entry in kept} == {device.name}
    assert {(entry.policy, entry.hub) for entry in kept} == {(POLICY, "contoso-hub")}
    assert namespace.certificates("somebody-else") == []


# ---- refusals


REFUSED = {
    "CN": (lambda name: csr("somebody-else"), "its common name is the registration ID"),
    "P-256": (
        lambda name: csr(name, new_key(ec.SECP256R1())),
        "its key is one that the policy signs",
    ),
    "RSA": (lambda name: csr(name, rsa_key()), "its key is one that the policy signs"),
    "signature": (tampered, "it is signed with the key that it holds"),
    "PEM": (
        lambda name: x509.load_der_x509_csr(csr_der(name)).public_bytes(Encoding.PEM).decode(),
        "the request is base64 of DER (PKCS#10), without the lines of PEM around it",
    ),
    "base64 of PEM": (
        lambda name: base64.b64encode(
            x509.load_der_x509_csr(csr_der(name)).public_bytes(Encoding.PEM)
        ).decode(),
        "the request is base64 of DER (PKCS#10), without the lines of PEM around it",
    ),
    "no base64": (
        lambda name: "a request, please!",
        "the request is base64 of DER (PKCS#10), without the lines of PEM around it",
    ),
    "too large": (
        lambda name: "A" * 20_000,
        "the request is base64 of DER (PKCS#10), without the lines of PEM around it",
    ),
    "empty": (
        lambda name: "",
        "the request is base64 of DER (PKCS#10), without the lines of PEM around it",
    ),
}


@TRANSPORTS
@pytest.mark.parametrize("case", REFUSED)
def test_a_request_that_is_not_signed_is_refused_and_explained(
    story_managed: Story, device: PemDevice, transport: str, case: str
) -> None:
    """400, in Azure's form, and nothing has happened: no identity, no record, no certificate."""
    make, rule = REFUSED[case]
    story = story_managed
    answer = ask(transport, story, device, {"csr": make(device.name)})
    assert (answer.status, answer.json["errorCode"]) == (400, 400004)
    assert set(answer.json) == {"errorCode", "trackingId", "message", "timestampUtc"}
    explained = story.lab.explain(answer.json["trackingId"])
    assert explained.failure is not None
    assert explained.failure.name == rule
    assert explained.cures
    assert story.lab.hub().devices.find(device.name) is None
    assert story.lab.dps.registrations.find(device.name) is None
    assert story.lab.registry.namespaces.get("contoso").certificates() == []


def test_p256_is_a_switch_for_the_c_sample_sends_it(
    story_managed: Story, device: PemDevice, tmp_path: Path
) -> None:
    story, key = story_managed, new_key(ec.SECP256R1())
    story.lab.registry.request_key = "EC"
    chain = issued(by_mqtt(story, device, {"csr": csr(device.name, key)}))
    assert enters_hub(story, tmp_path / "p256", key, chain)
    assert by_mqtt(story, device, {"csr": csr(device.name, rsa_key())}).status == 400


@pytest.mark.parametrize("wrong", [7, ["x"], {"a": 1}, True])
def test_a_request_that_is_no_text_is_400(
    story_managed: Story, device: PemDevice, wrong: object
) -> None:
    assert by_https(story_managed, device, {"csr": wrong}).status == 400


def test_an_older_api_version_knows_no_requests(story_managed: Story, device: PemDevice) -> None:
    story, body = story_managed, {"csr": csr(device.name)}
    old = "{}/registrations/{}/api-version=2019-03-31"
    for answer in (
        by_mqtt(story, device, body, old),
        by_https(story, device, body, "api-version=2021-11-01-preview"),
    ):
        assert answer.status == 400
        assert failed_check(story.lab) == "the api-version knows certificate signing requests"
    assert issued(by_https(story, device, body, "api-version=2026-11-01"))


def test_an_enrollment_without_policy_is_named(story_managed: Story, device: PemDevice) -> None:
    story = story_managed
    set_policy(story, "")
    assert by_mqtt(story, device, {"csr": csr(device.name)}).status == 400
    assert failed_check(story.lab) == "the enrollment names a credential policy"


def test_a_policy_that_is_not_there_is_named(story_managed: Story, device: PemDevice) -> None:
    story = story_managed
    set_policy(story, "nobody")
    assert by_mqtt(story, device, {"csr": csr(device.name)}).status == 400
    explained = story.lab.explain()
    assert explained.failure is not None
    assert "contoso has no such policy" in explained.failure.why
    assert "policies.create('nobody')" in explained.cures[0]


def test_a_service_that_is_not_linked_is_named(story_managed: Story, device: PemDevice) -> None:
    story = story_managed
    story.lab.registry.namespaces.get("contoso").unlink("dps")
    assert by_mqtt(story, device, {"csr": csr(device.name)}).status == 400
    assert failed_check(story.lab) == "the provisioning service is linked to a namespace"


def test_a_hub_of_another_namespace_gets_no_device(story_managed: Story, device: PemDevice) -> None:
    """The registration fails, and its record says so: the hub was chosen already."""
    story = story_managed
    story.lab.registry.namespaces.get("contoso").unlink("contoso-hub")
    answer = by_mqtt(story, device, {"csr": csr(device.name)})
    assert (answer.status, answer.json["status"]) == (200, "failed")
    assert answer.json["registrationState"]["errorCode"] == 400004
    rule = "the hub that the device is assigned to is linked to the namespace"
    assert failed_check(story.lab) == rule
    assert story.lab.hub().devices.find(device.name) is None


def test_a_ca_whose_time_is_over_signs_no_more(story_managed: Story, device: PemDevice) -> None:
    story = story_managed
    fresh = pem_device(story, device.chain_file.parent, "widget-late")
    policy = story.lab.registry.namespaces.get("contoso").policies.get(POLICY)
    story.lab.clock.set(policy.certificate.not_valid_after_utc + timedelta(days=1))
    secret = base64.b64encode(b"s" * 32).decode()
    story.lab.dps.enrollments.create(
        fresh.name, keys=SymmetricKeyAttestation(secret, secret), credential_policy=POLICY
    )
    path = f"/{story.lab.dps.id_scope}/registrations/{fresh.name}/register?{API}"
    with client(story.lab) as https:
        resource = f"{story.lab.dps.id_scope}%2Fregistrations%2F{fresh.name}"
        https.headers["Authorization"] = sign(resource, secret)
        assert https.ask("PUT", path, {"csr": csr(fresh.name)}).status == 400
    assert failed_check(story.lab) == "the policy's CA may sign now"


# ---- the service API


def test_enrollments_keep_and_return_their_policy(story_managed: Story) -> None:
    story = story_managed
    with back_end(story.lab) as service:
        for path in (f"/enrollmentGroups/{GROUP}", "/enrollments/keyed"):
            name = "enrollmentGroupId" if "Groups" in path else "registrationId"
            body = {
                name: path.rpartition("/")[2],
                "attestation": {"type": "symmetricKey"},
                "credentialPolicyName": "another",
            }
            match = {"if_match": "*"} if "Groups" in path else {}
            made = service.ask("PUT", f"{path}?{API}", body, **match)
            assert made.status == 200, made.body
            assert made.json["credentialPolicyName"] == "another"
            assert service.ask("GET", f"{path}?{API}").json["credentialPolicyName"] == "another"
            wrong = {**body, "credentialPolicyName": "no policy!"}
            assert service.ask("PUT", f"{path}?{API}", wrong, if_match="*").status == 400
    kept = story.lab.dps.enrollments.get("keyed")
    assert kept.credential_policy == "another"
    story.lab.dps.enrollments.update(replace(kept, credential_policy=""))
    with back_end(story.lab) as service:
        assert "credentialPolicyName" not in service.ask("GET", f"/enrollments/keyed?{API}").json
