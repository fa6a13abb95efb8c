"""A device's next certificate, asked for at its hub over MQTT, by a client that shares no code with
the lab (paho), over real TLS. Azure's own account of the operation is walked row by row: what is
refused at once, what behind the 202, and what becomes of an answer whose device is away.
"""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_der_x509_csr
from foreign_tools import openssl_verify
from issuance_stories import (
    DAYS,
    POLICY,
    certificates,
    csr,
    csr_der,
    managed,
    new_key,
    rsa_key,
    tampered,
)
from renewal_client import Asking, Files, Heard
from stories import PATIENCE, PemDevice, Story, eventually, failed_check, pem_device, write_device

from labkit.cloud.adr.renewals import Renewals
from labkit.device.provisioning_client import ProvisioningClient
from labkit.errors import ProvisioningFailed, TokenError
from labkit.pki.authority import Authority

NAME = "widget-renewing"
Key = ec.EllipticCurvePrivateKey


@pytest.fixture
def story_managed(story: Story) -> Story:
    managed(story)
    return story


@pytest.fixture
def device(story_managed: Story, tmp_path: Path) -> PemDevice:
    """A device with an operational certificate, by which it is known to its hub."""
    return onboarded(story_managed, tmp_path, NAME)


def onboarded(story: Story, directory: Path, name: str) -> PemDevice:
    first = pem_device(story, directory / name, name)
    proof = Files(first)
    key = new_key()
    client = ProvisioningClient(story.lab.network, name, proof, "mqtt", csr(name, key))
    return write_device(directory / name, key, client.register().chain)


@pytest.fixture
def asking(story_managed: Story, device: PemDevice) -> Iterator[Asking]:
    with Asking(story_managed.lab, device) as found:
        yield found


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """The token signs nothing until this is set: a request stays under way."""
    go_on, issue = threading.Event(), Authority.issue

    def slow(*arguments: Any, **options: Any) -> Any:
        assert go_on.wait(PATIENCE * 2)
        return issue(*arguments, **options)

    monkeypatch.setattr(Authority, "issue", slow)
    yield go_on
    go_on.set()


def renewed(asking: Asking, key: Key, rid: str = "rid-0001", **more: Any) -> list[Any]:
    """Both answers, and the chain in the second."""
    asking.ask(csr(asking.name, key), rid, **more)
    first, second = asking.next(), asking.next()
    assert (first.status, first.rid) == (202, rid)
    assert (second.status, second.rid) == (200, rid), second.body
    assert second.body["correlationId"] == first.body["correlationId"]
    return certificates(second.body["certificates"])


def ledger(story: Story) -> list[Any]:
    found = story.lab.registry.namespaces.get("contoso").certificates(NAME)
    return [entry.certificate for entry in found]


# ---- what is issued


@pytest.mark.parametrize("qos", [0, 1])
def test_it_is_told_202_and_then_gets_a_chain_that_opens_its_hub(
    story_managed: Story, device: PemDevice, tmp_path: Path, qos: int
) -> None:
    """Leaf, issuing CA, root; by the policy that signed the one before, for just its days, and on
    record."""
    story, key = story_managed, new_key()
    story.lab.clock.advance(days=5)
    with Asking(story.lab, device, qos=qos) as asking:
        chain = renewed(asking, key)
    now = story.lab.clock.now()
    namespace = story.lab.registry.namespaces.get("contoso")
    policy = namespace.policies.get(POLICY)
    assert chain[0].public_key() == key.public_key()
    assert chain[1:] == [policy.certificate, namespace.credential.certificate]
    left = chain[0].not_valid_after_utc - now
    assert timedelta(days=DAYS, minutes=-1) < left <= timedelta(days=DAYS)
    assert openssl_verify(tmp_path, chain[:2], chain[2:], now) == ""
    assert ledger(story) == [device.chain[0], chain[0]]
    story.lab.clock.advance(days=4)
    with Asking(story.lab, device) as old:
        assert old.code == 5, "what it had before is over"
    with Asking(story.lab, write_device(tmp_path / "next", key, tuple(chain))) as new:
        assert new.code == 0


def test_the_answer_says_until_when_it_is_kept(story_managed: Story, asking: Asking) -> None:
    """Twelve hours, by the lab's clock."""
    asking.ask(csr(NAME))
    expires = datetime.fromisoformat(asking.next().body["operationExpires"])
    left = expires - story_managed.lab.clock.now()
    assert timedelta(hours=11, minutes=59) < left <= timedelta(hours=12)


