"""DPS's two HTTP APIs (2021-10-01) as data: which fields there are, of which kind, which must be.

Written by hand from the published specification (Azure/azure-rest-api-specs, data-plane,
DeviceProvisioningServices/stable/2021-10-01: service.json and device.json): the facts of it, in a
form that is small enough to read. :func:`schema` makes JSON Schema of a shape, for answers, and
:func:`values` a strategy, for requests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

Kind = Any
"""``str``, ``int``, ``bool``, ``dict`` (anything in it), :data:`TIME`, a tuple of words, a list
with the kind of its items, or a :class:`Shape`."""
TIME = "time"
_TIME = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,7})?Z$"


@dataclass(frozen=True)
class Shape:
    """An object: its fields, and which of them must be there."""

    fields: Mapping[str, Kind]
    required: tuple[str, ...] = ()


def shape(required: str = "", **fields: Kind) -> Shape:
    return Shape(fields, tuple(required.split()))


INFO = shape(
    "subjectName sha1Thumbprint sha256Thumbprint issuerName notBeforeUtc notAfterUtc "
    "serialNumber version",
    subjectName=str,
    sha1Thumbprint=str,
    sha256Thumbprint=str,
    issuerName=str,
    notBeforeUtc=TIME,
    notAfterUtc=TIME,
    serialNumber=str,
    version=int,
)
SLOT = shape(certificate=str, info=INFO)
SLOTS = shape(primary=SLOT, secondary=SLOT)
ATTESTATION = shape(
    "type",
    type=("none", "tpm", "x509", "symmetricKey"),
    tpm=shape("endorsementKey", endorsementKey=str, storageRootKey=str),
    x509=shape(
        clientCertificates=SLOTS,
        signingCertificates=SLOTS,
        caReferences=shape(primary=str, secondary=str),
    ),
    symmetricKey=shape(primaryKey=str, secondaryKey=str),
)
STATUS = ("unassigned", "assigning", "assigned", "failed", "disabled")
_STATE = {
    "registrationId": str,
    "createdDateTimeUtc": TIME,
    "assignedHub": str,
    "deviceId": str,
    "status": STATUS,
    "substatus": (
        "initialAssignment",
        "deviceDataMigrated",
        "deviceDataReset",
        "reprovisionedToInitialAssignment",
    ),
    "errorCode": int,
    "errorMessage": str,
    "lastUpdatedDateTimeUtc": TIME,
    "etag": str,
    "payload": dict,
}
REGISTRATION = Shape(_STATE)
_ENTRY = {
    "attestation": ATTESTATION,
    "capabilities": shape("iotEdge", iotEdge=bool),
    "iotHubHostName": str,
    "initialTwin": shape(tags=dict, properties=shape(desired=dict)),
    "etag": str,
    "provisioningStatus": ("enabled", "disabled"),
    "reprovisionPolicy": shape(
        "updateHubAssignment migrateDeviceData", updateHubAssignment=bool, migrateDeviceData=bool
    ),
    "createdDateTimeUtc": TIME,
    "lastUpdatedDateTimeUtc": TIME,
    "allocationPolicy": ("hashed", "geoLatency", "static", "custom"),
    "iotHubs": [str],
    "customAllocationDefinition": shape("webhookUrl apiVersion", webhookUrl=str, apiVersion=str),
}
ENROLLMENT = Shape(
    {
        "registrationId": str,
        "deviceId": str,
        "registrationState": REGISTRATION,
        "optionalDeviceInformation": dict,
        **_ENTRY,
    },
    ("registrationId", "attestation"),
)
GROUP = Shape({"enrollmentGroupId": str, **_ENTRY}, ("enrollmentGroupId", "attestation"))
MODES = ("create", "update", "updateIfMatchETag", "delete")
QUERY = shape("query", query=str)

DEVICE = shape(
    registrationId=str,
    tpm=shape("endorsementKey", endorsementKey=str, storageRootKey=str),
    payload=dict,
)
RESULT = Shape(
    {
        **_STATE,
        "tpm": shape(authenticationKey=str),
        "x509": shape(certificateInfo=INFO, enrollmentGroupId=str, signingCertificateInfo=INFO),
        "symmetricKey": shape(enrollmentGroupId=str),
    }
)
OPERATION = shape("operationId", operationId=str, status=STATUS, registrationState=RESULT)
ERROR = shape(
    "errorCode trackingId message timestampUtc",
    errorCode=int,
    trackingId=str,
    message=str,
    info=dict,
    timestampUtc=TIME,
)
"""The specification demands none of these; Azure sends them all."""

REFUSED = (400, 401, 404, 405, 409, 412, 415, 429)
"""With which statuses Azure says no (Azure documentation, DPS: how to troubleshoot)."""


def bulk(name: str, entry: Shape) -> Shape:
    """The body of a bulk operation on such entries."""
    return Shape({name: [entry], "mode": MODES}, (name, "mode"))


def bulk_result(id_name: str) -> Shape:
    error = Shape(
        {id_name: str, "errorCode": int, "errorStatus": str}, (id_name, "errorCode", "errorStatus")
    )
    return shape("isSuccessful", errors=[error], isSuccessful=bool)


@dataclass(frozen=True)
class Call:
    """One operation: what it may be sent, and what it answers where it is done."""

    method: str
    path: str
    body: Kind = None
    answers: Mapping[int, Kind] = field(default_factory=dict)

    @property
    def is_for_devices(self) -> bool:
        return "{scope}" in self.path

    @property
    def is_query(self) -> bool:
        return self.path.endswith("/query")


def _entries(path: str, id_name: str, entry: Shape) -> dict[str, Call]:
    one = f"/{path}/{{id}}"
    return {
        f"{path}: get": Call("GET", one, None, {200: entry}),
        f"{path}: put": Call("PUT", one, entry, {200: entry}),
        f"{path}: delete": Call("DELETE", one, None, {204: None}),
        f"{path}: query": Call("POST", f"/{path}/query", QUERY, {200: [entry]}),
        f"{path}: bulk": Call("POST", f"/{path}", bulk(path, entry), {200: bulk_result(id_name)}),
        f"{path}: mechanism": Call("POST", f"{one}/attestationmechanism", None, {200: ATTESTATION}),
    }


CALLS: dict[str, Call] = {
    **_entries("enrollments", "registrationId", ENROLLMENT),
    **_entries("enrollmentGroups", "enrollmentGroupId", GROUP),
    "registrations: get": Call("GET", "/registrations/{id}", None, {200: REGISTRATION}),
    "registrations: delete": Call("DELETE", "/registrations/{id}", None, {204: None}),
    "registrations: query": Call("POST", "/registrations/{id}/query", None, {200: [REGISTRATION]}),
    "device: register": Call(
        "PUT", "/{scope}/registrations/{id}/register", DEVICE, {200: OPERATION, 202: OPERATION}
    ),
    "device: operation": Call(
        "GET",
        "/{scope}/registrations/{id}/operations/{operation}",
        None,
        {200: OPERATION, 202: OPERATION},
    ),
    "device: look up": Call("POST", "/{scope}/registrations/{id}", DEVICE, {200: RESULT}),
}
"""All fifteen operations of the service API, and the three for devices."""


def schema(kind: Kind) -> dict[str, Any]:
    """JSON Schema for an answer: a field that the specification does not have does not fit."""
    if isinstance(kind, Shape):
        properties = {name: schema(inner) for name, inner in kind.fields.items()}
        required = list(kind.required)
        return {
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": False,
        }
    if isinstance(kind, list):
        return {"type": "array", "items": schema(kind[0])}
    if isinstance(kind, tuple):
        return {"enum": list(kind)}
    if kind == TIME:
        return {"type": "string", "pattern": _TIME}
    return {"type": {str: "string", int: "integer", bool: "boolean", dict: "object"}[kind]}


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


def values(kind: Kind, **known: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Values of a kind, mostly; now and then anything else in its place. ``known`` has better
    values for the fields of these names than texts at random."""
    right = _right(kind, known)
    return st.integers(1, 40).flatmap(lambda dice: ANYTHING if dice == 40 else right)


def _right(kind: Kind, known: Mapping[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    if isinstance(kind, Shape):
        all_ = {
            name: st.one_of(known[name], values(inner)) if name in known else values(inner, **known)
            for name, inner in kind.fields.items()
        }
        must = {name: all_.pop(name) for name in kind.required}
        return st.fixed_dictionaries(must, optional=all_)
    if isinstance(kind, list):
        return st.lists(values(kind[0], **known), max_size=4)
    if isinstance(kind, tuple):
        return st.sampled_from(kind)
    if kind == TIME:
        return st.just("2027-03-01T09:00:00Z")
    simple = {str: st.text(max_size=12), int: st.integers(), bool: st.booleans()}
    return simple.get(kind, st.dictionaries(st.text(max_size=6), ANYTHING, max_size=3))
