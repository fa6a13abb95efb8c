"""What a form says of an enrollment, and the entry that it makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypedDict

from cryptography import x509

from labkit.cloud.dps.entries import (
    CLIENT,
    CUSTOM,
    DISABLED,
    ENABLED,
    MIGRATE,
    NEVER,
    REFERENCES,
    RESET,
    SIGNING,
    UNSET,
    Attestation,
    CustomAllocation,
    Enrollment,
    EnrollmentGroup,
    Entry,
    Named,
    ReprovisionPolicy,
    SymmetricKeyAttestation,
    X509Attestation,
)
from labkit.errors import LabError
from labkit.pki import chain
from labkit.ui.portal.places import INDIVIDUAL, Kind

SLOTS = ("primary", "secondary")
KEYS = "symmetricKey"
REPROVISION: Mapping[str, ReprovisionPolicy] = {
    "migrate": MIGRATE,
    "reset": RESET,
    "never": NEVER,
}
"""What a form calls the policies for a device that comes again."""

ATTESTATIONS = {CLIENT, SIGNING, REFERENCES, KEYS}
_WEBHOOK_API = "2021-10-01"


class Wishes(TypedDict, total=False):
    """What is to be changed; what is not named stays.

    ``remove`` names slots (``primary``, ``secondary``) whose certificate goes, unless another is
    attached to them. ``primary_ca`` and ``secondary_ca`` are names of uploaded CAs, empty for
    none. ``allocation`` is one of Azure's words, empty for the service's own; ``hubs`` are host
    names, none for all that are linked; ``webhook`` is the URL for ``custom``. ``reprovision`` is
    one of ``migrate``, ``reset``, ``never``. Of a new entry only: ``id``, ``device_id`` and
    ``attestation``.
    """

    id: str
    device_id: str
    attestation: str
    remove: list[str]
    primary_ca: str
    secondary_ca: str
    enabled: bool
    allocation: str
    hubs: list[str]
    webhook: str
    reprovision: str


@dataclass(frozen=True, slots=True)
class Attached:
    """A certificate that was handed over for a slot, and the name of its file."""

    certificate: x509.Certificate
    file: str


def blank(kind: Kind) -> Entry:
    """The entry of an empty form."""
    if kind == INDIVIDUAL:
        return Enrollment("", X509Attestation(CLIENT))
    return EnrollmentGroup("", X509Attestation(SIGNING))


def wanted(entry: Entry, wishes: Wishes, attached: Mapping[str, Attached]) -> Entry:
    """The entry with what is wished. Raises LabError for a word that is none of the form's."""
    _check(wishes)
    changes: dict[str, Any] = {
        "attestation": _attestation(entry, wishes, attached),
        **_policies(entry, wishes),
    }
    if is_new(entry):
        changes["id"] = wishes.get("id", "")
    if is_new(entry) and isinstance(entry, Enrollment):
        changes["device_id"] = wishes.get("device_id", "")
    return replace(entry, **changes)


def is_new(entry: Entry) -> bool:
    """Whether the service has not seen it yet."""
    return entry.created == UNSET


def reprovision_of(entry: Entry) -> str:
    """What a form calls its policy."""
    found = entry.reprovision_policy
    if not found.update_hub_assignment:
        return "never"
    return "migrate" if found.migrate_device_data else "reset"


def kind_of(attestation: Attestation) -> str:
    """The attestation's kind in one word of Azure's."""
    return KEYS if isinstance(attestation, SymmetricKeyAttestation) else attestation.kind


def _check(wishes: Wishes) -> None:
    known = {
        "reprovision": set(REPROVISION),
        "attestation": ATTESTATIONS,
    }
    for name, words in known.items():
        said = wishes.get(name)
        if said is not None and said not in words:
            raise LabError(f"{name} cannot be {said!r}", expected=", ".join(sorted(words)))
    if unknown := set(wishes) - set(Wishes.__annotations__):
        raise LabError(
            f"The form has no field {', '.join(sorted(unknown))}",
            expected=", ".join(Wishes.__annotations__),
        )


