"""On what condition DPS's service API changes an entry, and in which form it takes a body."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest
from https_clients import Answer, Client, back_end, client, sign
from stories import Story

from labkit.cloud.dps.entries import SymmetricKeyAttestation

API = "api-version=2021-10-01"
KEYED = {"attestation": {"type": "symmetricKey"}}
BOTH = pytest.mark.parametrize("kind", ["enrollments", "enrollmentGroups"])
IDS = {"enrollments": "registrationId", "enrollmentGroups": "enrollmentGroupId"}

_numbers = itertools.count()


@pytest.fixture
def name() -> str:
    return f"conditional-{next(_numbers)}"


@pytest.fixture
def owner(shared: Story) -> Iterator[Client]:
    with back_end(shared.lab) as opened:
        yield opened


def assert_refused(answer: Answer, code: int) -> None:
    assert (answer.status, answer.json["errorCode"]) == (code // 1000, code), answer.body


# ---- If-None-Match (RFC 9110, section 13.1.2)


@BOTH
@pytest.mark.parametrize("any_", ["*", '"*"'])
def test_if_none_match_makes_what_is_absent_and_spares_what_is_there(
    owner: Client, kind: str, name: str, any_: str
) -> None:
    """412 and not 409: the client named a condition, and it does not hold."""
    path = f"/{kind}/{name}?{API}"
    made = owner.ask("PUT", path, KEYED, If_None_Match=any_)
    assert made.status == 200, made.body
    assert_refused(owner.ask("PUT", path, KEYED, If_None_Match=any_), 412201)
    assert_refused(owner.ask("PUT", path, KEYED), 409201)
    assert owner.ask("GET", path).json["etag"] == made.json["etag"], "nothing was changed"


def test_if_none_match_names_etags_too(owner: Client, name: str) -> None:
    """That of the present state fails; another one holds, and then If-Match is asked."""
    path = f"/enrollments/{name}?{API}"
    etag = owner.ask("PUT", path, KEYED).json["etag"]
    assert_refused(owner.ask("PUT", path, KEYED, If_Match=etag, If_None_Match=etag), 412201)
    assert_refused(owner.ask("PUT", path, KEYED, If_None_Match='"another"'), 409201)
    both = {"If_Match": etag, "If_None_Match": '"another"'}
    assert owner.ask("PUT", path, KEYED, **both).status == 200


def test_a_condition_that_fails_is_explained(shared: Story, owner: Client, name: str) -> None:
    path = f"/enrollments/{name}?{API}"
    owner.ask("PUT", path, KEYED)
    answer = owner.ask("PUT", path, KEYED, If_None_Match="*")
    found = shared.lab.explain(answer.json["trackingId"])
    assert found.failure is not None
    assert "RFC 9110, section 13.1.2" in found.failure.source
    assert "certificate" not in str(found), "a back end was asked for none"


# ---- bulk: what counts of an entry's etag


def bulk(owner: Client, kind: str, mode: str, *entries: dict[str, Any]) -> dict[str, int]:
    """The codes of the entries that were refused, by their IDs."""
    answer = owner.ask("POST", f"/{kind}?{API}", {"mode": mode, kind: entries})
    assert answer.status == 200, answer.body
    assert answer.json["isSuccessful"] == (not answer.json["errors"])
    return {error[IDS[kind]]: error["errorCode"] for error in answer.json["errors"]}


@BOTH
def test_bulk_creates_what_is_absent_and_updates_what_is_there(
    owner: Client, kind: str, name: str
) -> None:
    """``create`` of one that exists is 409201 for that entry alone, also within one request;
    ``update`` asks for no ETag, and a stale one does not count; of none, it is 404201."""
    first, second = ({IDS[kind]: f"{name}-{n}", **KEYED} for n in range(2))
    assert bulk(owner, kind, "create", first) == {}
    assert bulk(owner, kind, "create", first, second, second) == {
        f"{name}-0": 409201,
        f"{name}-1": 409201,
    }
    changed = {**first, "provisioningStatus": "disabled"}
    assert bulk(owner, kind, "update", changed) == {}
    assert bulk(owner, kind, "update", {**changed, "etag": "c3RhbGU="}) == {}
    shown = owner.ask("GET", f"/{kind}/{name}-0?{API}").json
    assert shown["provisioningStatus"] == "disabled"
    absent = {IDS[kind]: f"{name}-absent", **KEYED}
    assert bulk(owner, kind, "update", absent, second) == {f"{name}-absent": 404201}
    assert owner.ask("GET", f"/{kind}/{name}-absent?{API}").status == 404


@BOTH
def test_bulk_update_if_match_wants_the_present_etag(owner: Client, kind: str, name: str) -> None:
    """A stale one, and none at all, is 412201: there was nothing that could match."""
    path = f"/{kind}/{name}?{API}"
    read = owner.ask("PUT", path, {IDS[kind]: name, **KEYED}).json
    for etag in ({"etag": "c3RhbGU="}, {"etag": ""}, {}):
        said = {key: value for key, value in read.items() if key != "etag"}
        assert bulk(owner, kind, "updateIfMatchETag", {**said, **etag}) == {name: 412201}
        assert owner.ask("GET", path).json["etag"] == read["etag"]
    assert bulk(owner, kind, "updateIfMatchETag", read) == {}
    assert bulk(owner, kind, "updateIfMatchETag", {**read, IDS[kind]: f"{name}-x"}) == {
        f"{name}-x": 404201
    }


@BOTH
def test_bulk_deletes_by_etag_where_one_is_named(owner: Client, kind: str, name: str) -> None:
    entry = {IDS[kind]: name, **KEYED}
    assert bulk(owner, kind, "create", entry) == {}
    assert bulk(owner, kind, "delete", {**entry, "etag": "c3RhbGU="}) == {name: 412201}
    assert bulk(owner, kind, "delete", entry) == {}
    assert bulk(owner, kind, "delete", entry) == {name: 404201}


# ---- the form of a body

OTHER_TYPES = ("text/plain", "application/xml", "application/x-www-form-urlencoded", "nonsense")


@pytest.mark.parametrize("said", OTHER_TYPES)
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/enrollments/{}", KEYED),
        ("PUT", "/enrollmentGroups/{}", KEYED),
        ("POST", "/enrollments", {"mode": "create", "enrollments": []}),
        ("POST", "/enrollments/query", {"query": "SELECT *"}),
    ],
)
def test_a_body_of_another_type_is_415(
    owner: Client, name: str, said: str, method: str, path: str, body: Any
) -> None:
    answer = owner.ask(method, f"{path.format(name)}?{API}", body, Content_Type=said)
    assert_refused(answer, 415001)
    assert answer.headers["x-ms-error-code"] == "415001"


@pytest.mark.parametrize(
    "said", ["application/json; charset=utf-8", "Application/JSON", "application/vnd.azure+json"]
)
def test_json_is_taken_under_its_names(owner: Client, name: str, said: str) -> None:
    path = f"/enrollments/{name}?{API}"
    assert owner.ask("PUT", path, KEYED, Content_Type=said).status == 200


def test_a_body_that_says_nothing_of_its_type_is_read_as_json(owner: Client, name: str) -> None:
    data = json.dumps(KEYED).encode()
    connection = owner.connection
    connection.putrequest("PUT", f"/enrollments/{name}?{API}")
    connection.putheader("Content-Length", str(len(data)))
    connection.putheader("Authorization", owner.headers["Authorization"])
    connection.endheaders(data)
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())["registrationId"]) == (200, name)


def test_who_may_not_ask_is_told_nothing_of_types(shared: Story) -> None:
    with client(shared.lab) as stranger:
        answer = stranger.ask("PUT", f"/enrollments/x?{API}", KEYED, Content_Type="text/plain")
    assert_refused(answer, 401002)


def test_a_device_is_told_415_too_and_it_is_its_own_refusal(shared: Story, name: str) -> None:
    made = shared.lab.dps.enrollments.create(name, keys=SymmetricKeyAttestation())
    assert made.attestation.primary_key  # type: ignore[union-attr]
    scope = shared.lab.dps.id_scope
    token = sign(f"{scope}%2Fregistrations%2F{name}", made.attestation.primary_key)  # type: ignore[union-attr]
    path = f"/{scope}/registrations/{name}"
    with client(shared.lab) as device:
        device.headers["Authorization"] = token
        for method, rest in (("PUT", "/register"), ("POST", "")):
            answer = device.ask(method, f"{path}{rest}?{API}", {}, Content_Type="text/plain")
            assert_refused(answer, 415001)
        found = shared.lab.explain(name)
        assert "application/json" in found.cures[0]
        assert "no certificate" not in str(found), "it has a key"
        done = device.ask("PUT", f"{path}/register?{API}", {"registrationId": name})
        assert done.status == 200
        state = done.json["registrationState"]
        asked = device.ask("GET", f"{path}/operations/{done.json['operationId']}?{API}", b"{}")
        assert asked.json["registrationState"] == state
