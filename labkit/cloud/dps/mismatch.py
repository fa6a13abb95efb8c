"""Why an individual enrollment does not fit the certificate that its device sent, in words."""

from __future__ import annotations

from collections.abc import Sequence

from cryptography import x509

from labkit.cloud.dps.entries import X509Attestation
from labkit.pki import chain


def explained(named: X509Attestation, sent: Sequence[x509.Certificate]) -> tuple[str, ...]:
    """The reason first, then the cures. ``sent`` is the device's chain, its own certificate
    first; ``named`` is what the enrollment has in its place."""
    if (authority := _authority(named, sent)) is not None:
        ca = chain.subject(authority)
        part = "the CA that signed it" if chain.signed_by(sent[0], authority) else "which is a CA"
        return (
            f"its individual enrollment names {ca}, {part}, and not the device's own certificate",
            "put the device's own certificate into the individual enrollment",
            f"delete it, and create an enrollment group for {ca}",
        )
    return (
        f"its individual enrollment names {_described(named)}, but not the one that was sent: "
        "their thumbprints differ",
        "put the certificate that the device sends into the enrollment, as primary or as "
        "secondary, if this is the device that is meant",
        "give the device back a certificate that the enrollment names",
    )


def _authority(named: X509Attestation, sent: Sequence[x509.Certificate]) -> x509.Certificate | None:
    """The CA that stands where the device's own certificate belongs: one above it, or any of
    another name. (A device that signs its own certificate may call itself a CA in it.)"""
    above = chain.climb(sent[0], [*sent[1:], *named.certificates])[1:]
    own = chain.subject(sent[0])
    strange = (c for c in named.certificates if chain.is_ca(c) and chain.subject(c) != own)
    return next((c for c in named.certificates if c in above), next(strange, None))


def _described(named: X509Attestation) -> str:
    """``one certificate of CN=a``, ``two certificates of CN=a and CN=b``."""
    names = dict.fromkeys(map(chain.subject, named.certificates))
    count = "two certificates" if len(named.certificates) > 1 else "one certificate"
    return f"{count} of {' and '.join(names)}"
