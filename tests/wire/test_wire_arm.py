"""CA certificates by the shape of Azure Resource Manager, for DPS and for hubs."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from https_clients import Answer, Client, client
from stories import Story

from labkit.cloud.presented import Presented
from labkit.pki import chain
from labkit.serve import description
from labkit.wire.http.messages import Request

API = "api-version=2022-02-05"
BOTH = pytest.mark.parametrize("resource", ["provisioningServices/lab-dps", "IotHubs/contoso-hub"])


@pytest.fixture
def arm(story: Story) -> Iterator[Client]:
    with client(story.lab) as opened:
        opened.headers["Authorization"] = "Bearer whatever"
        yield opened


def at(story: Story, resource: str, rest: str = "") -> str:
    found = description(story.lab)["arm"]
    group = f"/subscriptions/{found['subscriptionId']}/resourceGroups/{found['resourceGroup']}"
    return f"{group}/providers/Microsoft.Devices/{resource}{rest}?{API}"


def assert_arm_error(answer: Answer, status: int, code: str) -> str:
    assert answer.status == status, answer.body
    assert set(answer.json) == {"error"}
    assert answer.json["error"]["code"] == code
    assert answer.headers["x-ms-request-id"]
    return str(answer.json["error"]["message"])


@BOTH
def test_a_certificate_is_uploaded_proven_and_deleted(
    story: Story, arm: Client, resource: str
) -> None:
    """The whole way of a CA, with nothing but requests and the CA's own key."""
    path = at(story, resource, "/certificates/factory-y")
    der = story.factory.certificate.public_bytes(Encoding.DER)
    body = {"properties": {"certificate": base64.b64encode(der).decode()}}
    made = arm.ask("PUT", path, body)
    assert made.status == 200, made.body
    assert made.json["name"] == "factory-y"
    assert made.json["id"].endswith(f"/{resource.split('/')[1]}/certificates/factory-y")
    shown = made.json["properties"]
    assert shown["thumbprint"] == chain.thumbprint_sha1(story.factory.certificate)
    assert shown["subject"].startswith("CN=Factory-Y CA")
    assert shown["isVerified"] is False
    assert base64.b64decode(shown["certificate"]) == der
    expiry = parsedate_to_datetime(shown["expiry"])
    assert expiry == story.factory.certificate.not_valid_after_utc
    assert abs(datetime.now(UTC) - parsedate_to_datetime(shown["created"])).total_seconds() < 60
    verification = at(story, resource, "/certificates/factory-y/generateVerificationCode")
    code = arm.ask("POST", verification).json["properties"]["verificationCode"]
    proof = story.factory.prove_possession(code)
    body = {"certificate": base64.b64encode(chain.to_pem([proof]).encode()).decode()}
    proven = arm.ask("POST", at(story, resource, "/certificates/factory-y/verify"), body)
    assert proven.status == 200, proven.body
    assert proven.json["properties"]["isVerified"] is True
    assert arm.ask("GET", path).json == proven.json
    assert proven.json in arm.ask("GET", at(story, resource, "/certificates")).json["value"]
    assert arm.ask("DELETE", path).status == 200
    assert_arm_error(arm.ask("GET", path), 404, "NotFound")


@BOTH
def test_a_proof_by_another_key_is_azures_refusal_and_explained(
    story: Story, arm: Client, resource: str
) -> None:
    path = at(story, resource, "/certificates/factory-y")
    pem = chain.to_pem([story.factory.certificate])
    arm.ask("PUT", path, {"properties": {"certificate": base64.b64encode(pem.encode()).decode()}})
    verification = at(story, resource, "/certificates/factory-y/generateVerificationCode")
    code = arm.ask("POST", verification).json["properties"]["verificationCode"]
    proof = story.technician.prove_possession(code)
    body = {"certificate": chain.to_pem([proof])}
    answer = arm.ask("POST", at(story, resource, "/certificates/factory-y/verify"), body)
    assert "Proof-Of-Possession failed" in assert_arm_error(answer, 400, "IH400053")
    assert story.lab.explain(answer.headers["x-ms-request-id"]).cures


def test_dps_and_hub_have_certificates_of_their_own(story: Story, arm: Client) -> None:
    dps = arm.ask("GET", at(story, "provisioningServices/lab-dps", "/certificates")).json
    hub = arm.ask("GET", at(story, "IotHubs/contoso-hub", "/certificates")).json
    assert [entry["name"] for entry in dps["value"]] == ["company-x"]
    assert hub == {"value": []}


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({}, "nothing"),
        ({"properties": {"certificate": "MIIB"}}, "not a certificate"),
        ({"properties": {"certificate": 7}}, ""),
        (b"nonsense", ""),
    ],
)
def test_what_is_no_certificate_is_400(story: Story, arm: Client, body: object, word: str) -> None:
    path = at(story, "provisioningServices/lab-dps", "/certificates/none")
    answer = arm.ask("PUT", path, body)
    assert answer.status == 400
    assert word in answer.json["error"]["message"]
    assert_arm_error(arm.ask("GET", path), 404, "NotFound")


def test_the_name_of_another_certificate_is_a_conflict(story: Story, arm: Client) -> None:
    path = at(story, "provisioningServices/lab-dps", "/certificates/company-x")
    body = {"properties": {"certificate": chain.to_pem([story.factory.certificate])}}
    assert_arm_error(arm.ask("PUT", path, body), 409, "Conflict")


