"""The supply chain of one lab: its custodians, its records, and the line that makes devices."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Generic, TypeVar

from cryptography import x509

from labkit import ids
from labkit.clock import Clock
from labkit.errors import Conflict, LabError, NotFound
from labkit.events import Events
from labkit.hsm import Token, TokenKey, TokenStore
from labkit.hsm.tokens import LONGEST_LABEL
from labkit.pki.identity import Identity
from labkit.supplychain.ledger import DeviceRow, Ledger, issued, stored
from labkit.work import Work

DeviceT = TypeVar("DeviceT")

_KEY = "identity"


class SupplyChain(Generic[DeviceT]):
    """``assemble`` turns a finished identity into a device: what that *is* is not known here.

    ``reserved`` are labels of tokens in the same store that belong to others.
    """

    def __init__(
        self,
        tokens: TokenStore,
        ledger: Ledger,
        clock: Clock,
        events: Events,
        work: Work,
        assemble: Callable[[Identity], DeviceT],
        reserved: frozenset[str] = frozenset(),
    ) -> None:
        self.tokens, self.ledger, self.clock, self.events = tokens, ledger, clock, events
        self.work = work
        self._assemble, self._reserved = assemble, reserved
        self._devices: dict[str, DeviceT] = {}

    def custodian_token(self, name: str) -> Token:
        """The token of a custodian. Raises Conflict where a device has this name."""
        if self.ledger.device(name) or name in self._reserved:
            owner = "reserved for the services" if name in self._reserved else "a device"
            raise Conflict(f"{name!r} is {owner}", cure="choose another name")
        token = self.tokens.token(name)
        self.ledger.add_custodian(name)
        return token

    def device_key(self, name: str) -> TokenKey:
        """The key of a device, born in the device's own token when it is first asked for."""
        if not ids.is_valid(name):
            raise LabError(
                f"{name!r} cannot be a registration ID",
                expected=ids.RULE,
                cure="choose another name for the device",
            )
        if name in self.ledger.custodians():
            raise Conflict(f"{name!r} is a custodian", cure="choose another name")
        if name in self._reserved:
            raise Conflict(f"{name!r} is reserved for the services", cure="choose another name")
        return self.tokens.token(_token_label(name)).ensure_key(_KEY)

    def device(self, name: str) -> DeviceT:
        """The device of this name. Raises NotFound."""
        if name not in self._devices:
            self._devices[name] = self._assemble(self._identity(self._row(name)))
        return self._devices[name]

    def issued_chain(self, name: str) -> list[x509.Certificate]:
        """What the factory put into the device: its certificate first, then its issuers."""
        return list(stored(self._row(name).chain_pem))

    def _row(self, name: str) -> DeviceRow:
        row = self.ledger.device(name)
        if row is None:
            made = ", ".join(row.name for row in self.ledger.devices()) or "none yet"
            raise NotFound(f"There is no device {name!r}", found=f"devices: {made}")
        return row

    def record_issued(
        self,
        custodian: str,
        ca: str,
        certificate: x509.Certificate,
        csr: x509.CertificateSigningRequest,
    ) -> None:
        """One signature of a CA, in the ledger for good when this returns."""
        self.ledger.add_all([issued(f"{custodian}/{ca}", certificate, csr, self.clock.now())])

    def assembled(self) -> list[DeviceT]:
        """The devices that were asked for since the lab was opened."""
        return list(self._devices.values())

    def custodian_names(self) -> list[str]:
        return self.ledger.custodians()

    def device_names(self) -> list[str]:
        return [row.name for row in self.ledger.devices()]

    def _identity(self, row: DeviceRow) -> Identity:
        """Its key must be there: a new one in its place would not fit the certificate."""
        label = _token_label(row.name)
        return Identity(lambda: self.tokens.token(label).key(_KEY), tuple(stored(row.chain_pem)))


def _token_label(name: str) -> str:
    """A device's name may be longer than PKCS#11 lets a label be: then its end is a digest."""
    if len(name.encode()) <= LONGEST_LABEL:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name.encode()[: LONGEST_LABEL - 9].decode(errors='ignore')}-{digest}"
