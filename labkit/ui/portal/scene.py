"""The portal as the browser gets it: plain values, nothing that JSON cannot hold."""

from __future__ import annotations

from typing import Any

from labkit.cloud.certificates import CaCertificateRow
from labkit.cloud.dps.entries import (
    ALLOCATION_POLICIES,
    CLIENT,
    CUSTOM,
    REFERENCES,
    SIGNING,
    Enrollment,
    Entry,
    X509Attestation,
)
from labkit.cloud.hub.credentials import form_of
from labkit.errors import LabError
from labkit.pki import chain
from labkit.ui.portal.cells import (
    ATTESTATIONS,
    COLUMNS,
    RECORD_COLUMNS,
    Json,
    Reader,
    cell,
    certificate_of,
    connection,
    known_by,
    record_row,
    rows,
    sign,
)
from labkit.ui.portal.device_shelf import HubDevice
from labkit.ui.portal.places import CERTIFICATES, DEVICES, GROUPS, INDIVIDUAL, Place
from labkit.ui.portal.portal import CERTIFICATE, PROOF, Portal
from labkit.ui.portal.showing import Trouble
from labkit.ui.portal.warnings import Warned, warnings
from labkit.ui.portal.wishes import (
    KEYS,
    SLOTS,
    difference,
    is_new,
    is_the_same,
    kind_of,
    reprovision_of,
    wanted,
)
from labkit.ui.scene import explained
from labkit.wire.endpoints import DPS_NAME

_ALLOCATION = {
    "": "The service's own policy",
    "hashed": "Evenly weighted distribution",
    "geoLatency": "Lowest latency",
    "static": "Static configuration",
    "custom": "Custom (a webhook)",
}
_REPROVISION = {
    "migrate": "Re-provision and migrate data",
    "reset": "Re-provision and reset to the initial state",
    "never": "Never re-provision",
}
_KINDS = {INDIVIDUAL: (CLIENT, KEYS), GROUPS: (SIGNING, REFERENCES, KEYS)}
_EMPTY = {
    GROUPS: "No enrollment group yet.",
    INDIVIDUAL: "No individual enrollment yet.",
    CERTIFICATES: "No certificate was uploaded yet.",
    DEVICES: "This hub has no device yet.",
}

_OTHER_ETAG = "Nothing was saved: the ETag that you read is not the present one."
_ONLY_ETAG = f"{_OTHER_ETAG} Somebody saved it as it was: no field of it is another."


def scene_of(portal: Portal) -> Json:
    """Everything but the log of calls."""
    reader = Reader.of(portal.lab)
    return {
        "lab": portal.lab.path.name,
        "service": portal.place.hub or DPS_NAME,
        "place": {"kind": portal.place.kind, "hub": portal.place.hub},
        "services": _services(portal),
        "list": _list(portal, reader),
        "entry": _entry(portal, reader),
        "certificate": _certificate(portal, reader),
        "device": _device(portal),
        "records": _records(portal),
        "conflict": _conflict(portal),
        "trouble": _trouble(portal.trouble),
        "notice": portal.notice,
    }


def calls_of(portal: Portal) -> list[Json]:
    """What was called, oldest first."""
    return [
        {
            "number": call.number,
            "said": call.said,
            "python": call.python,
            "rest": call.rest,
            "outcome": call.outcome,
        }
        for call in portal.calls
    ]


# ---- where one is


def _services(portal: Portal) -> list[Json]:
    dps = [_link(Place(GROUPS), "Manage enrollments"), _link(Place(CERTIFICATES), "Certificates")]
    hubs = [
        {"kind": "IoT Hub", "name": hub.name, "lists": _of_hub(hub.name)}
        for hub in portal.lab.cloud.hubs
    ]
    return [{"kind": "Provisioning service", "name": DPS_NAME, "lists": dps}, *hubs]


