"""DPS's service API: shapes as Azure's own recordings have them, and what it does not tell."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from https_clients import Answer, Client, back_end, client, sign
from stories import Story, authority_of

from labkit.cloud.policies import (
    ENROLLMENT_READ,
    ENROLLMENT_WRITE,
    REGISTRATION_READ,
    REGISTRATION_WRITE,
)
from labkit.pki import chain, profiles, request

API = "api-version=2021-10-01"
KEYS = {name: base64.b64encode(name.encode() * 3).decode() for name in ("primary", "secondary")}
SYMMETRIC = {
    "type": "symmetricKey",
    "symmetricKey": {"primaryKey": KEYS["primary"], "secondaryKey": KEYS["secondary"]},
}

_numbers = itertools.count()


@pytest.fixture
def name() -> str:
    """An ID that no other test has."""
    return f"entry-{next(_numbers)}"


@pytest.fixture
def owner(shared: Story) -> Iterator[Client]:
    with back_end(shared.lab) as opened:
        yield opened


def new_ca(story: Story, name: str) -> Any:
    """A CA below Company-X that no entry names yet."""
    key = ec.generate_private_key(ec.SECP256R1())
    signer = authority_of(story.company)
    return signer.issue(key.public_key(), request.name(name), profiles.INTERMEDIATE_CA)


def new_leaf(story: Story, name: str) -> Any:
    key = ec.generate_private_key(ec.SECP256R1())
    signer = authority_of(story.technician)
    return signer.issue(key.public_key(), request.name(name), profiles.DEVICE)


def pem(certificate: Any) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()  # type: ignore[no-any-return]


def client_certificates(*slots: Any) -> dict[str, Any]:
    named = dict(zip(("primary", "secondary"), slots, strict=False))
    return {"type": "x509", "x509": {"clientCertificates": named}}


def encoded(data: bytes) -> str:
    """As a continuation token is."""
    return base64.urlsafe_b64encode(data).decode()


def assert_refused(answer: Answer, status: int, code: int) -> str:
    assert answer.status == status, answer.body
    assert set(answer.json) == {"errorCode", "trackingId", "message", "timestampUtc"}
    assert answer.json["errorCode"] == code
    assert answer.headers["x-ms-error-code"] == str(code)
    return str(answer.json["trackingId"])


# ---- one entry, from its beginning to its end


def test_an_individual_enrollment_lives_as_it_does_in_azure(owner: Client, name: str) -> None:
    """PUT shows the keys that it was sent, GET and query do not, attestationmechanism does."""
    path = f"/enrollments/{name}?{API}"
    sent = {
        "registrationId": name,
        "deviceId": f"device-of-{name}",
        "attestation": SYMMETRIC,
        "allocationPolicy": "geoLatency",
        "capabilities": None,
        "reprovisionPolicy": {"migrateDeviceData": True, "updateHubAssignment": True},
        "customAllocationDefinition": None,
        "provisioningStatus": None,
        "optionalDeviceInformation": None,
        "iotHubs": None,
        "iotHubHostName": None,
        "initialTwin": {"properties": {"desired": {"key": "value"}}},
    }
    made = owner.ask("PUT", path, sent)
    assert made.status == 200
    assert made.json["attestation"] == SYMMETRIC
    for field in ("registrationId", "deviceId", "allocationPolicy", "initialTwin"):
        assert made.json[field] == sent[field]
    assert made.json["createdDateTimeUtc"] == made.json["lastUpdatedDateTimeUtc"]
    assert "registrationState" not in made.json
    read = owner.ask("GET", path)
    assert read.json["attestation"] == {"type": "symmetricKey"}
    assert read.json["registrationState"] == {"registrationId": name, "status": "unassigned"}
    assert read.json["etag"] == made.json["etag"]
    keys = owner.ask("POST", f"/enrollments/{name}/attestationmechanism?{API}")
    assert (keys.status, keys.json) == (200, SYMMETRIC)
    gone = owner.ask("DELETE", path)
    assert (gone.status, gone.body) == (204, b"")
    assert_refused(owner.ask("GET", path), 404, 404201)
    assert_refused(owner.ask("DELETE", path), 404, 404201)


def test_an_etag_is_base64_of_a_quoted_text(owner: Client, name: str) -> None:
    made = owner.ask("PUT", f"/enrollments/{name}?{API}", {"attestation": SYMMETRIC})
    quoted = base64.b64decode(made.json["etag"]).decode()
    assert quoted[0] == quoted[-1] == '"'


def test_of_a_certificate_only_its_info_comes_back(shared: Story, owner: Client, name: str) -> None:
    leaf = new_leaf(shared, name)
    path = f"/enrollments/{name}?{API}"
    slot = {"certificate": pem(leaf)}
    made = owner.ask(
        "PUT", path, {"registrationId": name, "attestation": client_certificates(slot)}
    )
    assert made.status == 200, made.body
    for answer in (made, owner.ask("GET", path)):
        shown = answer.json["attestation"]["x509"]["clientCertificates"]
        assert set(shown["primary"]) == {"info"}
        info = shown["primary"]["info"]
        assert info["subjectName"] == f"CN={name}"
        assert info["sha1Thumbprint"] == chain.thumbprint_sha1(leaf)
        assert info["sha256Thumbprint"] == chain.thumbprint(leaf)
        assert info["issuerName"].startswith("CN=Technician-Z CA")
        assert int(info["serialNumber"], 16) == leaf.serial_number
        assert info["notAfterUtc"] == f"{leaf.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"
        assert info["version"] == 3
        assert shown["secondary"] == shown["primary"], "Azure shows it in both places"
        assert b"BEGIN CERTIFICATE" not in answer.body


@pytest.mark.parametrize("form", ["pem", "base64 of pem", "base64 of der", "pem without line ends"])
def test_a_certificate_may_come_in_any_of_its_forms(
    shared: Story, owner: Client, name: str, form: str
) -> None:
    leaf = new_leaf(shared, name)
    der = leaf.public_bytes(Encoding.DER)
    text = {
        "pem": pem(leaf),
        "base64 of pem": base64.b64encode(pem(leaf).encode()).decode(),
        "base64 of der": base64.b64encode(der).decode(),
        "pem without line ends": pem(leaf).rstrip("\n"),
    }[form]
    body = {"attestation": client_certificates({"certificate": text})}
    made = owner.ask("PUT", f"/enrollments/{name}?{API}", body)
    shown = made.json["attestation"]["x509"]["clientCertificates"]["primary"]["info"]
    assert shown["sha256Thumbprint"] == chain.thumbprint(leaf)


def test_what_was_read_can_be_changed_and_put_back(shared: Story, owner: Client, name: str) -> None:
    """Though it names its certificates by their info only, and its keys not at all."""
    path = f"/enrollments/{name}?{API}"
    leaf = new_leaf(shared, name)
    owner.ask("PUT", path, {"attestation": client_certificates({"certificate": pem(leaf)})})
    read = owner.ask("GET", path).json
    read["provisioningStatus"] = "disabled"
    changed = owner.ask("PUT", path, read, If_Match=read["etag"])
    assert changed.status == 200, changed.body
    assert changed.json["provisioningStatus"] == "disabled"
    assert changed.json["attestation"] == read["attestation"]
    keyed = f"/enrollments/{name}-keyed?{API}"
    made = owner.ask("PUT", keyed, {"attestation": SYMMETRIC}).json
    read = owner.ask("GET", keyed).json
    put_back = owner.ask("PUT", keyed, read, If_Match=made["etag"])
    assert put_back.json["attestation"] == SYMMETRIC


def test_all_fields_come_back_as_they_were_sent(owner: Client, name: str) -> None:
    sent = {
        "registrationId": name,
        "deviceId": "Some-Device",
        "attestation": SYMMETRIC,
        "capabilities": {"iotEdge": True},
        "iotHubs": ["contoso-hub.azure-devices.net"],
        "initialTwin": {"tags": {"a": 1}, "properties": {"desired": {"b": {"c": None}}}},
        "optionalDeviceInformation": {"made": "in a test"},
        "provisioningStatus": "disabled",
        "reprovisionPolicy": {"updateHubAssignment": True, "migrateDeviceData": False},
        "allocationPolicy": "custom",
        "customAllocationDefinition": {
            "webhookUrl": "https://localhost/choose",
            "apiVersion": "2019-03-31",
        },
    }
    made = owner.ask("PUT", f"/enrollments/{name}?{API}", sent).json
    assert {field: made[field] for field in sent} == sent


def test_a_group_lives_too_by_signing_certificate_and_by_reference(
    shared: Story, owner: Client, name: str
) -> None:
    ca = new_ca(shared, name)
    slots = {"signingCertificates": {"primary": {"certificate": pem(ca)}}}
    body = {"enrollmentGroupId": name, "attestation": {"type": "x509", "x509": slots}}
    made = owner.ask("PUT", f"/enrollmentGroups/{name}?{API}", body)
    assert made.status == 200, made.body
    shown = made.json["attestation"]["x509"]["signingCertificates"]["primary"]["info"]
    assert shown["sha256Thumbprint"] == chain.thumbprint(ca)
    assert "deviceId" not in made.json
    shared.lab.dps.certificates.upload(f"ca-{name}", new_ca(shared, f"ca-{name}"))
    by_name = {"type": "x509", "x509": {"caReferences": {"primary": f"ca-{name}"}}}
    other = f"/enrollmentGroups/{name}-by-name?{API}"
    made = owner.ask("PUT", other, {"attestation": by_name})
    assert made.json["attestation"] == by_name
    for path in (f"/enrollmentGroups/{name}?{API}", other):
        assert owner.ask("DELETE", path).status == 204


# ---- ETags


def test_if_match_is_taken_in_every_form_that_sdks_send(owner: Client, name: str) -> None:
    """Node sends the object's, Python whatever it is given: quoted, unquoted, or a wildcard."""
    path = f"/enrollments/{name}?{API}"
    etag = owner.ask("PUT", path, {"attestation": SYMMETRIC}).json["etag"]
    inner = base64.b64decode(etag).decode()
    forms = [lambda e: e, lambda e: f'"{e}"', lambda _: "*", lambda _: '"*"']
    forms.append(lambda e: base64.b64decode(e).decode())
    for form in forms:
        changed = owner.ask("PUT", path, {"attestation": SYMMETRIC}, If_Match=form(etag))
        assert changed.status == 200, changed.body
        assert changed.json["etag"] != etag
        etag = changed.json["etag"]
    assert_refused(owner.ask("DELETE", path, If_Match=inner), 412, 412201)
    stale = owner.ask("PUT", path, {"attestation": SYMMETRIC}, If_Match='"another"')
    assert_refused(stale, 412, 412201)
    empty = owner.ask("DELETE", path, If_Match='"another", ')
    assert_refused(empty, 412, 412201)  # what is empty in a list is no wildcard
    assert_refused(owner.ask("PUT", path, {"attestation": SYMMETRIC}), 409, 409201)
    assert owner.ask("DELETE", path, If_Match=etag).status == 204


