"""The lists of the portal as tables: columns, and cells of plain values.

A cell has ``text`` and may have a ``sign`` (a state's icon and word), ``soft`` words below, and
``mono``, a thumbprint. Colour never stands alone: a sign has its word.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from cryptography import x509

from labkit import ids
from labkit.cloud.certificates import CaCertificateRow
from labkit.cloud.dps.entries import Entry, Named, X509Attestation
from labkit.cloud.dps.registrations import ASSIGNED, ASSIGNING, Registration
from labkit.graph.states import STATES
from labkit.pki import chain
from labkit.ui.portal.device_shelf import HubDevice
from labkit.ui.portal.places import CERTIFICATES, DEVICES, GROUPS, INDIVIDUAL, Kind
from labkit.ui.portal.wishes import kind_of

if TYPE_CHECKING:
    from labkit.lab import Lab

Json = dict[str, Any]

SOON = timedelta(days=30)
"""A certificate that ends within this time is marked."""

ATTESTATIONS: Mapping[str, str] = {
    "clientCertificates": "X.509 certificate",
    "signingCertificates": "X.509, signing certificate",
    "caReferences": "X.509, uploaded CA",
    "symmetricKey": "Symmetric key",
}

COLUMNS: Mapping[Kind, tuple[str, ...]] = {
    GROUPS: ("Group name", "State", "Attestation", "Primary", "Secondary"),
    INDIVIDUAL: ("Registration ID", "State", "Attestation", "Primary", "Secondary"),
    CERTIFICATES: ("Name", "State", "Subject", "Expires"),
    DEVICES: ("Device ID", "Status", "Connection", "Known by"),
}
RECORD_COLUMNS = ("Registration ID", "State", "Assigned hub", "Last updated")
_REGISTERED = {ASSIGNED: "enabled", ASSIGNING: "unknown", "disabled": "disabled"}


@dataclass(frozen=True, slots=True)
class Reader:
    """What rows are read with: the ``now`` of the lab, and the CAs that were uploaded to DPS."""

    now: datetime
    uploaded: Mapping[str, tuple[x509.Certificate, bool]]

    @classmethod
    def of(cls, lab: Lab) -> Reader:
        """As things are in a lab now."""
        found = {ca.name: (ca.certificate, ca.is_verified) for ca in lab.dps.certificates}
        return cls(lab.clock.now(), found)

    def row(self, kind: Kind, thing: Any) -> list[Json]:
        """The cells of one thing of a list."""
        made: Mapping[Kind, Callable[[Any], list[Json]]] = {
            GROUPS: self._entry,
            INDIVIDUAL: self._entry,
            CERTIFICATES: self._certificate,
            DEVICES: device_row,
        }
        return made[kind](thing)

    def _entry(self, entry: Entry) -> list[Json]:
        return [
            cell(entry.id),
            cell(sign=sign(entry.provisioning_status)),
            cell(ATTESTATIONS[kind_of(entry.attestation)]),
            *self._slots(entry),
        ]

    def _slots(self, entry: Entry) -> list[Json]:
        if not isinstance(entry.attestation, X509Attestation):
            return [cell("–"), cell("–")]
        return [
            self.slot(slot) for slot in (entry.attestation.primary, entry.attestation.secondary)
        ]

    def slot(self, slot: Named) -> Json:
        """A certificate that an entry names, or the CA behind a reference."""
        if isinstance(slot, x509.Certificate):
            return self.certificate(slot)
        if not isinstance(slot, str):
            return cell("none")
        known = {ids.key(name): found for name, found in self.uploaded.items()}
        if ids.key(slot) not in known:
            return cell(slot, sign=sign("removed", "not uploaded"))
        certificate, is_verified = known[ids.key(slot)]
        shown = self.certificate(certificate)
        mark = shown.get("sign") if is_verified else sign("unverified")
        return {**shown, "text": f"{slot}: {shown['text']}", **({"sign": mark} if mark else {})}

    def certificate(self, certificate: x509.Certificate) -> Json:
        """Whose it is, until when, and which."""
        return cell(
            chain.subject(certificate),
            sign=validity(certificate, self.now),
            soft=until(certificate),
            mono=chain.thumbprint_sha1(certificate),
        )

    def _certificate(self, row: CaCertificateRow) -> list[Json]:
        found = certificate_of(row)
        shown = self.certificate(found)
        ends = cell(f"{found.not_valid_after_utc:%Y-%m-%d}", sign=shown.get("sign"))
        return [
            cell(row.name),
            cell(sign=sign("verified" if row.is_verified else "unverified")),
            cell(shown["text"], mono=shown["mono"]),
            ends,
        ]


def device_row(device: HubDevice) -> list[Json]:
    """The cells of an identity in a hub."""
    status = sign("enabled" if device.enabled else "disabled")
    return [
        cell(device.device_id),
        cell(sign=status, soft=device.reason),
        cell(sign=connection(device)),
        cell(known_by(device), mono=" ".join(device.known_by)),
    ]


def record_row(record: Registration) -> list[Json]:
    """The cells of a registration; what it failed for stands below its state."""
    state = sign(_REGISTERED.get(record.status, "untrusted issuer"), record.status)
    failed = f"{record.error_code}: {record.error_message}" if record.error_code else ""
    return [
        cell(record.registration_id),
        cell(sign=state, soft=failed or record.substatus),
        cell(record.assigned_hub or "–", soft=_device_id(record)),
        cell(f"{record.updated:%Y-%m-%d %H:%M}"),
    ]


def _device_id(record: Registration) -> str:
    same = record.device_id in ("", record.registration_id)
    return "" if same else f"as {record.device_id}"


def cell(text: str = "", *, sign: Json | None = None, soft: str = "", mono: str = "") -> Json:
    """One cell, without what it does not have."""
    found = {"text": text, "sign": sign, "soft": soft, "mono": mono}
    return {name: value for name, value in found.items() if value}


def sign(key: str, word: str = "") -> Json:
    """The mark of a state of the board, with its own word or another."""
    state = STATES[key]
    return {"word": word or state.word, "slug": state.slug, "icon": state.icon}


def connection(device: HubDevice) -> Json:
    """Whether it is connected now."""
    if device.connected:
        return sign("in use", "connected")
    return sign("not linked", "not connected")


def known_by(device: HubDevice) -> str:
    """How the device proves itself to its hub."""
    words = {
        "selfSigned": "thumbprint" if len(device.known_by) < 2 else "two thumbprints",
        "certificateAuthority": "a verified CA above it",
    }
    return words.get(device.authentication, "symmetric key")


def validity(certificate: x509.Certificate, now: datetime) -> Json | None:
    """A mark for what is over, not yet begun, or over soon."""
    left = certificate.not_valid_after_utc - now
    if left < timedelta(0):
        return sign("expired")
    if certificate.not_valid_before_utc > now:
        return sign("not yet valid")
    days = math.ceil(left / timedelta(days=1))
    word = f"{days} day{'' if days == 1 else 's'} left"
    return sign("not yet valid", word) if left <= SOON else None


def until(certificate: x509.Certificate) -> str:
    """Its last day."""
    return f"until {certificate.not_valid_after_utc:%Y-%m-%d}"


def certificate_of(row: CaCertificateRow) -> x509.Certificate:
    """The certificate that was uploaded."""
    return x509.load_der_x509_certificate(row.der)


def rows(reader: Reader, kind: Kind, things: Sequence[Any]) -> list[list[Json]]:
    """The cells of all things of a list."""
    return [reader.row(kind, thing) for thing in things]
