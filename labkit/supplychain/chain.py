"""The supply chain of one lab: its custodians, its records, and the line that makes devices."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from labkit import ids
from labkit.clock import Clock
from labkit.errors import Conflict, LabError, NotFound
from labkit.events import Events
from labkit.hsm import Algorithm, KeyFolder, Token, TokenKey, TokenStore
from labkit.hsm.tokens import LONGEST_LABEL
from labkit.pki import chain
from labkit.pki.identity import Identity
from labkit.supplychain.issuing import drawn, signed
from labkit.supplychain.ledger import DeviceRow, Ledger, stored
from labkit.supplychain.records import InjectionRow, PregeneratedRow, Records
from labkit.work import Work


class Product(Protocol):
    """All that the supply chain knows of a device: it has a name, and holds certificates."""

    name: str

    @property
    def chain(self) -> list[x509.Certificate]:
        """What it holds now, its own certificate first."""

    def install_chain(self, certificates: Sequence[x509.Certificate]) -> None:
        """Replaces what it holds."""


DeviceT = TypeVar("DeviceT", bound=Product)

IDENTITY = "identity"
"""The label of a device's key in its own token."""


class SupplyChain(Generic[DeviceT]):
    """``assemble`` turns a finished identity into a device: what that *is* is not known here.

    ``key_folder`` finds, by a device's name, where its key lies if that is in a file; ``reserved``
    are labels of tokens in the same store that belong to others.
    """

    def __init__(
        self,
        tokens: TokenStore,
        ledger: Ledger,
        records: Records,
        clock: Clock,
        events: Events,
        work: Work,
        assemble: Callable[[Identity], DeviceT],
        key_folder: Callable[[str], KeyFolder],
        reserved: frozenset[str] = frozenset(),
    ) -> None:
        self.tokens, self.ledger, self.clock, self.events = tokens, ledger, clock, events
        self.records, self.work = records, work
        self._assemble, self._reserved = assemble, reserved
        self._key_folder = key_folder
        self._devices: dict[str, DeviceT] = {}

    def custodian_token(self, name: str) -> Token:
        """The token of a custodian. Raises Conflict where a device has this name, or will have it
        when its key arrives."""
        # What is no text at all is refused below, by the token.
        carried = self.records.pregenerated(name) if isinstance(name, str) else None
        is_device = self.ledger.device(name) or (carried and carried.device == name)
        if is_device or name in self._reserved:
            owner = "reserved for the services" if name in self._reserved else "a device"
            raise Conflict(f"{name!r} is {owner}", cure="choose another name")
        token = self.tokens.token(name)
        if self.ledger.add_custodian(name):
            self.events.record("hsm", "token", f"{name} has a token now, with a PIN of its own")
        return token

    def check_device_name(self, name: str) -> None:
        """Raises LabError for what is no name for a device."""
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

    def device_token(self, name: str) -> Token:
        """The device's own token, or the folder that plays its part. Raises LabError for what is
        no name for a device."""
        self.check_device_name(name)
        return self._holder(name)

    def device_key(
        self, name: str, algorithm: Algorithm = Algorithm.P256, *, in_file: bool = False
    ) -> TokenKey:
        """The key of a device, born in the device's own token when it is first asked for; or, for
        the lesson about that mistake, ``in_file``."""
        self.check_device_name(name)
        if in_file:
            return self._key_folder(name).ensure_key(IDENTITY, algorithm)
        if self.has_key_in_file(name) and self.ledger.device(name) is None:
            self._forget_key_files(name)
        return self._holder(name).ensure_key(IDENTITY, algorithm)

    def has_key_in_file(self, name: str) -> bool:
        """Whether the key of a device lies in a file. The file is all that is on record of it."""
        return bool(self._key_folder(name).key_labels)

    def _forget_key_files(self, name: str) -> None:
        """What a crash left of a device that was to have its key in a file, and is not on record:
        it is made otherwise now."""
        for label in self._key_folder(name).key_labels:
            self._key_folder(name).destroy_key(label)

    def _holder(self, name: str) -> Token:
        """Where the keys of a device are."""
        if self.has_key_in_file(name):
            return self._key_folder(name)
        return self.tokens.token(_token_label(name))

    def refuse_taken(self, name: str) -> None:
        """Raises Conflict where a device has this name but for its case, or a key that is being
        carried to one: DPS compares registration IDs without regard to case."""
        if other := self.ledger.device_like(name):
            raise Conflict(
                f"There is a device {other!r} already",
                found=self._what_is(other)
                if other == name
                else f"{name!r} differs from it in upper and lower case only",
                cure="give the second device another name",
            )
        if found := self.records.pregenerated(name):
            raise Conflict(
                f"There is a device {found.device!r} already",
                found=f"its key was made beforehand, in the token of {found.custodian}",
                cure="carry it into the device: that key's chain is waiting for it",
            )

    def refuse_other_key(self, name: str, csr: x509.CertificateSigningRequest) -> None:
        """Raises Conflict where a device has this name, or will have it, with another key than the
        request's: whoever got that certificate could speak as the device."""
        made, carried = self.ledger.device(name), self.records.pregenerated(name)
        pem = made.chain_pem if made else carried.chain_pem if carried else ""
        if not pem or stored(pem)[0].public_key() != csr.public_key():
            self.refuse_taken(name)

    def _what_is(self, name: str) -> str:
        """What is there of this name, for people."""
        if found := self.records.pregenerated(name):
            return f"its key was made beforehand, in the token of {found.custodian}, and carried"
        is_real = self.ledger.device(name) is not None
        return "it has a token of its own" if is_real else "it is one of a simulated fleet"

    def device(self, name: str) -> DeviceT:
        """The device of this name. Raises NotFound."""
        if name not in self._devices:
            self._devices[name] = self._assemble(self._identity(self._row(name)))
        return self._devices[name]

    def issued_chain(self, name: str) -> list[x509.Certificate]:
        """What was put into the device: its certificate first, then those of its issuers that
        whoever touched it put in."""
        made, later = stored(self._row(name).chain_pem), self.records.injections(name)
        added = [found for row in later for found in stored(row.certificate_pem)]
        return self._in_order(made[0], [*made[1:], *added]) if added else list(made)

    def newest_chain(self, name: str) -> list[x509.Certificate]:
        """What was issued for the device last, whether it has that yet or not. Raises NotFound."""
        made, later = self._row(name).chain_pem, self.ledger.renewals(name)
        return list(stored(later[-1].chain_pem if later else made))

    def name_of(self, certificate: x509.Certificate) -> str:
        """The name of the device that a certificate was issued for, whatever it says itself."""
        return self.ledger.renewed_by(certificate) or chain.common_name(certificate)

    def update_keys(self, device: str) -> bytes:
        """The public keys, in PEM, of those who sign updates and have a CA above this device.
        Raises NotFound."""
        known = {row.custodian: row.public_pem for row in self.records.update_keys()}
        path = self.path(self.issued_chain(device)[0]) if known else []
        above = [row for row in self.ledger.authorities() if stored(row.chain_pem)[0] in path]
        owners = dict.fromkeys(row.custodian for row in above)
        return "".join(known[owner] for owner in owners if owner in known).encode()

    def injections(self, name: str) -> list[tuple[str, x509.Certificate]]:
        """What was put into a device, in that order: the custodian who did, and a certificate."""
        made = stored(self._row(name).chain_pem)
        signature = self.ledger.find(made[0].serial_number)
        carried = self.records.pregenerated(name)
        maker = carried.installer if carried else signature.custodian if signature else ""
        later = self.records.injections(name)
        added = [(row.custodian, found) for row in later for found in stored(row.certificate_pem)]
        return [*((maker, certificate) for certificate in made), *added]

    def holders(self, row: PregeneratedRow) -> tuple[str, ...]:
        """The custodians who hold a key that was made beforehand, in the order of the copies."""
        return tuple(dict.fromkeys((row.custodian, *self.records.holders(row.device))))

    def path(self, leaf: x509.Certificate) -> list[x509.Certificate]:
        """From a certificate up to its root, over the CAs of this supply chain."""
        known = [found for row in self.ledger.authorities() for found in stored(row.chain_pem)]
        return chain.climb(leaf, dict.fromkeys(known))

    def inject(
        self, device: DeviceT, custodian: str, certificates: Sequence[x509.Certificate]
    ) -> None:
        """Puts more certificates into a device, in their places in the chain, and on record."""
        self.records.save(
            *(
                InjectionRow(device.name, chain.thumbprint(one), custodian, chain.to_pem([one]))
                for one in certificates
            )
        )
        leaf, *others = device.chain
        device.install_chain(self._in_order(leaf, [*others, *certificates]))
        text = f"{custodian} put {chain.names(certificates)} into {device.name}"
        self.events.record("supply chain", "injected", text, name=device.name)

    def _in_order(
        self, leaf: x509.Certificate, others: Sequence[x509.Certificate]
    ) -> list[x509.Certificate]:
        """Issuers in the order of the path; what does not belong to it stays behind them."""
        above = self.path(leaf)[1:]
        strangers = [found for found in others if found not in above]
        return [leaf, *(found for found in above if found in others), *strangers]

    def _row(self, name: str) -> DeviceRow:
        row = self.ledger.device(name)
        if row is None:
            made = ", ".join(row.name for row in self.ledger.devices()) or "none yet"
            raise NotFound(f"There is no device {name!r}", found=f"devices: {made}")
        return row

    def self_signed(
        self,
        custodian: str,
        ca: str,
        csr: x509.CertificateSigningRequest,
        make: Callable[[], x509.Certificate],
    ) -> x509.Certificate:
        """A root as ``make`` makes it: in its own ledger for good when this returns."""
        asked = csr.public_bytes(Encoding.DER)

        def record(made: Sequence[x509.Certificate]) -> None:
            entries = [signed(root, asked) for root in made]
            self.ledger.record(custodian, ca, made[0], self.clock.now(), entries)

        return drawn([make], record)[0]

    def assembled(self) -> list[DeviceT]:
        """The devices that were asked for since the lab was opened."""
        return list(self._devices.values())

    def custodian_names(self) -> list[str]:
        return self.ledger.custodians()

    def device_names(self) -> list[str]:
        return [row.name for row in self.ledger.devices()]

    def _identity(self, row: DeviceRow) -> Identity:
        """Its key must be there: a new one in its place would not fit the certificate."""
        return Identity(
            lambda: self._holder(row.name).key(IDENTITY), tuple(self.issued_chain(row.name))
        )


def _token_label(name: str) -> str:
    """A device's name may be longer than PKCS#11 lets a label be: then its end is a digest, behind
    a character that no device's name can have. So it is never that of a shorter one."""
    if len(name.encode()) <= LONGEST_LABEL:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name.encode()[: LONGEST_LABEL - 9].decode(errors='ignore')}~{digest}"
