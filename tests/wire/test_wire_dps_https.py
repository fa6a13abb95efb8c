"""DPS over HTTPS, as devices meet it: the standard library's client, and no code of the lab."""

from __future__ import annotations

import base64
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from https_clients import Answer, Client, back_end, client, sign
from stories import PemDevice, Story, pem_device

API = "api-version=2019-03-31"

MakeDevice = Callable[..., PemDevice]
Dial = Callable[[PemDevice], Client]


@pytest.fixture
def make(shared: Story, tmp_path: Path) -> MakeDevice:
    """PEM devices below Technician-Z."""
    return lambda name, sends=3: pem_device(shared, tmp_path / "pem", name, sends=sends)


@pytest.fixture
def client_of(shared: Story) -> Iterator[Dial]:
    with ExitStack() as leaving:

        def dial(device: PemDevice) -> Client:
            files = {"chain_file": device.chain_file, "key_file": device.key_file}
            return leaving.enter_context(client(shared.lab, **files))

        yield dial


def at(story: Story, device: str, rest: str = "", query: str = API) -> str:
    return f"/{story.lab.dps.id_scope}/registrations/{device}{rest}?{query}"


def assert_azures_error(answer: Answer, status: int, code: int) -> str:
    """Body and headers as Azure sends them; returns the tracking ID."""
    assert answer.status == status
    assert set(answer.json) == {"errorCode", "trackingId", "message", "timestampUtc"}
    assert answer.json["errorCode"] == code
    assert answer.headers["x-ms-error-code"] == str(code)
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.headers["x-ms-request-id"] == answer.json["trackingId"]
    return str(answer.json["trackingId"])


def test_a_device_registers_and_is_assigned_at_once(
    shared: Story, make: MakeDevice, client_of: Dial
) -> None:
    device = make("https-assigned")
    body = {"registrationId": device.name}
    answer = client_of(device).ask("PUT", at(shared, device.name, "/register"), body)
    assert answer.status == 200
    assert uuid.UUID(answer.headers["x-ms-request-id"])
    state = answer.json["registrationState"]
    assert answer.json["status"] == state["status"] == "assigned"
    assert state["assignedHub"] == "contoso-hub.azure-devices.net"
    assert state["deviceId"] == state["registrationId"] == device.name
    assert state["x509"] == {"enrollmentGroupId": "smart-x-widgets"}
    stamp = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z"
    assert re.fullmatch(stamp, state["createdDateTimeUtc"])
    quoted = base64.b64decode(state["etag"]).decode()
    assert quoted[0] == quoted[-1] == '"'


def test_an_assignment_under_way_is_202_with_its_location_and_then_200(
    shared: Story, make: MakeDevice, client_of: Dial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared.lab.dps, "assignment_delay", 60)
    device = make("https-waits")
    opened = client_of(device)
    query = "api-version=2025-07-01-preview"
    answer = opened.ask("PUT", at(shared, device.name, "/register", query), {})
    assert answer.status == 202
    assert answer.headers["retry-after"] == "3"
    assert answer.json["status"] == "assigning"
    where = answer.headers["location"]
    host = f"https://{shared.lab.listener.host}:{shared.lab.listener.https_port}"
    operation = answer.json["operationId"]
    assert where == host + at(shared, device.name, f"/operations/{operation}", query)
    pending = opened.ask("GET", where.removeprefix(host), {})
    assert (pending.status, pending.json["status"]) == (202, "assigning")
    assert pending.headers["retry-after"] == "3"
    shared.lab.clock.advance(seconds=61)
    done = opened.ask("GET", where.removeprefix(host))
    assert (done.status, done.json["status"]) == (200, "assigned")
    assert done.json["operationId"] == operation
    assert "retry-after" not in done.headers


def test_a_get_may_carry_a_body_as_nodes_does(
    shared: Story, make: MakeDevice, client_of: Dial
) -> None:
    device = make("https-node")
    opened = client_of(device)
    operation = opened.ask("PUT", at(shared, device.name, "/register"), {}).json["operationId"]
    answer = opened.ask("GET", at(shared, device.name, f"/operations/{operation}"), {})
    assert answer.json["status"] == "assigned"


def test_a_status_lookup_is_the_bare_registration(
    shared: Story, make: MakeDevice, client_of: Dial
) -> None:
    device = make("https-lookup")
    opened = client_of(device)
    path = at(shared, device.name)
    assert_azures_error(opened.ask("POST", path, {"registrationId": device.name}), 404, 404202)
    opened.ask("PUT", at(shared, device.name, "/register"), {})
    answer = opened.ask("POST", path, {"registrationId": device.name})
    assert answer.status == 200
    assert answer.json["status"] == "assigned"
    assert "operationId" not in answer.json
    assert_azures_error(opened.ask("POST", path, {"csr": "MII="}), 400, 400004)


def test_the_payload_of_a_request_is_not_the_answers(
    shared: Story, make: MakeDevice, client_of: Dial
) -> None:
    """It is for a webhook; a device gets back what that has for it, which here is nothing."""
    device = make("https-payload")
    body = {"registrationId": device.name, "payload": {"model": 7}}
    answer = client_of(device).ask("PUT", at(shared, device.name, "/register"), body)
    assert "payload" not in answer.json["registrationState"]


