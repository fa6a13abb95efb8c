"""What each kind of certificate holds, by RFC 5280, section 4.2."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TypeAlias

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from labkit.errors import BadRequest

Extension: TypeAlias = tuple[x509.ExtensionType, bool]
"""An extension and whether it is critical."""

LONGEST = timedelta(days=36525)
"""A hundred years: no calendar overflows, wherever the lab's clock may be set."""


@dataclass(frozen=True, slots=True)
class Profile:
    """One kind of certificate.

    ``is_ca`` with ``path_length`` CAs at most below it (None: no limit); ``usage`` the names of
    the key usage bits, ``purposes`` the extended key usages, ``lifetime`` how long it lasts,
    ``registers`` whether the CN is a registration ID.
    """

    name: str
    lifetime: timedelta
    usage: tuple[str, ...]
    is_ca: bool = False
    path_length: int | None = None
    purposes: tuple[x509.ObjectIdentifier, ...] = ()
    registers: bool = False

    @property
    def extensions(self) -> list[Extension]:
        """The extensions that depend on nothing but the profile, each with its criticality."""
        constraints = x509.BasicConstraints(ca=self.is_ca, path_length=self.path_length)
        found: list[Extension] = [(constraints, True), (key_usage(*self.usage), True)]
        if self.purposes:
            found.append((x509.ExtendedKeyUsage(self.purposes), False))
        return found

    def below(self, issuer: x509.Certificate) -> Profile:
        """This profile as ``issuer`` may grant it: a CA's path length one less than the issuer's.

        Raises BadRequest where the issuer's path length leaves no room for another CA.
        """
        room = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length
        if not self.is_ca or room is None:
            return self
        if room == 0:
            raise BadRequest(
                f"{issuer.subject.rfc4514_string()} may sign no further CA",
                expected="an issuer whose path length is 1 or more, or unlimited",
                found="path length 0 in its basic constraints",
                cure="let it sign devices only, or have its own issuer sign the new CA",
            )
        wanted = room - 1 if self.path_length is None else min(self.path_length, room - 1)
        return self.limited_to(wanted)

    def limited_to(self, path_length: int) -> Profile:
        """This CA profile with at most ``path_length`` CAs below it (RFC 5280, 4.2.1.9).

        Raises BadRequest for a number below 0, and where the profile is no CA's.
        """
        if not self.is_ca or path_length < 0:
            raise BadRequest(
                f"A {self.name} certificate cannot have the path length {path_length}",
                expected="a CA profile, and a path length of 0 or more",
                found=f"{'a CA' if self.is_ca else 'no CA'}, {path_length}",
                cure="0 lets a CA sign devices only; 1 allows one CA below it",
            )
        return replace(self, path_length=path_length)

    def lasting(self, lifetime: timedelta) -> Profile:
        """This profile with another lifetime. Raises BadRequest for none, and for more than a
        hundred years."""
        if not timedelta() < lifetime <= LONGEST:
            raise BadRequest(
                f"No certificate can last {lifetime}",
                expected=f"more than nothing, and at most {LONGEST.days} days",
                found=str(lifetime),
                cure="name a lifetime in that range: timedelta(days=365)",
            )
        return replace(self, lifetime=lifetime)


def key_usage(*bits: str) -> x509.KeyUsage:
    """The key usage extension with just these bits set."""
    names = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{name: name in bits for name in names})


_CA_USAGE = ("key_cert_sign", "crl_sign", "digital_signature")
# An RSA key signs too: keyEncipherment would serve TLS 1.2 without forward secrecy only.
_LEAF_USAGE = ("digital_signature",)

PUBLIC_ROOT = Profile("public root CA", timedelta(days=9131), _CA_USAGE, is_ca=True)
"""The root of a public CA, twenty-five years; it signs nothing but that CA's issuing tier."""
ISSUING_CA = Profile("issuing CA", timedelta(days=3650), _CA_USAGE, is_ca=True)
"""The tier of a public CA that customers meet: its root stays locked away."""
ROOT_CA = Profile("root CA", timedelta(days=3650), _CA_USAGE, is_ca=True)
INTERMEDIATE_CA = Profile("intermediate CA", timedelta(days=1825), _CA_USAGE, is_ca=True)
DEVICE = Profile(
    "device",
    timedelta(days=365),
    _LEAF_USAGE,
    purposes=(ExtendedKeyUsageOID.CLIENT_AUTH,),
    registers=True,
)
SERVER = Profile(
    "server",
    timedelta(days=90),
    _LEAF_USAGE,
    purposes=(ExtendedKeyUsageOID.SERVER_AUTH,),
)
VERIFICATION = Profile("verification", timedelta(days=1), _LEAF_USAGE)

CODE_BYTES = 24
"""Of a verification code, which is the CN of a verification certificate, in hex."""
_CODE = re.compile(rf"[0-9A-Fa-f]{{{2 * CODE_BYTES}}}")


def is_code(text: str) -> bool:
    """Whether it has the form of a verification code."""
    return _CODE.fullmatch(text) is not None
