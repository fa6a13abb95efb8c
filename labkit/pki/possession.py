"""Proof of possession: whoever uploads a CA certificate shows that they hold its key.

The verifier hands out a random code; the owner signs a certificate whose CN is that code.
A certificate is public, so having one proves nothing; signing with its key does.
"""

from __future__ import annotations

import secrets

from cryptography import x509

from labkit.pki import chain, profiles, request
from labkit.pki.authority import Authority
from labkit.trace import Check, failed, not_reached, passed

_CODE_BYTES = 24

ISSUER = "the verification certificate was issued by the uploaded CA"
SIGNATURE = "its signature verifies with the uploaded CA's key"
CODE = "its CN is the verification code"


def new_code() -> str:
    """48 upper-case hex digits, as Azure hands them out."""
    return secrets.token_hex(_CODE_BYTES).upper()


def prove(authority: Authority, code: str) -> x509.Certificate:
    """A verification certificate: CN = ``code``, signed inside the CA's token.

    Its own key pair lives for this one request and is never stored.
    """
    with authority.key.token.passing_key("verification") as key:
        csr = request.make(key, request.name(code))
    return authority.sign_request(csr, profiles.VERIFICATION)


def examine(proof: x509.Certificate, ca: x509.Certificate, code: str) -> tuple[Check, ...]:
    """Every check that the proof has to pass, in order; the first failure decides."""
    about = chain.subject(proof)
    checks = (_issuer(proof, ca, about), _signature(proof, ca, about), _code(proof, code, about))
    first = next((i for i, check in enumerate(checks) if check.failed), len(checks))
    later = (not_reached(check.name, about) for check in checks[first + 1 :])
    return (*checks[: first + 1], *later)


def _issuer(proof: x509.Certificate, ca: x509.Certificate, about: str) -> Check:
    if proof.issuer == ca.subject:
        return passed(ISSUER, about, f"its issuer is {chain.subject(ca)}")
    return failed(
        ISSUER,
        about,
        f"its issuer is {chain.title(proof.issuer)}, the uploaded CA is {chain.subject(ca)}",
        f"sign the verification certificate with the key of {chain.subject(ca)} itself, "
        "not with a CA above or below it",
    )


def _signature(proof: x509.Certificate, ca: x509.Certificate, about: str) -> Check:
    if chain.signed_by(proof, ca):
        return passed(SIGNATURE, about, f"the key of {chain.subject(ca)} signed it")
    return failed(
        SIGNATURE,
        about,
        f"it names {chain.subject(ca)} as its issuer, but another key signed it",
        "sign it with the private key that belongs to the uploaded certificate; "
        "who has only the certificate cannot",
    )


def _code(proof: x509.Certificate, code: str, about: str) -> Check:
    found = chain.common_name(proof)
    if not code:
        return failed(
            CODE,
            about,
            "no verification code is open for this CA",
            "ask for one first, and sign a certificate with just that as its CN",
        )
    if found.upper() == code.upper():
        return passed(CODE, about, "the CN is the code that was handed out last")
    return failed(
        CODE,
        about,
        f"the CN is {found!r}",
        "ask for the verification code again and sign a certificate with just that as its CN",
    )
