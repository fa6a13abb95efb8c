"""DPS's two HTTP APIs against their published specification (``dps_schema``).

Every operation is asked with the least and with the most that its request may hold, with the
nonsense that the specification's own generated examples hold, and with whatever is drawn from its
schema. What is done is answered with a listed status and a body that fits, and has no other
field; whatever else is asked is refused in Azure's form, and never with a 5xx.
"""

from __future__ import annotations

import base64
import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import jsonschema
import pytest
from dps_schema import CALLS, ERROR, MODES, REFUSED, Call, schema, values
from https_clients import Answer, Client, back_end, client, sign
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from stories import Story

from labkit.cloud.dps.entries import SymmetricKeyAttestation
from labkit.pki import chain

API = "api-version=2021-10-01"
KEY = base64.b64encode(b"a key of thirty-two bytes, surely").decode()
HUB = "contoso-hub.azure-devices.net"
IDS = {"enrollments": "registrationId", "enrollmentGroups": "enrollmentGroupId"}

_numbers = itertools.count()


def assert_fits(answer: Answer, call: Call) -> None:
    """What is done: a listed status, and just the fields that the specification has."""
    assert answer.status in call.answers, answer.body
    wanted = call.answers[answer.status]
    if wanted is None:
        assert answer.body == b""
        return
    jsonschema.validate(answer.json, schema(wanted))
    assert answer.headers["content-type"].startswith("application/json")
    if answer.status == 202:
        assert int(answer.headers["retry-after"]) > 0
        assert answer.headers["location"].startswith("https://")
    if call.is_query:
        assert answer.headers["x-ms-item-type"]


def assert_refused_in_azures_form(answer: Answer) -> None:
    assert answer.status in REFUSED, answer.body
    jsonschema.validate(answer.json, schema(ERROR))
    code = answer.json["errorCode"]
    assert answer.headers["x-ms-error-code"] == str(code)
    assert code // 1000 == answer.status, "a code is its status and three digits"
    assert answer.headers["x-ms-request-id"] == answer.json["trackingId"]


@contextmanager
def asking(story: Story, call: Call, name: str) -> Iterator[Client]:
    """A back end, or the device ``name`` with the key of its enrollment."""
    if not call.is_for_devices:
        with back_end(story.lab) as opened:
            yield opened
        return
    with client(story.lab) as opened:
        resource = f"{story.lab.dps.id_scope}%2Fregistrations%2F{name}"
        opened.headers["Authorization"] = sign(resource, KEY)
        yield opened


def path_of(story: Story, call: Call, name: str, operation: str = "none") -> str:
    parts = {"scope": story.lab.dps.id_scope, "id": name, "operation": operation}
    return call.path.format(**{key: quote(value, safe="") for key, value in parts.items()})


# ---- the least and the most


@pytest.fixture
def name(shared: Story) -> str:
    """A device that is enrolled with a key, and registered; and a group of the same name."""
    found = f"spec-{next(_numbers)}"
    keys = SymmetricKeyAttestation(KEY, KEY)
    shared.lab.dps.enrollments.create(found, keys=keys)
    shared.lab.dps.enrollment_groups.create(found, keys=keys)
    with asking(shared, CALLS["device: register"], found) as device:
        path = path_of(shared, CALLS["device: register"], found)
        assert device.ask("PUT", f"{path}?{API}", {}).status == 200
    return found


def entry(kind: str, name: str, **more: Any) -> dict[str, Any]:
    return {IDS[kind]: name, "attestation": {"type": "symmetricKey"}, **more}


def most_of(kind: str, story: Story, name: str) -> dict[str, Any]:
    """All fields that can be sent together."""
    keys = {"primaryKey": KEY, "secondaryKey": KEY}
    own = {"deviceId": f"{name}-in-hub", "optionalDeviceInformation": {"version": 1, "key": {}}}
    hook = {"webhookUrl": "http://localhost:1/choose", "apiVersion": "2019-03-31"}
    return {
        **entry(kind, name),
        **(own if kind == "enrollments" else {}),
        "attestation": {"type": "symmetricKey", "symmetricKey": keys},
        "capabilities": {"iotEdge": True},
        "iotHubHostName": HUB,
        "iotHubs": [HUB],
        "initialTwin": {"tags": {"count": 1}, "properties": {"desired": {"key": {"deep": None}}}},
        "provisioningStatus": "disabled",
        "reprovisionPolicy": {"updateHubAssignment": False, "migrateDeviceData": False},
        "allocationPolicy": "static",
        "customAllocationDefinition": hook,
        "etag": "c29tZXRoaW5n",
        "registrationState": {},
        "createdDateTimeUtc": "2025-10-01T17:42:04.76Z",
    }


