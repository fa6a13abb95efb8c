"""What somebody asks for when they ask for a thing that may exist already, and whether it is so."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, TypeAlias

from cryptography import x509
from cryptography.x509.oid import NameOID

from labkit.errors import Conflict, LabError
from labkit.hsm import Algorithm
from labkit.pki import authority, chain, profiles, request
from labkit.pki.profiles import Profile

Inject: TypeAlias = Literal["all", "own", "none"]
"""What a CA puts into a device that it signs, behind the device's own certificate."""


@dataclass(frozen=True, slots=True)
class Terms:
    """The key's algorithm, and what the certificate may do."""

    algorithm: Algorithm
    profile: Profile

    def check(self, who: str, name: str, certificate: x509.Certificate) -> None:
        """Raises Conflict where the certificate that ``who`` has by this name is not just so."""
        found = _described(certificate)
        wanted = {
            "algorithm": self.algorithm.value,
            "path_length": self.profile.path_length,
            "lifetime": _days(self.profile.lifetime),
        }
        for term in found:
            if found[term] != wanted[term]:
                raise Conflict(
                    f"{who} has a CA {name!r} already",
                    expected=f"{term} {_unlimited(wanted[term])}",
                    found=f"{term} {_unlimited(found[term])}",
                    cure="leave it as it is, or give the second CA another name: common_name=...",
                )


def _described(certificate: x509.Certificate) -> dict[str, object]:
    """The lifetime of a root only: that of others their issuers may have cut short."""
    found: dict[str, object] = {
        "algorithm": request.describe_key(certificate.public_key()),
        "path_length": path_length(certificate),
    }
    if chain.is_self_signed(certificate):
        begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        found["lifetime"] = _days(end - begin - authority.SKEW)
    return found


def _days(lifetime: timedelta) -> str:
    return f"of {lifetime.total_seconds() // 1 / 86_400:g} days"


def _unlimited(value: object) -> object:
    return "without limit" if value is None else value


def check_custodian(given: object, call: str) -> None:
    """Raises LabError for what is no custodian; ``call`` is what it was handed to."""
    if hasattr(given, "request_ca"):
        return
    raise LabError(
        f"{given!r} is no custodian",
        expected="a custodian: what lab.custodian(NAME) returns",
        found=f"a value of type {type(given).__name__}",
        cure=f"{call}(lab.custodian({given!r}))"
        if isinstance(given, str)
        else "hand over what lab.custodian(NAME) returns",
    )


def path_length(ca: x509.Certificate) -> int | None:
    """How many CAs may follow below a CA; None for any number."""
    return ca.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length


def intermediate(limit: int | None) -> Profile:
    """The profile of an intermediate CA with at most ``limit`` CAs below it; None for no limit."""
    profile = profiles.INTERMEDIATE_CA
    return profile if limit is None else profile.limited_to(limit)


def organization(subject: x509.Name) -> str:
    """The O of a name; empty where it has none."""
    found = subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    return str(found[0].value) if found else ""
