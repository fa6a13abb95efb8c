"""DPS's service API (2021-10-01 and what came later in the same shape), for back ends.

    enrollments, enrollmentGroups           GET, PUT, DELETE, query, bulk, attestation mechanism
    registrations                           GET, DELETE, query of a group's
    certificateAuthorities, trustBundles    GET, PUT, DELETE, query (2021-11-01-preview alone)

Who asks signs with the key of a policy (SAS), and may do what that policy may.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Generic, TypeVar

from labkit.cloud import Cloud, codes
from labkit.cloud.dps import ProvisioningService
from labkit.cloud.dps.book import EntryBook
from labkit.cloud.dps.entries import BulkResult, Enrollment, EnrollmentGroup
from labkit.cloud.dps.issuance import knows_authorities
from labkit.cloud.dps.resources import ResourceBook
from labkit.cloud.policies import (
    ENROLLMENT_READ,
    ENROLLMENT_WRITE,
    REGISTRATION_READ,
    REGISTRATION_WRITE,
    SERVICE_CONFIG,
)
from labkit.trace import first_failure
from labkit.wire import azure_json
from labkit.wire.endpoints import SERVICE_ENDPOINT
from labkit.wire.host_names import as_dialled
from labkit.wire.http import dps_resources, entry_json
from labkit.wire.http.dps_errors import answering
from labkit.wire.http.fields import Fields, check_is_json, wrong
from labkit.wire.http.messages import Prompt, Request, Response, Router, json_response

CONTINUATION, ITEM_COUNT, ITEM_TYPE = "x-ms-continuation", "x-ms-max-item-count", "x-ms-item-type"

_COUNT = re.compile(r"[0-9]{1,6}")
_DPS = "dps"
E = TypeVar("E", Enrollment, EnrollmentGroup)
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class _Collection(Generic[E]):
    """One kind of entry: its book, where it is served, and how it is read and written."""

    book: EntryBook[E]
    path: str
    item_type: str
    id_name: str
    parse: Callable[[Fields, str], E]
    show: Callable[[E], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class _Resources(Generic[R]):
    """One kind of what DPS keeps beside entries: its book, and how it is read and written."""

    book: ResourceBook[R]
    put: Callable[[Any, str, Fields, str], R]
    show: Callable[[R], dict[str, Any]]


def add_routes(router: Router, cloud: Cloud) -> None:
    """Serves the back ends of this cloud's DPS."""
    api = _Api(router, cloud)
    api.serve(_enrollments(cloud.dps))
    api.serve(_groups(cloud.dps))
    api.serve_registrations()
    authorities, bundles = cloud.dps.certificate_authorities, cloud.dps.trust_bundles
    api.serve_resources(
        _Resources(authorities, dps_resources.put_authority, dps_resources.authority_json)
    )
    api.serve_resources(_Resources(bundles, dps_resources.put_bundle, azure_json.trust_bundle))


def _enrollments(dps: ProvisioningService) -> _Collection[Enrollment]:
    def shown(entry: Enrollment) -> dict[str, Any]:
        return entry_json.enrollment_json(entry, dps.registrations.find(entry.id))

    return _Collection(
        book=dps.enrollments,
        path="enrollments",
        item_type="Enrollment",
        id_name=entry_json.ENROLLMENT_ID,
        parse=entry_json.enrollment,
        show=shown,
    )


def _groups(dps: ProvisioningService) -> _Collection[EnrollmentGroup]:
    return _Collection(
        book=dps.enrollment_groups,
        path="enrollmentGroups",
        item_type="EnrollmentGroup",
        id_name=entry_json.GROUP_ID,
        parse=entry_json.group,
        show=entry_json.entry_json,
    )


