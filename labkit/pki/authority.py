"""A certificate authority: a key, its certificate, and the act of signing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

from labkit.clock import Clock
from labkit.errors import BadRequest
from labkit.hsm import TokenKey
from labkit.pki import profiles, request
from labkit.pki.profiles import Extension, Profile

_SKEW = timedelta(minutes=5)
"""Backdating, so that a verifier whose clock is a little behind does not refuse a new
certificate."""


class Authority:
    """Signs certificates with a key that stays in its token.

    ``chain`` is its own certificate first, then its issuers up to the root.
    """

    def __init__(self, key: TokenKey, chain: Sequence[x509.Certificate], clock: Clock) -> None:
        self.key, self.chain = key, tuple(chain)
        self.certificate = self.chain[0]
        self._clock = clock
        self._digest = request.digest_for(key.public_key())
        self._authority_key_id = _authority_key_id(self.certificate)
        self._not_before = self.certificate.not_valid_before_utc
        self._not_after = self.certificate.not_valid_after_utc
        self._extensions: dict[Profile, list[Extension]] = {}

    def sign_request(
        self,
        csr: x509.CertificateSigningRequest,
        profile: Profile,
        *,
        names: Sequence[x509.GeneralName] = (),
    ) -> x509.Certificate:
        """Checks the request and issues what the profile says, whatever else the request asks.

        Raises BadRequest where the request is not signed by its own key, its key is too weak,
        or a device asks to be a CA.
        """
        request.check(csr)
        if _asks_for_ca(csr) and not profile.is_ca:
            raise BadRequest(
                f"{csr.subject.rfc4514_string()} asks to be a CA",
                expected=f"a request for a {profile.name} certificate",
                found="basic constraints with CA:TRUE in the request",
                cure="ask for a device certificate; a CA is signed with sign_intermediate",
            )
        return self.issue(csr.public_key(), csr.subject, profile, names=names)

    def issue(
        self,
        public_key: CertificatePublicKeyTypes,
        subject: x509.Name,
        profile: Profile,
        *,
        names: Sequence[x509.GeneralName] = (),
    ) -> x509.Certificate:
        """A certificate for this key and subject, valid by the lab's clock.

        It never outlives the issuer's own certificate: RFC 5280, 6.1 would refuse it then.
        """
        begin, end = self._validity(profile.lifetime)
        fixed = [*self._granted(profile), (self._authority_key_id, False)]
        if names:
            fixed.append((x509.SubjectAlternativeName(names), False))
        builder = _builder(public_key, subject, self.certificate.subject, (begin, end), fixed)
        return builder.sign(self.key, self._digest)

    def _validity(self, lifetime: timedelta) -> tuple[datetime, datetime]:
        now = self._clock.now()
        begin = max(now - _SKEW, self._not_before)
        end = min(now + lifetime, self._not_after)
        if begin >= end:
            raise BadRequest(
                f"{self.certificate.subject.rfc4514_string()} cannot sign: it has expired",
                found=f"it ended {self._not_after:%Y-%m-%d}, the lab's clock says {now:%Y-%m-%d}",
                cure="renew the CA, or move the lab's clock back",
            )
        return begin, end

    def _granted(self, profile: Profile) -> list[Extension]:
        """The profile's extensions below this CA: the same for each certificate, so made once."""
        if profile not in self._extensions:
            self._extensions[profile] = profile.below(self.certificate).extensions
        return self._extensions[profile]


def self_sign(key: TokenKey, subject: x509.Name, clock: Clock) -> x509.Certificate:
    """A root certificate: subject and issuer are one."""
    now, profile = clock.now(), profiles.ROOT_CA
    validity = (now - _SKEW, now + profile.lifetime)
    builder = _builder(key.public_key(), subject, subject, validity, profile.extensions)
    return builder.sign(key, request.digest_for(key.public_key()))


def _builder(
    public_key: CertificatePublicKeyTypes,
    subject: x509.Name,
    issuer: x509.Name,
    validity: tuple[datetime, datetime],
    extensions: Sequence[Extension],
) -> x509.CertificateBuilder:
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(validity[0])
        .not_valid_after(validity[1])
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    subject_key_id = x509.SubjectKeyIdentifier.from_public_key(public_key)
    return builder.add_extension(subject_key_id, critical=False)


def _authority_key_id(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    own = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def _asks_for_ca(csr: x509.CertificateSigningRequest) -> bool:
    try:
        wanted = csr.extensions.get_extension_for_class(x509.BasicConstraints)
    except x509.ExtensionNotFound:
        return False
    return wanted.value.ca
