"""What comes off a line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Generic, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from labkit.errors import TokenError
from labkit.pki import lots

ProductT = TypeVar("ProductT")


@dataclass(frozen=True)
class SimulatedDevice:
    """A device of a simulated fleet: a certificate, its issuers, and perhaps an in_memory key.

    It has no token and no flash, and ends with the process that made it. ``chain`` is its own
    certificate first, then its issuers without the root.
    """

    name: str
    chain: tuple[x509.Certificate, ...] = field(repr=False)
    _secret: bytes = field(repr=False)

    @property
    def certificate(self) -> x509.Certificate:
        return self.chain[0]

    @cached_property
    def key(self) -> ec.EllipticCurvePrivateKey:
        """Its in_memory key. Raises TokenError for one that ended with its token's session."""
        if not self._secret:
            raise TokenError(
                f"The key of {self.name} is gone",
                expected="a key that outlives the making of the device",
                found="a session key: it signed the device's request, and nothing else ever",
                cure='make devices with keys="memory", or some with keys="token"',
            )
        return lots.key_of(self._secret)


class Production(Generic[ProductT]):
    """What a run has brought: ``devices``, of whom ``made`` were made just now, while ``again``
    of those that were asked for were there before."""

    def __init__(self, devices: Sequence[ProductT], made: int, again: int) -> None:
        self.devices, self.made, self.again = tuple(devices), made, again

    def __repr__(self) -> str:
        return f"<Production: {self.made} devices made, {self.again} were there already>"