# ---- lists


def test_a_query_is_answered_page_by_page(owner: Client, name: str) -> None:
    for number in range(5):
        path = f"/enrollments/{name}-{number}?{API}"
        assert owner.ask("PUT", path, {"attestation": SYMMETRIC}).status == 200
    found: list[str] = []
    more: dict[str, str] = {}
    while True:
        asked = {"query": "SELECT * FROM enrollments"}
        answer = owner.ask(
            "POST", f"/enrollments/query?{API}", asked, x_ms_max_item_count="2", **more
        )
        assert answer.headers["x-ms-item-type"] == "Enrollment"
        assert len(answer.json) <= 2
        found += [entry["registrationId"] for entry in answer.json]
        if "x-ms-continuation" not in answer.headers:
            break
        more = {"x_ms_continuation": answer.headers["x-ms-continuation"]}
    assert [entry for entry in found if entry.startswith(f"{name}-")] == [
        f"{name}-{number}" for number in range(5)
    ]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"x_ms_max_item_count": "many"}, {"query": "SELECT *"}),
        ({"x_ms_continuation": "made-up"}, {"query": "SELECT *"}),
        ({"x_ms_continuation": encoded(b"[" * 30_000)}, {"query": "SELECT *"}),
        ({"x_ms_continuation": encoded(b'["enrollments", "\\ud800"]')}, {"query": "SELECT *"}),
        ({}, {"query": "DROP TABLE enrollments"}),
        ({}, {"query": 7}),
        ({}, b"SELECT *"),
    ],
)
def test_a_query_that_cannot_be_is_400(owner: Client, headers: dict[str, str], body: Any) -> None:
    answer = owner.ask("POST", f"/enrollments/query?{API}", body, **headers)
    assert_refused(answer, 400, 400004)


