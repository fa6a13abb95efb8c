"""What DPS takes without a word, and what a person would not want saved: told beside the form.

Nothing is refused here, for Azure refuses none of it. A device finds out later, or nobody does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cryptography import x509

from labkit import ids
from labkit.cloud.dps.entries import CLIENT, Enrollment, Entry, Named, X509Attestation
from labkit.pki import chain
from labkit.ui.portal.wishes import slot_in_words


@dataclass(frozen=True, slots=True)
class Warned:
    """One warning, in the four parts of an error of the lab."""

    message: str
    expected: str
    found: str
    cure: str


def warnings(entry: Entry, uploaded: Mapping[str, x509.Certificate]) -> Iterator[Warned]:
    """What is wrong with an entry as it is, or as it is about to be saved. ``uploaded`` are DPS's
    CA certificates. The ID of a new entry is not known before it is saved: until then, nothing is
    said of it."""
    found = entry.attestation
    if not isinstance(found, X509Attestation):
        return
    if isinstance(entry, Enrollment) and found.kind == CLIENT and entry.id:
        for certificate in dict.fromkeys(found.certificates):
            yield from _other_name(entry.id, certificate)
    by_name = {ids.key(name): certificate for name, certificate in uploaded.items()}
    one, other = (_held(slot, by_name) for slot in (found.primary, found.secondary))
    if one is not None and one == other:
        yield _twice(found)


def _other_name(wanted: str, certificate: x509.Certificate) -> Iterator[Warned]:
    """DPS compares the CN with the registration ID before it looks for an entry."""
    name = _common_name(certificate)
    if ids.same(name, wanted):
        return
    cure = f"put the certificate with CN={wanted} in its place"
    if ids.is_valid(name) and not chain.is_ca(certificate):
        cure += f"; or delete this entry, and create one with the registration ID {name}"
    yield Warned(
        "No device can register with this certificate: its common name is not the registration ID",
        expected=f"CN={wanted}",
        found=f"CN={name}" if name else "a certificate without a common name (CN)",
        cure=cure,
    )


def _common_name(certificate: x509.Certificate) -> str:
    """Empty where it has none that can be read."""
    try:
        return chain.common_name(certificate)
    except chain.UNREADABLE:
        return ""


def _held(slot: Named, uploaded: Mapping[str, x509.Certificate]) -> Named:
    """What a slot comes to: two names may stand for one certificate."""
    return uploaded.get(ids.key(slot), ids.key(slot)) if isinstance(slot, str) else slot


def _twice(found: X509Attestation) -> Warned:
    return Warned(
        "Primary and secondary are the same certificate: that is no help when it is rolled",
        expected="two certificates, so that devices with the new one come in while the old lasts",
        found=" and ".join(map(slot_in_words, (found.primary, found.secondary))),
        cure="put the next certificate in the place of one of them, or leave that place empty",
    )
