"""A certificate authority: a key, its certificate, and the act of signing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

from labkit.clock import Clock
from labkit.errors import BadRequest
from labkit.hsm import TokenKey
from labkit.pki import chain, profiles, request
from labkit.pki.profiles import Extension, Profile

Extensions: TypeAlias = list[x509.Extension[x509.ExtensionType]]
"""What a builder takes; each is encoded already."""

SKEW = timedelta(minutes=5)
"""Backdating, so that a verifier whose clock is a little behind does not refuse a new
certificate."""

Validity: TypeAlias = tuple[datetime, datetime]
"""The first and the last moment of a certificate."""


class Authority:
    """Signs certificates with a key that stays in its token.

    ``chain`` is its own certificate first, then its issuers up to the root.
    """

    def __init__(self, key: TokenKey, chain: Sequence[x509.Certificate], clock: Clock) -> None:
        self.key, self.chain = key, tuple(chain)
        self.certificate = self.chain[0]
        self._clock = clock
        self._digest = request.digest_for(key.public_key())
        self._subject = self.certificate.subject
        self._prepared: dict[Profile, Extensions] = {}

    def sign_request(
        self,
        csr: x509.CertificateSigningRequest,
        profile: Profile,
        *,
        names: Sequence[x509.GeneralName] = (),
    ) -> x509.Certificate:
        """Checks the request and issues what the profile says, whatever else the request asks.

        Raises BadRequest with the first check of the request that fails (request.examine).
        """
        request.check(csr, profile)
        return self.issue(csr.public_key(), csr.subject, profile, names=names)

    def issue(
        self,
        public_key: CertificatePublicKeyTypes,
        subject: x509.Name,
        profile: Profile,
        *,
        names: Sequence[x509.GeneralName] = (),
        validity: Validity | None = None,
    ) -> x509.Certificate:
        """A certificate for this key and subject, valid by the lab's clock.

        ``validity`` is what :meth:`validity` has said a moment ago, for those who issue many.
        """
        builder = _complete(
            self._subject,
            self._extensions(profile),
            public_key,
            subject,
            validity or self.validity(profile),
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self.key, self._digest)

    def validity(self, profile: Profile) -> Validity:
        """From when to when a certificate is valid that is issued now: see :func:`validity`."""
        return validity(self.certificate, profile.lifetime, self._clock.now())

    def _extensions(self, profile: Profile) -> Extensions:
        """Those that are the same in each certificate of a profile below this CA, made once."""
        if profile not in self._prepared:
            granted = profile.below(self.certificate).extensions
            self._prepared[profile] = _prepare([*granted, (self._authority_key_id(), False)])
        return self._prepared[profile]

    def _authority_key_id(self) -> x509.AuthorityKeyIdentifier:
        own = self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own.value)


def validity(ca: x509.Certificate, lifetime: timedelta, now: datetime) -> Validity:
    """From when to when a certificate is valid that a CA issues now.

    It never outlives the issuer's own: RFC 5280, 6.1 would refuse it then. Raises BadRequest
    where that is not valid now.
    """
    begin, end = ca.not_valid_before_utc, ca.not_valid_after_utc
    if not begin <= now <= end:
        raise BadRequest(
            f"{chain.title(ca.subject)} cannot sign: it is not valid now",
            expected=f"a day from {begin:%Y-%m-%d} to {end:%Y-%m-%d}",
            found=f"the lab's clock says {now:%Y-%m-%d}",
            cure="renew the CA, or move the lab's clock",
        )
    return max(now - SKEW, begin), min(now + lifetime, end)


def self_sign(
    key: TokenKey, subject: x509.Name, clock: Clock, profile: Profile = profiles.ROOT_CA
) -> x509.Certificate:
    """A certificate whose subject and issuer are one: a root, unless the profile is another's."""
    now, public_key = clock.now(), key.public_key()
    # Only a CA may go without (RFC 5280, 4.2.1.1); openssl puts it into each, and so does this.
    own_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(public_key)
    extensions = _prepare([*profile.extensions, (own_id, False)])
    validity = (now - SKEW, now + profile.lifetime)
    builder = _complete(subject, extensions, public_key, subject, validity)
    return builder.sign(key, request.digest_for(public_key))


def _prepare(extensions: Sequence[Extension]) -> Extensions:
    """Encoded once: what the builder takes for unknown it copies as it is."""
    encoded = (
        (x509.UnrecognizedExtension(value.oid, value.public_bytes()), critical)
        for value, critical in extensions
    )
    return [x509.Extension(value.oid, critical, value) for value, critical in encoded]


def _complete(
    issuer: x509.Name,
    extensions: Extensions,
    public_key: CertificatePublicKeyTypes,
    subject: x509.Name,
    validity: Validity,
) -> x509.CertificateBuilder:
    """All but the signature.

    Through the builder's constructor: set one by one, its fields cost a tenth of what a signature
    in SoftHSM does. So the times are naive here, as the builder keeps them.
    """
    own_id = x509.SubjectKeyIdentifier.from_public_key(public_key)
    begin, end = (moment.replace(tzinfo=None) for moment in validity)
    return x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=subject,
        public_key=public_key,
        serial_number=x509.random_serial_number(),  # 159 random bits: 20 octets, positive
        not_valid_before=begin,
        not_valid_after=end,
        extensions=[*extensions, x509.Extension(own_id.oid, False, own_id)],
    )