def requests(operation: str, story: Story, name: str) -> list[tuple[Any, dict[str, str]]]:
    """Bodies and headers: the least first, the most last."""
    kind, _, what = operation.partition(": ")
    if what == "put":
        return [
            (entry(kind, name), {"If_Match": "*"}),
            (most_of(kind, story, name), {"If_Match": "*"}),
        ]
    if what == "query":
        paged = {"x_ms_max_item_count": "1"}
        return [({"query": "SELECT *"}, {}), ({"query": f"SELECT * FROM {kind}"}, paged)]
    if what == "bulk":
        twice = [entry(kind, name), most_of(kind, story, f"{name}-more")]
        return [({"mode": mode, kind: twice}, {}) for mode in MODES]
    if what in ("register", "look up"):
        return [({}, {}), ({"registrationId": name, "payload": {"any": {"thing": [1]}}}, {})]
    return [(None, {}), (None, {"If_Match": "*"})] if what == "delete" else [(None, {})]


@pytest.mark.parametrize("operation", CALLS)
def test_every_operation_answers_as_the_specification_says(
    shared: Story, name: str, operation: str
) -> None:
    call = CALLS[operation]
    record = shared.lab.dps.registrations.get(name)
    path = path_of(shared, call, name, record.operation_id)
    done = 0
    with asking(shared, call, name) as opened:
        for body, headers in requests(operation, shared, name):
            answer = opened.ask(call.method, f"{path}?{API}", body, **headers)
            if done and call.method == "DELETE":
                assert answer.status == 404, "deleted is deleted"
                assert_refused_in_azures_form(answer)
            else:
                assert_fits(answer, call)
                done += 1
    assert done


@pytest.mark.parametrize("operation", ["device: register", "device: operation"])
def test_what_takes_its_time_is_202_with_a_place_to_ask(
    shared: Story, name: str, operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared.lab.dps, "assignment_delay", 60)
    with asking(shared, CALLS["device: register"], name) as device:
        made = device.ask("PUT", f"{path_of(shared, CALLS['device: register'], name)}?{API}", {})
        call, number = CALLS[operation], made.json["operationId"]
        path = path_of(shared, call, name, number)
        answer = device.ask(call.method, f"{path}?{API}", {} if call.body else None)
    assert (made.status, answer.status) == (202, 202)
    assert_fits(answer, call)


def test_certificates_are_answered_as_the_specification_says(shared: Story) -> None:
    """An individual enrollment, a group by certificate and by reference; and a device's record."""
    name = f"spec-x509-{next(_numbers)}"
    widget = shared.technician.make_device(name)
    pem = {"certificate": chain.to_pem([widget.certificate])}
    ca = {"certificate": chain.to_pem([shared.technician.certificate])}
    bodies = {
        "enrollments": {"clientCertificates": {"primary": pem, "secondary": pem}},
        "enrollmentGroups": {"signingCertificates": {"primary": ca}},
    }
    with back_end(shared.lab) as owner:
        for kind, slots in bodies.items():
            body = {IDS[kind]: name, "attestation": {"type": "x509", "x509": slots}}
            for what in ("put", "get", "mechanism"):
                call = CALLS[f"{kind}: {what}"]
                path = path_of(shared, call, name)
                answer = owner.ask(call.method, f"{path}?{API}", body if call.body else None)
                assert_fits(answer, call)
        widget.provision()
        state = owner.ask("GET", f"/enrollments/{name}?{API}")
        assert_fits(state, CALLS["enrollments: get"])
        assert state.json["registrationState"]["status"] == "assigned"
        for kind in bodies:
            assert owner.ask("DELETE", f"/{kind}/{name}?{API}").status == 204


# ---- nonsense, as in the specification's generated examples

