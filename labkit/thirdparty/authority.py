"""The company's own CAs: a root and an issuing tier for clients, and the root of its web service.

    Digital-Trust Root CA               its key signs once
      └─ Digital-Trust Client Issuing CA  signs for customers, by the lab's clock
    Digital-Trust Web Root CA           vouches for its web service, in real time

P-384 throughout, the keys in one token.
"""

from __future__ import annotations

from datetime import timedelta

from cryptography import x509

from labkit.clock import Clock
from labkit.hsm import Algorithm, Token
from labkit.pki import chain, profiles, reading, request
from labkit.pki.authority import Authority, self_sign
from labkit.thirdparty.tables import AuthorityRow

_ROOT, _ISSUING, _WEB = "root", "client issuing", "web root"
"""Labels of the keys."""
_ROOT_PROFILE = profiles.PUBLIC_ROOT.limited_to(1)
_ISSUING_PROFILE = profiles.ISSUING_CA.limited_to(0).lasting(timedelta(days=3650))
_WEB_PROFILE = profiles.ROOT_CA.limited_to(0)


def make(row: AuthorityRow, token: Token, clock: Clock) -> AuthorityRow:
    """Makes what is missing: keys that a start which was cut off has made already are used."""
    if not row.chain_pem:
        row.chain_pem = chain.to_pem(_tiers(row.name, token, clock))
    if not row.web_root_pem:
        key = token.ensure_key(_WEB, Algorithm.P384)
        subject = request.name(f"{row.name} Web Root CA", row.name)
        row.web_root_pem = chain.to_pem([self_sign(key, subject, Clock(), _WEB_PROFILE)])
    return row


def issuing(row: AuthorityRow, token: Token, clock: Clock) -> Authority:
    """Who signs for customers."""
    return Authority(token.key(_ISSUING), reading.read_certificates(row.chain_pem), clock)


def web(row: AuthorityRow, token: Token) -> Authority:
    """Who vouches for the web service."""
    return Authority(token.key(_WEB), reading.read_certificates(row.web_root_pem), Clock())


def _tiers(name: str, token: Token, clock: Clock) -> tuple[x509.Certificate, x509.Certificate]:
    """The issuing CA's certificate, then the root's."""
    key = token.ensure_key(_ROOT, Algorithm.P384)
    root = self_sign(key, request.name(f"{name} Root CA", name), clock, _ROOT_PROFILE)
    below = token.ensure_key(_ISSUING, Algorithm.P384)
    subject = request.name(f"{name} Client Issuing CA", name)
    signed = Authority(key, [root], clock).issue(below.public_key(), subject, _ISSUING_PROFILE)
    return signed, root
