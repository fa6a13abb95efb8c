"""A line that makes devices below one CA: tens with a token each, thousands of simulated ones.

    key and request ──> a lot ──> the CA signs ──> one transaction ──> devices leave the line

A lot's signatures and devices are committed together, before the first of them leaves. So a
line that was killed goes on where it was: what is on record is not made twice, and what is not
on record has never left.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Generic, Literal, TypeAlias, get_args

from cryptography import x509

from labkit import ids
from labkit.errors import Conflict, LabError
from labkit.hsm import Algorithm
from labkit.pki import lots, profiles, request
from labkit.pki.lots import Asked
from labkit.supplychain.chain import DeviceT, SupplyChain
from labkit.supplychain.ledger import Maker, Simulated
from labkit.supplychain.line.production import Production, SimulatedDevice
from labkit.work import Stage

if TYPE_CHECKING:
    from labkit.supplychain.authority import CertificateAuthority

Where: TypeAlias = Literal["token", "session", "memory"]
"""Where the key of a device is born: in the device's own token, where it stays; in the device
maker's token, for as long as it takes to sign the request; in memory."""

_SMALL_LOT = 8
"""Of devices with a token each: their keys take long, and somebody looks on."""
_DIGITS = 5


class Line(Generic[DeviceT]):
    """The line of one CA. ``prefix`` begins the names of the devices that :meth:`run` makes."""

    def __init__(self, ca: CertificateAuthority[DeviceT], prefix: str = "smart-x-widget-") -> None:
        self._ca, self._prefix = ca, prefix
        self._chain: SupplyChain[DeviceT] = ca._chain
        self._issuers = tuple(ca._injected(ca.certificate)[1:])

    def __repr__(self) -> str:
        return f"<Line of {self._ca.name}>"

    def run(
        self, count: int, *, keys: Where = "token", processes: int = 1
    ) -> Production[DeviceT | SimulatedDevice]:
        """Makes those of the devices 1 to ``count`` that are not there: see :meth:`make`."""
        if not isinstance(count, int) or count < 0:
            raise LabError(
                f"{count!r} devices cannot be made", expected="a whole number, 0 or more"
            )
        return self.make(self.names(count), keys=keys, processes=processes)

    def names(self, count: int) -> list[str]:
        """What the devices 1 to ``count`` of this line are called."""
        return [f"{self._prefix}{number:0{_DIGITS}}" for number in range(1, count + 1)]

    def make(
        self, names: Sequence[str], *, keys: Where = "token", processes: int = 1
    ) -> Production[DeviceT | SimulatedDevice]:
        """Makes the devices of these names that are not there yet.

        ``keys`` says where their keys are born. With ``processes=2`` a second process makes keys
        and requests while this one signs: for simulated devices, whose keys need no token that
        is here. Returns devices with a token all, whenever they were made; of simulated ones
        those of this run. Raises LabError for a bad name, and Conflict where a device of one of
        the names is not just so; nothing is made then.
        """
        missing = self.missing(names, keys=keys)
        leaving = self.each_lot(missing, keys=keys, processes=processes)
        made = [device for lot in leaving for device in lot]
        self._tell(len(made), len(names))
        if keys == "token":
            made = [self._chain.device(name) for name in names]
        return Production(made, len(missing), len(names) - len(missing))

    def _tell(self, made: int, wanted: int) -> None:
        record, ca = self._chain.events.record, self._ca.name
        if made < wanted:
            text = f"{wanted - made} of {wanted} devices were there already"
            record("supply chain", "again", text, name=ca)
        if made:
            record("supply chain", "devices", f"{made} devices were signed by {ca}", name=ca)

    def each_lot(
        self, names: Sequence[str], *, keys: Where = "token", processes: int = 1
    ) -> Iterator[list[DeviceT | SimulatedDevice]]:
        """The same lot by lot, as they leave the line: each is committed when it is here.

        For names that are :meth:`missing`.
        """
        work, done = self._chain.work, 0
        with self._asking(names, keys, processes) as asking:
            for lot in asking:
                work.tell(Stage("making devices", done, len(names)))
                yield self._finished(lot, keys)
                done += len(lot)
        work.tell(Stage("making devices", len(names), len(names)))

    def _asking(
        self, names: Sequence[str], keys: Where, processes: int
    ) -> AbstractContextManager[Iterator[list[Asked]]]:
        """The device side: lots of requests, in the order of the names."""
        if processes not in (1, 2) or (keys == "token" and processes == 2):
            raise LabError(
                f"{processes} processes cannot make devices with keys={keys!r}",
                expected='1 process, or 2 for keys="session" and keys="memory"',
                found="a token that another process makes cannot be seen here"
                if keys == "token"
                else f"processes={processes!r}",
                cure="leave processes out",
            )
        if keys != "token" and processes == 2:
            return lots.elsewhere(keys, lots.split(names))
        size = _SMALL_LOT if keys == "token" else lots.SIZE
        born = self._born(keys)
        return nullcontext(lots.ask(lot, born) for lot in lots.split(names, size))

    def _born(self, keys: Where) -> lots.Keys:
        if keys == "token":
            return lambda name: nullcontext(self._chain.device_key(name))
        return lots.in_memory if keys == "memory" else lots.in_session(self._ca.custodian.token)

    def _finished(self, lot: Sequence[Asked], keys: Where) -> list[DeviceT | SimulatedDevice]:
        requests = [asked.request for asked in lot]
        if keys == "token":
            self._ca._issuing.on_checked(requests, profiles.DEVICE, self._ca._rows)
            return [self._chain.device(asked.name) for asked in lot]
        maker = self._ca._full_name
        rows = [Simulated(asked.name, maker) for asked in lot]
        signed = self._ca._issuing.on_checked(requests, profiles.DEVICE, lambda _: rows)
        return [self._simulated(*both) for both in zip(lot, signed, strict=True)]

    def _simulated(self, asked: Asked, certificate: x509.Certificate) -> SimulatedDevice:
        return SimulatedDevice(asked.name, (certificate, *self._issuers), asked.secret)

    # ---- what is there already

    def missing(self, names: Sequence[str], *, keys: Where = "token") -> list[str]:
        """Those of these names that have no device yet.

        Raises LabError for a bad name, and Conflict where a device of one of them is not just so.
        """
        self._check(names, keys)
        made = self._chain.ledger.makers(names)
        for name in names:
            if found := made.get(ids.key(name)):
                self._refuse_other(Maker(name, self._ca._full_name, keys != "token"), found)
            if found and (row := self._chain.ledger.device(name)):
                self._ca._refuse_other_kind(row, "all", Algorithm.P256)
        missing = [name for name in names if ids.key(name) not in made]
        if len(set(map(ids.key, missing))) < len(missing):
            raise LabError(
                "A name is among the names twice",
                expected="names that differ by more than case: they become registration IDs",
                cure="give each device a name of its own",
            )
        return missing

    def _check(self, names: Sequence[str], keys: Where) -> None:
        if keys not in get_args(Where) or isinstance(names, str):
            raise LabError(
                f"Devices cannot be made with names={names!r:.40} and keys={keys!r}",
                expected=f"a list of names, and keys of {', '.join(get_args(Where))}",
                cure=f'make(["{names}"])' if isinstance(names, str) else 'keys="token"',
            )
        carried = {ids.key(row.device) for row in self._chain.records.all_pregenerated()}
        custodians = set(self._chain.custodian_names())
        for name in names:
            request.name(name)  # refuses what can be no CN
            if keys == "token" or name in custodians or not ids.is_valid(name):
                self._chain.check_device_name(name)
            if ids.key(name) in carried:
                self._chain.refuse_taken(name)

    def _refuse_other(self, wanted: Maker, found: Maker) -> None:
        if wanted == found:
            return
        kind = "of a simulated fleet" if found.simulated else "with a token of its own"
        raise Conflict(
            f"There is a device {found.name!r} already",
            expected="one that this line makes: of this spelling, with its key in the same place",
            found=f"it is {kind}, and was signed by {found.maker}",
            cure="give the other device another name: registration IDs are unique",
        )
