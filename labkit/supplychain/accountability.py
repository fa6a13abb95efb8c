"""Who signed whom, who holds which private key, and so who could have done it.

All of it is read from records: no token is opened to answer. Neither a serial number nor a time
is in what is shown, so that a lesson's output stays the same from run to run.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from labkit.pki import chain, policy, possession
from labkit.supplychain import terms
from labkit.supplychain.chain import DeviceT, SupplyChain
from labkit.supplychain.ledger import Signature, stored

_PAGE = 1000
_SHOWN = 40
"""Lines of each kind that are shown; the whole is in the properties."""

ROOT, CA, DEVICE, PROOF = "root CA", "CA", "device", "proof of possession"
SERVER, OTHER = "server", "something else"
"""The kinds of what is signed. What may not be a TLS client is no device."""


class Row(Protocol):
    """A line of what is shown: as text by str(), as a table by its cells, title first."""

    @property
    def cells(self) -> dict[str, str]:
        """Texts by the titles of their columns."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One signature: ``custodian`` signed ``subject`` with ``ca``, for ``asker``, who sent a
    request unless ``request`` is None. The asker is known by their public key; of a key that is
    not on record it says what they say. ``kind`` is one of the kinds above."""

    custodian: str
    ca: str
    subject: str
    kind: str
    asker: str
    certificate: x509.Certificate
    request: x509.CertificateSigningRequest | None

    def __str__(self) -> str:
        if self._is_own:
            return f"{self.custodian} signed {self.subject} with its own key"
        return f"{self.custodian} signed {self.subject} with {self.ca}, {self._asked}"

    @property
    def _is_own(self) -> bool:
        """Whether it is a root, or a device that signs its own certificate."""
        return chain.is_self_signed(self.certificate)

    @property
    def _asked(self) -> str:
        if self.kind == PROOF:
            return "to prove possession"
        return f"on a request of {self.asker}" if self.request else f"for {self.asker}"

    @property
    def cells(self) -> dict[str, str]:
        """As a table shows it."""
        return {
            "who signed": self.custodian,
            "with": self.ca,
            "whom": self.subject,
            "as": self.kind,
            "why": "its own" if self._is_own else self._asked,
        }


@dataclass(frozen=True, slots=True)
class Key:
    """A private key: ``name`` is what its certificate says, ``owner`` who it speaks for,
    ``born_in`` the token that made it, ``holders`` the tokens that have had it, that one first.
    One that lies ``in_file`` was never in a token, and nobody knows who has copied it."""

    name: str
    owner: str
    born_in: str
    holders: tuple[str, ...]
    in_file: bool = False

    @property
    def copies(self) -> int:
        """How many there are beside the one that was born."""
        return len(self.holders) - 1

    def __str__(self) -> str:
        if self.in_file:
            return f"{self.name}: in a file of {self.born_in}, for whoever reads that"
        where = f"copied to {self._others}" if self.copies else "and never elsewhere"
        return f"{self.name}: born in the token of {self.born_in}, {where}"

    @property
    def _others(self) -> str:
        return ", ".join(self.holders[1:])

    @property
    def cells(self) -> dict[str, str]:
        """As a table shows it."""
        unknown = "nobody knows"
        return {
            "the key of": self.name,
            "was born in the token of": "none: it is in a file" if self.in_file else self.born_in,
            "copies": unknown if self.in_file else str(self.copies),
            "copied to": unknown if self.in_file else self._others or "nobody",
        }


@dataclass(frozen=True, slots=True)
class Injection:
    """A certificate that ``custodian`` put into a device."""

    custodian: str
    certificate: x509.Certificate

    def __str__(self) -> str:
        return f"{self.custodian} put in {chain.subject(self.certificate)}"


@dataclass(frozen=True, slots=True)
class Registrations:
    """What a cloud must be told before it knows some devices: of the CAs at the top of their
    chains, or of each device's own thumbprint."""

    by_ca: int
    by_thumbprint: int

    def __str__(self) -> str:
        return f"{self.by_ca} by CA, or {self.by_thumbprint} by thumbprint"

    @property
    def cells(self) -> dict[str, str]:
        """As a table shows it."""
        return {"CAs": str(self.by_ca), "or thumbprints": str(self.by_thumbprint)}