def _policies(entry: Entry, wishes: Wishes) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if "enabled" in wishes:
        found["provisioning_status"] = ENABLED if wishes["enabled"] else DISABLED
    if "allocation" in wishes:
        found["allocation_policy"] = wishes["allocation"]
    if "hubs" in wishes:
        found["iot_hubs"] = tuple(wishes["hubs"])
    if "reprovision" in wishes and wishes["reprovision"] != reprovision_of(entry):
        found["reprovision_policy"] = REPROVISION[wishes["reprovision"]]
    if "webhook" in wishes and wishes.get("allocation", entry.allocation_policy) == CUSTOM:
        found["custom_allocation"] = _webhook(entry, wishes["webhook"])
    return found


def _webhook(entry: Entry, url: str) -> CustomAllocation | None:
    had = entry.custom_allocation
    version = had.api_version if had is not None else _WEBHOOK_API
    return CustomAllocation(url, version) if url else None


def _attestation(entry: Entry, wishes: Wishes, attached: Mapping[str, Attached]) -> Attestation:
    """One way to know a device does not become another: only a new entry has the choice."""
    had = entry.attestation
    kind = wishes.get("attestation", kind_of(had)) if is_new(entry) else kind_of(had)
    if kind == KEYS:
        return had if isinstance(had, SymmetricKeyAttestation) else SymmetricKeyAttestation()
    same = isinstance(had, X509Attestation) and had.kind == kind
    before = had if same and isinstance(had, X509Attestation) else X509Attestation(kind)  # type: ignore[arg-type]
    primary, secondary = (_slot(before, slot, wishes, attached) for slot in SLOTS)
    return replace(before, primary=primary, secondary=secondary)


def _slot(
    before: X509Attestation, slot: str, wishes: Wishes, attached: Mapping[str, Attached]
) -> Named:
    present: Named = getattr(before, slot)
    if before.kind == REFERENCES:
        return wishes.get(f"{slot}_ca", present) or None  # type: ignore[return-value]
    if slot in attached:
        return attached[slot].certificate
    return None if slot in wishes.get("remove", ()) else present


# ---- two states of an entry, side by side


def difference(*states: Entry | None) -> list[tuple[str, list[str]]]:
    """What is not the same in all these states of an entry: a name for people, and what it is in
    each; None stands for an entry that is not there."""
    rows = [_told(entry) for entry in states]
    names = next(list(row) for row in rows if row)
    told = [(name, [row.get(name, "the entry is gone") for row in rows]) for name in names]
    return [(name, values) for name, values in told if len(set(values)) > 1]


def is_the_same(one: Entry, other: Entry) -> bool:
    """Whether two states of an entry differ in nothing that anybody has set."""
    unset: dict[str, Any] = {"etag": "", "created": UNSET, "updated": UNSET}
    return replace(one, **unset) == replace(other, **unset)


def _told(entry: Entry | None) -> dict[str, str]:
    if entry is None:
        return {}
    device = {"Device ID": entry.device_id or entry.id} if isinstance(entry, Enrollment) else {}
    return {
        "State": entry.provisioning_status,
        **device,
        **_told_proof(entry.attestation),
        "Allocation policy": entry.allocation_policy or "the service's own",
        "Webhook": entry.custom_allocation.webhook_url if entry.custom_allocation else "none",
        "IoT hubs": ", ".join(entry.iot_hubs) or "all that are linked",
        "Static hub": entry.iot_hub_host_name or "the first of these",
        "Reprovision policy": reprovision_of(entry),
        "Credential policy": entry.credential_policy or "none",
        "Initial twin": "one" if entry.initial_twin else "none",
        "IoT Edge": "yes" if entry.capabilities.iot_edge else "no",
    }


def _told_proof(found: Attestation) -> dict[str, str]:
    if isinstance(found, SymmetricKeyAttestation):
        return {}
    return {
        "Primary certificate": slot_in_words(found.primary),
        "Secondary certificate": slot_in_words(found.secondary),
    }


def slot_in_words(slot: Named) -> str:
    """``CN=widget, 1A2B3C4D…``: two certificates of one name are told apart by the thumbprint."""
    if isinstance(slot, x509.Certificate):
        return f"{chain.subject(slot)}, {chain.thumbprint_sha1(slot)[:8]}…"
    return f"CA certificate {slot}" if isinstance(slot, str) else "none"