@pytest.mark.parametrize("body", [b"nonsense", b"[]", b"1", b'{"registrationId": "somebody-else"}'])
def test_what_is_no_registration_is_400(
    shared: Story, make: MakeDevice, client_of: Dial, body: bytes
) -> None:
    device = make(f"https-bad-{len(body)}")
    answer = client_of(device).ask("PUT", at(shared, device.name, "/register"), body)
    tracking_id = assert_azures_error(answer, 400, 400004)
    assert shared.lab.explain(tracking_id).cures


def test_a_chain_that_is_cut_off_is_azures_401_and_the_lab_knows_why(
    shared: Story, make: MakeDevice, client_of: Dial
) -> None:
    device = make("https-leaf-only", sends=1)
    answer = client_of(device).ask("PUT", at(shared, device.name, "/register"), {})
    tracking_id = assert_azures_error(answer, 401, 401002)
    assert "Technician" not in answer.body.decode()
    assert "CN=Technician-Z CA" in str(shared.lab.explain(tracking_id))


def test_no_proof_at_all_is_401(shared: Story) -> None:
    with client(shared.lab) as opened:
        answer = opened.ask("PUT", at(shared, "https-nobody", "/register"), {})
        assert_azures_error(answer, 401, 401002)


def test_another_scope_is_401(shared: Story, make: MakeDevice, client_of: Dial) -> None:
    device = make("https-scope")
    path = f"/0ne00000000/registrations/{device.name}/register?{API}"
    assert_azures_error(client_of(device).ask("PUT", path, {}), 401, 401002)


def test_an_operation_is_its_devices_alone(
    shared: Story, make: MakeDevice, client_of: Dial
) -> None:
    owner, curious = make("https-owner"), make("https-curious")
    operation = (
        client_of(owner).ask("PUT", at(shared, owner.name, "/register"), {}).json["operationId"]
    )
    opened = client_of(curious)
    rest = f"/operations/{operation}"
    assert_azures_error(opened.ask("GET", at(shared, owner.name, rest)), 401, 401002)
    assert_azures_error(opened.ask("GET", at(shared, curious.name, rest)), 404, 404202)


# ---- symmetric keys


def test_a_symmetric_key_proves_a_device_too(shared: Story) -> None:
    """The token is the Authorization header; ``skn=registration`` may be there."""
    key = base64.b64encode(b"k" * 32).decode()
    attestation = {"type": "symmetricKey", "symmetricKey": {"primaryKey": key}}
    with back_end(shared.lab) as owner:
        entry = {"registrationId": "https-key", "attestation": attestation}
        assert owner.ask("PUT", f"/enrollments/https-key?{API}", entry).status == 200
    resource = f"{shared.lab.dps.id_scope}%2Fregistrations%2Fhttps-key"
    path = at(shared, "https-key", "/register")
    with client(shared.lab) as opened:
        for policy in ("", "registration"):
            answer = opened.ask("PUT", path, {}, Authorization=sign(resource, key, policy=policy))
            assert answer.json["registrationState"]["deviceId"] == "https-key"
            assert answer.json["registrationState"]["symmetricKey"] == {}
        other = base64.b64encode(b"o" * 32).decode()
        for token in (sign(resource, other), sign(resource, key, seconds=-10), "nonsense"):
            assert_azures_error(opened.ask("PUT", path, {}, Authorization=token), 401, 401002)


def test_a_symmetric_key_never_shows_in_the_log(shared: Story) -> None:
    key = base64.b64encode(b"s" * 32).decode()
    attestation = {"type": "symmetricKey", "symmetricKey": {"primaryKey": key}}
    entry = {"registrationId": "https-secret", "attestation": attestation}
    with back_end(shared.lab) as owner:
        answer = owner.ask("PUT", f"/enrollments/https-secret?{API}", entry)
        assert answer.json["attestation"]["symmetricKey"]["primaryKey"] == key
        owner.ask("POST", f"/enrollments/https-secret/attestationmechanism?{API}")
    assert [e for e in shared.lab.events.about(source="https") if "https-secret" in e.text]
    assert not [e for e in shared.lab.events if key in repr(e)]


# ---- throttling


def test_too_much_is_429_with_retry_after(
    shared: Story, make: MakeDevice, client_of: Dial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared.lab.dps.limits, "polling", True)
    device = make("https-throttled")
    opened = client_of(device)
    operation = opened.ask("PUT", at(shared, device.name, "/register"), {}).json["operationId"]
    path = at(shared, device.name, f"/operations/{operation}")
    answers = [opened.ask("GET", path) for _ in range(6)]
    assert [answer.status for answer in answers] == [200] * 5 + [429]
    assert_azures_error(answers[-1], 429, 429001)
    assert int(answers[-1].headers["retry-after"]) >= 1


# ---- one port for all


def test_the_host_header_says_which_service_is_meant(shared: Story) -> None:
    """Where DPS and the hubs share a port; by address, a port is that of its own service."""
    hub_port = shared.lab.listener.hub_ports["contoso-hub"]
    dps, hub = "global.azure-devices-provisioning.net", "contoso-hub.azure-devices.net:8443"
    path = at(shared, "https-hosts", "/register")
    for port, host, served in (
        (0, "", True),
        (0, dps, True),
        (0, dps.upper(), True),
        (0, hub, False),
        (hub_port, "", False),
        (hub_port, hub, False),
        (hub_port, "lab-dps.azure-devices-provisioning.net:443", True),
    ):
        with client(shared.lab, port=port) as opened:
            named = {"Host": host} if host else {}
            assert (opened.ask("PUT", path, {}, **named).status == 401) is served