class _Api:
    def __init__(self, router: Router, cloud: Cloud) -> None:
        self._router, self._cloud, self._dps = router, cloud, cloud.dps

    def serve(self, of: _Collection[E]) -> None:
        """The operations on one kind of entry. ``query`` comes before an entry of that name."""
        root, one = f"/{of.path}", f"/{of.path}/{{id}}"
        self._add("POST", f"{root}/query", ENROLLMENT_READ, partial(self._query, of))
        self._add("POST", root, ENROLLMENT_WRITE, partial(self._bulk, of))
        mechanism = partial(self._mechanism, of)
        self._add("POST", f"{one}/attestationmechanism", ENROLLMENT_READ, mechanism)
        self._add("GET", one, ENROLLMENT_READ, partial(self._get, of))
        self._add("PUT", one, ENROLLMENT_WRITE, partial(self._put, of))
        self._add("DELETE", one, ENROLLMENT_WRITE, partial(self._delete, of.book))

    def serve_registrations(self) -> None:
        """The operations on registration records."""
        one = "/registrations/{id}"
        self._add("POST", f"{one}/query", REGISTRATION_READ, self._query_registrations)
        self._add("GET", one, REGISTRATION_READ, self._get_registration)
        delete = partial(self._delete, self._dps.registrations)
        self._add("DELETE", one, REGISTRATION_WRITE, delete)

    def serve_resources(self, of: _Resources[R]) -> None:
        """The operations on authorities, or on bundles. Which shared access policy may do that is
        nowhere documented: a link is configuration of the service."""
        root, one = f"/{of.book.collection}", f"/{of.book.collection}/{{id}}"
        self._add("POST", f"{root}/query", ENROLLMENT_READ, partial(self._query_resources, of))
        self._add("GET", one, ENROLLMENT_READ, partial(self._get_resource, of))
        self._add("PUT", one, SERVICE_CONFIG, partial(self._put_resource, of))
        self._add("DELETE", one, SERVICE_CONFIG, partial(self._delete, of.book))

    def _add(self, method: str, path: str, right: str, handler: Prompt) -> None:
        """Whoever may not do it learns nothing, not even whether the thing exists."""

        def guarded(request: Request, parts: dict[str, str]) -> Response:
            admit(self._cloud, request, right)
            with self._cloud.refusals.told(_DPS, parts.get("id", "")):
                self._dps.limits.count_operation()
                check_is_json(request)
                return handler(request, parts)

        self._router.add(method, path, answering(guarded))

    # ---- entries

    def _get(self, of: _Collection[E], request: Request, parts: dict[str, str]) -> Response:
        return json_response(200, _shown(request, of.show(of.book.get(parts["id"]))))

    def _put(self, of: _Collection[E], request: Request, parts: dict[str, str]) -> Response:
        entry = _parsed(of, request, Fields.of(request.body), parts["id"])
        unwanted = request.headers.get("if-none-match", "")
        kept = of.book.put(entry, _if_match(request), if_none_match=unwanted)
        return json_response(200, _shown(request, entry_json.entry_json(kept, secrets=True)))

    def _delete(self, book: Any, request: Request, parts: dict[str, str]) -> Response:
        book.delete(parts["id"], _if_match(request))
        return Response(204)

    def _mechanism(self, of: _Collection[E], _: Request, parts: dict[str, str]) -> Response:
        attestation = of.book.get(parts["id"]).attestation
        return json_response(200, entry_json.attestation_json(attestation, secrets=True))

    def _query(self, of: _Collection[E], request: Request, _: dict[str, str]) -> Response:
        text = Fields.of(request.body).text("query")
        found, more = of.book.query(text, count_of(request), _continuation(request))
        shown = [_shown(request, entry_json.entry_json(entry)) for entry in found]
        return _page(shown, more, of.item_type)

    def _bulk(self, of: _Collection[E], request: Request, _: dict[str, str]) -> Response:
        said = Fields.of(request.body)
        entries = [_parsed(of, request, fields, "") for fields in said.objects(of.path)]
        return json_response(200, _bulk_json(of.book.bulk(said.text("mode"), entries), of.id_name))

    # ---- authorities and bundles

    def _get_resource(self, of: _Resources[R], _: Request, parts: dict[str, str]) -> Response:
        return json_response(200, of.show(of.book.get(parts["id"])))

    def _put_resource(self, of: _Resources[R], request: Request, parts: dict[str, str]) -> Response:
        said, if_match = Fields.of(request.body), _if_match(request)
        return json_response(200, of.show(of.put(of.book, parts["id"], said, if_match)))

    def _query_resources(self, of: _Resources[R], request: Request, _: dict[str, str]) -> Response:
        found, more = of.book.query(count_of(request), _continuation(request))
        return _page([of.show(each) for each in found], more, of.book.noun.title().replace(" ", ""))

    # ---- registrations

    def _get_registration(self, _: Request, parts: dict[str, str]) -> Response:
        return json_response(200, azure_json.registration(self._dps.registrations.get(parts["id"])))

    def _query_registrations(self, request: Request, parts: dict[str, str]) -> Response:
        count, start = count_of(request), _continuation(request)
        found, more = self._dps.registrations.query(parts["id"], count, start)
        return _page([azure_json.registration(row) for row in found], more, "DeviceRegistration")


def _knows(request: Request) -> bool:
    return knows_authorities(request.query.get("api-version", ""))


def _parsed(of: _Collection[E], request: Request, said: Fields, id: str) -> E:
    """An entry out of its JSON. What its api-version does not know stays as it was: who cannot see
    a field does not mean to change it."""
    entry = of.parse(said, id)
    if _knows(request):
        return entry
    before = of.book.find(entry.id)
    authority, bundle = (before.certificate_authority, before.trust_bundle) if before else ("", "")
    return replace(entry, certificate_authority=authority, trust_bundle=bundle)


def _shown(request: Request, found: dict[str, Any]) -> dict[str, Any]:
    """An entry in JSON, without what its api-version does not know."""
    hidden = () if _knows(request) else (entry_json.CA, entry_json.TRUST_BUNDLE)
    return {name: value for name, value in found.items() if name not in hidden}


def admit(cloud: Cloud, request: Request, right: str) -> None:
    """Raises ServiceRefusal (401) unless the token's policy, one of DPS, has the right."""
    token, now = request.headers.get("authorization", ""), datetime.now(UTC)
    resources = [f"{name}{request.path}" for name in _names(request.host)]
    checks = cloud.policies(_DPS).authorize(token, resources, right, now)
    if first_failure(checks):
        raise cloud.refusals.refuse(_DPS, "", codes.UNAUTHORIZED, checks)


def _names(host: str) -> Sequence[str]:
    """Under which names a token may know the service: as it was dialled, or its own."""
    return (*as_dialled(host), SERVICE_ENDPOINT)


def _if_match(request: Request) -> str:
    return request.headers.get("if-match", "")


def _continuation(request: Request) -> str:
    return request.headers.get(CONTINUATION, "")


def count_of(request: Request) -> int:
    """How many items of a page are wanted; 0 leaves it to the service. Raises Denial."""
    found = request.headers.get(ITEM_COUNT, "")
    if found and not _COUNT.fullmatch(found):
        raise wrong(ITEM_COUNT, f"it is {found!r}", "a number")
    return int(found or 0)


def _page(items: list[dict[str, Any]], continuation: str, item_type: str) -> Response:
    more = {CONTINUATION: continuation} if continuation else {}
    return json_response(200, items, {ITEM_TYPE: item_type, **more})


def _bulk_json(result: BulkResult, id_name: str) -> dict[str, Any]:
    errors = [
        {id_name: error.id, "errorCode": error.code, "errorStatus": error.status}
        for error in result.errors
    ]
    return {"errors": errors, "isSuccessful": result.is_successful}