def test_one_after_the_other_both_succeed(asking: Asking) -> None:
    first = renewed(asking, new_key(), "rid-0001")
    second = renewed(asking, new_key(), "rid-0002")
    assert first[0].serial_number != second[0].serial_number


def test_the_same_key_within_an_hour_gets_the_same_certificate(
    story_managed: Story, asking: Asking
) -> None:
    """Its answer may have been lost on the line."""
    key = new_key()
    assert renewed(asking, key, "rid-0001") == renewed(asking, key, "rid-0002")
    assert len(ledger(story_managed)) == 2


def test_a_renewal_registers_nothing_with_dps(story_managed: Story, asking: Asking) -> None:
    before = story_managed.lab.dps.registrations.get(NAME).etag
    renewed(asking, new_key())
    assert story_managed.lab.dps.registrations.get(NAME).etag == before


# ---- refused at once


def _without(name: str) -> Callable[[], object]:
    return lambda: {k: v for k, v in {"id": NAME, "csr": csr(NAME)}.items() if k != name}


AT_ONCE: dict[str, tuple[Callable[[], object], int, str]] = {
    "empty body": (lambda: b"", 400004, "id and csr"),
    "broken JSON": (lambda: b'{"id": "x", "csr":', 400006, "is JSON"),
    "an array": (lambda: [1], 400004, "id and csr"),
    "no csr": (_without("csr"), 400004, "csr is base64"),
    "an empty csr": (lambda: {"id": NAME, "csr": ""}, 400004, "csr is base64"),
    "a csr that is a number": (lambda: {"id": NAME, "csr": 7}, 400004, "csr is base64"),
    "a csr of 10 KB": (lambda: {"id": NAME, "csr": "A" * 10_240}, 400004, "csr is base64"),
    "no base64": (lambda: {"id": NAME, "csr": "not base64!!@@##"}, 400004, "csr is base64"),
    "another's id": (lambda: {"id": "other", "csr": csr("other")}, 400004, "id is the device"),
    "no id": (_without("id"), 400004, "id is the device"),
    "an unknown field": (
        lambda: {"id": NAME, "csr": csr(NAME), "more": 1},
        400004,
        "and nothing else",
    ),
    "replace is too short": (
        lambda: {"id": NAME, "csr": csr(NAME), "replace": "123"},
        400004,
        "replace is",
    ),
    "replace ends with a dash": (
        lambda: {"id": NAME, "csr": csr(NAME), "replace": "rid-0001-"},
        400004,
        "replace is",
    ),
    "replace is a list": (
        lambda: {"id": NAME, "csr": csr(NAME), "replace": []},
        400004,
        "replace is",
    ),
}


