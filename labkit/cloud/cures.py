"""The verdict on a chain knows nothing of Azure; here are cures that a trainee can carry out."""

from __future__ import annotations

from dataclasses import dataclass, replace

from cryptography import x509

from labkit.cloud.certificates import CaCertificates
from labkit.pki import chain, verdict
from labkit.trace import Check


@dataclass(frozen=True, slots=True)
class Place:
    """A service that CAs are uploaded to. ``name`` is what people call it, ``further`` what else
    is to be done with a CA there, ``source`` the document that says so."""

    name: str
    certificates: CaCertificates
    source: str
    further: str = ""


def cured(check: Check, found: verdict.Verdict, place: Place) -> Check:
    """A check of a verdict, with the cures of this service where it failed."""
    if not check.failed:
        return check
    if check.name == verdict.VALIDITY:
        cures = (*check.cures, "move the lab's clock: lab.clock, labkit clock reset")
        return replace(check, cures=cures)
    if check.name == verdict.ISSUER and found.missing is not None:
        return replace(check, cures=_missing(found.missing, place), source=place.source)
    if check.name == verdict.ANCHOR:
        cure = f"upload {check.about} to {place.name} and prove possession of its key"
        return replace(check, cures=(cure,), source=place.source)
    return check


def _missing(name: x509.Name, place: Place) -> tuple[str, ...]:
    """Both ways are right (sdk-csharp #1010); the first keeps a single root in the service."""
    issuer = chain.title(name)
    for entry in place.certificates:
        if entry.certificate.subject == name and not entry.is_verified:
            cure = (
                f"prove possession of {issuer}: it is uploaded as {entry.name!r}, and counts "
                "only when it is verified"
            )
            return (cure,)
    and_then = f", prove possession of its key{place.further}"
    prove = and_then if place.further else " and prove possession of its key"
    itself = f"upload {issuer} itself to {place.name}{prove}: then it need not be sent"
    if not place.certificates.verified():  # to send more helps only where it leads to a trusted CA
        return (itself,)
    return (
        f"let the device send {issuer} too, and whatever is between it and a CA that {place.name} "
        "trusts: put the whole chain, its own certificate first, into the device's certificate "
        "file",
        itself,
    )