@pytest.mark.parametrize("root", ["enrollments", "enrollments/", "Enrollments"])
def test_bulk_makes_changes_and_deletes(owner: Client, name: str, root: str) -> None:
    """Node posts to ``/enrollments/``. Each entry is done or refused by itself."""
    entries = [{"registrationId": f"{name}-{n}", "attestation": SYMMETRIC} for n in range(3)]

    def bulk(mode: str, some: list[dict[str, Any]]) -> Any:
        answer = owner.ask("POST", f"/{root}?{API}", {"mode": mode, "enrollments": some})
        assert answer.status == 200, answer.body
        return answer.json

    assert bulk("create", entries[:2]) == {"errors": [], "isSuccessful": True}
    again = bulk("create", entries)
    assert again["isSuccessful"] is False
    assert again["errors"] == [
        {
            "registrationId": entry["registrationId"],
            "errorCode": 409201,
            "errorStatus": "Enrollment already exists.",
        }
        for entry in entries[:2]
    ]
    read = [owner.ask("GET", f"/enrollments/{e['registrationId']}?{API}").json for e in entries]
    for entry in read:
        entry["provisioningStatus"] = "disabled"
    assert bulk("updateIfMatchEtag", read) == {"errors": [], "isSuccessful": True}
    assert bulk("updateIfMatchETag", read)["isSuccessful"] is False, "the ETags are stale now"
    assert bulk("delete", entries) == {"errors": [], "isSuccessful": True}


