"""Which certificate signing requests of devices are signed (Azure documentation, IoT Hub:
certificate issuance, what a request has to be).

The checks are made in order, and the first that fails ends it: each later one needs those before.
To verify a signature takes its time: who examines has that done where it suits them.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Generator
from functools import lru_cache
from typing import TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from labkit import ids
from labkit.cloud.adr.books import P384
from labkit.pki import chain, profiles, request
from labkit.pki.tasks import Verify
from labkit.trace import Check, failed, passed

LARGEST = 8 * 1024
"""Bytes of a request in DER; the hub's own operation has this bound."""
FORM = "the request is base64 of DER (PKCS#10), without the lines of PEM around it"
KEY = "its key is one that the policy signs"
NAME = "its common name is the registration ID"

_SOURCE = "Azure documentation, IoT Hub: certificate issuance (CSR requirements)"
_MAKE = (
    "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-384 -nodes -keyout KEY "
    "-subj /CN={} -outform DER | base64 -w0"
)
Examination: TypeAlias = Generator[Check | Verify, bool | None, None]
"""Checks, and among them a task, which is to be answered with its result."""

_OWN = frozenset({request.KEY, request.NAME, request.REGISTRATION})
"""Rules of the lab's other CAs, in whose place others stand here."""


@lru_cache(maxsize=64)  # each request is read by whoever examines it, and by who signs it
def read(text: str) -> x509.CertificateSigningRequest | None:
    """The request, as far as it can be read at all."""
    try:
        return x509.load_der_x509_csr(base64.b64decode(text, validate=True))
    except (binascii.Error, *chain.UNREADABLE):
        return None


def examine(text: str, registration_id: str, wanted_key: str) -> Examination:
    """The checks of a request as it came, in order; ``wanted_key`` is the registry's switch."""
    yield _form(text, registration_id)
    csr = read(text)
    assert csr is not None, "asked only after it could be read"
    verified = yield Verify(csr.public_bytes(Encoding.DER))
    yield from request.examine(csr, profiles.DEVICE, without=_OWN, verified=verified)
    yield _key(csr, registration_id, wanted_key)
    yield named(csr, registration_id)


def _form(text: str, about: str) -> Check:
    if len(text) > LARGEST * 4 // 3 + 4:
        why, cure = f"it has {len(text):,} characters", f"send {LARGEST:,} bytes at most"
        return failed(FORM, about, why, cure, source=_SOURCE)
    if "-----" in text:
        cure = "send what is between the lines, in one line; or openssl req -outform DER | base64"
        return failed(FORM, about, "it has PEM's BEGIN and END lines", cure, source=_SOURCE)
    if read(text) is not None:
        return passed(FORM, about, "it can be read")
    cure = f"make it anew: {_MAKE.format(about)}"
    return failed(FORM, about, _unread(text), cure, source=_SOURCE)


def _unread(text: str) -> str:
    """Why it is no request in base64."""
    try:
        found = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return "it is no base64: blanks and line breaks do not belong into it either"
    if b"-----BEGIN" in found:
        return "it is base64 of PEM, which is base64 already: encode the DER alone"
    return f"the {len(found)} bytes that it stands for are no PKCS#10 request"


def _key(csr: x509.CertificateSigningRequest, about: str, wanted: str) -> Check:
    key, curves = request.key_of(csr), ("P-384",) if wanted == P384 else ("P-256", "P-384")
    found = request.describe_key(key)
    if isinstance(key, ec.EllipticCurvePublicKey) and found in curves:
        return passed(KEY, about, f"it is {found}")
    return failed(
        KEY,
        about,
        f"it is {found}; signed are {' and '.join(curves)}",
        f"make a key on P-384, and a new request: {_MAKE.format(about)}",
        *_other_curve(found, wanted),
        source=_SOURCE,
    )


def _other_curve(found: str, wanted: str) -> tuple[str, ...]:
    if wanted != P384 or found != "P-256":
        return ()
    as_sampled = 'let the registry sign P-256 too, as the C sample has it: request_key = "EC"'
    return (as_sampled,)


def named(
    csr: x509.CertificateSigningRequest, registration_id: str, source: str = _SOURCE
) -> Check:
    """Whether it is for the device that sends it, by whichever document that is a rule."""
    found = chain.common_name(csr)
    if ids.same(found, registration_id):
        return passed(NAME, registration_id, f"both are {found!r}")
    return failed(
        NAME,
        registration_id,
        f"the device registers as {registration_id!r}, its request says {found!r}",
        f"make the request again with CN={registration_id}",
        source=source,
    )