class Accountability(Generic[DeviceT]):
    """The ledger of a supply chain, to be read. It shows what there is at the time of asking."""

    def __init__(self, supply_chain: SupplyChain[DeviceT]) -> None:
        self._chain = supply_chain

    # ---- signatures

    @property
    def signatures(self) -> tuple[Entry, ...]:
        """Every signature of every CA, in the order in which they were made."""
        owners = self._owners()
        entries = [_entry(found, owners) for found in self._pages()]
        fleet = self._simulated([entry for entry in entries if not entry.asker])
        return tuple(entry if entry.asker else _unknown(entry, fleet) for entry in entries)

    def _owners(self) -> dict[bytes, str]:
        """Who had each key certified that is on record: what a request says of its sender is
        only what they say."""
        devices = self._chain.ledger.devices()
        carried = [row for row in self._chain.records.all_pregenerated() if row.chain_pem]
        recorded = [
            *((row.chain_pem, row.custodian) for row in self._chain.ledger.authorities()),
            *((row.chain_pem, row.name) for row in devices),
            *((row.chain_pem, row.custodian) for row in carried),
            *((row.chain_pem, row.device) for row in self._chain.ledger.renewals()),
        ]
        return {_key(stored(pem)[0]): owner for pem, owner in recorded}

    def _simulated(self, entries: Sequence[Entry]) -> set[x509.Certificate]:
        """Those of simulated devices, whose keys are on record nowhere: of each name the last that
        the device's maker signed, for from then on no other key of this name is signed."""
        last = {(e.subject, f"{e.custodian}/{e.ca}"): e for e in entries if e.kind == DEVICE}
        made = self._chain.ledger.makers([name for name, _ in last]).values()
        keys = {(found.name, found.maker) for found in made if found.simulated}
        return {last[key].certificate for key in keys & last.keys()}

    def _pages(self) -> Iterator[Signature]:
        after = 0
        while page := self._chain.ledger.issued(after=after, limit=_PAGE):
            yield from page
            after = page[-1].number

    def chain_of(self, device: DeviceT | str) -> tuple[x509.Certificate, ...]:
        """From the device's certificate to the root that answers for it, whatever the device
        holds of it: of several the one that it uses, or by its name the newest. Raises NotFound."""
        newest = self._chain.newest_chain(_name(device))[0]
        in_use = newest if isinstance(device, str) else device.chain[0]
        is_known = self._chain.ledger.find(in_use.serial_number) is not None
        return tuple(self._chain.path(in_use if is_known else newest))

    def injections(self, device: DeviceT | str) -> tuple[Injection, ...]:
        """What was put into a device, and by whom, in that order. Raises NotFound."""
        return tuple(
            Injection(custodian, certificate)
            for custodian, certificate in self._chain.injections(_name(device))
        )

    # ---- private keys

    @property
    def keys(self) -> tuple[Key, ...]:
        """Every private key that a certificate of this supply chain speaks for, of CAs first.

        Not among them: keys of simulated fleets, which are in no token, and of devices outside
        of the lab that had a request signed.
        """
        return (*self._ca_keys(), *self._device_keys())

    def _ca_keys(self) -> Iterator[Key]:
        """One for each key: that of a CA which was renewed may have several certificates."""
        rows = self._chain.ledger.authorities()
        for custodian, label in dict.fromkeys((row.custodian, row.key_label) for row in rows):
            yield Key(label, custodian, custodian, (custodian,))

    def _device_keys(self) -> Iterator[Key]:
        carried = {row.device: row for row in self._chain.records.all_pregenerated()}
        made = {row.name for row in self._chain.ledger.devices()}
        for name in sorted(made | carried.keys()):
            hands = self._chain.holders(carried[name]) if name in carried else ()
            holders = (*hands, name) if name in made else hands
            in_file = self._chain.has_key_in_file(name)
            yield Key(name, name, holders[0], holders, in_file)

    def could_impersonate(self, device: DeviceT | str) -> tuple[str, ...]:
        """The custodians who hold or held the device's private key, or were about to get it when a
        crash came: each is on record before their copy is made. Raises NotFound.

        To use such a copy leaves no trace. A CA above the device could sign another certificate
        of its name, too: but that is in the CA's ledger, and has another thumbprint.
        """
        name = _name(device)
        row = self._chain.records.pregenerated(name)
        if row is None:
            self._chain.issued_chain(name)  # is there such a device?
            return ()
        return self._chain.holders(row)

    # ---- registrations

    def registrations(self, devices: Iterable[DeviceT | str] | None = None) -> Registrations:
        """What a cloud must be told to know these devices, or every one that has a certificate:
        one CA, or n thumbprints. Raises NotFound."""
        signed = [entry for entry in self.signatures if entry.kind == DEVICE]
        if devices is None:
            return self._registrations(signed)
        names = {_name(device) for device in devices}
        for unknown in names - {entry.subject for entry in signed}:
            self._chain.issued_chain(unknown)  # raises
        return self._registrations([entry for entry in signed if entry.subject in names])

    def _registrations(self, signed: Sequence[Entry]) -> Registrations:
        """All that one CA signed has one chain above it."""
        one_of_each = {(entry.custodian, entry.ca): entry.certificate for entry in signed}
        tops = {self._registered(leaf) for leaf in one_of_each.values()}
        return Registrations(len(tops), len(signed))

    def _registered(self, leaf: x509.Certificate) -> x509.Certificate:
        """The CA whose possession its owner can prove: the one that was bought, or the root."""
        path, bought = self._chain.path(leaf), self._bought()
        return next((found for found in path if found in bought), path[-1])

    def _bought(self) -> set[x509.Certificate]:
        orders = self._chain.records.all_orders()
        return {stored(order.chain_pem)[0] for order in orders if order.chain_pem}

    # ---- what is shown

    def __repr__(self) -> str:
        return _text(self._parts())

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        parts = self._parts()
        tables = (_table(title, rows) for title, rows in parts.items())
        return {"text/plain": _text(parts), "text/html": "".join(tables)}

    def _parts(self) -> dict[str, Sequence[Row]]:
        signatures = self.signatures
        devices = [entry for entry in signatures if entry.kind == DEVICE]
        return {
            "Who signed whom": signatures,
            "Who holds which private key": self.keys,
            "What a cloud must be told to know all devices": (self._registrations(devices),),
        }


