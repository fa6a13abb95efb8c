"""Proof of possession: whoever uploads a CA certificate shows that they hold its key.

The verifier hands out a random code; the owner signs a certificate whose CN is that code.
A certificate is public, so having one proves nothing; signing with its key does.

    verification code ──> CN of a new certificate ──signed with the CA's key──> proof

The code makes the proof fresh: one that was overheard is worth nothing for the next code.
Texts do not repeat it: it is another at every run.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime

from cryptography import x509

from labkit.hsm import Token
from labkit.pki import chain, checks, request
from labkit.pki.profiles import CODE_BYTES, is_code
from labkit.trace import Check, failed, not_reached, passed

__all__ = [
    "CA_VALIDITY",
    "CODE",
    "ISSUER",
    "SIGNATURE",
    "VALIDITY",
    "answer",
    "describe",
    "examine",
    "is_code",
    "new_code",
]

CA_VALIDITY = "the uploaded CA is valid by the lab's clock"
ISSUER = "the verification certificate was issued by the uploaded CA"
SIGNATURE = "its signature verifies with the uploaded CA's key"
CODE = "its CN is the verification code"
VALIDITY = "it is valid by the lab's clock"

_PROOF = "the verification certificate"
_WHO_SIGNS = "hand the code to whoever holds that key: nobody else can sign for it"


def new_code() -> str:
    """48 upper-case hex digits, as Azure hands them out."""
    return secrets.token_hex(CODE_BYTES).upper()


def answer(token: Token, code: str) -> x509.CertificateSigningRequest:
    """The request for a verification certificate: CN = ``code``, to be signed with the CA's key.

    Its own key pair is made in ``token`` for this one request, and never stored.
    """
    with token.passing_key("verification") as key:
        return request.make(key, request.name(code))


def examine(
    proof: x509.Certificate, ca: x509.Certificate, code: str, at: datetime
) -> tuple[Check, ...]:
    """Every check that the proof has to pass, in order; the first failure decides.

    ``code`` is the one that is open (empty: none), ``at`` the lab's time.
    """
    moment = at.astimezone(UTC).replace(microsecond=0)
    issuer = _issuer(proof, ca)
    # Whose key signed it is a question only where it names this CA.
    signature = _signature(proof, ca) if issuer.passed else not_reached(SIGNATURE, _PROOF)
    own = (_code(proof, code), _validity(proof, moment))
    return (_ca_validity(ca, moment), issuer, signature, *own)


def _ca_validity(ca: x509.Certificate, at: datetime) -> Check:
    about = chain.subject(ca)
    if checks.is_valid(ca, at):
        return passed(CA_VALIDITY, about, f"valid until {ca.not_valid_after_utc:%Y-%m-%d}")
    return failed(
        CA_VALIDITY,
        about,
        _why_not_valid(ca, at),
        "renew the CA, upload its new certificate under another name and prove that one",
        "move the lab's clock back, if it was moved for a lesson: lab.clock",
        source=checks.RFC,
    )


def _validity(proof: x509.Certificate, at: datetime) -> Check:
    if checks.is_valid(proof, at):
        return passed(VALIDITY, _PROOF, f"valid until {proof.not_valid_after_utc:%Y-%m-%d}")
    return failed(
        VALIDITY,
        _PROOF,
        _why_not_valid(proof, at),
        "sign a new one with the same code: it is needed once only, so a day is long enough",
        source=checks.RFC,
    )


def _why_not_valid(certificate: x509.Certificate, at: datetime) -> str:
    try:
        begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    except chain.UNREADABLE as error:
        return f"its validity cannot be read: {error}"
    fault = f"it expired on {end:%Y-%m-%d}" if at > end else f"not valid before {begin:%Y-%m-%d}"
    return f"{fault}; the lab's clock says {at:%Y-%m-%d}"


def _issuer(proof: x509.Certificate, ca: x509.Certificate) -> Check:
    if proof.issuer == ca.subject:
        return passed(ISSUER, _PROOF, f"its issuer is {chain.subject(ca)}")
    return failed(
        ISSUER,
        _PROOF,
        f"its issuer is {_named(proof.issuer)}, the uploaded CA is {chain.subject(ca)}",
        f"sign the verification certificate with the key of {chain.subject(ca)} itself, "
        "not with a CA above or below it",
        f"upload the CA that signed it, {_named(proof.issuer)}, and prove that one",
    )


def _named(issuer: x509.Name) -> str:
    return "itself" if is_code(chain.name_cn(issuer)) else chain.title(issuer)


def _signature(proof: x509.Certificate, ca: x509.Certificate) -> Check:
    about = chain.subject(ca)
    if weakness := checks.weakness(proof, ca):
        cure = "sign it anew, over SHA-256 or better"
        return failed(checks.STRENGTH, _PROOF, weakness, cure)
    if chain.signed_by(proof, ca):
        return passed(SIGNATURE, _PROOF, f"the key of {about} signed it")
    return failed(
        SIGNATURE,
        _PROOF,
        f"it names {about} as its issuer, but another key signed it",
        "sign it with the private key that belongs to the uploaded certificate; "
        "who has only the certificate cannot",
        _WHO_SIGNS,
    )


def describe(proof: x509.Certificate) -> str:
    """A proof in a few words, without its code."""
    return f"a certificate that names {_named(proof.issuer)} as its issuer"


def _code(proof: x509.Certificate, code: str) -> Check:
    if not code:
        return failed(
            CODE,
            _PROOF,
            "no verification code is open for this CA",
            "ask for one first, and sign a certificate with just that as its CN",
        )
    if chain.common_name(proof).upper() == code.upper():
        return passed(CODE, _PROOF, "the CN is the code that was handed out last")
    return failed(
        CODE,
        _PROOF,
        _why_not_the_code(proof, code),
        "sign a certificate with the code that was handed out last as its CN, and nothing else "
        "in the CN",
    )


def _why_not_the_code(proof: x509.Certificate, code: str) -> str:
    common_name = chain.common_name(proof)
    if is_code(common_name):
        return (
            "its CN is a verification code, but not the one that was handed out last: "
            "a new code makes every older one, and whatever was signed for it, worthless"
        )
    if code.upper() in proof.subject.rfc4514_string().upper():
        return "the code is in its subject, but is not the whole of its CN"
    return f"its CN is {common_name!r}" if common_name else "its subject has no CN"