def _of_hub(name: str) -> list[Json]:
    return [
        _link(Place(DEVICES, name), "Devices"),
        _link(Place(CERTIFICATES, name), "Certificates"),
    ]


def _link(place: Place, label: str) -> Json:
    return {"kind": place.kind, "hub": place.hub, "label": label}


def _list(portal: Portal, reader: Reader) -> Json | None:
    """The list, unless something of it is looked at."""
    if portal.making or portal.opened is not None:
        return None
    kind, things = portal.place.kind, portal.listing.things
    return {
        "columns": list(COLUMNS[kind]),
        "rows": rows(reader, kind, things),
        "empty": _EMPTY[kind],
        "page": len(portal.tokens),
        "more": bool(portal.listing.more),
    }


def _records(portal: Portal) -> Json | None:
    if portal.records is None:
        return None
    found = portal.records
    return {
        "columns": list(RECORD_COLUMNS),
        "rows": [record_row(record) for record in found.listing.things],
        "empty": "No device came through this entry yet.",
        "page": len(found.tokens),
        "more": bool(found.listing.more),
    }


# ---- what is looked at


def _entry(portal: Portal, reader: Reader) -> Json | None:
    entry = portal.form
    if entry is None:
        return None
    return {
        "key": portal.opening,
        "new": portal.making,
        "noun": "individual enrollment" if portal.place.kind == INDIVIDUAL else "enrollment group",
        "id": entry.id,
        "device_id": getattr(entry, "device_id", ""),
        "individual": isinstance(entry, Enrollment),
        "facts": _entry_facts(entry),
        "warnings": _warnings(portal, entry, reader),
        **_proof_fields(portal, entry, reader),
        **_policy_fields(portal, entry),
    }


def _warnings(portal: Portal, entry: Entry, reader: Reader) -> list[Json]:
    """Of the entry as it would be saved now: with what is attached."""
    uploaded = {name: certificate for name, (certificate, _) in reader.uploaded.items()}
    found = warnings(wanted(entry, {}, portal.attached), uploaded)
    return [{"message": warned.message, "parts": _parts(warned)} for warned in found]


def _entry_facts(entry: Entry) -> list[list[str]]:
    if is_new(entry):
        return []
    device = entry.device_id if isinstance(entry, Enrollment) else ""
    facts = [
        ["Device ID", device],
        ["Initial twin", "set" if entry.initial_twin else ""],
        ["IoT Edge", "yes" if entry.capabilities.iot_edge else ""],
        ["Created", f"{entry.created:%Y-%m-%d %H:%M}"],
        ["Last updated", f"{entry.updated:%Y-%m-%d %H:%M}"],
        ["ETag", entry.etag],
    ]
    return [fact for fact in facts if fact[1]]


def _proof_fields(portal: Portal, entry: Entry, reader: Reader) -> Json:
    found = entry.attestation
    slots = {name: getattr(found, name, None) for name in SLOTS}
    kind = kind_of(found)
    return {
        "attestation": kind,
        "attestations": _options({k: ATTESTATIONS[k] for k in _KINDS[portal.place.kind]}),
        "slots": [
            {
                "slot": name,
                "label": f"{name.capitalize()} certificate",
                "held": reader.slot(slot) if slot is not None else None,
                "ca": slot if isinstance(slot, str) else "",
            }
            for name, slot in slots.items()
        ],
        "attached": _attached(portal, reader),
        "cas": _options({"": "none", **{name: _ca(reader, name) for name in reader.uploaded}}),
        "has_certificates": isinstance(found, X509Attestation),
    }


def _ca(reader: Reader, name: str) -> str:
    return name if reader.uploaded[name][1] else f"{name} (not verified yet)"


