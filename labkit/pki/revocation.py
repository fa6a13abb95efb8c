"""Revocation lists (RFC 5280, section 5): what a CA publishes of what it takes back.

A list does nothing by itself. It keeps somebody out only where the one who judges the certificate
fetches it, and the services that this lab emulates do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509

from labkit.errors import BadRequest
from labkit.hsm import TokenKey
from labkit.pki import chain, request

LIFETIME: Final = timedelta(days=7)
"""Until when the next list is promised."""


def revocation_list(
    key: TokenKey,
    issuer: x509.Certificate,
    certificates: Sequence[x509.Certificate],
    now: datetime,
    reason: str = "keyCompromise",
) -> x509.CertificateRevocationList:
    """A list, signed with ``key`` of the CA whose certificate ``issuer`` is, of ``certificates``
    that it has signed. ``reason`` is one of RFC 5280, 5.3.1. Raises BadRequest."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.subject)
        .last_update(now)
        .next_update(now + LIFETIME)
    )
    for certificate in certificates:
        _check_issuer(certificate, issuer)
        builder = builder.add_revoked_certificate(_entry(certificate, now, reason))
    return builder.sign(key, request.digest_for(key.public_key()))


def _entry(certificate: x509.Certificate, now: datetime, reason: str) -> x509.RevokedCertificate:
    try:
        why = x509.CRLReason(x509.ReasonFlags(reason))
    except ValueError:
        raise BadRequest(
            f"{reason!r} is no reason to revoke a certificate",
            expected=", ".join(flag.value for flag in x509.ReasonFlags),
            cure="keyCompromise is that of a stolen key",
        ) from None
    return (
        x509.RevokedCertificateBuilder()
        .serial_number(certificate.serial_number)
        .revocation_date(now)
        .add_extension(why, critical=False)
        .build()
    )


def _check_issuer(certificate: x509.Certificate, issuer: x509.Certificate) -> None:
    if chain.signed_by(certificate, issuer):
        return
    raise BadRequest(
        f"{chain.title(issuer.subject)} cannot revoke {chain.title(certificate.subject)}",
        expected="a certificate that this CA has signed",
        found=f"its issuer is {chain.title(certificate.issuer)}",
        cure="ask the CA that has signed it",
    )
