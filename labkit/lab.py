"""A lab: one workspace, opened. Tokens, clock, supply chain, the emulated cloud, its ports."""

from __future__ import annotations

import atexit
import os
from pathlib import Path
from typing import TYPE_CHECKING

from labkit import progress
from labkit.clock import Clock, parse_moment
from labkit.errors import NotFound, ServiceRefusal
from labkit.events import Event, Events
from labkit.progress import Progress
from labkit.wire.ports import Ports
from labkit.workspace import Workspace, locate

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from labkit.cloud.dps import ProvisioningService
    from labkit.cloud.hub import Hub
    from labkit.device import Device, Network
    from labkit.explanation import Explanation
    from labkit.graph import Picture
    from labkit.supplychain import Custodian

_open: dict[Path, Lab] = {}


class Lab:
    """One workspace, opened; the front door of everything. Use :meth:`open`.

    ``path`` is its folder, ``clock`` its time, ``events`` what happened; ``cloud``, ``server``
    and ``listener`` are for those who look behind the scenes.
    """

    def __init__(
        self, workspace: Workspace, ports: Ports, hubs: tuple[str, ...], clock: str
    ) -> None:
        self.path = workspace.path
        self._workspace = workspace
        try:
            self._enter(ports, hubs, clock)
        except BaseException:
            workspace.close()
            raise

    def _enter(self, ports: Ports, hubs: tuple[str, ...], clock: str) -> None:
        from labkit.rooms import Rooms

        self.clock = Clock(self.path / "clock.json")
        if clock and self._workspace.is_new:
            self.clock.set(parse_moment(clock))
        self.events = Events(self.clock)
        self.events.listen(_say)
        self._rooms = Rooms(self.path, self.clock, self.events, ports, hubs)
        self._supply_chain = self._rooms.supply_chain
        self.cloud, self.server = self._rooms.cloud, self._rooms.server
        self.listener = self._rooms.listener

    @classmethod
    def open(
        cls,
        name: str | os.PathLike[str] = "lab",
        *,
        fresh: bool = False,
        clock: str = "",
        hubs: tuple[str, ...] = (),
        ports: Ports = Ports(),  # noqa: B008  frozen
    ) -> Lab:
        """Opens a workspace, makes it when there is none, and goes on with what is in it.

        ``name`` is a name below ``$LABKIT_HOME`` (default ``~/.labkit``) or a path.
        ``fresh=True`` throws away what was in it. ``clock`` (ISO 8601) is where the clock of a
        new workspace starts; without it, at the machine's time. ``hubs`` are added to those that
        it has; one that has none gets ``contoso-hub``. A lab that this process has
        open already is returned as it is. Raises WorkspaceError where another process has it
        open, PortTaken, SoftHsmMissing.
        """
        path = locate(name)
        if path in _open and fresh:
            _open[path].close()
        if path not in _open:
            _open[path] = cls(Workspace(path, fresh=fresh), ports, hubs, clock)
        return _open[path]

    # ---- the supply chain

    def custodian(self, name: str) -> Custodian[Device]:
        """A party of the supply chain, with a token of its own: made when first named."""
        from labkit.supplychain import Custodian

        return Custodian(name, self._supply_chain)

    @property
    def custodians(self) -> list[Custodian[Device]]:
        return [self.custodian(name) for name in self._supply_chain.custodian_names()]

    def device(self, name: str) -> Device:
        """A device that was made in this lab. Raises NotFound."""
        return self._supply_chain.device(name)

    @property
    def devices(self) -> list[Device]:
        return [self.device(name) for name in self._supply_chain.device_names()]

    def issued_chain(self, device: str) -> list[Certificate]:
        """What the factory put into a device: its certificate, then its issuers without the root.

        Raises NotFound.
        """
        return self._supply_chain.issued_chain(device)

    # ---- the cloud

    @property
    def dps(self) -> ProvisioningService:
        """The Device Provisioning Service."""
        return self.cloud.dps

    def hub(self, name: str = "") -> Hub:
        """An IoT hub, by its name with or without the domain; without a name, the first.

        Raises NotFound.
        """
        return self.cloud.hubs.get(name) if name else next(iter(self.cloud.hubs))

    @property
    def network(self) -> Network:
        """What this lab's devices are configured with."""
        return self._rooms.network

    # ---- understanding it

    def explain(self, what: str | Device | ServiceRefusal | None = None) -> Explanation:
        """Why somebody was refused: by tracking ID, by device (its last refusal), by the refusal
        itself, or the last of all. Raises NotFound."""
        from labkit.explanation import Explanation

        if isinstance(what, ServiceRefusal):
            what = what.tracking_id
        if isinstance(what, str):
            return Explanation(self.cloud.refusals.find(what))
        found = self.cloud.refusals.last(what.name if what else "")
        if found is None:
            raise NotFound(f"{what.name} was not refused" if what else "Nobody was refused")
        return Explanation(found)

    def graph(self) -> Picture:
        """Chain, enrollments, hub and what each device presented last, in one picture."""
        from labkit.graph import Picture
        from labkit.graph.model import of_lab

        return Picture.of(of_lab(self))

    def progress(self) -> Progress:
        """Which stories were played how far, and which exercises are solved, in all workspaces
        beside this one."""
        return progress.of_home(self.path.parent)

    # ---- the end

    def close(self) -> None:
        """Disconnects devices, closes ports, tokens and files. Everything is kept on disk.

        Harmless when called twice.
        """
        if _open.get(self.path) is self:
            del _open[self.path]
        self._rooms.close()
        self._workspace.close()

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