_INFO = {"subjectName": "x", "issuerName": "x", "serialNumber": "x", "version": 12}
_SLOT = {"certificate": "gibberish", "info": _INFO}
_SLOTS = {"primary": _SLOT, "secondary": _SLOT}
_ALL_AT_ONCE = {
    "type": "none",
    "symmetricKey": {"primaryKey": "too short", "secondaryKey": "too short"},
    "tpm": {"endorsementKey": "none", "storageRootKey": "none"},
    "x509": {
        "caReferences": {"primary": "nobody", "secondary": "nobody"},
        "clientCertificates": _SLOTS,
        "signingCertificates": _SLOTS,
    },
}


@pytest.mark.parametrize("kind", ["none", "tpm", "x509", "symmetricKey"])
@pytest.mark.parametrize("operation", [name for name, call in CALLS.items() if call.body])
def test_generated_nonsense_is_refused_in_azures_form(
    shared: Story, name: str, operation: str, kind: str
) -> None:
    """Every field is there, none means anything, and the IDs of path and body differ."""
    call, (collection, _, what) = CALLS[operation], operation.partition(": ")
    nonsense = {
        **most_of(collection if collection in IDS else "enrollments", shared, "somebody"),
        "attestation": {**_ALL_AT_ONCE, "type": kind},
        "tpm": {"endorsementKey": "none"},
        "registrationId": "somebody-else",
    }
    bodies = {
        "bulk": {"mode": "create", collection: [nonsense] * 11},
        "query": {"query": "gibberish"},
        "look up": [nonsense],
    }
    with asking(shared, call, name) as opened:
        path, headers = path_of(shared, call, name), {"If_Match": "gibberish"}
        body = bodies.get(what, nonsense)
        answer = opened.ask(call.method, f"{path}?{API}", body, **headers)
    assert_refused_in_azures_form(answer)


# ---- whatever can be drawn from the schema

KNOWN = {
    "registrationId": st.just("fuzz-a"),
    "enrollmentGroupId": st.just("fuzz-a"),
    "deviceId": st.just("fuzz-in-hub"),
    "type": st.sampled_from(["symmetricKey", "symmetricKey", "x509"]),
    "primaryKey": st.just(KEY),
    "secondaryKey": st.just(KEY),
    "query": st.sampled_from(["SELECT *", "select * from enrollments", "*"]),
    "iotHubs": st.just([HUB]),
    "iotHubHostName": st.just(HUB),
}
PRINTABLE = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20)
ETAGS = st.sampled_from(["*", '"*"', "W/", '"a", "b"', ","]) | PRINTABLE
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "If_Match": st.just("*") | ETAGS,
        "If_None_Match": ETAGS,
        "x_ms_max_item_count": st.integers().map(str) | PRINTABLE,
        "x_ms_continuation": PRINTABLE,
        "Content_Type": st.just("application/json") | st.sampled_from(["text/plain", "*/*", ";"]),
    },
)
NAMES = st.integers(1, 4).flatmap(
    lambda dice: st.text(min_size=1, max_size=140) if dice == 4 else st.just("fuzz-a")
)
VERSIONS = st.sampled_from(
    ["?api-version=2021-10-01", "", "?", "?api-version=", "?api-version=%00"]
)


@pytest.mark.parametrize("operation", CALLS)
@settings(
    max_examples=30 * settings.default.max_examples // 100,  # type: ignore[attr-defined]
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_whatever_fits_the_schema_or_does_not_there_is_no_5xx(
    shared: Story, operation: str, data: st.DataObject
) -> None:
    """Done and fitting, or refused in Azure's form; an ID with a slash is another path."""
    call, enrollments = CALLS[operation], shared.lab.dps.enrollments
    if enrollments.find("fuzz-a") is None:
        enrollments.create("fuzz-a", keys=SymmetricKeyAttestation(KEY, KEY))
    name = data.draw(NAMES, "id")
    body = data.draw(values(call.body, **KNOWN) if call.body else st.none(), "body")
    headers: Mapping[str, str] = data.draw(HEADERS, "headers")
    target = f"{path_of(shared, call, name)}{data.draw(VERSIONS, 'query')}"
    with asking(shared, call, "fuzz-a") as opened:
        answer = opened.ask(call.method, target, body, **headers)
    event(str(answer.status))
    if answer.status in call.answers:
        assert_fits(answer, call)
    elif "/" in name or name in (".", ".."):
        assert answer.status in REFUSED
    else:
        assert_refused_in_azures_form(answer)
