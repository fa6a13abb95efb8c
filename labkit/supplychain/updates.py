"""A manufacturer who renews certificates without asking the device: over the air.

    the device's last request, retained ──> CA ──> new certificate for the same key
                                                   └─> package, signed ──any way──> device

The update-signing key is no CA's. Its public half goes into every device that is made below a CA
of this manufacturer *after* it was made: a device knows no later one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Generic

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from labkit.hsm import TokenKey
from labkit.pki import chain
from labkit.pki.update import Manifest, Package
from labkit.supplychain.chain import DeviceT, SupplyChain
from labkit.supplychain.records import UpdateKeyRow, UpdateRow

if TYPE_CHECKING:
    from labkit.supplychain.authority import CertificateAuthority
    from labkit.supplychain.custodian import Custodian

_LABEL = "update signing"


class UpdateSigner(Generic[DeviceT]):
    """The part of a custodian that packs and signs updates. Its key is in the custodian's token."""

    def __init__(self, custodian: Custodian[DeviceT], supply_chain: SupplyChain[DeviceT]) -> None:
        self.custodian, self._chain = custodian, supply_chain
        if supply_chain.records.update_key(custodian.name) is None:
            self._begin()

    def __repr__(self) -> str:
        return f"<Update signer of {self.custodian.name}, key in token {self.custodian.name!r}>"

    @property
    def key(self) -> TokenKey:
        """The private key, in the custodian's token."""
        return self.custodian.token.key(_LABEL)

    @property
    def public_key(self) -> bytes:
        """What devices check packages with, in PEM."""
        return _pem(self.key)

    def renew(self, ca: CertificateAuthority[DeviceT], device: DeviceT | str) -> Package:
        """Has ``ca`` issue a certificate on the device's retained request, and packs it.

        Raises NotFound where there is no such device, or no request of it.
        """
        return self.pack(device, ca.reissue(device))

    def pack(self, device: DeviceT | str, certificates: Sequence[x509.Certificate]) -> Package:
        """A signed package with this chain, of the device's next version. On record when this
        returns. The same chain again is the same package. Raises NotFound."""
        name = device if isinstance(device, str) else device.name
        self._chain.newest_chain(name)  # is there such a device?
        with self._chain.records.packing:
            return self._pack(name, certificates)

    def _pack(self, name: str, certificates: Sequence[x509.Certificate]) -> Package:
        before, pem = self._chain.records.updates(name), chain.to_pem(certificates)
        for row in before:
            if row.chain_pem == pem and row.custodian == self.custodian.name:
                self._tell("again", f"{name} was packed version {row.version} already", name)
                return Package.read(row.package)
        version = len(before) + 1
        package = Package.seal(Manifest(name, version, tuple(certificates)), self.key)
        row = UpdateRow(name, version, self.custodian.name, pem, package.to_bytes())
        self._chain.records.save(row)
        text = f"{self.custodian.name} signed update {version} for {name}"
        self._tell("update", f"{text}: {chain.names(certificates[:1])}", name)
        return package

    def packages(self, device: DeviceT | str) -> list[Package]:
        """Those that were made for a device, the oldest first."""
        name = device if isinstance(device, str) else device.name
        mine = [row for row in self._chain.records.updates(name) if self._is_mine(row)]
        return [Package.read(row.package) for row in mine]

    def _is_mine(self, row: UpdateRow) -> bool:
        return row.custodian == self.custodian.name

    def _begin(self) -> None:
        """Devices that were made by now do not get the key, also where nobody has asked for them
        yet; those that are made later do, from the moment on that the row is there."""
        for name in self._chain.device_names():
            self._chain.device(name)
        key = self.custodian.make_key(_LABEL)
        self._chain.records.save(UpdateKeyRow(self.custodian.name, _pem(key).decode()))
        text = f"{self.custodian.name} signs updates from now on: devices made later know its key"
        self._tell("update", text, self.custodian.name)

    def _tell(self, kind: str, text: str, name: str) -> None:
        self._chain.events.record("supply chain", kind, text, name=name)


def _pem(key: TokenKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
