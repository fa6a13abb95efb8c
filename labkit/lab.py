"""A lab: one workspace, opened. Tokens, clock, supply chain, the emulated cloud, its ports."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.clock import Clock, parse_moment
from labkit.cloud import Cloud
from labkit.cloud.dps import ProvisioningService
from labkit.cloud.hub import Hub
from labkit.device import Device, Network
from labkit.device.flash import Flash
from labkit.errors import NotFound, ServiceRefusal
from labkit.events import Event, Events
from labkit.explanation import Explanation
from labkit.hsm import TokenStore
from labkit.pki.identity import Identity
from labkit.supplychain import Custodian, SupplyChain
from labkit.supplychain.ledger import Ledger
from labkit.wire.listener import Listener, Ports
from labkit.wire.server_identity import ServerIdentity
from labkit.workspace import Workspace, locate

if TYPE_CHECKING:
    from labkit.graph import Picture

DEFAULT_HUB = "contoso-hub"

_open: dict[Path, Lab] = {}


class Lab:
    """One workspace, opened; the front door of everything. Use :meth:`open`."""

    def __init__(
        self, workspace: Workspace, ports: Ports, hubs: tuple[str, ...], clock: str
    ) -> None:
        self.path = workspace.path
        self.clock = Clock(self.path / "clock.json")
        if clock and workspace.is_new:
            self.clock.set(parse_moment(clock))
        self.events = Events(self.clock)
        self.events.listen(_say)
        self._closing: list[Callable[[], None]] = [workspace.close]
        try:
            self._build(ports, hubs)
        except BaseException:
            self._close_parts()
            raise

    def _build(self, ports: Ports, hubs: tuple[str, ...]) -> None:
        self._tokens = TokenStore(self.path / "hsm")
        self._closing.append(self._tokens.close)
        ledger = Ledger(self.path / "supply-chain.db")
        self._closing.append(ledger.close)
        self.cloud = Cloud(self.path / "cloud.db", self.clock, self.events)
        self._closing.append(self.cloud.close)
        for name in hubs:
            self.cloud.hubs.add(name)
        self.server = ServerIdentity(self._tokens, self.path / "server")
        self.listener = Listener(self.cloud, self.server, self.events, ports)
        self._closing.append(self.listener.stop)
        self._supply_chain: SupplyChain[Device] = SupplyChain(
            self._tokens, ledger, self.clock, self.events, self._assemble
        )
        self._closing.append(self._disconnect_devices)

    @classmethod
    def open(
        cls,
        name: str | os.PathLike[str] = "lab",
        *,
        fresh: bool = False,
        clock: str = "",
        hubs: tuple[str, ...] = (DEFAULT_HUB,),
        ports: Ports = Ports(),  # noqa: B008  frozen
    ) -> Lab:
        """Opens a workspace, makes it when there is none, and goes on with what is in it.

        ``name`` is a name below ``$LABKIT_HOME`` (default ``~/.labkit``) or a path.
        ``fresh=True`` throws away what was in it. ``clock`` (ISO 8601) is where the clock of a
        new workspace starts; without it, at the machine's time. A lab that this process has
        open already is returned as it is. Raises WorkspaceError where another process has it
        open, PortTaken, SoftHsmMissing.
        """
        path = locate(name)
        if path in _open and fresh:
            _open[path].close()
        if path not in _open:
            workspace = Workspace(path, fresh=fresh)
            _open[path] = cls(workspace, ports, hubs, clock)
        return _open[path]

    @classmethod
    def current(cls) -> Lab:
        """The lab that this process opened last. Raises NotFound."""
        if not _open:
            raise NotFound("No lab is open", cure='open one: lab = Lab.open("first-device")')
        return list(_open.values())[-1]

    # ---- the supply chain

    def custodian(self, name: str) -> Custodian[Device]:
        """A party of the supply chain, with a token of its own: made when first named."""
        return Custodian(name, self._supply_chain)

    @property
    def custodians(self) -> list[Custodian[Device]]:
        return [self.custodian(name) for name in self._supply_chain.ledger.custodians()]

    def device(self, name: str) -> Device:
        """A device that was made in this lab. Raises NotFound."""
        return self._supply_chain.device(name)

    @property
    def devices(self) -> list[Device]:
        return [self.device(name) for name in self._supply_chain.device_names()]

    # ---- the cloud

    @property
    def dps(self) -> ProvisioningService:
        """The Device Provisioning Service."""
        return self.cloud.dps

    def hub(self, name: str = DEFAULT_HUB) -> Hub:
        """An IoT hub, by its name with or without the domain. Raises NotFound."""
        return self.cloud.hubs.get(name)

    @property
    def network(self) -> Network:
        """What this lab's devices are configured with."""
        return Network(self.listener.host, self.dps.id_scope, self.server.root_pem)

    # ---- understanding it

    def explain(self, what: str | Device | ServiceRefusal | None = None) -> Explanation:
        """Why somebody was refused: by tracking ID, by device (its last refusal), by the refusal
        itself, or the last of all. Raises NotFound."""
        if isinstance(what, ServiceRefusal):
            what = what.tracking_id
        if isinstance(what, str):
            return Explanation(self.cloud.refusals.find(what))
        found = self.cloud.refusals.last(what.name if what else "")
        if found is None:
            raise NotFound("Nobody was refused yet" if what is None else f"{what.name} never was")
        return Explanation(found)

    def graph(self) -> Picture:
        """Chain, enrollments, hub and what each device presented last, in one picture."""
        from labkit.graph import Picture
        from labkit.graph.model import of_lab

        return Picture.of(of_lab(self))

    # ---- the end

    def close(self) -> None:
        """Disconnects devices, closes ports, tokens and files. Everything is kept on disk."""
        _open.pop(self.path, None)
        self._close_parts()

    def _close_parts(self) -> None:
        while self._closing:
            self._closing.pop()()

    def _disconnect_devices(self) -> None:
        for device in self._supply_chain.assembled():
            device.disconnect()

    def _assemble(self, identity: Identity) -> Device:
        flash = Flash(self.path / "devices", identity.name)
        return Device(identity, flash, lambda: self.network, self.events)

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Lab {self.path.name!r}: {len(self._supply_chain.device_names())} devices>"


def _say(event: Event) -> None:
    """Twice is harmless, and is said: a trainee who runs a cell again learns what it found."""
    if event.kind == "again":
        print(event.text)


@atexit.register
def _close_all() -> None:
    for lab in list(_open.values()):
        lab.close()
