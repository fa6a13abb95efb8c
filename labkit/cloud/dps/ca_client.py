"""The API of a certificate authority that DPS is linked to, spoken from DPS's side: what is asked,
and what the answer means. The way there is a :data:`AskCa`, which others hand in.

    GET  /v1/profiles/{name}     when it is linked, and whenever somebody tries the link
    POST /v1/certificates        for each request that a device sends
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from labkit.cloud import codes, strict_json
from labkit.cloud.refusals import Denial, clipped
from labkit.errors import BadCertificate, LabError
from labkit.pki import chain, reading
from labkit.trace import Check, failed, passed

REACHED = "the certificate authority answers"
API_KEY = "the certificate authority knows the API key"
PROFILE = "the certificate authority has the profile"
GRANTED = "the certificate authority grants what the request asks"
USABLE = "the answer is a certificate for the key of the request"

BUSY = 429
MOST_ISSUERS = 8
"""Certificates above the device's, in an answer."""
_MOST_CURES = 4
_OTHER = ("ask those who run the authority what it did",)


@dataclass(frozen=True, slots=True)
class CaQuestion:
    """One request to the authority's web service."""

    method: str
    path: str
    api_key: str = field(repr=False)
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class CaAnswer:
    """What it said; ``status`` 0 where it could not be asked, ``body`` then says why."""

    status: int
    body: bytes = b""


AskCa = Callable[[CaQuestion], CaAnswer]
"""Asks, and waits for the answer: who calls must be able to wait."""


class Busy(Exception):
    """It has too much to do: it is asked again later."""


@dataclass(frozen=True, slots=True)
class Link:
    """What DPS needs to speak with an authority: its ``name`` in DPS, and what it was given."""

    name: str
    profile: str
    api_key: str = field(repr=False)


def nobody(question: CaQuestion) -> CaAnswer:
    """The way to an authority that there is not."""
    return CaAnswer(0, b"could not be asked: this lab has no such company yet (lab.third_party_ca)")


def check(link: Link, ask: AskCa) -> Check:
    """Whether the authority takes the API key and has the profile. Raises Denial."""
    path = f"/v1/profiles/{quote(link.profile, safe='')}"
    answer = ask(CaQuestion("GET", path, link.api_key))
    if answer.status != 200:
        again = "try it again when it is up"
        raise Denial(codes.BAD_REQUEST, _explained(link, link.name, answer, again))
    return passed(PROFILE, link.name, f"it takes the API key, and has {link.profile!r}")


def sign(
    link: Link, about: str, csr: x509.CertificateSigningRequest, ask: AskCa
) -> tuple[x509.Certificate, ...]:
    """Has a device's request signed: its certificate, and the issuers up to the root.

    Raises Denial where it is not, Busy where the authority has too much to do. ``about`` is the
    device.
    """
    pem = csr.public_bytes(Encoding.PEM).decode()
    body = json.dumps({"profile": link.profile, "csr": pem}).encode()
    answer = ask(CaQuestion("POST", "/v1/certificates", link.api_key, body))
    if answer.status == BUSY:
        raise Busy
    if answer.status != 201:
        again = "wait until it is up again, and register again"
        raise Denial(codes.NOT_ISSUED, _explained(link, about, answer, again))
    return _issued(link, about, csr, strict_json.read_object(answer.body) or {})


def _explained(link: Link, about: str, answer: CaAnswer, again: str) -> Check:
    """Why the answer is none; ``again`` is what whoever asked can do later."""
    if answer.status == 0:
        return failed(
            REACHED,
            about,
            f"{link.name!r} {clipped(answer.body.decode(errors='replace'))}",
            again,
            "start the lab's stand-in: lab.third_party_ca(...).start()",
        )
    why, cures = _said(answer)
    if answer.status == BUSY:
        return failed(REACHED, about, f"{link.name!r} has too much to do", "try it again")
    if answer.status == 401:
        return failed(
            API_KEY,
            about,
            f"{link.name!r} answered 401: {why}",
            "give DPS an API key that is good: lab.dps.certificate_authorities.create("
            f"{link.name!r}, profile={link.profile!r}, api_key=account.new_api_key())",
        )
    if answer.status == 404:
        made = f"make the profile: account.profile({link.profile!r}, ...)"
        return failed(PROFILE, about, why, made, "name another one in DPS")
    if 400 <= answer.status < 500:
        return failed(GRANTED, about, why, *cures)
    return failed(REACHED, about, f"{link.name!r} answered {answer.status}: {why}", *cures)


def _said(answer: CaAnswer) -> tuple[str, Sequence[str]]:
    """Its own words, as far as they can be read."""
    found = (strict_json.read_object(answer.body) or {}).get("error")
    said: dict[str, Any] = found if isinstance(found, dict) else {}
    cures = said.get("cures")
    cures = cures if isinstance(cures, list) else []
    why = clipped(str(said.get("message", "it said nothing that can be read")))
    return why, [clipped(str(cure)) for cure in cures[:_MOST_CURES]]


def _issued(
    link: Link, about: str, csr: x509.CertificateSigningRequest, said: dict[str, Any]
) -> tuple[x509.Certificate, ...]:
    """The certificates of an answer. What another key is certified in is no answer."""
    issuers = said.get("chain") or []
    try:
        texts = [said.get("certificate"), *(issuers if isinstance(issuers, list) else [issuers])]
        if len(texts) > MOST_ISSUERS + 1 or not all(isinstance(text, str) for text in texts):
            raise BadCertificate("it is not what its API says", found="another JSON")
        found = tuple(reading.read_certificate(str(text)) for text in texts)
    except LabError as error:
        why = f"{link.name!r} sent something else: {error.message} ({error.found})"
        raise Denial(codes.NOT_ISSUED, failed(USABLE, about, why, *_OTHER)) from error
    if found[0].public_key() != csr.public_key():
        why = f"{link.name!r} certified another key: {chain.subject(found[0])}"
        raise Denial(codes.NOT_ISSUED, failed(USABLE, about, why, *_OTHER))
    return found
