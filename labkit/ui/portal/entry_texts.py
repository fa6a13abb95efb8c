"""An enrollment in two languages: the Python that makes or changes it, and the JSON of a PUT."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from cryptography import x509

from labkit.cloud.dps import webhook_url
from labkit.cloud.dps.entries import (
    ENABLED,
    MIGRATE,
    NEVER,
    REFERENCES,
    RESET,
    CustomAllocation,
    Entry,
    Named,
    ReprovisionPolicy,
    SymmetricKeyAttestation,
    X509Attestation,
)
from labkit.pki import chain
from labkit.ui.portal import snippets
from labkit.ui.portal.snippets import FILE_IMPORT, Source
from labkit.wire.azure_json import certificate_info
from labkit.wire.http.entry_json import entry_json

Files = Mapping[x509.Certificate, str]
"""The names of the files that certificates came in."""

_ENTRIES = "labkit.cloud.dps.entries"
_READING = "from labkit.pki.reading import read_certificate"
_POLICIES = {RESET: "RESET", NEVER: "NEVER", MIGRATE: "MIGRATE"}
_OURS = ("etag", "created", "updated")


class EntryTexts:
    """Writes entries down; ``files`` is where their new certificates come from. ``imports``
    collects what the lines need."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self.imports: set[str] = set()

    # ---- a new entry

    def creation(self, book: str, entry: Entry) -> str:
        """The call that makes it, in a book such as ``lab.dps.enrollments``."""
        named = {name: self._value(value) for name, value in arguments(entry).items()}
        return snippets.lines(self.imports, snippets.call(f"{book}.create", entry.id, **named))

    # ---- a change

    def change(self, book: str, before: Entry, after: Entry) -> str:
        """The lines that read an entry, change it and put it back under the ETag of before."""
        self.imports.add("from dataclasses import replace")
        read = f"entry = {snippets.call(f'{book}.get', before.id)}"
        changed = snippets.call("replace", Source("entry"), **self._changes(before, after))
        put = snippets.call(f"{book}.put", Source("changed"), if_match=before.etag)
        return snippets.lines(self.imports, read, f"changed = {changed}", put)

    def _changes(self, before: Entry, after: Entry) -> dict[str, Source]:
        found = {}
        for name in (field.name for field in fields(before) if field.name not in _OURS):
            had, has = getattr(before, name), getattr(after, name)
            if had == has:
                continue
            is_proof = isinstance(had, X509Attestation) and isinstance(has, X509Attestation)
            found[name] = self._proof(had, has) if is_proof else self._value(has)
        return found

    def _proof(self, before: X509Attestation, after: X509Attestation) -> Source:
        slots = {
            name: self._slot(getattr(after, name))
            for name in ("primary", "secondary")
            if getattr(after, name) != getattr(before, name)
        }
        return Source(snippets.call("replace", Source("entry.attestation"), **slots))

    def _slot(self, slot: Named) -> Any:
        if not isinstance(slot, x509.Certificate):
            return slot
        self.imports |= {FILE_IMPORT, _READING}
        return Source(snippets.call("read_certificate", self._file(slot)))

    # ---- values

    def _value(self, value: Any) -> Any:
        if isinstance(value, x509.Certificate):
            self.imports.add(FILE_IMPORT)
            return self._file(value)
        if isinstance(value, ReprovisionPolicy):
            return self._policy(value)
        if isinstance(value, SymmetricKeyAttestation):  # its keys are nobody's to read
            return self._imported("SymmetricKeyAttestation", "SymmetricKeyAttestation()")
        if isinstance(value, CustomAllocation):
            url = webhook_url.shown(value.webhook_url)
            made = snippets.call("CustomAllocation", url, value.api_version)
            return self._imported("CustomAllocation", made)
        return value

    def _policy(self, policy: ReprovisionPolicy) -> Source:
        name = _POLICIES.get(policy, "")
        return self._imported(name or "ReprovisionPolicy", name or repr(policy))

    def _imported(self, name: str, text: str) -> Source:
        self.imports.add(f"from {_ENTRIES} import {name}")
        return Source(text)

    def _file(self, certificate: x509.Certificate) -> Source:
        return snippets.file(self._files.get(certificate, "certificate.pem"))


def arguments(entry: Entry) -> dict[str, Any]:
    """What ``create`` of a book is called with, beside the ID: what is not usual."""
    found = {
        **_proof_arguments(entry),
        "device_id": getattr(entry, "device_id", ""),
        "hubs": entry.iot_hubs,
        "allocation": entry.allocation_policy,
        "webhook": entry.custom_allocation,
        "reprovision": entry.reprovision_policy,
        "status": entry.provisioning_status,
    }
    usual = {
        "device_id": "",
        "hubs": (),
        "allocation": "",
        "reprovision": MIGRATE,
        "status": ENABLED,
    }
    return snippets.given(found, usual)


def _proof_arguments(entry: Entry) -> dict[str, Any]:
    found = entry.attestation
    if isinstance(found, SymmetricKeyAttestation):
        return {"keys": found}
    first = {REFERENCES: "ca", "signingCertificates": "signing"}.get(found.kind, "certificate")
    second = "secondary_ca" if found.kind == REFERENCES else "secondary"
    return {first: found.primary or None, second: found.secondary or None}


def body(entry: Entry, before: Entry | None) -> dict[str, Any]:
    """The JSON of a PUT: of a certificate that the entry has already its ``info`` suffices. Keys
    are not in it: those that are left out are made, or stay; nor is that of a webhook."""
    found = entry_json(entry)
    for name in ("createdDateTimeUtc", "lastUpdatedDateTimeUtc", "etag"):
        found.pop(name, None)
    if entry.custom_allocation is not None:
        url = webhook_url.shown(entry.custom_allocation.webhook_url)
        found["customAllocationDefinition"]["webhookUrl"] = url
    if isinstance(entry.attestation, X509Attestation):
        found["attestation"]["x509"] = {entry.attestation.kind: _slots(entry.attestation, before)}
    return found


def _slots(found: X509Attestation, before: Entry | None) -> dict[str, Any]:
    had = before.attestation if before is not None else None
    known = had.certificates if isinstance(had, X509Attestation) else ()
    slots = {"primary": found.primary, "secondary": found.secondary}
    return {name: _slot_json(slot, known) for name, slot in slots.items() if slot is not None}


def _slot_json(slot: Named, known: tuple[x509.Certificate, ...]) -> Any:
    if not isinstance(slot, x509.Certificate):
        return slot
    return (
        {"info": certificate_info(slot)} if slot in known else {"certificate": chain.to_pem([slot])}
    )
