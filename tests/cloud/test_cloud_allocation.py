"""To which hub: hashed, nearest, static, and a webhook's choice. And what happens the next time."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import forge
import pytest
from complaints import refused
from provisioning import HUBS, Emulated, emulated, host

from labkit.cloud.dps.allocation import WebhookAnswer
from labkit.cloud.dps.entries import (
    CUSTOM,
    GEO_LATENCY,
    MIGRATE,
    NEVER,
    RESET,
    STATIC,
    Capabilities,
    CustomAllocation,
    EnrollmentGroup,
    InitialTwin,
    ReprovisionPolicy,
)
from labkit.errors import LabError, NotFound, ServiceRefusal
from labkit.wire import webhook

NAME = "widget-1"
HOOK = CustomAllocation("http://127.0.0.1:1/choose", "2021-10-01")


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Emulated]:
    with emulated(tmp_path / "cloud") as opened:
        yield opened


class Fleet:
    """A root, its group, and the devices below it."""

    def __init__(self, service: Emulated, **options: Any) -> None:
        self.service, self.root = service, forge.ca("R")
        self.devices: dict[str, forge.Forged] = {}
        service.trust(self.root)
        service.dps.enrollment_groups.create("fleet", signing=self.root.certificate, **options)

    def change(self, **options: Any) -> EnrollmentGroup:
        groups = self.service.dps.enrollment_groups
        return groups.update(replace(groups.get("fleet"), **options))

    def hub(self, name: str = NAME, **options: Any) -> str:
        """The first label of the hub that a device is assigned to."""
        return self.register(name, **options).assigned_hub.partition(".")[0]

    def register(self, name: str = NAME, **options: Any) -> Any:
        device = self.devices.setdefault(name, forge.device(name, self.root))
        return self.service.register(name, device, **options)

    def operation(self, name: str = NAME, **options: Any) -> Any:
        device = self.devices.setdefault(name, forge.device(name, self.root))
        return self.service.operation(name, device, **options)

    def poll(self, operation: Any, name: str = NAME) -> Any:
        caller = self.service.caller(name, self.devices[name])
        return self.service.dps.operation(caller, operation.operation_id)


# ---- hashed


def test_devices_are_spread_by_the_hubs_weights(service: Emulated) -> None:
    fleet = Fleet(service)
    for name, weight in zip(HUBS, (1, 3, 0), strict=True):
        service.dps.linked_hubs.link(name, weight=weight)
    found = Counter(fleet.hub(f"widget-{number}") for number in range(120))
    assert found["gamma-hub"] == 0
    assert 14 <= found["alpha-hub"] <= 46, "a quarter of 120, four standard deviations about"
    assert sum(found.values()) == 120


def test_the_entrys_hubs_are_the_only_candidates(service: Emulated) -> None:
    fleet = Fleet(service, hubs=(host("beta-hub"), host("gamma-hub")))
    assert {fleet.hub(f"widget-{n}") for n in range(12)} == {"beta-hub", "gamma-hub"}


def test_a_new_hub_moves_nobody(service: Emulated) -> None:
    fleet = Fleet(service)
    names = [f"widget-{n}" for n in range(10)]
    before = {name: fleet.hub(name) for name in names}
    service.cloud.hubs.add("delta-hub")
    assert {name: fleet.hub(name) for name in names} == before


def test_a_hub_that_is_unlinked_gets_no_more_devices_and_keeps_its_twin(
    service: Emulated,
) -> None:
    fleet = Fleet(service)
    gone = fleet.hub()
    service.dps.linked_hubs.unlink(gone)
    record = fleet.register()
    assert record.assigned_hub != host(gone)
    assert record.substatus == "deviceDataMigrated"


def test_without_a_linked_hub_the_registration_fails_and_says_why(service: Emulated) -> None:
    fleet = Fleet(service)
    for name in HUBS:
        service.dps.linked_hubs.unlink(name)
    operation = fleet.operation()
    assert operation.status == "failed"
    assert operation.registration.error_code == 400208
    assert "no hub is linked" in service.why()
    service.dps.linked_hubs.link(HUBS[0])
    record = fleet.register()
    assert (record.error_code, record.error_message) == (0, "")


# ---- nearest, static, default


def test_the_nearest_hub_by_the_latencies_that_the_lab_declares(service: Emulated) -> None:
    fleet = Fleet(service, allocation=GEO_LATENCY)
    for name, latency in zip(HUBS, (80, 20, 150), strict=True):
        service.dps.linked_hubs.link(name, latency=latency)
    assert fleet.hub() == "beta-hub"
    service.dps.linked_hubs.declare_latency("Widget-2", "gamma-hub", 5)
    assert fleet.hub("widget-2") == "gamma-hub", "a device that lives somewhere else"
    service.dps.linked_hubs.link("alpha-hub", latency=1)
    assert fleet.hub() == "alpha-hub", "it is chosen anew at each registration"


def test_hubs_that_are_equally_near_share_the_devices_by_their_weights(service: Emulated) -> None:
    """Azure documentation, DPS: how to use allocation policies."""
    fleet = Fleet(service, allocation=GEO_LATENCY)
    for name, latency, weight in zip(HUBS, (20, 20, 90), (1, 3, 100), strict=True):
        service.dps.linked_hubs.link(name, latency=latency, weight=weight)
    found = Counter(fleet.hub(f"widget-{number}") for number in range(80))
    assert set(found) == {"alpha-hub", "beta-hub"}
    assert found["beta-hub"] > found["alpha-hub"]


def test_static_is_the_hub_that_the_entry_names(service: Emulated) -> None:
    fleet = Fleet(service, allocation=STATIC, hub=host("gamma-hub"))
    assert {fleet.hub(f"widget-{n}") for n in range(5)} == {"gamma-hub"}


def test_a_static_hub_that_is_not_linked_fails(service: Emulated) -> None:
    fleet = Fleet(service, allocation=STATIC, hub=host("elsewhere"))
    operation = fleet.operation()
    assert (operation.status, operation.registration.error_code) == ("failed", 400208)
    assert host("elsewhere") in service.why()


def test_an_entry_overrides_the_services_own_policy(service: Emulated) -> None:
    service.dps.allocation_policy = GEO_LATENCY
    service.dps.linked_hubs.link("beta-hub", latency=1)
    fleet = Fleet(service)
    assert fleet.hub() == "beta-hub"
    fleet.change(allocation_policy=STATIC, iot_hub_host_name=host("alpha-hub"))
    assert fleet.hub() == "alpha-hub"


def test_linking_says_what_it_cannot_do(service: Emulated) -> None:
    with refused(LabError, "weight"):
        service.dps.linked_hubs.link("alpha-hub", weight=-1)
    with refused(NotFound, "no hub"):
        service.dps.linked_hubs.link("no-such-hub")
    with refused(NotFound, "linked: alpha-hub, beta-hub, gamma-hub"):
        service.dps.linked_hubs.get("no-such-hub")


# ---- custom


def answering(
    service: Emulated, status: int = 200, body: Mapping[str, Any] | bytes = b"{}"
) -> list[tuple[str, dict[str, Any]]]:
    """A webhook that always says this; returns what it was sent."""
    asked: list[tuple[str, dict[str, Any]]] = []

    def ask(url: str, sent: bytes) -> WebhookAnswer:
        asked.append((url, json.loads(sent)))
        return WebhookAnswer(status, body if isinstance(body, bytes) else json.dumps(body).encode())

    service.dps.webhook = ask
    return asked


def test_the_webhook_chooses_hub_twin_and_payload(service: Emulated) -> None:
    fleet = Fleet(service, allocation=CUSTOM, webhook=HOOK, hubs=tuple(map(host, HUBS[:2])))
    twin = {"tags": {"by": "hook"}, "properties": {"desired": {"rate": 1}}}
    answer = {"iotHubHostName": host("beta-hub"), "initialTwin": twin, "payload": {"hello": 1}}
    asked = answering(service, 200, answer)
    record = fleet.register(payload={"model": "x"})
    assert (record.assigned_hub, record.payload) == (host("beta-hub"), {"hello": 1})
    found = service.cloud.hubs.get("beta-hub").twin(NAME)
    assert (found.tags, found.desired) == ({"by": "hook"}, {"rate": 1})
    ((url, sent),) = asked
    assert url == HOOK.webhook_url
    assert sent["linkedHubs"] == [host("alpha-hub"), host("beta-hub")]
    assert sent["enrollmentGroup"]["enrollmentGroupId"] == "fleet"
    context = sent["deviceRuntimeContext"]
    assert (context["registrationId"], context["payload"]) == (NAME, {"model": "x"})
    assert set(context["x509"]) == {"clientCertificate"}
    fleet.register()
    assert asked[1][1]["deviceRuntimeContext"]["currentIotHubHostName"] == host("beta-hub")


def _answer(more: bytes) -> bytes:
    return b'{"iotHubHostName": "%s", %s}' % (host(HUBS[0]).encode(), more)


FAILURES: dict[str, tuple[int, bytes, int]] = {
    "an error of its own": (400, b"{}", 400207),
    "not found": (404, b"", 400207),
    "no answer at all": (0, b"it cannot be reached", 400207),
    "no JSON": (200, b"<html>", 400207),
    "a hub that is not linked": (200, b'{"iotHubHostName": "x.azure-devices.net"}', 400207),
    "NaN": (200, _answer(b'"payload": NaN'), 400207),
    "a number that JSON has no name for": (200, _answer(b'"payload": 1e999'), 400207),
    "a twin that no hub keeps": (200, _answer(b'"initialTwin": {"tags": {"a.b": 1}}'), 400207),
    "no hub": (200, b"{}", 400208),
    "an empty hub": (200, b'{"iotHubHostName": ""}', 400208),
    "null for a hub": (200, b'{"iotHubHostName": null}', 400208),
    "unauthorized": (401, b"", 400209),
}


@pytest.mark.parametrize(("status", "body", "code"), FAILURES.values(), ids=FAILURES.keys())
def test_a_webhook_that_fails(service: Emulated, status: int, body: bytes, code: int) -> None:
    """Azure documentation, DPS: custom allocation policies, the troubleshooting table."""
    fleet = Fleet(service, allocation=CUSTOM, webhook=HOOK)
    answering(service, status, body)
    operation = fleet.operation()
    assert (operation.status, operation.registration.error_code) == ("failed", code)
    assert fleet.poll(operation) == operation
    assert service.dps.registrations.get(NAME).status == "failed"
    last = service.cloud.refusals.last(NAME)
    assert last is not None
    assert last.code == str(code)


def test_a_busy_webhook_is_asked_again_later(service: Emulated) -> None:
    fleet = Fleet(service, allocation=CUSTOM, webhook=HOOK)
    asked = answering(service, 503)
    operation = fleet.operation(payload="kept")
    assert (operation.status, operation.registration) == ("assigning", None)
    assert operation.retry_after > 0
    assert fleet.poll(operation).status == "assigning"
    assert len(asked) == 1, "not before it is time"
    answering(service, 200, {"iotHubHostName": host("alpha-hub")})
    service.clock.advance(seconds=2)
    done = fleet.poll(operation)
    assert (done.status, done.operation_id) == ("assigned", operation.operation_id)


def test_a_webhook_that_stays_busy_fails_after_ten_times(service: Emulated) -> None:
    fleet = Fleet(service, allocation=CUSTOM, webhook=HOOK)
    asked = answering(service, 429)
    operation = fleet.operation(payload={"n": 1})
    for _ in range(10):
        service.clock.advance(seconds=100)
        found = fleet.poll(operation)
    assert (found.status, found.registration.error_code) == ("failed", 400207)
    assert len(asked) == 11
    assert all(sent["deviceRuntimeContext"]["payload"] == {"n": 1} for _, sent in asked)


def test_a_second_registration_while_the_webhook_thinks_is_409(service: Emulated) -> None:
    """sdk-c, common_prov_e2e: 409203."""
    fleet = Fleet(service, allocation=CUSTOM, webhook=HOOK)
    inside, go_on = threading.Event(), threading.Event()

    def slow(_url: str, _sent: bytes) -> WebhookAnswer:
        inside.set()
        assert go_on.wait(5)
        return WebhookAnswer(200, json.dumps({"iotHubHostName": host("beta-hub")}).encode())

    service.dps.webhook = slow
    fleet.devices[NAME] = forge.device(NAME, fleet.root)
    first = threading.Thread(target=fleet.hub)
    first.start()
    assert inside.wait(5)
    with refused(ServiceRefusal, "409203"):
        fleet.operation()
    go_on.set()
    first.join(5)
    assert service.dps.registrations.get(NAME).status == "assigned"


@pytest.fixture
def web() -> Iterator[Callable[[int, bytes], str]]:
    """A real HTTP server that gives one answer."""
    servers = []

    def serve(status: int, body: bytes) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                sent = self.rfile.read(int(self.headers["Content-Length"]))
                assert json.loads(sent)
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        server = HTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}/choose?code=secret"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(("status", "code"), [(200, 0), (401, 400209), (404, 400207)])
def test_a_real_webhook_is_called(
    service: Emulated, web: Callable[[int, bytes], str], status: int, code: int
) -> None:
    service.dps.webhook = webhook.post
    answer = json.dumps({"iotHubHostName": host("gamma-hub")}).encode()
    hook = CustomAllocation(web(status, answer), "2021-10-01")
    operation = Fleet(service, allocation=CUSTOM, webhook=hook).operation()
    assert operation.registration.error_code == code
    assert operation.status == ("failed" if code else "assigned")


def test_a_webhook_that_cannot_be_reached_fails(service: Emulated) -> None:
    service.dps.webhook = webhook.post
    assert Fleet(service, allocation=CUSTOM, webhook=HOOK).operation().registration.error_code == (
        400207
    )


NO_URLS = {
    "": "missing",
    "x": "'x'",
    "ftp://127.0.0.1/choose": "'ftp://127.0.0.1/choose'",
    "file:///etc/passwd": "'file:///etc/passwd'",
    "http://": "'http:",
    "http://[::1": "'…'",
    "http://127.0.0.1:x/": "'…'",
    "http://127.0.0.1:0/": "'…'",
    "http://127.0.0.1/ choose": "with a blank",
    "http://127.0.0.1/wählen": "not ASCII",
    "http://127.0.0.1/" + "x" * 2_000: "a text of 2,017 characters",
}
"""What is no URL of a webhook, and what the refusal tells of it."""


@pytest.mark.parametrize(("url", "found"), NO_URLS.items())
def test_a_webhook_that_is_none_is_refused_when_it_is_named(
    service: Emulated, url: str, found: str
) -> None:
    with refused(ServiceRefusal, "400004", found, "an http or https URL") as caught:
        Fleet(service, allocation=CUSTOM, webhook=CustomAllocation(url, "2021-10-01"))
    assert "webhookUrl" in caught.error.checks[-1].name
    assert webhook.post(url, b"{}").status == 0, "one that was kept before is not asked either"


def test_a_webhook_has_the_version_of_its_request(service: Emulated) -> None:
    with refused(ServiceRefusal, "400004", "missing", "such as 2021-10-01"):
        Fleet(service, allocation=CUSTOM, webhook=CustomAllocation(HOOK.webhook_url, ""))


@pytest.mark.parametrize("scheme", ["http", "ftp"])
def test_a_functions_key_is_in_no_log(
    service: Emulated, caplog: pytest.LogCaptureFixture, scheme: str
) -> None:
    """Not where the entry is refused, nor where it is taken and the webhook is not reached; nor
    in what Python prints of it."""
    caplog.set_level("DEBUG")
    service.dps.webhook = webhook.post
    url = f"{scheme}://user:s3cret@127.0.0.1:1/choose?code=s3cret#s3cret"
    hook = CustomAllocation(url, "2021-10-01")
    with suppress(ServiceRefusal):
        Fleet(service, allocation=CUSTOM, webhook=hook).operation()
    kept = [str(refusal.checks) for refusal in service.cloud.refusals.since(0)]
    assert "127.0.0.1:1" in "".join(kept), "what may be told is told"
    told = [*kept, repr(hook), caplog.text, *map(str, service.events)]
    assert not [text for text in told if "s3cret" in text]


# ---- reprovisioning


def moved(service: Emulated, policy: ReprovisionPolicy, **options: Any) -> tuple[Fleet, Any]:
    """A device that was in alpha-hub, reported something, and registers again when the entry
    names beta-hub."""
    twin = InitialTwin({"line": 1}, {"rate": 5})
    options = {"initial_twin": twin, "reprovision": policy, **options}
    fleet = Fleet(service, allocation=STATIC, hub=host("alpha-hub"), **options)
    assert fleet.register().substatus == "initialAssignment"
    service.cloud.hubs.get("alpha-hub").report(NAME, {"battery": 7})
    fleet.change(iot_hub_host_name=host("beta-hub"))
    return fleet, fleet.register()


def identities(service: Emulated) -> dict[str, list[str]]:
    return {hub.name: [d.device_id for d in hub.devices] for hub in service.cloud.hubs}


def test_migrate_takes_the_twin_along(service: Emulated) -> None:
    _, record = moved(service, MIGRATE)
    assert (record.assigned_hub, record.substatus) == (host("beta-hub"), "deviceDataMigrated")
    assert identities(service) == {"alpha-hub": [], "beta-hub": [NAME], "gamma-hub": []}
    twin = service.cloud.hubs.get("beta-hub").twin(NAME)
    assert (twin.tags, twin.desired, twin.reported) == ({"line": 1}, {"rate": 5}, {"battery": 7})
    assert twin.reported_version == 2
    with refused(NotFound):
        service.cloud.hubs.get("alpha-hub").twin(NAME)


class _Line:
    """A live connection that remembers why it ended."""

    ended = ""

    def deliver(self, message: object) -> None:
        """Nothing is sent in this test."""

    def end(self, why: str) -> None:
        self.ended = why


def test_a_device_that_moves_is_cut_off_where_it_was(service: Emulated) -> None:
    line, connections = _Line(), service.cloud.hubs.get("alpha-hub").connections
    connections.enter("alpha-hub", NAME, line)
    connections.enter("beta-hub", NAME, _Line())
    moved(service, MIGRATE)
    assert line.ended == "its identity moved to another hub"
    assert connections.find("alpha-hub", NAME) is None
    assert connections.find("beta-hub", NAME) is not None


def test_reset_begins_with_the_initial_twin(service: Emulated) -> None:
    _, record = moved(service, RESET)
    assert (record.assigned_hub, record.substatus) == (host("beta-hub"), "deviceDataReset")
    twin = service.cloud.hubs.get("beta-hub").twin(NAME)
    assert (twin.tags, twin.desired, twin.reported) == ({"line": 1}, {"rate": 5}, {})
    assert identities(service)["alpha-hub"] == []


def test_reset_is_a_factory_reset_in_the_same_hub_too(service: Emulated) -> None:
    fleet, _ = moved(service, RESET)
    service.cloud.hubs.get("beta-hub").report(NAME, {"battery": 1})
    assert fleet.register().substatus == "reprovisionedToInitialAssignment"
    assert service.cloud.hubs.get("beta-hub").twin(NAME).reported == {}


def test_never_stays_where_it_is(service: Emulated) -> None:
    _, record = moved(service, NEVER)
    assert record.assigned_hub == host("alpha-hub")
    assert record.substatus == "reprovisionedToInitialAssignment"
    assert service.cloud.hubs.get("alpha-hub").twin(NAME).reported == {"battery": 7}


def test_a_device_that_never_moves_may_be_forced(service: Emulated) -> None:
    fleet, _ = moved(service, NEVER)
    assert fleet.hub(force=True) == "beta-hub"


def test_the_same_hub_keeps_the_twin_and_the_first_day(service: Emulated) -> None:
    fleet = Fleet(service)
    first = fleet.register()
    hub = service.cloud.hubs.get(first.assigned_hub)
    hub.report(NAME, {"battery": 7})
    service.clock.advance(days=1)
    again = fleet.register()
    assert (again.substatus, again.created) == ("reprovisionedToInitialAssignment", first.created)
    assert again.updated > first.updated
    assert hub.twin(NAME).reported == {"battery": 7}


def test_an_identity_that_was_deleted_in_the_hub_is_made_again(service: Emulated) -> None:
    """Pain point 13: the device was deleted in the hub, and DPS still knows it."""
    fleet = Fleet(service)
    hub = service.cloud.hubs.get(fleet.hub())
    hub.devices.delete(NAME)
    fleet.register()
    assert hub.devices.get(NAME).device_id == NAME


def test_capabilities_reach_the_identity(service: Emulated) -> None:
    fleet = Fleet(service, iot_edge=True)
    hub = service.cloud.hubs.get(fleet.hub())
    assert hub.devices.get(NAME).iot_edge
    fleet.change(capabilities=Capabilities(iot_edge=False))
    fleet.register()
    assert not hub.devices.get(NAME).iot_edge


def test_an_identity_that_the_hub_disabled_stays_disabled(service: Emulated) -> None:
    fleet = Fleet(service)
    hub = service.cloud.hubs.get(fleet.hub())
    hub.devices.disable(NAME)
    fleet.devices[NAME] = forge.device(NAME, fleet.root)  # a new certificate
    fleet.register()
    assert not hub.devices.get(NAME).enabled


# ---- delay


def test_an_assignment_may_take_its_time(service: Emulated) -> None:
    service.dps.assignment_delay = 5
    fleet = Fleet(service)
    operation = fleet.operation()
    assert (operation.status, operation.retry_after) == ("assigning", 3)
    assert fleet.poll(operation).status == "assigning"
    service.clock.advance(seconds=6)
    done = fleet.poll(operation)
    assert (done.status, done.operation_id) == ("assigned", operation.operation_id)


def test_a_clock_that_is_set_back_does_not_prolong_it(service: Emulated) -> None:
    service.dps.assignment_delay = 5
    fleet = Fleet(service)
    operation = fleet.operation()
    service.clock.advance(hours=-1)
    assert fleet.poll(operation).status == "assigned"
