"""What takes a CA longest at a request, as tasks that may be done by another process: to verify the
signature of the request, and to sign the certificate.

Whoever does them needs the tools for it: the CAs' keys, each in its token.
"""

from __future__ import annotations

from datetime import timedelta
from functools import lru_cache
from typing import NamedTuple, Protocol, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from labkit.clock import Clock
from labkit.hsm import KeyPlace, TokenKey
from labkit.pki import profiles, request
from labkit.pki.authority import Authority, Validity
from labkit.pki.profiles import Profile
from labkit.steps import Task

T = TypeVar("T")


class Keys(Protocol):
    """Where keys are found: the tokens of a workspace, whoever made them."""

    def key(self, place: KeyPlace) -> TokenKey: ...


class Signers:
    """CAs that are ready to sign."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._made: dict[bytes, Authority] = {}

    def do(self, task: Task[T]) -> T:
        """Does a task in this process."""
        return task.do(self)

    def of(self, place: KeyPlace, certificate: bytes) -> Authority:
        """The CA of this certificate (DER), whose key is at this place."""
        key, made = self._keys.key(place), self._made.get(certificate)
        if made is None or made.key is not key:
            chain = [x509.load_der_x509_certificate(certificate)]
            made = self._made[certificate] = Authority(key, chain, Clock())
        return made


class Verify(NamedTuple):
    """Whether a ``request`` (DER) is signed by the key that it holds."""

    request: bytes

    def do(self, _: Signers) -> bool:
        return request.verifies(x509.load_der_x509_csr(self.request))


class Issue(NamedTuple):
    """A device's certificate (DER) for the key of a ``request``, signed by the CA of the
    certificate ``ca`` (DER), whose key is at ``place``; ``validity`` is by the lab's clock."""

    request: bytes
    name: str
    lifetime: timedelta
    validity: Validity
    ca: bytes
    place: KeyPlace

    def do(self, signers: Signers) -> bytes:
        key = request.key_of(x509.load_der_x509_csr(self.request))
        found = signers.of(self.place, self.ca).issue(
            key, request.name(self.name), _profile(self.lifetime), validity=self.validity
        )
        return found.public_bytes(Encoding.DER)


@lru_cache(maxsize=128)  # a policy has one, of ninety
def _profile(lifetime: timedelta) -> Profile:
    """The profile of a device's certificate that lasts so long."""
    return profiles.DEVICE.lasting(lifetime)