def test_the_resources_are_described(story: Story, arm: Client) -> None:
    dps = arm.ask("GET", at(story, "provisioningServices/lab-dps"))
    assert dps.json["name"] == "lab-dps"
    shown = dps.json["properties"]
    assert shown["idScope"] == story.lab.dps.id_scope
    assert shown["state"] == "Active"
    assert shown["deviceProvisioningHostName"] == "global.azure-devices-provisioning.net"
    assert shown["serviceOperationsHostName"] == "lab-dps.azure-devices-provisioning.net"
    assert [hub["name"] for hub in shown["iotHubs"]] == ["contoso-hub.azure-devices.net"]
    hub = arm.ask("GET", at(story, "IotHubs/contoso-hub"))
    assert hub.json["properties"]["hostName"] == "contoso-hub.azure-devices.net"


OTHER_POLICIES = ["service", "device", "registryRead", "registryReadWrite"]


@pytest.mark.parametrize(
    ("resource", "keys"),
    [("provisioningServices/lab-dps", "keys"), ("IotHubs/contoso-hub", "IotHubKeys")],
)
def test_the_keys_of_its_policies_are_listed(
    story: Story, arm: Client, resource: str, keys: str
) -> None:
    """As the command line asks for them, to sign its own requests."""
    first, *others = arm.ask("POST", at(story, resource, "/listkeys")).json["value"]
    assert [one["keyName"] for one in others] == (OTHER_POLICIES if keys == "IotHubKeys" else [])
    service = "dps" if "lab-dps" in resource else "contoso-hub"
    owner = story.lab.cloud.policies(service).owner
    assert (first["keyName"], first["primaryKey"]) == (owner.name, owner.primary_key)
    one = arm.ask("POST", at(story, resource, f"/{keys}/{owner.name}/listkeys"))
    assert one.json == first
    other = arm.ask("POST", at(story, resource, f"/{keys}/nobody/listkeys"))
    assert_arm_error(other, 404, "NotFound")
    assert not [e for e in story.lab.events if owner.primary_key in repr(e)]


@pytest.mark.parametrize(
    "path",
    [
        "provisioningServices/other",
        "IotHubs/other-hub",
        "provisioningServices/lab-dps/certificates/none",
    ],
)
def test_what_is_not_there_is_404(story: Story, arm: Client, path: str) -> None:
    assert_arm_error(arm.ask("GET", at(story, path)), 404, "NotFound")
    elsewhere = at(story, "provisioningServices/lab-dps").replace("/lab/", "/elsewhere/")
    assert_arm_error(arm.ask("GET", elsewhere), 404, "NotFound")


def test_paths_are_matched_without_regard_to_case(story: Story, arm: Client) -> None:
    path = at(story, "PROVISIONINGSERVICES/Lab-DPS", "/CERTIFICATES")
    assert arm.ask("GET", path.replace("resourceGroups", "resourcegroups")).status == 200


def test_no_bearer_token_is_401(story: Story) -> None:
    """Which one does not matter: who somebody is in Azure is no subject of this lab."""
    path = at(story, "provisioningServices/lab-dps", "/certificates")
    with client(story.lab) as opened:
        for sent in ({}, {"Authorization": "SharedAccessSignature sr=a&sig=b&se=1"}):
            answer = opened.ask("GET", path, **sent)
            assert_arm_error(answer, 401, "AuthenticationFailed")
            assert b"company-x" not in answer.body


@pytest.mark.parametrize(("peer", "status"), [("127.0.0.9", 200), ("192.0.2.7", 403)])
def test_keys_are_told_to_this_machine_only(story: Story, peer: str, status: int) -> None:
    """Any bearer token opens ARM, so a key told to others would keep nobody out."""
    path = at(story, "provisioningServices/lab-dps", "/listkeys").partition("?")[0]
    headers = {"authorization": "Bearer any"}
    asked = Request("POST", path, {}, headers, b"", Presented(), peer)
    assert story.lab.listener._services.dps.answer(asked).status == status


@BOTH
def test_who_uploads_may_say_that_it_is_verified_and_nothing_is_proven(
    story: Story, arm: Client, resource: str
) -> None:
    """``isVerified`` on upload; said again it is harmless, left out it takes nothing back."""
    path = at(story, resource, "/certificates/believed")
    der = base64.b64encode(story.factory.certificate.public_bytes(Encoding.DER)).decode()
    plain, believed = ({"certificate": der, **more} for more in ({}, {"isVerified": True}))
    made = arm.ask("PUT", path, {"properties": plain})
    assert made.json["properties"]["isVerified"] is False
    for properties in (believed, believed, plain, {**plain, "isVerified": False}):
        answer = arm.ask("PUT", path, {"properties": properties})
        assert answer.status == 200, answer.body
        assert answer.json["properties"]["isVerified"] is True
    told = [e.text for e in story.lab.events.about(kind="verified") if "believed" in e.text]
    assert len(told) == 1
    assert "without proof" in told[0]
    other = base64.b64encode(story.technician.certificate.public_bytes(Encoding.DER)).decode()
    etag = {"If_Match": arm.ask("GET", path).json["etag"]}
    replaced = arm.ask("PUT", path, {"properties": {"certificate": other}}, **etag)
    assert replaced.json["properties"]["isVerified"] is False, "that was said of another one"
    wrong = arm.ask("PUT", path, {"properties": {**plain, "isVerified": "yes"}})
    assert wrong.status == 400