def _policy_fields(portal: Portal, entry: Entry) -> Json:
    chosen = {name.lower() for name in entry.iot_hubs}
    linked = [hub.host_name for hub in portal.lab.dps.linked_hubs]
    names = [*linked, *(name for name in entry.iot_hubs if name.lower() not in linked)]
    webhook = entry.custom_allocation
    return {
        "enabled": entry.enabled,
        "allocation": entry.allocation_policy,
        "allocations": _options({key: _ALLOCATION[key] for key in ("", *ALLOCATION_POLICIES)}),
        "custom": CUSTOM,
        "webhook": webhook.webhook_url if webhook is not None else "",
        "hubs": [{"name": name, "chosen": name.lower() in chosen} for name in names],
        "reprovision": reprovision_of(entry),
        "reprovisions": _options(_REPROVISION),
    }


def _options(words: dict[str, str]) -> list[Json]:
    return [{"value": value, "label": label} for value, label in words.items()]


def _attached(portal: Portal, reader: Reader) -> Json:
    return {
        slot: {**reader.certificate(given.certificate), "file": given.file}
        for slot, given in portal.attached.items()
    }


def _certificate(portal: Portal, reader: Reader) -> Json | None:
    row = portal.opened
    if portal.place.kind != CERTIFICATES or (row is None and not portal.making):
        return None
    attached = _attached(portal, reader)
    shared = {"key": portal.opening, "new": portal.making, "attached": attached}
    if not isinstance(row, CaCertificateRow):
        return {**shared, "slot": CERTIFICATE, "id": ""}
    return {
        **shared,
        "slot": PROOF,
        "id": row.name,
        "verified": row.is_verified,
        "state": sign("verified" if row.is_verified else "unverified"),
        "code": row.code,
        "facts": _certificate_facts(row, reader),
    }


def _certificate_facts(row: CaCertificateRow, reader: Reader) -> list[list[Any]]:
    found = certificate_of(row)
    shown = reader.certificate(found)
    return [
        ["Subject", cell(chain.subject(found))],
        ["Issuer", cell(chain.title(found.issuer))],
        ["Valid from", cell(f"{found.not_valid_before_utc:%Y-%m-%d}")],
        ["Expires", cell(f"{found.not_valid_after_utc:%Y-%m-%d}", sign=shown.get("sign"))],
        ["Thumbprint (SHA-1)", cell(mono=chain.thumbprint_sha1(found))],
        ["Thumbprint (SHA-256)", cell(mono=chain.thumbprint(found))],
    ]


def _device(portal: Portal) -> Json | None:
    device = portal.opened
    if not isinstance(device, HubDevice):
        return None
    held = [[f"Thumbprint ({form_of(one)})", cell(mono=one)] for one in device.known_by]
    status = sign("enabled" if device.enabled else "disabled")
    return {
        "id": device.device_id,
        "enabled": device.enabled,
        "facts": [
            ["Status", cell(sign=status, soft=device.reason)],
            ["Connection", cell(sign=connection(device))],
            ["Known by", cell(known_by(device))],
            *held,
        ],
    }


# ---- what did not work


def _conflict(portal: Portal) -> Json | None:
    found = portal.conflict
    if found is None:
        return None
    told = difference(found.read, found.there, found.wanted)
    same = found.there is not None and is_the_same(found.read, found.there)
    return {
        "gone": found.there is None,
        "why": _ONLY_ETAG if same else _OTHER_ETAG,
        "columns": ["", "when you opened it", "there now", "what you want"],
        "rows": [[name, *values] for name, values in told],
    }


def _trouble(found: Trouble | None) -> Json | None:
    if found is None:
        return None
    error, told = found.error, found.explanation
    return {
        "message": told.answer if told is not None else error.message,
        "parts": [] if told is not None else _parts(error),
        "explanation": explained(told) if told is not None else None,
    }


def _parts(found: LabError | Warned) -> list[list[str]]:
    """What stands below a message, without what is empty."""
    parts = (("Expected", found.expected), ("Found", found.found), ("Cure", found.cure))
    return [list(part) for part in parts if part[1]]
