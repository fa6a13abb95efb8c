"""Client certificate profiles: what an account may have signed, and what the certificate holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Any

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from labkit.errors import BadRequest
from labkit.hsm import Algorithm
from labkit.pki import chain, request
from labkit.pki.profiles import Profile
from labkit.trace import Check, failed, passed

ACTIVE = "the profile is active"
NAME = "the profile covers the common name"
KEY = "the profile covers the kind of key"

PURPOSES = {
    "clientAuth": ExtendedKeyUsageOID.CLIENT_AUTH,
    "serverAuth": ExtendedKeyUsageOID.SERVER_AUTH,
}
MOST_DAYS = 1096
_TYPES = {
    "name": str,
    "common_names": str,
    "keys": tuple,
    "days": int,
    "purposes": tuple,
    "suspended": bool,
}
LONGEST_NAME = 64


@dataclass(frozen=True, slots=True)
class ClientProfile:
    """One profile. ``common_names`` is a pattern with ``*`` and ``?``, case counts; ``keys`` are
    the kinds of key that it signs, ``days`` how long a certificate is valid, ``purposes`` its
    extended key usages. One that is ``suspended`` signs nothing.

    Raises BadRequest for what can be no profile.
    """

    name: str
    common_names: str = "*"
    keys: tuple[str, ...] = ("P-256", "P-384")
    days: int = 365
    purposes: tuple[str, ...] = ("clientAuth",)
    suspended: bool = False

    def __post_init__(self) -> None:
        if wrong := next(self._of_another_type(), None):
            raise _unfit(self.name, *wrong)
        if not 0 < len(self.name) <= LONGEST_NAME or not self.name.isprintable():
            raise _unfit(self.name, f"a name of 1 to {LONGEST_NAME} characters", repr(self.name))
        if not 1 <= self.days <= MOST_DAYS:
            raise _unfit(self.name, f"1 to {MOST_DAYS} days", str(self.days))
        if not self.purposes or not PURPOSES.keys() >= set(self.purposes):
            raise _unfit(self.name, f"purposes among {', '.join(PURPOSES)}", str(self.purposes))
        if not self.keys:
            raise _unfit(self.name, "at least one kind of key", "none")
        for key in self.keys:
            Algorithm.named(key)

    def _of_another_type(self) -> Iterator[tuple[str, str]]:
        """What was expected and what was found instead, of each setting that is no such thing."""
        for name, kind in _TYPES.items():
            value = getattr(self, name)
            if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
                wanted = 'a tuple, as ("…",)' if kind is tuple else f"of type {kind.__name__}"
                yield f"{name} {wanted}", f"{name}={value!r}"

    @classmethod
    def of(cls, name: str, settings: dict[str, Any]) -> ClientProfile:
        """The profile of this name. Raises BadRequest, also for a setting that there is not."""
        known = [field.name for field in fields(cls)[1:]]
        if unknown := [setting for setting in settings if setting not in known]:
            raise _unfit(name, f"settings among {', '.join(known)}", ", ".join(unknown))
        return cls(name, **settings)

    @property
    def certificate(self) -> Profile:
        """What a certificate of this profile holds."""
        purposes = tuple(PURPOSES[name] for name in self.purposes)
        usage = ("digital_signature",)
        return Profile("client", timedelta(days=self.days), usage, purposes=purposes)

    def examine(self, csr: x509.CertificateSigningRequest) -> Iterator[Check]:
        """The checks of a request, in order; whoever asks stops at the first that fails."""
        yield self._active()
        yield from request.examine(csr, self.certificate)
        about = chain.title(csr.subject)
        yield self._key(csr, about)
        yield self._name(csr, about)

    def _active(self) -> Check:
        if not self.suspended:
            return passed(ACTIVE, self.name, f"it signs for {self.days} days")
        cure = "have the account's owner activate it again"
        return failed(ACTIVE, self.name, f"profile {self.name!r} is suspended", cure)

    def _key(self, csr: x509.CertificateSigningRequest, about: str) -> Check:
        found, wanted = request.describe_key(csr.public_key()), " or ".join(self.keys)
        if found in self.keys:
            return passed(KEY, about, f"it is {found}")
        why = f"it is {found}; profile {self.name!r} signs {wanted}"
        cure = f"make a key of another kind ({wanted}), and a new request"
        return failed(KEY, about, why, cure, "have the account's owner change the profile")

    def _name(self, csr: x509.CertificateSigningRequest, about: str) -> Check:
        found = chain.common_name(csr)
        if fnmatchcase(found, self.common_names):
            return passed(NAME, about, f"{found!r} fits {self.common_names!r}")
        why = f"it is {found!r}; profile {self.name!r} signs {self.common_names!r} only"
        cure = "register the device under a name that the profile covers"
        return failed(NAME, about, why, cure, "have the account's owner widen the profile")


def _unfit(name: str, expected: str, found: str) -> BadRequest:
    return BadRequest(f"{name!r} can be no profile", expected=expected, found=found)
