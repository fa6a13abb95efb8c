"""What each kind of certificate holds, by RFC 5280, section 4.2."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from labkit.errors import BadRequest

Extension: TypeAlias = tuple[x509.ExtensionType, bool]
"""An extension and whether it is critical."""


@dataclass(frozen=True, slots=True)
class Profile:
    """One kind of certificate.

    ``is_ca`` with ``path_length`` CAs at most below it (None: no limit); ``usage`` the names of
    the key usage bits, ``purposes`` the extended key usages, ``lifetime`` how long it lasts.
    """

    name: str
    lifetime: timedelta
    usage: tuple[str, ...]
    is_ca: bool = False
    path_length: int | None = None
    purposes: tuple[x509.ObjectIdentifier, ...] = ()

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
        return Profile(self.name, self.lifetime, self.usage, True, wanted, self.purposes)


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

ROOT_CA = Profile("root CA", timedelta(days=3650), _CA_USAGE, is_ca=True)
INTERMEDIATE_CA = Profile("intermediate CA", timedelta(days=1825), _CA_USAGE, is_ca=True)
DEVICE = Profile(
    "device",
    timedelta(days=365),
    ("digital_signature",),
    purposes=(ExtendedKeyUsageOID.CLIENT_AUTH,),
)
SERVER = Profile(
    "server",
    timedelta(days=90),
    ("digital_signature",),
    purposes=(ExtendedKeyUsageOID.SERVER_AUTH,),
)
VERIFICATION = Profile("verification", timedelta(days=1), ("digital_signature",))