def _name(device: Any) -> str:
    return device if isinstance(device, str) else str(device.name)


def _text(parts: Mapping[str, Sequence[Row]]) -> str:
    return "\n".join(f"{title}\n{_lines(rows)}" for title, rows in parts.items())


def _entry(found: Signature, owners: Mapping[bytes, str]) -> Entry:
    """``asker`` is empty where nobody is known to have the key."""
    certificate = found.certificate
    name, kind = chain.common_name(certificate), _kind(certificate)
    asker = owners.get(_key(certificate), "")
    if kind == PROOF:  # its name is a random code
        name, asker = "a verification certificate", found.custodian
    return Entry(found.custodian, found.ca, name, kind, asker, certificate, found.request)


def _unknown(entry: Entry, fleet: set[x509.Certificate]) -> Entry:
    if entry.certificate in fleet:
        return replace(entry, asker=entry.subject)
    is_ca = entry.kind in (ROOT, CA)
    says = terms.organization(entry.certificate.subject) if is_ca else entry.subject
    return replace(entry, asker=f"somebody who says to be {says}" if says else "somebody")


def _key(certificate: x509.Certificate) -> bytes:
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    return certificate.public_key().public_bytes(*form)


def _kind(certificate: x509.Certificate) -> str:
    if chain.is_ca(certificate):
        return ROOT if chain.is_self_signed(certificate) else CA
    try:
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:  # for any purpose, and so for a TLS client's too
        return PROOF if possession.is_code(chain.common_name(certificate)) else DEVICE
    if policy.CLIENT.allows(usages):
        return DEVICE
    return SERVER if policy.SERVER.allows(usages) else OTHER


def _lines(rows: Sequence[Row]) -> str:
    return "\n".join(f"  {line}" for line in (*map(str, rows[:_SHOWN]), *_rest(rows)))


def _rest(rows: Sequence[Row]) -> list[str]:
    return [f"… and {len(rows) - _SHOWN} more"] if len(rows) > _SHOWN else []


def _table(title: str, rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    head = _cells("th", rows[0].cells)
    body = "".join(f"<tr>{_cells('td', row.cells.values())}</tr>" for row in rows[:_SHOWN])
    rest = "".join(f"<tr><td colspan={len(rows[0].cells)}>{more}</td></tr>" for more in _rest(rows))
    caption = (
        f'<caption style="text-align:left;white-space:nowrap"><b>{html.escape(title)}</b></caption>'
    )
    return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}{rest}</tbody></table>"


def _cells(tag: str, texts: Iterable[str]) -> str:
    style = ' style="text-align:left"'
    return "".join(f"<{tag}{style}>{html.escape(text)}</{tag}>" for text in texts)
