"""Device keys that are made beforehand and carried from hand to hand: the way to avoid.

    Company-X's token ──copy──> Factory-Y's ──copy──> Technician-Z's ──copy──> the device's

Each who carried a key can speak as the device from then on, and nothing shows which of them did.
That is what a key that is born in its device, and a CA for each custodian, do away with.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Generic

from labkit.errors import Conflict, LabError, NotFound
from labkit.hsm import TokenKey, transport
from labkit.pki import request
from labkit.pki.identity import Identity
from labkit.supplychain import terms
from labkit.supplychain.chain import IDENTITY, DeviceT, SupplyChain
from labkit.supplychain.ledger import DeviceRow, stored
from labkit.supplychain.records import PregeneratedRow

if TYPE_CHECKING:
    from labkit.supplychain.custodian import Custodian


def private_keys(names: Sequence[str]) -> str:
    """What these devices' keys are called in a sentence."""
    if len(names) == 1:
        return f"the private key of {names[0]}"
    return f"the private keys of {len(names)} devices"


def label(name: str) -> str:
    """What the key of a device is called in the token of a custodian who carries it."""
    return f"device {name}"


class Consignment(Generic[DeviceT]):
    """Keys for devices, with their chains, on their way. ``names`` are those of the devices."""

    def __init__(self, names: Iterable[str], supply_chain: SupplyChain[DeviceT]) -> None:
        self.names = tuple(names)
        self._chain = supply_chain

    def __repr__(self) -> str:
        return f"<Consignment of {len(self.names)} device keys, held by {', '.join(self.holders)}>"

    @property
    def holders(self) -> tuple[str, ...]:
        """The custodians who hold any of these keys: where they were born, then hand by hand."""
        return tuple(dict.fromkeys(h for row in self._rows() for h in self._chain.holders(row)))

    def carry(self, to: Custodian[DeviceT]) -> Consignment[DeviceT]:
        """Copies every key into the token of ``to``, from that of who had it last.

        Those before keep theirs: nobody can prove that they gave a copy away. Twice is harmless.
        """
        terms.check_custodian(to, "carry")
        before = self.holders
        for row in self._chain.work.each(list(self._rows()), f"copying keys to {to.name}"):
            self._carry(row, to)
        kind, text = "carried", f"{to.name} got {private_keys(self.names)}"
        if to.name in before:
            kind, text = "again", f"{to.name} had {private_keys(self.names)} already"
        self._chain.events.record("supply chain", kind, text)
        return self

    def install(self) -> list[DeviceT]:
        """The end of the journey: each key into the token of its device, its chain into flash."""
        for row in self._chain.work.each(list(self._rows()), "copying keys into devices"):
            found = self._chain.ledger.device(row.device)
            if found is None:
                self._install(row)
            elif found.chain_pem != row.chain_pem:
                raise Conflict(
                    f"There is a device {row.device!r} already",
                    expected="one that waits for its key",
                    found=f"one that {found.maker} has signed since",
                    cure="throw the carried key away: that device has one of its own",
                )
        return [self._chain.device(name) for name in self.names]

    def _rows(self) -> Iterator[PregeneratedRow]:
        for name in self.names:
            row = self._chain.records.pregenerated(name)
            if row is not None and row.chain_pem:
                yield row

    def _carry(self, row: PregeneratedRow, to: Custodian[DeviceT]) -> None:
        holders = self._chain.holders(row)
        if to.name == holders[0]:
            return
        earlier = holders[: holders.index(to.name)] if to.name in holders else holders
        _, key = self._last(row, earlier)
        self._chain.records.add_holder(row.device, to.name)
        transport.carry(key, to.token, label(row.device), extractable=True)

    def _install(self, row: PregeneratedRow) -> None:
        if other := self._chain.ledger.device_like(row.device):
            raise Conflict(
                f"There is a device {other!r} already",
                found=f"{row.device!r} is the same registration ID",
                cure="throw the carried key away: that device has one of its own",
            )
        last, key = self._last(row, self._chain.holders(row))
        token = self._chain.device_token(row.device)
        transport.carry(key, token, IDENTITY, extractable=False)
        maker, row.installer = f"{row.custodian}/{row.ca}", last
        self._chain.records.save(row)
        self._chain.ledger.add(DeviceRow(row.device, maker, row.chain_pem))
        text = f"{last} put a copy of its private key into {row.device}"
        self._chain.events.record("supply chain", "device", text, name=row.device)

    def _last(self, row: PregeneratedRow, holders: Sequence[str]) -> tuple[str, TokenKey]:
        """The last of these who has the key, and the key. Not each has it who is on record: a copy
        is so before it is made, and a crash may come between the two."""
        for holder in reversed(holders):
            token = self._chain.tokens.token(holder)
            if token.has_key(label(row.device)):
                return holder, token.key(label(row.device))
        raise NotFound(
            f"Nobody has {private_keys([row.device])} any more",
            expected=f"a copy of it in a token of {', '.join(holders)}",
            found="none that works",
            cure="make the device with a key of its own under another name, or start over: "
            "Lab.open(..., fresh=True)",
        )


def copy_of(device: str, holder: str, supply_chain: SupplyChain[DeviceT]) -> Identity:
    """Who a custodian can be who carried a device's key: their copy of it, and its chain.

    Raises NotFound where they have no copy.
    """
    row = supply_chain.records.pregenerated(device)
    holders = supply_chain.holders(row) if row is not None and row.chain_pem else ()
    if row is None or holder not in holders:
        raise NotFound(
            f"{holder} has no copy of the private key of {device}",
            expected="a custodian through whose hands the key went",
            found=f"it went through those of {', '.join(holders)}"
            if holders
            else "no key of this device was ever carried: one that is born in its device stays",
        )
    key = supply_chain.tokens.token(holder).key(label(row.device))
    return Identity(key, tuple(stored(row.chain_pem)))


def wanted(names: Sequence[str], ca: str, supply_chain: SupplyChain[DeviceT]) -> list[str]:
    """Those of ``names`` whose keys are still to be made. ``ca`` is ``custodian/CA``.

    Raises LabError for what can be no device's name, and for a name that is not free.
    """
    if isinstance(names, str):
        raise LabError(
            f"{names!r} is one name",
            expected="a list of the names of devices",
            cure=f"write it as a list: [{names!r}]",
        )
    return [name for name in dict.fromkeys(names) if _is_new(name, ca, supply_chain)]


def _is_new(name: str, ca: str, supply_chain: SupplyChain[DeviceT]) -> bool:
    request.name(name)
    supply_chain.check_device_name(name)
    row = supply_chain.records.pregenerated(name)
    if row is not None and (row.device, f"{row.custodian}/{row.ca}") == (name, ca):
        return not row.chain_pem
    taken = supply_chain.ledger.makers([name])
    makers = [(found.name, found.maker) for found in taken.values()]
    for spelled, maker in makers if row is None else [(row.device, row.custodian)]:
        raise Conflict(
            f"There is a device {spelled!r} already, or a key for it",
            expected="a name whose key is still to be made",
            found=f"{spelled!r} of {maker}",
            cure="give the second device another name",
        )
    return True