def test_bulk_takes_ten_at_the_most(owner: Client, name: str) -> None:
    entries = [{"registrationId": f"{name}-{n}", "attestation": SYMMETRIC} for n in range(11)]
    body = {"mode": "create", "enrollments": entries}
    assert_refused(owner.ask("POST", f"/enrollments?{API}", body), 400, 400004)
    body = {"mode": "invent", "enrollments": entries[:1]}
    assert_refused(owner.ask("POST", f"/enrollments?{API}", body), 400, 400004)


def test_bulk_has_a_groups_id_in_its_errors(owner: Client, name: str) -> None:
    body = {
        "mode": "create",
        "enrollmentGroups": [{"enrollmentGroupId": name, "attestation": SYMMETRIC}],
    }
    assert owner.ask("POST", f"/enrollmentGroups?{API}", body).json["isSuccessful"]
    (error,) = owner.ask("POST", f"/enrollmentGroups?{API}", body).json["errors"]
    assert error["enrollmentGroupId"] == name


def test_registrations_are_read_listed_and_deleted(shared: Story, owner: Client) -> None:
    widget = shared.technician.make_device("listed-widget")
    widget.provision()
    path = f"/registrations/listed-widget?{API}"
    read = owner.ask("GET", path)
    assert read.json["status"] == "assigned"
    assert "x509" not in read.json, "that is for the device"
    for body in (None, {"query": "SELECT *"}):
        listed = owner.ask("POST", f"/registrations/smart-x-widgets/query?{API}", body)
        assert listed.headers["x-ms-item-type"] == "DeviceRegistration"
        assert read.json in listed.json
    assert_refused(owner.ask("DELETE", path, If_Match="stale"), 412, 412201)
    assert owner.ask("DELETE", path, If_Match=read.json["etag"]).status == 204
    assert_refused(owner.ask("GET", path), 404, 404202)