@pytest.mark.parametrize("case", AT_ONCE)
def test_what_cannot_be_read_is_refused_at_once_and_explained(
    story_managed: Story, asking: Asking, case: str
) -> None:
    """In Azure's form, with a field ``info``; nothing is on record, and the next request is as good
    as any."""
    make, code, rule = AT_ONCE[case]
    asking.publish(make())
    heard = asking.next()
    assert (heard.status, heard.rid, heard.body["errorCode"]) == (code // 1000, "rid-0001", code)
    assert set(heard.body) == {"errorCode", "message", "trackingId", "timestampUtc", "info"}
    explained = story_managed.lab.explain(heard.body["trackingId"])
    assert explained.failure is not None
    assert rule in explained.failure.name
    assert explained.cures
    renewed(asking, new_key(), "rid-0002")


@pytest.mark.parametrize("rid", ["123", "-abcd", "abcd-", "x" * 37, "ab cd", "ä-uml"])
def test_a_request_id_that_can_be_none_is_refused(
    story_managed: Story, asking: Asking, rid: str
) -> None:
    asking.ask(csr(NAME), rid)
    assert asking.next().body["errorCode"] == 400004
    assert failed_check(story_managed.lab) == "the request ID can be one"


def test_without_a_request_id_nobody_is_answered(story_managed: Story, asking: Asking) -> None:
    """There is no topic to answer on; the connection goes on, and the lab can tell why."""
    asking.publish(
        {"id": NAME, "csr": csr(NAME)}, topic="$iothub/credentials/POST/issueCertificate/"
    )
    assert asking.is_silent()
    explained = story_managed.lab.explain(NAME)
    assert explained.failure is not None
    assert "$rid" in explained.failure.why
    renewed(asking, new_key())


# ---- refused behind the 202


def _pem(name: str) -> str:
    return base64.b64encode(load_der_x509_csr(csr_der(name)).public_bytes(Encoding.PEM)).decode()


BEHIND = {
    "no PKCS#10": lambda: base64.b64encode(b"no request at all").decode(),
    "base64 of PEM": lambda: _pem(NAME),
    "signature": lambda: tampered(NAME),
    "P-256": lambda: csr(NAME, new_key(ec.SECP256R1())),
    "RSA": lambda: csr(NAME, rsa_key()),
    "CN": lambda: csr("somebody-else"),
}


@pytest.mark.parametrize("case", BEHIND)
def test_a_request_that_is_not_signed_is_accepted_first(
    story_managed: Story, asking: Asking, case: str
) -> None:
    """202, and then 400037, under the same request ID and correlation ID; explained."""
    asking.ask(BEHIND[case]())
    accepted, heard = asking.next(), asking.next()
    assert (accepted.status, heard.status, heard.body["errorCode"]) == (202, 400, 400037)
    assert heard.rid == "rid-0001"
    assert heard.body["info"]["correlationId"] == accepted.body["correlationId"]
    assert story_managed.lab.explain(heard.body["trackingId"]).cures
    assert len(ledger(story_managed)) == 1
    renewed(asking, new_key(), "rid-0002")


def _delete_policy(story: Story) -> None:
    story.lab.registry.namespaces.get("contoso").policies.delete(POLICY)


def _unlink_hub(story: Story) -> None:
    story.lab.registry.namespaces.get("contoso").unlink("contoso-hub")


def _wait_for_years(story: Story) -> None:
    story.lab.clock.advance(days=1200)


CONFIGURED: dict[str, tuple[Callable[[Story], None], str]] = {
    "the policy is deleted": (_delete_policy, "has the credential policy"),
    "the hub is unlinked": (_unlink_hub, "is linked to the namespace"),
    "the policy's CA has expired": (
        _wait_for_years,
        "CA may sign now",
    ),
}


@pytest.mark.parametrize("case", CONFIGURED)
def test_what_is_nobodys_fault_on_the_device_is_400040(
    story_managed: Story, asking: Asking, case: str
) -> None:
    change, rule = CONFIGURED[case]
    change(story_managed)
    asking.ask(csr(NAME))
    assert asking.next().status == 202
    heard = asking.next()
    assert (heard.status, heard.body["errorCode"]) == (400, 400040)
    assert rule in failed_check(story_managed.lab, heard.body["trackingId"])


def test_a_device_that_was_never_issued_one_renews_none(story: Story, tmp_path: Path) -> None:
    """It is known to its hub by the thumbprint of what it was made with."""
    managed(story)
    device = pem_device(story, tmp_path / "bare", "widget-bare")
    by_thumbprint = ProvisioningClient(story.lab.network, device.name, Files(device), "mqtt")
    by_thumbprint.register()
    with Asking(story.lab, device) as asking:
        asking.ask(csr(device.name))
        assert asking.next().status == 202
        assert asking.next().body["errorCode"] == 400040
    explained = story.lab.explain(device.name)
    assert "provision(csr=...)" in explained.cures[0]


@pytest.mark.parametrize(
    ("error", "code"), [(TokenError("the token is gone"), 503001), (ValueError("a bug"), 500001)]
)
def test_a_registry_that_cannot_sign_says_so_and_signs_later(
    asking: Asking, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int
) -> None:
    """Nobody waits twelve hours for an answer that will not come."""

    def broken(*_: Any, **__: Any) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(Authority, "issue", broken)
        asking.ask(csr(NAME))
        assert asking.next().status == 202
        heard = asking.next()
    assert (heard.status, heard.body["errorCode"]) == (code // 1000, code)
    renewed(asking, new_key(), "rid-0002")


def test_a_device_that_is_disabled_meanwhile_gets_no_certificate(
    story_managed: Story, asking: Asking, held: threading.Event
) -> None:
    """Its connection ends, and what it had asked for is decided against it: there are no lists of
    revoked certificates, and the disabled identity takes their place."""
    story = story_managed
    story.lab.hub().devices.disable(NAME, "stolen")
    held.set()
    assert asking.ended.wait(PATIENCE)
    begun = story.lab.hub().ask_certificate(NAME, "rid-0009", _body(csr(NAME)))
    assert begun.correlation_id
    story.lab.hub().bring_certificate(NAME)
    explained = story.lab.explain(NAME)
    assert explained.failure is not None
    assert "disabled in contoso-hub, because: stolen" in explained.failure.why
    assert len(ledger(story)) == 1


def _body(request: str) -> bytes:
    return b'{"id": "%s", "csr": "%s"}' % (NAME.encode(), request.encode())


def test_a_disabled_device_gets_none_from_dps_either(
    story_managed: Story, device: PemDevice, tmp_path: Path
) -> None:
    story = story_managed
    onboarding = pem_device(story, tmp_path / "again", NAME)
    story.lab.hub().devices.disable(NAME)
    proof = Files(onboarding)
    client = ProvisioningClient(story.lab.network, NAME, proof, "mqtt", csr(NAME))
    with pytest.raises(ProvisioningFailed) as caught:
        client.register()
    assert caught.value.refused
    assert failed_check(story.lab, NAME) == "the hub has not disabled the device's identity"
    assert len(ledger(story)) == 1


# ---- one at a time


def test_a_second_request_is_told_of_the_first(
    story_managed: Story, asking: Asking, held: threading.Event
) -> None:
    """409, with what the first is called, until when it lasts and by what it is followed; and the
    first ends as if nothing had been."""
    asking.ask(csr(NAME), "rid-0001")
    accepted = asking.next()
    asking.ask(csr(NAME), "rid-0002")
    heard = asking.next()
    assert (heard.status, heard.rid, heard.body["errorCode"]) == (409, "rid-0002", 409004)
    assert heard.body["info"] == {"requestId": "rid-0001", **accepted.body}
    assert failed_check(story_managed.lab) == "no other request of the device is under way"
    held.set()
    assert (asking.next().rid, len(ledger(story_managed))) == ("rid-0001", 2)


@pytest.mark.parametrize("replace", ["*", "rid-0001"])
def test_a_second_request_may_take_the_place_of_the_first(
    story_managed: Story, asking: Asking, held: threading.Event, replace: str
) -> None:
    """Only the newer one is answered; what was signed for the older is on record all the same."""
    asking.ask(csr(NAME), "rid-0001")
    asking.next()
    key = new_key()
    asking.ask(csr(NAME, key), "rid-0002", replace=replace)
    assert (asking.next().status, asking.is_silent()) == (202, True)
    held.set()
    heard = asking.next()
    assert (heard.status, heard.rid) == (200, "rid-0002")
    assert certificates(heard.body["certificates"])[0].public_key() == key.public_key()
    assert asking.is_silent()
    assert len(ledger(story_managed)) == 3


def test_there_may_be_nothing_to_replace(story_managed: Story, asking: Asking) -> None:
    """412 for a name that is not under way; whoever says * takes what there is, and there may be
    none."""
    asking.ask(csr(NAME), "rid-0002", replace="rid-0001")
    heard = asking.next()
    assert (heard.status, heard.body["errorCode"]) == (412, 412001)
    assert heard.body["info"] == {"requestId": "rid-0001"}
    assert failed_check(story_managed.lab) == "the request that is to be replaced is under way"
    renewed(asking, new_key(), "rid-0003", replace="*")


def test_only_so_many_devices_may_wait(
    story_managed: Story, asking: Asking, held: threading.Event
) -> None:
    """429, for the device that would be one too many."""
    story_managed.lab.registry.most_renewals_waiting = 0
    asking.ask(csr(NAME))
    heard = asking.next()
    assert (heard.status, heard.body["errorCode"]) == (429, 429002)
    assert "most_renewals_waiting" in story_managed.lab.explain().cures[1]


def test_a_request_that_comes_while_nothing_was_found_to_do_is_decided_all_the_same(
    story_managed: Story, asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After each SUBSCRIBE somebody looks what there is to be brought. A request that was put on
    record between that look and its end was left to them, and they had looked: nobody signed."""
    look, looked = Renewals._found, threading.Event()

    def find(self: Renewals, key: tuple[str, str]) -> Any:
        found = look(self, key)
        if not looked.is_set():
            looked.set()
            asking.ask(csr(NAME))
            assert asking.next().status == 202
            time.sleep(0.3)  # for who is to decide on it, and finds somebody at work
        return found

    monkeypatch.setattr(Renewals, "_found", find)
    story_managed.lab.hub().bring_certificate(NAME)
    assert asking.next().status == 200


def test_nobody_waits_for_the_signature_of_another(
    story_managed: Story, asking: Asking, held: threading.Event
) -> None:
    """Nor the device that asked: it goes on sending while a token takes its time."""
    story = story_managed
    asking.ask(csr(NAME))
    assert asking.next().status == 202
    asking.publish(b"{}", topic=f"devices/{NAME}/messages/events/")
    assert story.lab.hub().message_count() == 1
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(story.widget.provision).result(PATIENCE).status == "assigned"
    held.set()
    assert asking.next().status == 200


# ---- a device that is away, or does not listen


def leave_behind(story: Story, device: PemDevice, **how: Any) -> Heard:
    """Asks, hears the 202, and is gone before there is an answer."""
    with Asking(story.lab, device, **how) as asking:
        asking.ask(csr(NAME))
        return asking.next()


@pytest.mark.parametrize("clean", [True, False])
def test_the_answer_waits_for_a_device_that_was_away(
    story_managed: Story, device: PemDevice, held: threading.Event, clean: bool
) -> None:
    """Who keeps the session need not subscribe anew, who begins a clean one does."""
    story = story_managed
    accepted = leave_behind(story, device, clean=clean)
    held.set()
    eventually(lambda: len(ledger(story)) == 2)
    with Asking(story.lab, device, listens=False, clean=clean) as asking:
        if clean:
            assert asking.is_silent(), "it listens to nothing yet"
            asking.listen()
        heard = asking.next()
        assert (heard.status, heard.rid) == (200, "rid-0001")
        assert heard.body["correlationId"] == accepted.body["correlationId"]
    with Asking(story.lab, device, clean=clean) as asking:
        assert asking.is_silent(), "it had it"


def test_whoever_stops_listening_gets_it_when_it_listens_again(
    asking: Asking, held: threading.Event
) -> None:
    asking.ask(csr(NAME))
    assert asking.next().status == 202
    asking.unlisten()
    held.set()
    assert asking.is_silent()
    asking.listen()
    assert asking.next().status == 200


def test_whoever_never_listens_gets_nothing(story_managed: Story, device: PemDevice) -> None:
    with Asking(story_managed.lab, device, listens=False) as asking:
        asking.ask(csr(NAME))
        eventually(lambda: len(ledger(story_managed)) == 2)
        assert asking.is_silent()


def test_an_answer_that_waits_keeps_the_next_request_out(
    story_managed: Story, device: PemDevice
) -> None:
    """409005 in place of 409004: it is decided already, and only has to be listened to."""
    with Asking(story_managed.lab, device, listens=False) as asking:
        asking.ask(csr(NAME))
        eventually(lambda: len(ledger(story_managed)) == 2)
    eventually(lambda: story_managed.lab.hub().connected() == [])
    with Asking(story_managed.lab, device, listens=False) as asking:
        asking.ask(csr(NAME), "rid-0002")
        eventually(lambda: failed_check(story_managed.lab) != "")
    refusal = story_managed.lab.cloud.refusals.last(NAME)
    assert refusal is not None
    assert refusal.code == "409005"


@pytest.mark.parametrize(("hours", "more"), [(13, {}), (0, {"replace": "*"})])
def test_what_takes_the_place_of_a_decided_request_gets_a_certificate_of_its_own(
    story_managed: Story, device: PemDevice, hours: int, more: dict[str, str]
) -> None:
    """Its device never heard the answer, which is too old by now or is to be replaced: it is gone
    with the request, and is not brought as the answer to the next one."""
    with Asking(story_managed.lab, device, listens=False) as asking:
        asking.ask(csr(NAME))
        eventually(lambda: len(ledger(story_managed)) == 2)
        story_managed.lab.clock.advance(hours=hours)
        key = new_key()
        asking.ask(csr(NAME, key), "rid-0002", **more)
        eventually(lambda: len(ledger(story_managed)) == 3)
        asking.listen()
        heard = asking.next()
    assert (heard.status, heard.rid) == (200, "rid-0002")
    assert certificates(heard.body["certificates"])[0].public_key() == key.public_key()


def test_after_twelve_hours_nobody_waits_any_more(
    story_managed: Story, device: PemDevice, held: threading.Event
) -> None:
    """By the lab's clock: the answer is not brought, and another may ask."""
    leave_behind(story_managed, device)
    held.set()
    eventually(lambda: len(ledger(story_managed)) == 2)
    story_managed.lab.clock.advance(hours=13)
    with Asking(story_managed.lab, device) as asking:
        assert asking.is_silent()
        renewed(asking, new_key(), "rid-0002")


def test_an_identity_that_is_deleted_takes_its_request_along(
    story_managed: Story, device: PemDevice, held: threading.Event
) -> None:
    story = story_managed
    leave_behind(story, device)
    story.lab.hub().devices.delete(NAME)
    held.set()
    story.lab.hub().devices.create(NAME, ca=True)
    with Asking(story.lab, device) as asking:
        assert asking.is_silent()
