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

SKEW = timedelta(minutes=5)
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
        self._not_before = self.certificate.not_valid_before_utc
        self._not_after = self.certificate.not_valid_after_utc
        self._builders: dict[Profile, x509.CertificateBuilder] = {}

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
        builder = _complete(self._prepared(profile), public_key, subject, begin, end)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self.key, self._digest)

    def _validity(self, lifetime: timedelta) -> tuple[datetime, datetime]:
        now = self._clock.now()
        if not self._not_before <= now <= self._not_after:
            raise BadRequest(
                f"{self.certificate.subject.rfc4514_string()} cannot sign: it is not valid now",
                expected=f"a day from {self._not_before:%Y-%m-%d} to {self._not_after:%Y-%m-%d}",
                found=f"the lab's clock says {now:%Y-%m-%d}",
                cure="renew the CA, or move the lab's clock",
            )
        return max(now - SKEW, self._not_before), min(now + lifetime, self._not_after)

    def _prepared(self, profile: Profile) -> x509.CertificateBuilder:
        """All that is the same in each certificate of a profile below this CA, made once."""
        if profile not in self._builders:
            granted = profile.below(self.certificate)
            extensions = [*granted.extensions, (self._authority_key_id(), False)]
            self._builders[profile] = _prepare(self.certificate.subject, extensions)
        return self._builders[profile]

    def _authority_key_id(self) -> x509.AuthorityKeyIdentifier:
        own = self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own.value)


def self_sign(key: TokenKey, subject: x509.Name, clock: Clock) -> x509.Certificate:
    """A root certificate: subject and issuer are one."""
    now, profile, public_key = clock.now(), profiles.ROOT_CA, key.public_key()
    prepared = _prepare(subject, profile.extensions)
    builder = _complete(prepared, public_key, subject, now - SKEW, now + profile.lifetime)
    return builder.sign(key, request.digest_for(public_key))


def _prepare(issuer: x509.Name, extensions: Sequence[Extension]) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().issuer_name(issuer)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder


def _complete(
    prepared: x509.CertificateBuilder,
    public_key: CertificatePublicKeyTypes,
    subject: x509.Name,
    begin: datetime,
    end: datetime,
) -> x509.CertificateBuilder:
    subject_key_id = x509.SubjectKeyIdentifier.from_public_key(public_key)
    return (
        prepared.subject_name(subject)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(subject_key_id, critical=False)
    )


def _asks_for_ca(csr: x509.CertificateSigningRequest) -> bool:
    try:
        wanted = csr.extensions.get_extension_for_class(x509.BasicConstraints)
    except x509.ExtensionNotFound:
        return False
    return wanted.value.ca