# ---- paths


def test_paths_are_matched_without_regard_to_case(owner: Client, name: str) -> None:
    """Node writes ``/enrollmentgroups/``; IDs are compared so too, and keep their spelling."""
    made = owner.ask("PUT", f"/enrollmentgroups/{name}-Big?{API}", {"attestation": SYMMETRIC})
    assert made.json["enrollmentGroupId"] == f"{name}-Big"
    path = f"/ENROLLMENTGROUPS/{name}-bIG/AttestationMechanism?{API}"
    assert owner.ask("POST", path).json == SYMMETRIC


def test_any_api_version_is_taken(owner: Client, name: str) -> None:
    for version in ("2021-10-01", "2025-07-01-preview", "2019-03-31"):
        path = f"/enrollments/{name}-{version}?api-version={version}"
        assert owner.ask("PUT", path, {"attestation": SYMMETRIC}).status == 200


# ---- what cannot be

WRONG: dict[str, tuple[Any, str]] = {
    "no JSON": (b"nonsense", "the body"),
    "no object": ([], "the body"),
    "no attestation": ({}, "attestation"),
    "an attestation that is a text": ({"attestation": "x509"}, "attestation"),
    "no type": ({"attestation": {}}, "attestation.type"),
    "tpm": ({"attestation": {"type": "tpm", "tpm": {}}}, "attestation.type"),
    "x509 without certificates": (
        {"attestation": {"type": "x509", "x509": {}}},
        "attestation.x509",
    ),
    "a certificate that is none": (
        {"attestation": client_certificates({"certificate": "MIIB"})},
        "attestation.x509.clientCertificates.primary.certificate",
    ),
    "a certificate that is a number": (
        {"attestation": client_certificates({"certificate": 1})},
        "attestation.x509.clientCertificates.primary.certificate",
    ),
    "a flag that is a text": (
        {"attestation": SYMMETRIC, "capabilities": {"iotEdge": "yes"}},
        "capabilities.iotEdge",
    ),
    "hubs that are numbers": ({"attestation": SYMMETRIC, "iotHubs": [1]}, "iotHubs"),
    "tags that are a list": (
        {"attestation": SYMMETRIC, "initialTwin": {"tags": []}},
        "initialTwin.tags",
    ),
    "an allocation policy of its own": (
        {"attestation": SYMMETRIC, "allocationPolicy": "whim"},
        "allocationPolicy",
    ),
    "a status of its own": (
        {"attestation": SYMMETRIC, "provisioningStatus": "asleep"},
        "provisioningStatus",
    ),
    "a key that is too short": (
        {"attestation": {"type": "symmetricKey", "symmetricKey": {"primaryKey": "QQ=="}}},
        "primaryKey",
    ),
    "another ID than the path's": (
        {"registrationId": "somebody-else", "attestation": SYMMETRIC},
        "registrationId",
    ),
    "a number that is no JSON any more once it was read": (
        b'{"initialTwin": {"properties": {"desired": {"a": 1e999}}}}',
        "JSON",
    ),
    "another encoding than UTF-8": (
        json.dumps({"attestation": SYMMETRIC}).encode("utf-16"),
        "JSON",
    ),
    "tags that no hub takes": (
        {"attestation": SYMMETRIC, "initialTwin": {"tags": {"a": "x" * 5_000}}},
        "initialTwin.tags",
    ),
    "desired properties that no hub takes": (
        {"attestation": SYMMETRIC, "initialTwin": {"properties": {"desired": {"a.b": 1}}}},
        "initialTwin.properties.desired",
    ),
    "more desired properties than a hub keeps": (
        {
            "attestation": SYMMETRIC,
            "initialTwin": {"properties": {"desired": {str(n): "x" * 4_000 for n in range(9)}}},
        },
        "32,768 at most",
    ),
    "a device ID that no hub takes": (
        {"deviceId": "white space", "attestation": SYMMETRIC},
        "deviceId",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_cannot_be_is_400_and_the_lab_names_the_field(
    shared: Story, owner: Client, name: str, kind: str
) -> None:
    body, field = WRONG[kind]
    tracking_id = assert_refused(owner.ask("PUT", f"/enrollments/{name}?{API}", body), 400, 400004)
    failure = shared.lab.explain(tracking_id).failure
    assert failure is not None
    assert field in f"{failure.name} {failure.about} {failure.why}"
    assert failure.cures
    assert_refused(owner.ask("GET", f"/enrollments/{name}?{API}"), 404, 404201)


def test_a_private_key_in_place_of_a_certificate_is_refused_and_kept_nowhere(
    shared: Story, owner: Client, name: str
) -> None:
    from cryptography.hazmat.primitives.serialization import NoEncryption, PrivateFormat

    key = ec.generate_private_key(ec.SECP256R1())
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    for form in (text, base64.b64encode(text.encode()).decode()):
        body = {"attestation": client_certificates({"certificate": form})}
        answer = owner.ask("PUT", f"/enrollments/{name}?{API}", body)
        tracking_id = assert_refused(answer, 400, 400004)
        failure = shared.lab.explain(tracking_id).failure
        assert failure is not None
        assert "holds a private key" in failure.why
        assert "replace it" in failure.cures[0]
        secret = form.splitlines()[1] if "\n" in form else form[40:80]
        assert not [e for e in shared.lab.events if secret in repr(e)]


# ---- who may


ASKED = [
    ("GET", "/enrollments/x", ENROLLMENT_READ),
    ("PUT", "/enrollments/x", ENROLLMENT_WRITE),
    ("DELETE", "/enrollments/x", ENROLLMENT_WRITE),
    ("POST", "/enrollments/query", ENROLLMENT_READ),
    ("POST", "/enrollments", ENROLLMENT_WRITE),
    ("POST", "/enrollments/x/attestationmechanism", ENROLLMENT_READ),
    ("GET", "/enrollmentGroups/x", ENROLLMENT_READ),
    ("PUT", "/enrollmentGroups/x", ENROLLMENT_WRITE),
    ("GET", "/registrations/x", REGISTRATION_READ),
    ("POST", "/registrations/x/query", REGISTRATION_READ),
    ("DELETE", "/registrations/x", REGISTRATION_WRITE),
]


@pytest.mark.parametrize(("method", "path", "right"), ASKED)
def test_a_policy_does_what_it_has_the_right_to_and_nothing_else(
    shared: Story, method: str, path: str, right: str
) -> None:
    policies = shared.lab.cloud.policies("dps")
    everything = {ENROLLMENT_READ, ENROLLMENT_WRITE, REGISTRATION_READ, REGISTRATION_WRITE}
    policies.create(f"only-{right}", right)
    policies.create(f"all-but-{right}", *(everything - {right}))
    with back_end(shared.lab, f"only-{right}") as opened:
        assert opened.ask(method, f"{path}?{API}", {}).status != 401
    with back_end(shared.lab, f"all-but-{right}") as opened:
        tracking_id = assert_refused(opened.ask(method, f"{path}?{API}", {}), 401, 401002)
    assert right in str(shared.lab.explain(tracking_id))


@pytest.mark.parametrize("path", ["/enrollments/query", "/enrollmentGroups/smart-x-widgets"])
def test_without_a_valid_signature_nothing_is_told(shared: Story, path: str) -> None:
    policy = shared.lab.cloud.policies("dps").owner
    host = f"{shared.lab.listener.host}%3A{shared.lab.listener.https_port}"
    other = base64.b64encode(b"another key").decode()
    method = "POST" if path.endswith("query") else "GET"
    tokens = [
        "",
        "nonsense",
        "Bearer anything",
        sign(host, other, policy=policy.name),
        sign(host, policy.primary_key),
        sign(host, policy.primary_key, policy="nobody"),
        sign(host, policy.primary_key, policy=policy.name, seconds=-1),
        sign("another-host", policy.primary_key, policy=policy.name),
    ]
    with client(shared.lab) as opened:
        for token in tokens:
            sent = {"Authorization": token} if token else {}
            answer = opened.ask(method, f"{path}?{API}", {"query": "SELECT *"}, **sent)
            assert_refused(answer, 401, 401002)
            assert b"widget" not in answer.body


def test_a_token_may_name_the_service_as_it_is_known_or_as_it_was_dialled(shared: Story) -> None:
    """And with its own name, or dialled without the port."""
    policy, listener = shared.lab.cloud.policies("dps").owner, shared.lab.listener
    for resource in (
        f"{listener.host}:{listener.https_port}",
        f"https%3A%2F%2F{listener.host}%3A{listener.https_port}",
        listener.host,
        "lab-dps.azure-devices-provisioning.net",
        f"{listener.host}:{listener.https_port}/enrollmentgroups/smart-x-widgets",
    ):
        token = sign(resource, policy.secondary_key, policy=policy.name)
        with client(shared.lab) as opened:
            path = f"/enrollmentGroups/smart-x-widgets?{API}"
            assert opened.ask("GET", path, Authorization=token).status == 200


def test_a_token_may_name_the_port_443_which_http_leaves_out(shared: Story) -> None:
    """A connection string says HostName=127.0.0.1:443, and so does the token that a client makes
    of it; in the Host header its HTTP library writes no default port."""
    policy = shared.lab.cloud.policies("dps").owner
    token = sign("127.0.0.9%3A443", policy.primary_key, policy=policy.name)
    with client(shared.lab) as opened:
        path = f"/enrollmentGroups/smart-x-widgets?{API}"
        for host, status in (("127.0.0.9", 200), ("127.0.0.9:443", 200), ("127.0.0.9:8443", 401)):
            assert opened.ask("GET", path, Authorization=token, Host=host).status == status


def test_too_much_is_429_with_retry_after(
    shared: Story, owner: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared.lab.dps.limits, "throttling", True)
    monkeypatch.setattr(shared.lab.dps.limits, "operations_a_minute", 2)
    path = f"/enrollmentGroups/smart-x-widgets?{API}"
    answers = [owner.ask("GET", path) for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert_refused(answers[-1], 429, 429001)
    assert int(answers[-1].headers["retry-after"]) >= 1


# ---- it holds

STRANGE: list[Any] = [
    b"",
    b"{",
    b"null",
    b"[[]]",
    b"\xff\xfe",
    b'{"attestation": ' + b"[" * 10_000,
    {"attestation": {"type": ["x509"]}},
    {"attestation": {"type": "x509", "x509": {"clientCertificates": []}}},
    {"attestation": {"type": "x509", "x509": {"caReferences": {"primary": {}}}}},
    {"attestation": SYMMETRIC, "etag": 1},
    {"attestation": SYMMETRIC, "initialTwin": {"properties": 1}},
    {"mode": "create"},
    {"mode": None, "enrollments": [None]},
    {"enrollments": {"a": 1}},
    {"query": ""},
    *(
        {"mode": mode, "enrollments": [{"registrationId": "\ud800", "attestation": SYMMETRIC}]}
        for mode in ("create", "update", "delete")
    ),
    {"attestation": {"type": "x509", "x509": {"caReferences": {"primary": "\ud800"}}}},
    {"attestation": SYMMETRIC, "iotHubs": ["\ud800"]},
]


@pytest.mark.parametrize("place", range(len(STRANGE)))
def test_nothing_that_is_sent_makes_it_fail(owner: Client, name: str, place: int) -> None:
    """No 5xx, whatever the body: the lab's own failures would be 500."""
    body = STRANGE[place]
    for method, path in [(method, path) for method, path, _ in ASKED if method != "GET"]:
        answer = owner.ask(method, path.replace("x", name) + f"?{API}", body)
        assert answer.status < 500, (method, path, answer.body)
