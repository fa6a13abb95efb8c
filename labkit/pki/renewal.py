"""A device asks for its next certificate, and shows that it is the device that has the present one.

    new key ──signs──> CSR ──and the key of the present certificate signs that──> Renewal ──> CA

The CSR alone proves that its asker holds the *new* key, which anybody can make. Whoever is to get
a certificate of a device's name must speak with the key that is certified for it already: what
EST does with TLS client authentication (RFC 7030, section 4.2.2) is a signature here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from labkit.hsm import TokenKey
from labkit.pki import chain, checks, signing
from labkit.trace import Check, failed, not_reached, passed

VALID = "the certificate that the device has is valid by the lab's clock"
PROOF = "the request is signed with the key of that certificate, too"

_PURPOSE = "labkit renewal 1"
_RFC = "RFC 7030, section 4.2.2"


@dataclass(frozen=True, slots=True)
class Renewal:
    """A request (CSR) for a new key, the ``current`` certificate of the device that asks, and a
    ``proof``: a signature over the request's DER with the key of that certificate."""

    request: x509.CertificateSigningRequest
    current: x509.Certificate
    proof: bytes

    def __repr__(self) -> str:
        asked, has = chain.common_name(self.request), chain.common_name(self.current)
        return f"<Renewal: {has} asks for a certificate for {asked}>"


def ask(csr: x509.CertificateSigningRequest, current: x509.Certificate, key: TokenKey) -> Renewal:
    """The renewal of ``current``, whose ``key`` vouches for the request."""
    return Renewal(csr, current, signing.sign(key, _PURPOSE, csr.public_bytes(Encoding.DER)))


def examine(asked: Renewal, at: datetime) -> tuple[Check, ...]:
    """Whether the device itself asks, now; the first check that fails decides. ``at`` is the
    lab's time. The request's own form is looked at where it is signed (pki/request.py)."""
    valid = _valid(asked.current, at)
    return valid, _proof(asked) if valid.passed else not_reached(PROOF)


def _valid(current: x509.Certificate, at: datetime) -> Check:
    about, end = chain.subject(current), current.not_valid_after_utc
    if checks.is_valid(current, at):
        return passed(VALID, about, f"it is valid until {end:%Y-%m-%d}")
    return failed(
        VALID,
        about,
        f"it is valid from {current.not_valid_before_utc:%Y-%m-%d} to {end:%Y-%m-%d}; the lab's "
        f"clock says {at:%Y-%m-%d}",
        "renew before it expires: a device asks in the last third of its certificate's life",
        "let its manufacturer issue for the request that was retained, and push that in an update",
        source=_RFC,
    )


def _proof(asked: Renewal) -> Check:
    about, der = chain.subject(asked.current), asked.request.public_bytes(Encoding.DER)
    if signing.verifies(asked.current.public_key(), _PURPOSE, der, asked.proof):
        return passed(PROOF, about, "the signature verifies: the device that has it asks")
    return failed(
        PROOF,
        about,
        "the signature is by another key, or over another request",
        "have the device ask itself: only its token holds that key",
        source=_RFC,
    )
