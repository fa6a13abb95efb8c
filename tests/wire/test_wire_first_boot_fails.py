"""What can go wrong at a first boot, over the real wire: each failure is told to the device as
Azure would, explained, and cured. And what DPS keeps beside: trust bundles, rights, secrets.
"""

from __future__ import annotations

import base64
import json
import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from first_boot_clients import (
    API,
    TRANSPORTS,
    ask,
    asked_at_ca,
    at_ca,
    by_https,
    by_mqtt,
    ended_as_failed,
    enters_hub,
    issued,
    told,
)
from first_boot_stories import (
    AUTHORITY,
    DAYS,
    GROUP,
    PROFILE,
    VERSION,
    FirstBoot,
    armoured,
    csr_pem,
    linked,
    set_authority,
)
from https_clients import Answer, back_end, client
from issuance_stories import csr, new_key, tampered
from stories import (
    PATIENCE,
    PemDevice,
    Story,
    failed_check,
    open_lab,
    pem_device,
    write_device,
)

from labkit.cloud.dps import ca_client, ca_issuing, certificate_authorities, issuance
from labkit.cloud.dps.ca_client import CaAnswer
from labkit.errors import Conflict, NotFound, ServiceRefusal
from labkit.pki import chain
from labkit.pki.authority import Authority
from labkit.wire import provisioning
from labkit.wire.provisioning import Way


@pytest.fixture
def boot(story: Story) -> FirstBoot:
    return linked(story)


@pytest.fixture
def device(boot: FirstBoot, tmp_path: Path) -> PemDevice:
    return pem_device(boot.story, tmp_path / "device", "widget-007")


# ---- failures


def test_an_api_key_that_was_revoked_is_named_and_can_be_replaced(
    boot: FirstBoot, device: PemDevice
) -> None:
    boot.account.revoke_api_keys()
    body = {"clientCertificateCsr": csr_pem(device.name)}
    ended_as_failed(by_mqtt(boot.story, device, body))
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
    ended_as_failed(ask(transport, boot.story, device, body))
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
    ended_as_failed(by_mqtt(story, device, {"clientCertificateCsr": csr_pem(device.name)}))
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
    ended_as_failed(by_mqtt(boot.story, device, {"clientCertificateCsr": csr_pem(device.name)}))
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


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("clientCertificateCsr", Way.BY_THREAD),
        (r"client\u0043ertificateCsr", Way.BY_THREAD),
        (r"cs\u0072", Way.BY_THREAD),
        ("csr", Way.IN_STEPS),
        ("payload", Way.AT_ONCE),
    ],
)
def test_no_spelling_of_a_request_is_worked_on_where_everybody_waits(
    boot: FirstBoot, name: str, way: Way
) -> None:
    """Whoever asks another company waits for it in a thread, and who has the registry sign has the
    signature made elsewhere; a registration without a request the event loop does by itself."""
    assert provisioning.way(boot.story.lab.dps, f'{{"{name}": "x"}}'.encode()) is way


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


def test_a_fleet_that_boots_at_once_gets_its_certificates(boot: FirstBoot, tmp_path: Path) -> None:
    """More than may wait for the authority at a time; who is put off polls, as devices do."""
    devices = [pem_device(boot.story, tmp_path / "fleet", f"widget-{n:03}") for n in range(12)]
    with ThreadPoolExecutor(len(devices)) as pool:
        answers = list(pool.map(lambda device: boots(boot, device), devices))
    assert {chain.common_name(issued(each)[0]) for each in answers} == {d.name for d in devices}
    assert len(boot.account.certificates) == len(devices)


def boots(boot: FirstBoot, device: PemDevice) -> Answer:
    """A registration with a request, and its polls until there is an outcome."""
    root = f"/{boot.story.lab.dps.id_scope}/registrations/{device.name}"
    body = {"clientCertificateCsr": csr_pem(device.name)}
    with client(boot.story.lab, chain_file=device.chain_file, key_file=device.key_file) as https:
        answer = https.ask("PUT", f"{root}/register?{API}", body)
        while answer.status == 202:
            time.sleep(1)
            answer = https.ask("GET", f"{root}/operations/{answer.json['operationId']}?{API}")
    return answer


ANSWERS_OF_A_CA = {
    "no JSON": (201, b"hello", ca_client.USABLE),
    "no certificate": (201, b'{"certificate": "x", "chain": []}', ca_client.USABLE),
    "another key": (201, b"", ca_client.USABLE),
    "a long chain": (201, b'{"certificate": "x", "chain": [1,2,3,4,5,6,7,8,9]}', ca_client.USABLE),
    "a chain that is none": (201, b'{"certificate": "x", "chain": true}', ca_client.USABLE),
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
    ended_as_failed(by_mqtt(boot.story, device, {"clientCertificateCsr": csr_pem(device.name)}))
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


@pytest.mark.parametrize("book", ["trust_bundles", "certificate_authorities"])
def test_one_that_is_not_there_is_missed_in_words(boot: FirstBoot, book: str) -> None:
    found = getattr(boot.story.lab.dps, book)
    for use in (found.get, found.delete):
        with pytest.raises(NotFound, match="404203"):
            use("nobody")


def test_there_are_only_so_many(boot: FirstBoot, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is there can be replaced still, and of the other kind there may be as many."""
    monkeypatch.setattr("labkit.cloud.dps.resources.MOST", 1)
    bundles, cas = boot.story.lab.dps.trust_bundles, [boot.story.company.certificate]
    bundles.create("first", cas)
    with pytest.raises(ServiceRefusal) as caught:
        bundles.create("second", cas)
    assert caught.value.error.code == 400203
    assert "delete a trust bundle" in str(caught.value)
    assert bundles.create("first", cas).id == "first"
    assert len(list(bundles)) == len(list(boot.story.lab.dps.certificate_authorities)) == 1


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


@pytest.mark.parametrize("field", ["apiKey", "apikey", "api_key", "APIKey"])
def test_an_api_key_is_not_on_record_however_its_field_is_misspelt(
    boot: FirstBoot, field: str
) -> None:
    """What is refused is shown in the log with what was sent."""
    said = {
        "certificateAuthorityType": "other",
        "profileName": PROFILE,
        field: 'be"fore-and-behind',
    }
    with back_end(boot.story.lab) as service:
        assert service.ask("PUT", f"/certificateAuthorities/other?{API}", said).status == 400
    assert "be" + chr(92) not in told(boot.story)
    assert "fore-and-behind" not in told(boot.story)
    assert "profileName" in told(boot.story)


def test_what_can_be_no_api_key_is_refused_and_not_shown(boot: FirstBoot) -> None:
    authorities = boot.story.lab.dps.certificate_authorities
    for key in (None, 7, "", "k" * 300, "key\n", "schlüssel"):
        with pytest.raises(ServiceRefusal, match="400004") as error:
            authorities.create("other", profile=PROFILE, api_key=key)  # type: ignore[arg-type]
        assert error.value.cure


def test_a_link_that_is_refused_speaks_of_no_device(boot: FirstBoot) -> None:
    """Nobody registers there, so nobody is told to register again."""
    boot.ca.stop()
    with pytest.raises(ServiceRefusal) as error:
        boot.story.lab.dps.certificate_authorities.create("other", profile=PROFILE, api_key="k")
    assert "device" not in str(error.value)
    assert "register" not in error.value.cure


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
